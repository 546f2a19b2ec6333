"""The search: every value of other collections that could be the id of a booking is looked up.

Documents are read in batches. While the ids of one batch are looked up, the next one is taken apart. What was looked up is
remembered, up to a bound, because many documents name the same users; so memory does not grow with the data.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from time import monotonic
from typing import Any, NamedTuple

from bson.binary import Binary
from bson.objectid import ObjectId

from booking_migrate.bson.document import read_fields
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import OBJECT_ID_KEY, sort_key
from booking_migrate.errors import NotPermitted
from booking_migrate.events import Advanced, Listener, NullListener, PhaseEnded, PhaseStarted
from booking_migrate.references.lookup import new_ids_among
from booking_migrate.references.obstacles import index_on, obstacles_of, refuses_new_ids
from booking_migrate.references.outcome import FindOutcome, FoundField, Searched
from booking_migrate.references.paths import Candidate, PathNode, PathTree
from booking_migrate.references.siblings import Siblings, is_looked_at
from booking_migrate.stores.destination import CollectionFacts
from booking_migrate.stores.ports import DocumentReader
from booking_migrate.stores.references import KnownIds, OldIds, ReferringCollection

SAMPLED, MOST_COLLECTIONS = 200, 200
"""How many documents of a collection, and how many collections, are looked at by a command that only takes samples."""

_AT_ONCE = 10_000
"""How many ids are looked up at a time."""

_REMEMBERED = 200_000
"""How many ids are remembered of each kind."""

_FIRST_DISTINGUISHED = 1000
"""How many values of a field that are not old ids are looked up as new ones; more of them only if it has ids of either kind."""

_EXAMPLES = 3
"""About how many documents of each field a validator is asked."""

_LARGEST_EXAMPLE = 256 * 1024
_SAMPLED_AT_ONCE = 1000
_NULL_LISTENER = NullListener()
_BINARY_KEY = 0x1E


class _LookedUp(NamedTuple):
    """What some values are, by their sort keys."""

    asked: set[bytes]
    """Those of which it was asked whether they are old ids; and whether they are new ones."""

    asked_new: set[bytes]
    old: set[bytes]
    sessions: set[bytes]
    client_documents: set[bytes]


Refuses = Callable[[str, Sequence[bytes]], bool | None]
"""Returns whether the validator of a collection takes none of some documents; None if that cannot be known."""


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
    new_ids: OldIds | None = None,
    refuses: Refuses | None = None,
    sample: int | None = None,
    listener: Listener = _NULL_LISTENER,
) -> FindOutcome:
    """Find the fields of collections that hold ids of bookings.

    Args:
        collections: where to search.
        ids: which values are ids of bookings.
        new_ids: which of the others are new ids already; None: these are not distinguished.
        refuses: asks a validator about documents with new ids; None: it is not asked.
        sample: how many documents of each collection are looked at, chosen by chance; None: all of them.
        listener: notified of each collection, and of the documents that were read.

    Raises:
        ConnectionProblem: the server is gone.
        NotPermitted, UnusablePlace: the ids cannot be looked up.
    """
    began = monotonic()
    found: list[FoundField] = []
    only_new: list[FoundField] = []
    searched: list[Searched] = []
    unreadable: list[str] = []
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="look-up") as pool:
        for collection in collections:
            # A sample is small, and its source may be a file, which other threads may not read.
            search = _Search(ids, new_ids, pool if sample is None else None)
            try:
                read = search.collection(collection, sample, listener)
                if search.has_passed_over:
                    search = _Search(ids, new_ids, pool, is_thorough=True)
                    read = search.collection(collection, sample, listener)
                searched.append(read)
            except NotPermitted as refusal:
                # Only its own refusal: if the ids cannot be looked up, nothing can be said at all.
                if refusal.place != collection.name:
                    raise
                unreadable.append(collection.name)
            else:
                fields = list(search.found(collection.name, refuses))
                found += [each for each in fields if each.hits]
                only_new += [each for each in fields if not each.hits]
    return FindOutcome(
        tuple(found),
        tuple(searched),
        tuple(unreadable),
        only_new=tuple(only_new),
        sample=sample,
        seconds=monotonic() - began,
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

    def __init__(
        self,
        ids: KnownIds,
        new_ids: OldIds | None,
        pool: ThreadPoolExecutor | None,
        *,
        is_thorough: bool = False,
    ) -> None:
        self._ids = ids
        self._is_thorough = is_thorough or pool is None
        self._new_ids = new_ids
        self._pool = pool
        self._tree = PathTree()
        self._siblings: dict[PathNode, Siblings] = {}
        self._hits: set[bytes] = set()
        self._sessions: set[bytes] = set()
        self._client_documents: set[bytes] = set()
        self._misses: set[bytes] = set()
        self._not_old: set[bytes] = set()
        """Values that are not old ids, and may be new ones."""

        self._passed_over: set[PathNode] = set()
        """Fields of which not all values were looked up as new ids."""

        self._facts: CollectionFacts | None = None
        self._examples: dict[PathNode, list[bytes]] = {}
        """Some documents with ids of bookings, if there is a validator."""

    @property
    def has_passed_over(self) -> bool:
        """Return whether a field that has old or new ids has values of which it is not known whether they are new ones."""
        return any(map(_has_ids, self._passed_over))

    def collection(self, collection: ReferringCollection, sample: int | None, listener: Listener) -> Searched:
        """Search a collection, whole or some of its documents."""
        self._facts = collection.facts()
        total = None if self._facts is None else self._facts.documents
        listener.notify(PhaseStarted(f"searching {collection.name}", _least(total, sample), "document"))
        try:
            return Searched(collection.name, self._read(_batches(collection, sample), listener))
        finally:
            listener.notify(PhaseEnded())

    def _read(self, batches: Iterator[list[bytes]], listener: Listener) -> int:
        """Read all documents; return how many there were."""
        number = 0
        waiting: list[_Document] = []
        looked_up = self._begin_look_up([])
        for batch in batches:
            documents = [
                (number + index, raw, found)
                for index, raw in enumerate(batch)
                if (found := self._tree.candidates(raw))
            ]
            number += len(batch)
            self._count(waiting, looked_up.result())
            waiting, looked_up = documents, self._begin_look_up(documents)
            listener.notify(Advanced(len(batch)))
        self._count(waiting, looked_up.result())
        return number

    def _begin_look_up(self, documents: list[_Document]) -> Future[_LookedUp]:
        """Look up the values of documents, beside what else is done if there is a thread for it."""
        keys = {key for _number, _raw, found in documents for one in found for key in one[1]}
        distinguished: set[bytes] = set() if self._new_ids is None else self._distinguished(documents)
        # What was counted before is known: only the rest is asked for.
        known = (self._hits, self._sessions, self._client_documents, self._misses)
        asked, asked_new = keys.difference(*known, self._not_old), distinguished.difference(*known)
        if self._pool is not None:
            return self._pool.submit(self._look_up, asked, asked_new)
        done: Future[_LookedUp] = Future()
        done.set_result(self._look_up(asked, asked_new))
        return done

    def _distinguished(self, documents: list[_Document]) -> set[bytes]:
        """Return the keys of the values of those fields that have ids of either kind, or may have them yet.

        Most values are the `_id` of their document, or ids of users: they would take as long again.
        """
        if self._is_thorough:
            return {key for _number, _raw, found in documents for one in found for key in one[1]}
        fields = {each for each in self._tree.nodes if each.values <= _FIRST_DISTINGUISHED or _has_ids(each)}
        keys: set[bytes] = set()
        for _number, _raw, found in documents:
            for node, spelled, _kind, _parent in found:
                if node in fields:
                    keys.update(spelled)
                else:
                    self._passed_over.add(node)
        return keys

    def _look_up(self, asked: set[bytes], asked_new: set[bytes]) -> _LookedUp:
        """Return what some keys are: whether they are old ids, and of others whether they are new ones."""
        old: set[bytes] = set()
        sessions: set[bytes] = set()
        client_documents: set[bytes] = set()
        for values in _in_parts(asked):
            old |= self._ids.known(values)
        if self._new_ids is not None:
            for values in _in_parts(asked_new - old):
                of_sessions, of_documents = new_ids_among(self._new_ids, values)
                sessions |= of_sessions
                client_documents |= of_documents
        return _LookedUp(asked, asked_new, old, sessions, client_documents)

    def _count(self, documents: list[_Document], looked_up: _LookedUp) -> None:
        """Count the values of documents, whose ids were looked up or are remembered."""
        hits, sessions, client_documents = self._hits, self._sessions, self._client_documents
        hits |= looked_up.old
        sessions |= looked_up.sessions
        client_documents |= looked_up.client_documents
        self._misses |= looked_up.asked_new.difference(hits, sessions, client_documents)
        self._not_old |= looked_up.asked.difference(hits, looked_up.asked_new)
        has_new = bool(sessions or client_documents)
        has_validator = self._facts is not None and "validator" in self._facts.options
        for number, raw, candidates in documents:
            for candidate in candidates:
                node, keys, _kind, _parent = candidate
                is_hit = keys[0] in hits or not (len(keys) == 1 or hits.isdisjoint(keys))
                if has_new and not is_hit:
                    is_session = not sessions.isdisjoint(keys)
                    if is_session or not client_documents.isdisjoint(keys):
                        node.count_new(number, is_session=is_session)
                        continue
                if has_validator and is_hit and node.hits < _EXAMPLES and len(raw) <= _LARGEST_EXAMPLE:
                    self._examples.setdefault(node, []).append(raw)
                if is_looked_at(node.count(candidate, number, is_hit=is_hit)):
                    self._siblings.setdefault(node, Siblings()).note(raw, candidate, is_hit=is_hit)
        for remembered in (hits, sessions, client_documents, self._misses, self._not_old):
            if len(remembered) > _REMEMBERED:
                remembered.clear()

    def found(self, name: str, refuses: Refuses | None) -> Iterator[FoundField]:
        """Yield the fields of the collection that was searched that have an id of a booking, or a new one, by path."""
        facts = self._facts
        for node in sorted(self._tree.nodes, key=lambda each: each.path):
            if not _has_ids(node):
                continue
            siblings = self._siblings.get(node)
            refused = None
            if refuses is not None and node in self._examples:
                refused = refuses_new_ids(node.path, self._examples[node], partial(refuses, name))
            obstacles = obstacles_of(node.path, node.forms, facts, refused=refused)
            yield FoundField(
                collection=name,
                field=node.path,
                documents=node.documents,
                values=node.values,
                hits=node.hits,
                sessions=node.sessions,
                client_documents=node.client_documents,
                forms=dict(sorted(node.forms.items())),
                dangling=tuple(display_id(_value_of(key)) for key in node.dangling),
                condition=None if siblings is None else siblings.condition(),
                index=index_on(node.path, facts),
                obstacles=tuple(obstacles) if node.hits else (),
            )


def _has_ids(node: PathNode) -> bool:
    return bool(node.hits or node.sessions or node.client_documents)


def _in_parts(keys: set[bytes]) -> Iterator[list[Any]]:
    """Yield the values of keys, as many as are looked up at a time."""
    wanted = sorted(keys)
    for start in range(0, len(wanted), _AT_ONCE):
        yield [_value_of(key) for key in wanted[start : start + _AT_ONCE]]


def _value_of(key: bytes) -> Any:
    """Return the decoded value of a sort key: of an ObjectId, a text of hexadecimal digits, or a UUID."""
    if key.startswith(OBJECT_ID_KEY):
        return ObjectId(key[1:])
    return Binary(key[6:], key[5]) if key[0] == _BINARY_KEY else key[1:-2].decode()
