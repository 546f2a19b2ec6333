"""What values stand for after a migration: looked up for verification, without the code by which a rewrite looks up."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from itertools import islice
from typing import Any

from bson.objectid import ObjectId

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.ids import booking_of_session
from booking_migrate.stores.references import BookingState, NewIds, OldIds

_AT_ONCE = 10_000
_SESSIONS_AT_ONCE = 50_000
"""Without an index on session ids, the server reads all client documents for each question."""


class Meaning(Enum):
    """What one id is."""

    NEW = "new"
    """That of a session or of a client document."""

    OLD = "old"
    """That of an old booking, which has a session with another id."""

    REJECTED = "rejected"
    """That of a booking without a session."""

    UNKNOWN = "unknown"


class Meanings:
    """Looks ids up."""

    def __init__(self, old_ids: OldIds, *, has_old_ids: bool) -> None:
        """Take the ids.

        Args:
            old_ids: what old ids stand for.
            has_old_ids: whether sessions still have them; if not, an id is a new one or unknown.
        """
        self._old_ids = old_ids
        self._has_old_ids = has_old_ids

    def resolved(self, ids: Iterable[Any]) -> dict[bytes, NewIds]:
        """Return the new ids of those old bookings that have a session, by the sort keys of the old ones."""
        asked = {sort_key(each): each for each in ids} if self._has_old_ids else {}
        return {
            key: state
            for some in _groups(asked.values(), _AT_ONCE)
            for key, state in self._old_ids.resolve(some).items()
            if isinstance(state, NewIds)
        }

    def look_up(self, ids: Iterable[Any]) -> dict[bytes, Meaning]:
        """Return what ids are, by their sort keys, as far as indexes find it: an unknown one may be that of a session.

        That a migration made a session is known from the booking whose session it would be; the session itself is read.
        """
        asked = {sort_key(each): each for each in ids}
        found = dict.fromkeys(asked, Meaning.UNKNOWN)
        if self._has_old_ids:
            for some in _groups(asked.values(), _AT_ONCE):
                for key, state in self._old_ids.resolve(some).items():
                    found[key] = _meaning(key, state)
            found |= self._sessions(_unknown(asked, found).values())
        for some in _groups(_unknown(asked, found).values(), _AT_ONCE):
            found |= dict.fromkeys(self._old_ids.existing((), some)[1], Meaning.NEW)
        return found

    def _sessions(self, ids: Iterable[Any]) -> dict[bytes, Meaning]:
        """Return those ids that sessions have which a migration made."""
        bookings = {
            sort_key(booking): sort_key(each)
            for each in ids
            if type(each) is ObjectId
            for booking in [booking_of_session(each)]
        }
        olds = [ObjectId(key[-12:]) for key in bookings]
        return {
            bookings[key]: Meaning.NEW
            for key, new in self.resolved(olds).items()
            if sort_key(new.session_id) == bookings[key]
        }

    def sessions_among(self, ids: Iterable[Any]) -> set[bytes]:
        """Return the sort keys of those ids that any session has, also one that the application made."""
        asked = {sort_key(each): each for each in ids}
        return {
            key
            for some in _groups(asked.values(), _SESSIONS_AT_ONCE)
            for key in self._old_ids.existing(some, ())[0]
        }


def _meaning(key: bytes, state: NewIds | BookingState) -> Meaning:
    if isinstance(state, NewIds):
        return Meaning.OLD if state.replaces(key) else Meaning.NEW
    match state:
        case BookingState.UNKNOWN:
            return Meaning.UNKNOWN
        case BookingState.REJECTED | BookingState.UNMIGRATED:
            return Meaning.REJECTED


def _unknown(asked: Mapping[bytes, Any], found: Mapping[bytes, Meaning]) -> dict[bytes, Any]:
    return {key: each for key, each in asked.items() if found[key] is Meaning.UNKNOWN}


def _groups(values: Iterable[Any], size: int) -> Iterator[Sequence[Any]]:
    left = iter(values)
    while some := list(islice(left, size)):
        yield some
