"""From what is dirty to whole clients: which ones, and all their bookings as they were at one cluster time."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, islice, zip_longest
from operator import itemgetter
from typing import Any, TypeVar

from typing_extensions import override

from booking_migrate.bson.document import value_in
from booking_migrate.bson.order import OBJECT_ID_KEY, id_key, sort_key
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.runs.background import in_background
from booking_migrate.stores.changes import Dirty, Links
from booking_migrate.stores.chunks import Chunk, ClientStream, DocumentBlock
from booking_migrate.stores.ports import ClientParts, ComparedReader, ScannedDocument

T = TypeVar("T")

_PER_QUERY = 500
"""How many values one query names."""

_OBJECT_ID_FIRST, _CLIENT_NEXT = b"\x07_id\x00", b"\x07clientId\x00"
"""How nearly every document begins behind its length: two ObjectIds."""

_FIRST = itemgetter(0)

_NONE: Mapping[bytes, Any] = {}

NO_CLIENT = b""
"""The sort key of documents that belong to no client: less than every client's."""


@dataclass(slots=True)
class Selection:
    """Some clients and documents of no client, to be derived or verified again. Keys are sort keys."""

    clients: dict[bytes, Any] = field(default_factory=dict)
    bookings: dict[bytes, Any] = field(default_factory=dict)
    """The bookings that changed: their rejected records may be outdated, and they may belong to no client."""

    owners: dict[bytes, bytes] = field(default_factory=dict)
    """The client of each of these bookings that has one, as the source has it."""

    def parts(self, size: int) -> "Iterator[Selection]":
        """Yield the same in parts of a limited number of clients, in client order, and as many bookings without a client.

        Each booking is in one part, that of its client: its rejected record is replaced once, by what that client makes.
        """
        owned: dict[bytes, dict[bytes, Any]] = {}
        for key, value in self.bookings.items():
            owned.setdefault(self.owners.get(key, NO_CLIENT), {})[key] = value
        without = groups(owned.pop(NO_CLIENT, {}).items(), size)
        for keys, others in zip_longest(groups(sorted(self.clients), size), without, fillvalue=()):
            bookings = {key: value for client in keys for key, value in owned.get(client, {}).items()}
            yield Selection({key: self.clients[key] for key in keys}, {**dict(others), **bookings})


def select(dirty: Dirty, source: ComparedReader, links: Links) -> Selection:
    """Return the clients that dirty entries concern, as source and target have it at the readers' time.

    A booking's clients are the one that it has now, all whose document holds its session, and those that changes named.
    """
    selection = Selection(bookings=dict(dirty.bookings))
    reading = in_background(lambda: _owners(dirty.bookings, source), name="reader")
    experts = dict(dirty.experts)
    for some in groups(dirty.users.values()):
        experts.update((sort_key(value), value) for value in links.experts_of_users(some))
    found = chain(
        dirty.clients.values(),
        dirty.users.values(),
        _each(links.clients_of_experts, experts),
        _each(links.clients_of_bookings, dirty.bookings),
    )
    selection.clients.update((sort_key(value), value) for value in found if is_client_id(value))
    for booking, (client, value) in reading.result().items():
        selection.clients[client] = value
        selection.owners[booking] = client
    return selection


def _owners(bookings: Mapping[bytes, Any], source: ComparedReader) -> dict[bytes, tuple[bytes, Any]]:
    """Return the client of each of these bookings that has one, as sort key and value."""
    owners: dict[bytes, tuple[bytes, Any]] = {}
    for raw in _each(source.find, bookings):
        value = value_in(raw, b"clientId")
        if is_client_id(value):
            owners[id_key(raw)] = sort_key(value), value
    return owners


def _each(question: Callable[[Sequence[Any]], Iterator[Any]], entries: Mapping[bytes, Any]) -> Iterator[Any]:
    """Yield the answers to one question about all entries, which is put for a few of them at a time."""
    return chain.from_iterable(question(some) for some in groups(entries.values()))


class LoadedReader(ComparedReader):
    """Some clients of a place, with all their documents in memory; it asks the place itself for anything else."""

    is_live = False
    is_loaded = True

    def __init__(
        self, place: ComparedReader, selection: Selection, document_ids: Mapping[bytes, Any] = _NONE
    ) -> None:
        """Read the documents.

        Args:
            place: where they are.
            selection: the clients.
            document_ids: documents that may belong to no client, by the sort key of `_id`; those that do not are loaded too.
        """
        self._place = place
        self.name = place.name
        clients = selection.clients
        documents: dict[bytes, tuple[bytes, bytes]] = {}
        for some in groups(clients.values()):
            # The query finds arrays that hold such a value, too.
            for raw in place.find_by_client(some):
                client = client_key(raw)
                if client in clients:
                    documents[id_key(raw)] = (client, raw)
        for some in groups([value for key, value in document_ids.items() if key not in documents]):
            for raw in place.find(some):
                if client_key(raw) == NO_CLIENT:
                    documents[id_key(raw)] = (NO_CLIENT, raw)
        self._documents = [raw for _, raw in sorted(documents.values(), key=_FIRST)]

    def add(self, documents: Iterable[bytes]) -> None:
        """Add documents of other clients, of whom nothing else has to be known."""
        self._documents = sorted([*self._documents, *documents], key=client_key)

    def of(self, keys: Container[bytes]) -> list[bytes]:
        """Return the documents whose `_id` has one of these sort keys."""
        return [raw for raw in self._documents if id_key(raw) in keys]

    def keys(self) -> list[bytes]:
        """Return the sort keys of the `_id` of all documents."""
        return list(map(id_key, self._documents))

    def ids(self) -> dict[bytes, Any]:
        """Return the `_id` values of all documents, by their sort keys."""
        return {id_key(raw): value_in(raw, b"_id") for raw in self._documents}

    @override
    def check(self) -> None:
        """Do nothing: the documents have been read."""

    @override
    def estimate_count(self) -> int | None:
        return len(self._documents)

    @override
    def scan_by_client(self) -> Iterator[ScannedDocument]:
        return map(ScannedDocument, self._documents)

    @override
    def scan_chunks(self, documents: int, *, apart: bool) -> Iterator[Chunk]:
        return self._blocks()

    def _blocks(self) -> Iterator[DocumentBlock]:
        """Yield all documents, in one piece."""
        if self._documents:
            ends = [*accumulate(map(len, self._documents))]
            yield DocumentBlock(b"".join(self._documents), [0, *ends[:-1]])

    @override
    def scan_client_documents(self) -> Iterator[bytes]:
        return iter(())

    @override
    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        return self._place.find(ids)

    @override
    def find_by_client(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        return self._place.find_by_client(client_ids)

    @override
    def partition(self) -> ClientParts:
        return ClientStream(self._blocks)

    @override
    def close(self) -> None:
        """Do nothing: the place is another one's."""


def client_key(raw: bytes) -> bytes:
    """Return the sort key of a document's `clientId`; of documents that belong to no client an empty one."""
    if raw[4:9] == _OBJECT_ID_FIRST and raw[21:31] == _CLIENT_NEXT:
        return OBJECT_ID_KEY + raw[31:43]
    client_id = value_in(raw, b"clientId")
    return sort_key(client_id) if is_client_id(client_id) else NO_CLIENT


def groups(values: Iterable[T], size: int = _PER_QUERY) -> Iterator[list[T]]:
    """Yield the values, this number at a time; without a size, as many as one query may name."""
    remaining = iter(values)
    while some := list(islice(remaining, size)):
        yield some
