"""The documents of both sides, taken apart only as far as a check needs it, and the merge join that pairs them by client."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self, TypeVar

from bson.code import Code
from typing_extensions import override

from booking_migrate.bson.document import (
    ARRAY,
    DOCUMENT,
    OBJECT_ID,
    Document,
    Element,
    elements,
    read_exactly,
    read_value,
    value_in,
)
from booking_migrate.bson.order import OBJECT_ID_KEY, sort_key
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.stores.ports import Baseline, Duplicate, ScannedDocument

_NO_CLIENT = b""
"""Sorts before the key of every client."""

_SESSION_ID, _CLAIM = b"sessionId", b"legacyBookingId"
_SESSION_ID_HEAD = b"\x07sessionId\x00"

_CACHED_SIZE = 16 * 1024
"""The largest session, in bytes, whose fields are cached."""


class _ScannedDocument(ABC):
    """A document as a scan yields it; only its bytes travel between processes."""

    __slots__ = ("duplicate", "raw")

    def __init__(self, raw: bytes, duplicate: Duplicate = Duplicate.NONE) -> None:
        self.raw = raw
        self.duplicate = duplicate

    @classmethod
    def of(cls, scanned: ScannedDocument) -> Self:
        """Wrap a document as a scan yields it."""
        return cls(scanned.raw, scanned.duplicate)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.raw, self.duplicate)

    @property
    @abstractmethod
    def client_id(self) -> Any:
        """Return its `clientId` as decoded, or None."""

    @property
    def client_key(self) -> bytes | None:
        """Return the sort key of its `clientId`, the same for all documents of a client; None if it has no client."""
        raw = self.raw
        # Nearly all documents begin with `_id` and `clientId`, both of them ObjectIds.
        if raw[4:9] == b"\x07_id\x00" and raw[21:31] == b"\x07clientId\x00":
            return OBJECT_ID_KEY + raw[31:43]
        client_id = self.client_id
        return sort_key(client_id) if is_client_id(client_id) else None


class SourceDocument(_ScannedDocument):
    """A document of the source, decoded on demand."""

    __slots__ = ("_fields", "_is_exact")

    def __init__(self, raw: bytes, duplicate: Duplicate = Duplicate.NONE) -> None:
        super().__init__(raw, duplicate)
        self._fields: Document | None = None

    @property
    def fields(self) -> Document:
        """Return its first level, decoded."""
        return self._decoded() if self._fields is None else self._fields

    @property
    def is_exact(self) -> bool:
        """Return whether ``fields``, encoded again, are the bytes."""
        self._decoded()
        return self._is_exact

    def _decoded(self) -> Document:
        if self._fields is None:
            fields = read_exactly(self.raw)
            self._is_exact = fields is not None and Code not in map(type, fields.values())
            self._fields = fields if fields is not None and self._is_exact else _by_element(self.raw)
        return self._fields

    @property
    @override
    def client_id(self) -> Any:
        # Of several values the first counts: by it the place is sorted.
        return self.fields.get("clientId") if self.is_exact else value_in(self.raw, b"clientId")

    @property
    def is_client_document(self) -> bool:
        """Return whether it has `sessions`; a document without is a booking."""
        return b"sessions\x00" in self.raw and "sessions" in self.fields

    @property
    def booking_id(self) -> Any:
        """Return its `_id` as decoded, or None."""
        return self.fields.get("_id")


def _by_element(raw: bytes) -> Document:
    return {element.name.decode("utf-8", "surrogateescape"): read_value(element) for element in elements(raw)}


class TargetDocument(_ScannedDocument):
    """A document of the target, or a client document of the source: its elements as bytes, in their order."""

    __slots__ = ("_parts",)

    def __init__(self, raw: bytes, duplicate: Duplicate = Duplicate.NONE) -> None:
        super().__init__(raw, duplicate)
        self._parts: dict[bytes, Element] | None = None

    @property
    def parts(self) -> list[Element]:
        """Return its elements."""
        return list(elements(self.raw))

    @property
    def by_name(self) -> dict[bytes, Element]:
        """Return its elements by name."""
        if self._parts is None:
            self._parts = {part.name: part for part in self.parts}
        return self._parts

    def value(self, name: bytes) -> Any:
        """Return a field's value as decoded, or None if it is absent."""
        part = self.by_name.get(name)
        return None if part is None else read_value(part)

    @property
    @override
    def client_id(self) -> Any:
        return value_in(self.raw, b"clientId")

    @property
    def has_sessions(self) -> bool:
        """Return whether `sessions` is there and is an array."""
        part = self.by_name.get(b"sessions")
        return part is not None and part.kind == ARRAY

    def sessions(self) -> list[Element]:
        """Return the elements of `sessions`; none if it is not an array."""
        return list(elements(self.by_name[b"sessions"].value)) if self.has_sessions else []


def session_fields(session: Element) -> Mapping[bytes, Element]:
    """Return the fields of an element of `sessions`; none if it is not a document."""
    return document_fields(session.value) if session.kind == DOCUMENT else {}


def document_fields(raw: bytes) -> Mapping[bytes, Element]:
    """Return the elements of a document by name; of a name that occurs twice the last one counts."""
    return _cached_fields(raw) if len(raw) <= _CACHED_SIZE else _fields(raw)


def _fields(raw: bytes) -> Mapping[bytes, Element]:
    return {part.name: part for part in elements(raw)}


# Comparing a client that has mismatches takes the fields of the same session several times in a row.
_cached_fields = lru_cache(maxsize=256)(_fields)


def claimed_booking(session: Element) -> Element | None:
    """Return the `legacyBookingId` of a session: the booking that it claims to be; None if it claims none."""
    # Text of a client may end a session with the same bytes, so its fields are taken apart if it has the name at all.
    return session_fields(session).get(_CLAIM) if _CLAIM in session.value else None


def session_id_of(session: Element) -> Element | None:
    """Return the `sessionId` of a session; None if it has none."""
    value = session.value
    if session.kind == DOCUMENT and value[4:15] == _SESSION_ID_HEAD and value.find(b"sessionId\x00", 15) < 0:
        return Element(OBJECT_ID, _SESSION_ID, value[15:27])
    return session_fields(session).get(_SESSION_ID)


def misnumbered(sessions: list[Element]) -> Iterator[Element]:
    """Yield the elements of an array whose names are not their indexes; a server never stores such an array."""
    return (part for index, part in enumerate(sessions) if part.name != str(index).encode())


Side = TypeVar("Side", SourceDocument, TargetDocument)


@dataclass(slots=True)
class ClientPair:
    """All that both sides hold of one client, or one document that belongs to no client."""

    source: list[SourceDocument] = field(default_factory=list)
    target: list[TargetDocument] = field(default_factory=list)
    baseline: Baseline | None = None
    """What the target held of the client before the migration, if that is known."""

    @property
    def source_bytes(self) -> Sequence[bytes]:
        """Return the documents of the first side, BSON."""
        return tuple(document.raw for document in self.source)

    @property
    def target_bytes(self) -> Sequence[bytes]:
        """Return the documents of the second side, BSON."""
        return tuple(document.raw for document in self.target)

    @property
    def client_id(self) -> Any:
        """Return the `clientId` of any of the documents as decoded, or None."""
        return self._any.client_id

    @property
    def key(self) -> bytes | None:
        """Return the sort key of the client; None for a document without a client."""
        return self._any.client_key

    @property
    def is_client(self) -> bool:
        """Return whether this is a client, and not a document that belongs to none."""
        return self.key is not None

    @property
    def _any(self) -> SourceDocument | TargetDocument:
        return self.source[0] if self.source else self.target[0]


def pair_clients(
    source: Iterable[ScannedDocument], target: Iterable[ScannedDocument]
) -> Iterator[ClientPair]:
    """Pair what two scans in client order hold of each client.

    A document that has no client is a pair of its own and may come anywhere. Memory does not grow beyond the largest client.
    """
    ours = _grouped(map(SourceDocument.of, source))
    theirs = _grouped(map(TargetDocument.of, target))
    left, right = next(ours, None), next(theirs, None)
    while left is not None or right is not None:
        key = min(group[0] for group in (left, right) if group is not None)
        pair = ClientPair()
        if left is not None and left[0] == key:
            pair.source = left[1]
            left = next(ours, None)
        if right is not None and right[0] == key and not (pair.source and key == _NO_CLIENT):
            pair.target = right[1]
            right = next(theirs, None)
        yield pair


def _grouped(documents: Iterable[Side]) -> Iterator[tuple[bytes, list[Side]]]:
    """Yield the documents of each client together; those that have no client come singly and split no group."""
    current = _NO_CLIENT
    group: list[Side] = []
    for document in documents:
        key = document.client_key
        if key is None:
            yield _NO_CLIENT, [document]
            continue
        if key != current and group:
            yield current, group
            group = []
        current = key
        group.append(document)
    if group:
        yield current, group


def with_first_checked(
    documents: Iterable[ScannedDocument], check: Callable[[bytes], None]
) -> Iterator[ScannedDocument]:
    """Yield the documents unchanged; call ``check`` with the first one before it is used."""
    iterator = iter(documents)
    first = next(iterator, None)
    if first is None:
        return
    check(first.raw)
    yield first
    yield from iterator
