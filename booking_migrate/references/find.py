"""The search: every value of other collections that could be the id of a booking is looked up.

Documents are read in batches. While the ids of one batch are looked up, the next one is taken apart. What was looked up is
remembered, up to a bound, because many documents name the same users; so memory does not grow with the data.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from time import monotonic
from typing import Any

from bson.binary import Binary
from bson.objectid import ObjectId

from booking_migrate.bson.document import read_fields
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import OBJECT_ID_KEY, sort_key
from booking_migrate.errors import NotPermitted
from booking_migrate.events import Advanced, Listener, NullListener, PhaseEnded, PhaseStarted
from booking_migrate.references.obstacles import index_on, obstacles_of
from booking_migrate.references.outcome import FindOutcome, FoundField, Searched
from booking_migrate.references.paths import Candidate, PathNode, PathTree
from booking_migrate.references.siblings import Siblings, is_looked_at
from booking_migrate.stores.destination import CollectionFacts
from booking_migrate.stores.ports import DocumentReader
from booking_migrate.stores.references import KnownIds, ReferringCollection

_AT_ONCE = 10_000
"""How many ids are looked up at a time."""

_REMEMBERED = 200_000
"""How many ids are remembered of each kind."""

_SAMPLED_AT_ONCE = 1000
_NULL_LISTENER = NullListener()
_BINARY_KEY = 0x1E


class SourceIds:
    """The ids of bookings of a place, which may be a file."""

    def __init__(self, source: DocumentReader) -> None:
        """Take the place."""
        self._source = source

    def known(self, ids: Sequence[Any]) -> set[bytes]:
        """Return the sort keys of those values that are ids in it; see `KnownIds`."""
        found: set[bytes] = set()
        for start in range(0, len(ids), _SAMPLED_AT_ONCE):
            part = self._source.find(ids[start : start + _SAMPLED_AT_ONCE])
            found.update(sort_key(read_fields(raw)["_id"]) for raw in part)
        return found


def find_references(
    collections: Sequence[ReferringCollection],
    ids: KnownIds,
    *,
    sample: int | None = None,
    listener: Listener = _NULL_LISTENER,
) -> FindOutcome:
    """Find the fields of collections that hold ids of bookings.

    Args:
        collections: where to search.
        ids: which values are ids of bookings.
        sample: how many documents of each collection are looked at, chosen by chance; None: all of them.
        listener: notified of each collection, and of the documents that were read.

    Raises:
        ConnectionProblem: the server is gone.
        NotPermitted, UnusablePlace: the ids cannot be looked up.
    """
    began = monotonic()
    found: list[FoundField] = []
    searched: list[Searched] = []
    unreadable: list[str] = []
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="look-up") as pool:
        for collection in collections:
            # A sample is small, and its source may be a file, which other threads may not read.
            search = _Search(ids, pool if sample is None else None)
            try:
                searched.append(search.collection(collection, sample, listener))
            except NotPermitted as refusal:
                # Only its own refusal: if the ids cannot be looked up, nothing can be said at all.
                if refusal.place != collection.name:
                    raise
                unreadable.append(collection.name)
            else:
                found += search.found(collection.name)
    return FindOutcome(
        tuple(found), tuple(searched), tuple(unreadable), sample=sample, seconds=monotonic() - began
    )


def _least(total: int | None, sample: int | None) -> int | None:
    return total if sample is None or total is None else min(total, sample)


def _batches(collection: ReferringCollection, sample: int | None) -> Iterator[list[bytes]]:
    if sample is None:
        yield from collection.scan()
        return
    documents = collection.sample(sample)
    while batch := list(islice(documents, _SAMPLED_AT_ONCE)):
        yield batch


_Document = tuple[int, bytes, list[Candidate]]
"""A document of which at least one value could be an id: its number, its BSON, these values."""


class _Search:
    """The search of one collection."""

    def __init__(self, ids: KnownIds, pool: ThreadPoolExecutor | None) -> None:
        self._ids = ids
        self._pool = pool
        self._tree = PathTree()
        self._siblings: dict[PathNode, Siblings] = {}
        self._hits: set[bytes] = set()
        self._misses: set[bytes] = set()
        self._facts: CollectionFacts | None = None

    def collection(self, collection: ReferringCollection, sample: int | None, listener: Listener) -> Searched:
        """Search a collection, whole or some of its documents."""
        self._facts = collection.facts()
        total = None if self._facts is None else self._facts.documents
        listener.notify(PhaseStarted(f"searching {collection.name}", _least(total, sample)))
        try:
            return Searched(collection.name, self._read(_batches(collection, sample), listener))
        finally:
            listener.notify(PhaseEnded())

    def _read(self, batches: Iterator[list[bytes]], listener: Listener) -> int:
        """Read all documents; return how many there were."""
        number = 0
        waiting: list[_Document] = []
        looked_up = self._begin_look_up(set())
        for batch in batches:
            documents = [
                (number + index, raw, found)
                for index, raw in enumerate(batch)
                if (found := self._tree.candidates(raw))
            ]
            number += len(batch)
            self._count(waiting, looked_up.result())
            keys = {key for _number, _raw, found in documents for one in found for key in one[1]}
            # What was counted above is known: only the rest is asked for.
            asked = keys - self._hits - self._misses
            waiting, looked_up = documents, self._begin_look_up(asked)
            listener.notify(Advanced(len(batch)))
        self._count(waiting, looked_up.result())
        return number

    def _begin_look_up(self, keys: set[bytes]) -> Future[set[bytes]]:
        """Look up keys, beside what else is done if there is a thread for it."""
        if self._pool is not None:
            return self._pool.submit(self._look_up, keys)
        done: Future[set[bytes]] = Future()
        done.set_result(self._look_up(keys))
        return done

    def _look_up(self, keys: set[bytes]) -> set[bytes]:
        """Return those of some keys that are ids of bookings."""
        wanted = sorted(keys)
        found: set[bytes] = set()
        for start in range(0, len(wanted), _AT_ONCE):
            found |= self._ids.known([_value_of(key) for key in wanted[start : start + _AT_ONCE]])
        return found

    def _count(self, documents: list[_Document], looked_up: set[bytes]) -> None:
        """Count the values of documents, whose ids were looked up or are remembered."""
        hits = self._hits
        hits |= looked_up
        for number, raw, candidates in documents:
            for candidate in candidates:
                node, keys, _kind, _parent = candidate
                is_hit = keys[0] in hits or not (len(keys) == 1 or hits.isdisjoint(keys))
                if is_looked_at(node.count(candidate, number, is_hit=is_hit)):
                    self._siblings.setdefault(node, Siblings()).note(raw, candidate, is_hit=is_hit)
                if not is_hit:
                    self._misses.update(keys)
        if len(self._misses) > _REMEMBERED:
            self._misses.clear()
        if len(hits) > _REMEMBERED:
            hits.clear()

    def found(self, name: str) -> Iterator[FoundField]:
        """Yield the fields of the collection that was searched that have at least one hit, by path."""
        facts = self._facts
        for node in sorted(self._tree.nodes, key=lambda each: each.path):
            if not node.hits:
                continue
            siblings = self._siblings.get(node)
            yield FoundField(
                collection=name,
                field=node.path,
                documents=node.documents,
                values=node.values,
                hits=node.hits,
                forms=dict(sorted(node.forms.items())),
                dangling=tuple(display_id(_value_of(key)) for key in node.dangling),
                condition=None if siblings is None else siblings.condition(),
                index=index_on(node.path, facts),
                obstacles=tuple(obstacles_of(node.path, node.forms, facts)),
            )


def _value_of(key: bytes) -> Any:
    """Return the decoded value of a sort key: of an ObjectId, a text of hexadecimal digits, or a UUID."""
    if key.startswith(OBJECT_ID_KEY):
        return ObjectId(key[1:])
    return Binary(key[6:], key[5]) if key[0] == _BINARY_KEY else key[1:-2].decode()
