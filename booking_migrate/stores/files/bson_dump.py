"""Reading files of BSON documents one after the other, as mongodump writes them (https://bsonspec.org/spec.html).

A document is *broken* when its lengths are wrong. What a value means is not judged here: invalid UTF-8 and deprecated
types are legal in files that servers have written.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from bson import decode
from bson.errors import BSONError

from booking_migrate.bson.document import CODEC, MAXIMUM_SIZE, Document, MalformedBson, check_structure
from booking_migrate.errors import BrokenDocument
from booking_migrate.stores.files.opening import FileDocument

_LENGTH = struct.Struct("<i")
_SMALLEST = 5
_LARGEST = MAXIMUM_SIZE + 16 * 1024


def read_dump(stream: BinaryIO, name: str) -> Iterator[FileDocument]:
    """Yield the documents of a BSON file.

    Raises:
        BrokenDocument: with the position of the first byte that is wrong, counted from 0.
    """
    position = 0
    while head := stream.read(_LENGTH.size):
        if len(head) < _LENGTH.size:
            raise BrokenDocument(name, f"byte {position}", "the file ends within a document")
        (length,) = _LENGTH.unpack(head)
        if not _SMALLEST <= length <= _LARGEST:
            raise BrokenDocument(name, f"byte {position}", f"no BSON document is {length} bytes long")
        raw = head + stream.read(length - _LENGTH.size)
        if len(raw) < length:
            raise BrokenDocument(name, f"byte {position}", "the file ends within a document")
        try:
            yield FileDocument(raw, _decode(raw))
        except MalformedBson as error:
            raise BrokenDocument(name, f"byte {position + error.position}", error.problem) from None
        position += length


def _decode(raw: bytes) -> Document | None:
    """Return the document's fields, or None for one that is sound but that Python cannot hold."""
    try:
        return decode(raw, CODEC)
    except (BSONError, ValueError, OverflowError, RecursionError):
        check_structure(raw)
        return None
