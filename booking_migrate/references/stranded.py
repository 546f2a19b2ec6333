"""References in the new form that lead nowhere after a rollback: what the new application wrote, in fields that are known.

The id of a session is made of that of its booking, so an ObjectId is led back by computing, if that booking exists. An id of a
client document stands for all bookings of a client: it is counted if a client with old bookings has it, and cannot be led back.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from bson.objectid import ObjectId

from booking_migrate.bson.document import identity_of, value_in
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import id_key, sort_key
from booking_migrate.domain.ids import booking_of_session
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.references.fields import NewId, ReferenceField, each_place_once
from booking_migrate.references.values import occurrences
from booking_migrate.stores.references import OldIds, ReferringCollection

_SAMPLES = 5
_AT_ONCE = 10_000
"""How many values are looked up together."""


class Stranded(NamedTuple):
    """A field with references that lead nowhere."""

    full_name: str
    values: int
    samples: tuple[str, ...]
    """The `_id` of the first documents that have one."""

    can_restore: bool
    """Whether their old ids can be computed."""


def stranded_references(
    fields: Sequence[ReferenceField],
    referring: Callable[[str], ReferringCollection],
    live: ReferringCollection,
    ids: OldIds,
    *,
    listener: Listener,
) -> tuple[Stranded, ...]:
    """Return the fields that hold ids of sessions or client documents of bookings that are old bookings again.

    Args:
        fields: where references are known to be; each is read whole.
        referring: opens a collection.
        live: the collection of the bookings, in which client documents with later sessions may stay.
        ids: what old ids stand for now.
        listener: notified of the progress.

    Raises:
        ConnectionProblem, NotPermitted, UnusablePlace: a collection cannot be read.
    """
    found: list[Stranded] = []
    # Both kinds of new ids may be in one field.
    fields = [one for to in NewId for one in each_place_once([each for each in fields if each.to is to])]
    for name in dict.fromkeys(each.collection for each in fields):
        collection = referring(name)
        facts = collection.facts()
        if facts is None:
            continue
        listener.notify(PhaseStarted(f"looking for new ids in {name}", facts.documents, "document"))
        counts = [_Count(each, live, ids) for each in fields if each.collection == name]
        for batch in collection.scan(fields=[each.of.field for each in counts]):
            for each in counts:
                each.take(batch)
            listener.notify(Advanced(len(batch)))
        listener.notify(PhaseEnded())
        found += [result for each in counts if (result := each.result()).values]
    return tuple(found)


class _Count:
    """The count of one field."""

    def __init__(self, of: ReferenceField, live: ReferringCollection, ids: OldIds) -> None:
        self.of = of
        self._live, self._ids = live, ids
        self._values = 0
        self._samples: list[str] = []
        self._pending: list[tuple[bytes, ObjectId]] = []
        """Values that were not looked up yet, each with the identity of its document."""

    def take(self, batch: Sequence[bytes]) -> None:
        """Count those values of documents that lead nowhere."""
        for raw in batch:
            self._pending += [(identity_of(raw), new) for new in _object_ids(raw, self.of)]
            if len(self._pending) >= _AT_ONCE:
                self._look_up()

    def _look_up(self) -> None:
        pending, self._pending = self._pending, []
        for start in range(0, len(pending), _AT_ONCE):
            some = pending[start : start + _AT_ONCE]
            stranded = self._stranded({sort_key(new): new for _identity, new in some})
            for identity, new in some:
                if sort_key(new) in stranded:
                    self._values += 1
                    shown = display_id(value_in(identity, b"_id"))
                    if len(self._samples) < _SAMPLES and shown not in self._samples:
                        self._samples.append(shown)

    def _stranded(self, asked: dict[bytes, ObjectId]) -> set[bytes]:
        """Return the sort keys of those ids that lead nowhere and led to a session or a client document."""
        values, ids = list(asked.values()), self._ids
        match self.of.to:
            case NewId.CLIENT_DOCUMENT:
                gone = asked.keys() - {id_key(raw) for raw in self._live.find(values)}
                return ids.documents_of_clients([asked[key] for key in gone])
            case NewId.SESSION:
                sessions, _documents = ids.existing(values, [])
                olds = {key: booking_of_session(new) for key, new in asked.items() if key not in sessions}
                known = ids.known(list({sort_key(old): old for old in olds.values()}.values()))
                # Few ids of bookings are those of their sessions, too.
                return {key for key, old in olds.items() if sort_key(old) in known and sort_key(old) != key}

    def result(self) -> Stranded:
        """Return what was counted."""
        self._look_up()
        can_restore = not self.of.to.is_shared
        return Stranded(self.of.full_name, self._values, tuple(self._samples), can_restore)


def _object_ids(raw: bytes, of: ReferenceField) -> Iterator[Any]:
    for occurrence in occurrences(raw, of):
        yield from (each for each in occurrence.old_ids if type(each) is ObjectId)
