"""Opening files and standard input for reading, gzip or not, with failures in terms of the place.

A file whose content differs from its name is recognised by its first bytes, and the command that converts it is named.
"""

import codecs
import gzip
import io
import json
import re
import shlex
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple, cast

from booking_migrate.bson.document import MAXIMUM_SIZE, Document
from booking_migrate.errors import BrokenDocument, PlaceNotFound, UnusablePlace
from booking_migrate.stores.places import (
    FileFormat,
    FilePlace,
    StreamPlace,
    dump_advice,
    export_advice,
    folder_advice,
    stem_and_suffix,
)

LARGEST_DOCUMENT = MAXIMUM_SIZE + 16 * 1024
"""The largest BSON document read from a file, in bytes: what a server may send, with its own overhead."""

_BUFFER = 1 << 18
_HEAD = 1 << 12
_START = "byte 0"

_GZIP = b"\x1f\x8b"
_ARCHIVE = b"\x6d\xe2\x99\x81"
_COMPRESSED = {
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -dc"),
    b"\xfd7zXZ\x00": ("xz", "xz -dc"),
    b"BZh": ("bzip2", "bzip2 -dc"),
    b"\x04\x22\x4d\x18": ("lz4", "lz4 -dc"),
    b"PK\x03\x04": ("zip", "funzip"),
}
_OTHERS = {
    b"PAR1": "a Parquet table",
    b"SQLite format 3\x00": "an SQLite database",
    b"\xd0\xcf\x11\xe0": "a spreadsheet",
    b"<": "XML or HTML",
}
_WIDE = (
    (re.compile(b"|".join(map(re.escape, (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)))), "UTF-32"),
    (re.compile(b"|".join(map(re.escape, (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)))), "UTF-16"),
    (re.compile(rb"[\[{\s]\x00\x00\x00[\x09-\x7f]\x00\x00\x00"), "UTF-32LE"),
    (re.compile(rb"\x00\x00\x00[\[{\s]\x00\x00\x00[\x09-\x7f]"), "UTF-32BE"),
    (re.compile(rb"[\[{\s]\x00[\x09-\x7f]\x00"), "UTF-16LE"),
    (re.compile(rb"\x00[\[{\s]\x00[\x09-\x7f]"), "UTF-16BE"),
)
_BSON_START = re.compile(rb"[\x01-\x13\x7f\xff][^\x00]*\x00")
"""The first element of a document: its type and its name."""

_EMPTY_BSON = b"\x05\x00\x00\x00\x00"
_HEADER = re.compile(r"[^,;\t{}\[\]():\x00-\x08\ufffd]+([,;\t])[^{}\[\]():\x00-\x08\ufffd]*")
"""The first line of a table: names with separators, and nothing that JSON has."""

_SHELL_VALUE = re.compile(
    r"""(?:new\s+)?(?:ObjectId|ISODate|Date|NumberInt|NumberLong|NumberDecimal|Int32|Long|Double|Decimal128|BinData
    |HexData|UUID|Timestamp|DBRef|Code|RegExp|BSONRegExp|MinKey|MaxKey)\b|undefined\b|'|/""",
    re.VERBOSE,
)
_SHELL_START = re.compile(r"\s*(?:db\.|use\s|var\s|const\s|//|/\*|(?:new\s+)?ObjectId\()")
_SHELL_NAME = re.compile(r"[A-Za-z_$']")
_LENGTH = struct.Struct("<i")


class FileDocument(NamedTuple):
    """One document of a file."""

    raw: bytes
    """Its BSON bytes."""

    fields: Document | None
    """The decoded document, if decoding it was possible; good for reading keys, not for writing it again."""


@contextmanager
def open_input(place: FilePlace | StreamPlace) -> Iterator[BinaryIO]:
    """Open a place for reading bytes, uncompressed, and name it in every failure while it is read.

    Raises:
        PlaceNotFound: the file does not exist.
        UnusablePlace: it is a directory, may not be read, or is not compressed as its name says.
    """
    try:
        if isinstance(place, StreamPlace):
            yield _standard_input()
            return
        with place.path.open("rb", buffering=_BUFFER) as stream:
            if place.gzip:
                check_gzip(cast("io.BufferedReader", stream).peek(), place)
                with gzip.GzipFile(fileobj=stream, mode="rb") as unzipped:
                    # GzipFile reads lines in Python; the buffer reads them in C.
                    yield cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", unzipped), _BUFFER))
            else:
                yield stream
    except FileNotFoundError:
        raise PlaceNotFound(place.name) from None
    except IsADirectoryError:
        raise UnusablePlace(place.name, "it is a folder", folder_advice(place.name)) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UnusablePlace(place.name, f"its gzip stream is cut off or damaged ({error})") from error
    except OSError as error:
        raise UnusablePlace(place.name, error.strerror or str(error)) from error


def _standard_input() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        raise UnusablePlace("-", "standard input is closed")
    return sys.stdin.buffer


class Remedy(NamedTuple):
    """What a file holds, and what to do about it."""

    content: str
    advice: str


def looked_ahead(stream: BinaryIO) -> tuple[bytes, BinaryIO]:
    """Read the first bytes of a stream; return them and a stream that still has them. A pipe will do."""
    head = stream.read(_HEAD)
    return head, cast("BinaryIO", io.BufferedReader(_Continued(head, stream), _BUFFER))


class _Continued(io.RawIOBase):
    """Bytes that were read, and what follows them."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._stream = stream

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as one read does."""
        size = len(buffer)
        data = self._head[:size] or self._stream.read(size)
        self._head = self._head[size:]
        buffer[: len(data)] = data
        return len(data)


def check_content(head: bytes, place: FilePlace | StreamPlace) -> None:
    """Refuse a file whose first bytes belong to another format than its name says.

    Raises:
        BrokenDocument: with what it holds, and the command that makes a readable file of it.
    """
    match FileFormat.JSON_LINES if isinstance(place, StreamPlace) else place.format:
        case FileFormat.BSON:
            is_bson = True
        case FileFormat.JSON_LINES | FileFormat.JSON_ARRAY:
            is_bson = False
    if is_bson and _is_bson(head) and not _is_gzip(head):
        return
    remedy = _binary(head, place) or (
        _in_place_of_bson(head, place) if is_bson else _in_place_of_json(head, place)
    )
    if remedy:
        raise BrokenDocument(place.name, _START, f"it holds {remedy.content}", remedy.advice)


def check_gzip(head: bytes, place: FilePlace) -> None:
    """Refuse a file whose name ends in ``.gz`` and that is not compressed, or in another way.

    Raises:
        UnusablePlace: with what it holds, and the command that makes a readable file of it.
    """
    if head.startswith(_GZIP):
        return
    if not head:
        raise UnusablePlace(place.name, "it is empty, which no gzip stream is", "Copy or compress it again.")
    bare_name = place.name[: -len(".gz")]
    as_it_is = FilePlace(place.name, place.format)
    remedy = _compressed(head, as_it_is) or _archive(head, as_it_is)
    content, advice = remedy or Remedy("no gzip data", _rename(place, bare_name))
    raise UnusablePlace(place.name, f"its name ends in .gz, but it holds {content}", advice)


def is_shell_syntax(error: json.JSONDecodeError) -> bool:
    """Return whether the text where JSON ends is what the mongo shell prints instead of JSON: bare names, ``ObjectId(...)``."""
    pattern = _SHELL_NAME if error.msg.startswith("Expecting property name") else _SHELL_VALUE
    return pattern.match(error.doc, error.pos) is not None


def _is_bson(head: bytes) -> bool:
    if head.startswith(_EMPTY_BSON) or not head:
        return True
    if len(head) <= _LENGTH.size:
        return False
    (length,) = _LENGTH.unpack_from(head)
    return (
        len(_EMPTY_BSON) <= length <= LARGEST_DOCUMENT
        and _BSON_START.match(head, _LENGTH.size) is not None
        and (length > len(head) or head[length - 1] == 0)
    )


def _is_gzip(head: bytes) -> bool:
    """Return whether it begins like gzip and can be decompressed; a BSON document may have a length of the same bytes."""
    if not head.startswith(_GZIP):
        return False
    try:
        zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(head)
    except zlib.error:
        return False
    return True


def _binary(head: bytes, place: FilePlace | StreamPlace) -> Remedy | None:
    recognised = (recognise(head, place) for recognise in (_zipped, _compressed, _archive, _wide, _other))
    return next(filter(None, recognised), None)


def _zipped(head: bytes, place: FilePlace | StreamPlace) -> Remedy | None:
    if not _is_gzip(head):
        return None
    if isinstance(place, StreamPlace):
        return Remedy("gzip data", _piped("gzip -dc"))
    if place.gzip:
        return Remedy(
            "gzip data that was compressed twice", _into("gzip -dc", place, ".once", kept_suffix=True)
        )
    return Remedy("gzip data, and its name does not end in .gz", _rename(place, place.name + ".gz"))


def _compressed(head: bytes, place: FilePlace | StreamPlace) -> Remedy | None:
    for magic, (name, command) in _COMPRESSED.items():
        if head.startswith(magic):
            return Remedy(f"{name} data", _through(command, place, ".decompressed"))
    return None


def _archive(head: bytes, place: FilePlace | StreamPlace) -> Remedy | None:
    if not head.startswith(_ARCHIVE):
        return None
    return Remedy("an archive of mongodump, which mixes collections", dump_advice(place.name))


def _wide(head: bytes, place: FilePlace | StreamPlace) -> Remedy | None:
    for pattern, encoding in _WIDE:
        if pattern.match(head):
            return Remedy(
                f"{encoding} text, not UTF-8", _through(f"iconv -f {encoding} -t UTF-8", place, ".utf8")
            )
    return None


def _other(head: bytes, place: FilePlace | StreamPlace) -> Remedy | None:
    for magic, content in _OTHERS.items():
        if head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(magic):
            return Remedy(content, export_advice(place.name))
    return None


def _in_place_of_bson(head: bytes, place: FilePlace | StreamPlace) -> Remedy | None:
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if text.startswith((b"{", b"[")):
        return Remedy("JSON, not BSON", _rename(place, _with_suffix(place, ".json")))
    return _text(head, place)


def _in_place_of_json(head: bytes, place: FilePlace | StreamPlace) -> Remedy | None:
    if head and _is_bson(head):
        if isinstance(place, StreamPlace):
            return Remedy("BSON, and - is JSON lines", "Write it to a file: cat > bookings.bson")
        return Remedy("BSON, not JSON", _rename(place, _with_suffix(place, ".bson")))
    return _text(head, place)


def _text(head: bytes, place: FilePlace | StreamPlace) -> Remedy | None:
    text = head.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace").lstrip()
    if text.startswith("["):
        return _array(place)
    if text.startswith("{"):
        return None
    if _SHELL_START.match(text):
        return Remedy("commands of the mongo shell, not JSON", export_advice(place.name))
    header = _HEADER.fullmatch(text.splitlines()[0]) if text else None
    if header:
        content = "tab-separated values" if header[1] == "\t" else "comma-separated values (CSV)"
        return Remedy(f"{content}, which have no types", export_advice(place.name))
    return None


def _array(place: FilePlace | StreamPlace) -> Remedy | None:
    if isinstance(place, StreamPlace):
        return Remedy("an array, and - is JSON lines", "Write it to a file: cat > bookings.json")
    if place.format is FileFormat.JSON_ARRAY:
        return None
    return Remedy("an array, not one document a line", _rename(place, _with_suffix(place, ".json")))


def _rename(place: FilePlace | StreamPlace, name: str) -> str:
    return f"Rename it: {shlex.join(['mv', place.name, name])}"


def _with_suffix(place: FilePlace | StreamPlace, suffix: str) -> str:
    stem, _suffix = stem_and_suffix(place.name)
    return stem + suffix + (".gz" if isinstance(place, FilePlace) and place.gzip else "")


def _through(command: str, place: FilePlace | StreamPlace, mark: str) -> str:
    return _piped(command) if isinstance(place, StreamPlace) else _into(command, place, mark)


def _piped(command: str) -> str:
    return f"Decode it into standard input: put '{command} |' before this command."


def _into(command: str, place: FilePlace, mark: str, *, kept_suffix: bool = False) -> str:
    """Return the command that decodes a file into another one beside it."""
    stem, suffix = stem_and_suffix(place.name)
    target = stem + mark + suffix + (".gz" if kept_suffix else "")
    source = shlex.quote(place.name)
    if place.gzip and not kept_suffix:
        return f"Convert it: gzip -dc {source} | {command} > {shlex.quote(target)}"
    return f"Convert it: {command} {source} > {shlex.quote(target)}"
