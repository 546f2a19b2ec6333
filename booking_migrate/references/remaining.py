"""A look at references that still lead to old bookings, before their ids are removed.

Fields that the config file names are read until one such reference is found, or whole. Of all other collections some documents
are looked at, as in a dry-run: so the time is bounded by what was named.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from booking_migrate.bson.order import sort_key
from booking_migrate.errors import OldIdsNotIndexed
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.find import MOST_COLLECTIONS, SAMPLED, find_references
from booking_migrate.references.outcome import FoundField
from booking_migrate.references.values import occurrences
from booking_migrate.stores.references import KnownIds, NewIds, OldIds, ReferringCollection

_SESSION, _BOOKING = "sessionId", "legacyBookingId"
_OF_CLIENT_DOCUMENTS = f"sessions.{_BOOKING}"
"""The field by which a collection of client documents is recognised: `sessions.sessionId` alone may be a reference."""


@dataclass(frozen=True, slots=True)
class RemainingField:
    """A field that holds the id of an old booking that has a session."""

    full_name: str
    is_named: bool
    """Whether the config file names it."""


class Why(StrEnum):
    """Why ids of old bookings were not looked for somewhere. The values are an API."""

    FIELD_NAMES = "field-names"
    TIME_SERIES = "time-series"
    UNREADABLE = "unreadable"
    TOO_MANY_COLLECTIONS = "too-many-collections"
    NO_INDEX = "no-index"
    """The old bookings are dropped, and each id would take reading all client documents."""

    LEFT = "leave-references"


class Unseen(NamedTuple):
    """Where ids of old bookings were not looked for, although some may be there."""

    why: Why
    collections: tuple[str, ...] = ()
    """Which; empty: all of them."""

    def __str__(self) -> str:
        """Return it in words."""
        return _IN_WORDS[self.why].format(", ".join(self.collections))


_IN_WORDS = {
    Why.FIELD_NAMES: 'field names that are themselves ids, for example {{"ID": "paid"}}, since these are never searched (whether there are any is not known)',
    Why.TIME_SERIES: "time series: {}",
    Why.UNREADABLE: "collections that this user may not read: {}",
    Why.TOO_MANY_COLLECTIONS: f"collections beyond the first {MOST_COLLECTIONS}: {{}}",
    Why.NO_INDEX: "all collections, because the old bookings are dropped already",
    Why.LEFT: "all collections, because of --leave-references",
}


class Sampled(NamedTuple):
    """What samples of collections show."""

    fields: tuple[str, ...]
    """Those that hold ids, with their collections."""

    unreadable: tuple[str, ...]
    """The collections that may not be read."""


class Remaining(NamedTuple):
    """What still leads to old bookings, and where it was not looked for."""

    fields: tuple[RemainingField, ...]
    unseen: tuple[Unseen, ...]


class MigratedIds(KnownIds):
    """The ids of bookings that have a session: references to rejected ones stay what they are."""

    def __init__(self, ids: OldIds) -> None:
        """Take all old ids."""
        self._ids = ids

    def known(self, ids: Sequence[Any]) -> set[bytes]:
        """Return the sort keys of those values that are such ids; see `KnownIds`."""
        found = self._ids.known(ids)
        if not found:
            return found
        try:
            resolved = self._ids.resolve([value for value in ids if sort_key(value) in found])
        except OldIdsNotIndexed:
            # Which of them were rejected takes too long to find out.
            return found
        return {key for key, new in resolved.items() if isinstance(new, NewIds) and new.replaces(key)}


def sampled_fields(
    names: Sequence[str],
    referring: Callable[[str], ReferringCollection],
    ids: KnownIds,
    listener: Listener,
    *,
    new_ids: OldIds | None = None,
) -> Sampled:
    """Return the fields of collections that hold ids, as a sample of each shows.

    Args:
        names: the collections.
        referring: opens one.
        ids: which values are ids.
        listener: notified of the progress.
        new_ids: fields with ids of the new form are named too, as these know them; None: they are not.

    Raises:
        ConnectionProblem, NotPermitted, OldIdsNotIndexed: the ids cannot be looked up.
    """
    collections = [referring(name) for name in names[:MOST_COLLECTIONS]]
    outcome = find_references(collections, ids, new_ids=new_ids, sample=SAMPLED, listener=listener)
    fields = (*outcome.fields, *outcome.only_new)
    # A copy of client documents, which is not a reference to them.
    copies = {each.collection for each in fields if each.field == _OF_CLIENT_DOCUMENTS}
    named = {(each.collection, each.field) for each in fields}
    found = sorted(
        f"{each.collection}.{each.field}"
        for each in fields
        if each.collection not in copies and not _is_of_copied_session(each, named)
    )
    return Sampled(tuple(found), tuple(outcome.unreadable))


def _is_of_copied_session(of: FoundField, named: Collection[tuple[str, str]]) -> bool:
    """Return whether a field is the id of a session of which a document within another one is a copy: it has the old id beside it."""
    parent, _, name = of.field.rpartition(".")
    return bool(parent) and name == _SESSION and (of.collection, f"{parent}.{_BOOKING}") in named


def remaining_references(
    named: Sequence[ReferenceField],
    others: Sequence[str],
    time_series: Sequence[str],
    referring: Callable[[str], ReferringCollection],
    ids: OldIds,
    *,
    listener: Listener,
) -> Remaining:
    """Return the fields that still hold ids of old bookings, those that the config file names first, and what was not looked at.

    A field that it excludes was decided on, and is not among them.

    Args:
        named: the fields that the config file names.
        others: all collections that may hold references.
        time_series: those that are not searched.
        referring: opens one.
        ids: what old ids stand for.
        listener: notified of the progress.

    Raises:
        ConnectionProblem, NotPermitted, OldIdsNotIndexed: a named collection cannot be read, or no id looked up.
    """
    migrated = MigratedIds(ids)
    wanted = [field for field in named if not field.exclude]
    found = [
        RemainingField(field.full_name, is_named=True)
        for name in dict.fromkeys(field.collection for field in wanted)
        for field in _holding(
            referring(name), [field for field in wanted if field.collection == name], migrated, listener
        )
    ]
    known = {field.full_name for field in named}
    sampled = sampled_fields(others, referring, migrated, listener)
    more = (RemainingField(name, is_named=False) for name in sampled.fields if name not in known)
    decided = {field.collection for field in named}
    unseen = (
        Unseen(Why.TIME_SERIES, tuple(name for name in time_series if name not in decided)),
        Unseen(Why.UNREADABLE, sampled.unreadable),
        Unseen(Why.TOO_MANY_COLLECTIONS, tuple(others[MOST_COLLECTIONS:])),
    )
    return Remaining(
        (*found, *more), (*(each for each in unseen if each.collections), Unseen(Why.FIELD_NAMES))
    )


def _holding(
    collection: ReferringCollection, fields: list[ReferenceField], ids: KnownIds, listener: Listener
) -> Iterator[ReferenceField]:
    """Yield those of a collection's fields that hold an id; each is read until then."""
    facts = collection.facts()
    if facts is None:
        return
    left = list(fields)
    listener.notify(PhaseStarted(f"looking for old ids in {collection.name}", facts.documents, "document"))
    for batch in collection.scan(fields=[field.field for field in fields]):
        spelled = {id(field): _ids_in(batch, field) for field in left}
        values = {key: value for each in spelled.values() for key, value in each.items()}
        hits = ids.known(list(values.values())) if values else set()
        for field in list(left):
            if not hits.isdisjoint(spelled[id(field)]):
                left.remove(field)
                yield field
        listener.notify(Advanced(len(batch)))
        if not left:
            break
    listener.notify(PhaseEnded())


def _ids_in(documents: Sequence[bytes], field: ReferenceField) -> dict[bytes, Any]:
    """Return the values in documents that may be ids, by their sort keys."""
    return {
        sort_key(value): value
        for raw in documents
        for occurrence in occurrences(raw, field)
        for value in occurrence.old_ids
    }
