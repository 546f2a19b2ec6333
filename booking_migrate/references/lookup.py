"""What the ids in a batch of documents stand for, asked once for all of them."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from bson.objectid import ObjectId

from booking_migrate.bson.order import OBJECT_ID_KEY, sort_key
from booking_migrate.domain.ids import booking_of_session
from booking_migrate.references.changes import Found
from booking_migrate.references.tally import Known
from booking_migrate.stores.references import BookingState, NewIds, OldIds

_AT_ONCE = 10_000


def look_up(old_ids: OldIds, found: Sequence[Found]) -> Known:
    """Return what all ids in some documents stand for.

    Whether an ObjectId is a session's is known from the booking that it would be of: looking it up takes the index on old ids,
    and none on new ones.

    Raises:
        ConnectionProblem, NotPermitted, UnusablePlace: the client documents cannot be read.
    """
    object_ids: dict[bytes, Any] = {}
    others: dict[bytes, Any] = {}
    texts: list[tuple[bytes, str]] = []
    for document in found:
        for _of, value in document.values:
            for each in value.old_ids:
                if type(each) is ObjectId:
                    object_ids[OBJECT_ID_KEY + each.binary] = each
                elif type(each) is str and len(value.old_ids) > 1:
                    texts.append((sort_key(value.old_ids[0]), each))
                else:
                    others[sort_key(each)] = each
    states = _resolved(old_ids, object_ids)
    # Digits that are the ObjectId of a booking are not looked up as a text, too.
    others.update({sort_key(text): text for key, text in texts if states[key] is BookingState.UNKNOWN})
    states.update(_resolved(old_ids, others))
    asked = {**object_ids, **others}
    unknown = {key: asked[key] for key, state in states.items() if state is BookingState.UNKNOWN}
    if not unknown:
        return Known(states, frozenset())
    new = _sessions(old_ids, unknown)
    rest = [value for key, value in unknown.items() if key not in new]
    for start in range(0, len(rest), _AT_ONCE):
        some = rest[start : start + _AT_ONCE]
        new |= old_ids.existing((), some)[1] | old_ids.other_sessions(some)
    return Known(states, frozenset(new))


def new_ids_among(old_ids: OldIds, values: Sequence[Any]) -> tuple[set[bytes], set[bytes]]:
    """Return the sort keys of those decoded values that are ids of sessions, and of those that are ids of client documents.

    For a search, where there may be no index on old ids: an ObjectId is that of a session if the booking is known that it
    would be of.

    Raises:
        ConnectionProblem, NotPermitted, UnusablePlace: a collection cannot be read.
    """
    computed = {
        sort_key(booking_of_session(each)): sort_key(each) for each in values if type(each) is ObjectId
    }
    known = old_ids.known([ObjectId(key[1:]) for key in computed])
    sessions = {computed[key] for key in known} | old_ids.other_sessions(values)
    return sessions, old_ids.existing((), values)[1] - sessions


def _resolved(old_ids: OldIds, asked: Mapping[bytes, Any]) -> dict[bytes, NewIds | BookingState]:
    states: dict[bytes, NewIds | BookingState] = {}
    values = iter(asked.values())
    while some := list(islice(values, _AT_ONCE)):
        states.update(old_ids.resolve(some))
    return states


def _sessions(old_ids: OldIds, unknown: Mapping[bytes, Any]) -> set[bytes]:
    """Return the keys of those values that are the `sessionId` of a booking that they are computed from."""
    computed = {key: booking_of_session(each) for key, each in unknown.items() if type(each) is ObjectId}
    states = _resolved(old_ids, {sort_key(old): old for old in computed.values()})
    return {
        key
        for key, old in computed.items()
        if isinstance(state := states.get(sort_key(old)), NewIds) and sort_key(state.session_id) == key
    }
