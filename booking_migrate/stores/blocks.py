"""Many documents at a time: their BSON back to back, as servers and files hand it out, so that few steps deal with many."""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

from booking_migrate.stores.ports import Duplicate, ScannedDocument

_LENGTH = struct.Struct("<i")
_AT_ONCE = 1000
_NONE: Mapping[int, Duplicate] = {}


class Chunk(Protocol):
    """All documents of some clients, those of one client together, in client order. May go to another process."""

    def read(self) -> "tuple[DocumentBlock, Chunk | None]":
        """Return the documents, and a piece with the rest of them if they are very many.

        Raises:
            ConnectionProblem, NotPermitted, UnusablePlace: they cannot be read.
        """


class DocumentBlock(NamedTuple):
    """Some documents, numbered from 0."""

    raw: bytes
    """The documents' BSON, one behind the other."""

    starts: Sequence[int]
    """Where each of them begins."""

    duplicates: Mapping[int, Duplicate] = _NONE
    """The marks of those whose `_id` occurs more than once in their place, by number."""

    def read(self) -> "tuple[DocumentBlock, Chunk | None]":
        """Return the block itself, without a rest, since no client is split."""
        return self, None

    def document(self, number: int) -> bytes:
        """Return one document."""
        start = self.starts[number]
        return self.raw[start : start + _LENGTH.unpack_from(self.raw, start)[0]]

    def documents(self) -> list[bytes]:
        """Return all documents."""
        raw = self.raw
        ends = [*self.starts[1:], len(raw)]
        return [raw[start:end] for start, end in zip(self.starts, ends, strict=False)]

    def part(self, first: int, end: int) -> "DocumentBlock":
        """Return the documents from one number on to before another."""
        starts = self.starts
        begin = starts[first] if first < len(starts) else len(self.raw)
        stop = starts[end] if end < len(starts) else len(self.raw)
        marks = {number - first: mark for number, mark in self.duplicates.items() if first <= number < end}
        return DocumentBlock(self.raw[begin:stop], [start - begin for start in starts[first:end]], marks)


def split(raw: bytes) -> DocumentBlock:
    """Find the documents in bytes that are documents back to back."""
    starts: list[int] = []
    position, end, length_at = 0, len(raw), _LENGTH.unpack_from
    while position < end:
        starts.append(position)
        position += length_at(raw, position)[0]
    return DocumentBlock(raw, starts)


def join(parts: Sequence[DocumentBlock]) -> DocumentBlock:
    """Return the documents of all parts, one behind the other."""
    if len(parts) == 1:
        return parts[0]
    starts: list[int] = []
    duplicates: dict[int, Duplicate] = {}
    shift = 0
    for part in parts:
        duplicates |= {len(starts) + number: mark for number, mark in part.duplicates.items()}
        starts += [shift + start for start in part.starts]
        shift += len(part.raw)
    return DocumentBlock(b"".join([part.raw for part in parts]), starts, duplicates)


def block_of(documents: Sequence[ScannedDocument]) -> DocumentBlock:
    """Return the same documents, all at a time."""
    marks = {
        number: document.duplicate
        for number, document in enumerate(documents)
        if document.duplicate is not Duplicate.NONE
    }
    return split(b"".join([document.raw for document in documents]))._replace(duplicates=marks)


def pack(documents: Iterable[ScannedDocument]) -> Iterator[DocumentBlock]:
    """Yield the same documents, many at a time."""
    remaining = iter(documents)
    while some := list(islice(remaining, _AT_ONCE)):
        yield block_of(some)


def unpack(parts: Iterable[DocumentBlock]) -> Iterator[ScannedDocument]:
    """Yield the same documents, one at a time."""
    for part in parts:
        for number, raw in enumerate(part.documents()):
            yield ScannedDocument(raw, part.duplicates.get(number, Duplicate.NONE))
