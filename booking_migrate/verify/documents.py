"""The documents of both sides, taken apart only as far as a check needs it."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Self

from bson.code import Code

from booking_migrate.bson.document import Document, Element, elements, read_exactly, read_value
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.contract import is_client_id
from booking_migrate.stores.ports import Duplicate, ScannedDocument

ARRAY, DOCUMENT, OBJECT_ID = 0x04, 0x03, 0x07
KEY_OF_OBJECT_ID = b"\x23"
"""How the key of a client begins whose id is an ObjectId; its twelve bytes follow."""

_CLAIM = b"\x07legacyBookingId\x00"
_CLAIM_START, _ID_START = -30, -13
"""Where the element `legacyBookingId` begins in a session that ends with an ObjectId, and where that id begins."""

_USUAL_SIZE = 16 * 1024
"""Up to how many bytes a session is kept with its fields for a moment."""


class SourceDocument:
    """A document of the source, decoded when somebody asks; only its bytes travel between processes."""

    __slots__ = ("_known", "duplicate", "raw")

    def __init__(self, raw: bytes, duplicate: Duplicate = Duplicate.NONE) -> None:
        self.raw = raw
        self.duplicate = duplicate
        self._known: tuple[Document, bool] | None = None

    @classmethod
    def of(cls, scanned: ScannedDocument) -> Self:
        """Take a document as a scan yields it."""
        return cls(scanned.raw, scanned.duplicate)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.raw, self.duplicate)

    @property
    def fields(self) -> Document:
        """Its first level, decoded."""
        return self._decoded()[0]

    @property
    def is_exact(self) -> bool:
        """Whether ``fields``, encoded again, are the bytes."""
        return self._decoded()[1]

    def _decoded(self) -> tuple[Document, bool]:
        if self._known is None:
            fields = read_exactly(self.raw)
            is_exact = fields is not None and Code not in map(type, fields.values())
            self._known = (fields if fields is not None and is_exact else _by_element(self.raw)), is_exact
        return self._known

    @property
    def client_id(self) -> Any:
        """Its `clientId` as decoded, or None."""
        return self.fields.get("clientId")

    @property
    def client_key(self) -> bytes | None:
        """What is the same for all documents of a client, and sorts as clients do; None if it has no client."""
        usual = _flat_client_key(self.raw)
        if usual is not None:
            return usual
        client_id = self.client_id
        return sort_key(client_id) if is_client_id(client_id) else None

    @property
    def is_client_document(self) -> bool:
        """A document with `sessions` is one, any other is a booking (DESIGN.md, section 2)."""
        return b"sessions\x00" in self.raw and "sessions" in self.fields

    @property
    def booking_id(self) -> Any:
        """Its `_id` as decoded, or None."""
        return self.fields.get("_id")


def _flat_client_key(raw: bytes) -> bytes | None:
    """The key of a document that begins with `_id` and `clientId`, both of them ObjectIds; None of any other."""
    if raw[4:9] == b"\x07_id\x00" and raw[21:31] == b"\x07clientId\x00":
        return KEY_OF_OBJECT_ID + raw[31:43]
    return None


def _by_element(raw: bytes) -> Document:
    return {element.name.decode("utf-8", "surrogateescape"): read_value(element) for element in elements(raw)}


class TargetDocument:
    """A document of the target, or a client document of the source: its fields as they stand, in their order."""

    __slots__ = ("_parts", "duplicate", "raw")

    def __init__(self, raw: bytes, duplicate: Duplicate = Duplicate.NONE) -> None:
        self.raw = raw
        self.duplicate = duplicate
        self._parts: dict[bytes, Element] | None = None

    @property
    def parts(self) -> list[Element]:
        """Its elements."""
        return list(elements(self.raw))

    @property
    def by_name(self) -> dict[bytes, Element]:
        """Its elements by name."""
        if self._parts is None:
            self._parts = {part.name: part for part in self.parts}
        return self._parts

    @classmethod
    def of(cls, scanned: ScannedDocument) -> Self:
        """Take apart a document as a scan yields it."""
        return cls(scanned.raw, scanned.duplicate)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.raw, self.duplicate)

    def value(self, name: bytes) -> Any:
        """A field's value as decoded, or None if there is none."""
        part = self.by_name.get(name)
        return None if part is None else read_value(part)

    @property
    def client_id(self) -> Any:
        """Its `clientId` as decoded, or None."""
        return self.value(b"clientId")

    @property
    def client_key(self) -> bytes | None:
        """See `SourceDocument.client_key`."""
        usual = _flat_client_key(self.raw)
        if usual is not None:
            return usual
        part = self.by_name.get(b"clientId")
        if part is not None and part.kind == OBJECT_ID:
            return KEY_OF_OBJECT_ID + part.value
        client_id = self.client_id
        return sort_key(client_id) if is_client_id(client_id) else None

    @property
    def has_sessions(self) -> bool:
        """Whether `sessions` is there and is an array."""
        part = self.by_name.get(b"sessions")
        return part is not None and part.kind == ARRAY

    def sessions(self) -> list[Element]:
        """The elements of `sessions`; none if it is no array."""
        return list(elements(self.by_name[b"sessions"].value)) if self.has_sessions else []


def session_fields(session: Element) -> Mapping[bytes, Element]:
    """The fields of an element of `sessions`; none if it is no document."""
    if session.kind != DOCUMENT:
        return {}
    return _usual_fields(session.value) if len(session.value) <= _USUAL_SIZE else _fields(session.value)


def _fields(raw: bytes) -> Mapping[bytes, Element]:
    return {part.name: part for part in elements(raw)}


# The same session is asked for its fields several times in a row while a client that is not right is looked at.
_usual_fields = lru_cache(maxsize=256)(_fields)


def claimed_booking(session: Element) -> Element | None:
    """The `legacyBookingId` of a session: the booking that it claims to be; None if it claims none."""
    value = session.value
    if session.kind == DOCUMENT and value[_CLAIM_START:_ID_START] == _CLAIM:
        return Element(OBJECT_ID, b"legacyBookingId", value[_ID_START:-1])
    return session_fields(session).get(b"legacyBookingId")


def numbered(sessions: list[Element]) -> Iterator[Element]:
    """The elements of an array whose names are not their places, as they are in every array that BSON knows."""
    return (part for place, part in enumerate(sessions) if part.name != str(place).encode())
