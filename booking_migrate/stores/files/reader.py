"""A file, or standard input, as a `DocumentReader`: read by its format's reader, and sorted on disk by a `Spool`.

A BSON file has documents one after the other, as mongodump writes them (https://bsonspec.org/spec.html). One of them is *broken*
when its lengths are wrong. What a value means is not judged here: invalid UTF-8 and deprecated types are legal in files that
servers have written.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, assert_never

from bson import decode
from bson.errors import BSONError
from typing_extensions import override

from booking_migrate.bson.document import CODEC, Document, MalformedBson, check_structure
from booking_migrate.errors import BrokenDocument
from booking_migrate.events import Advanced, Listener, NullListener, PhaseEnded, PhaseStarted
from booking_migrate.stores.chunks import Chunk, pack, whole_clients
from booking_migrate.stores.files.json_arrays import read_array_rows
from booking_migrate.stores.files.json_files import is_pretty_printed
from booking_migrate.stores.files.json_lines import read_line_rows
from booking_migrate.stores.files.opening import (
    LARGEST_DOCUMENT,
    FileDocument,
    check_content,
    looked_ahead,
    open_input,
)
from booking_migrate.stores.files.spool import Row, Spool, row_of
from booking_migrate.stores.places import FileFormat, FilePlace, JsonFormat, StreamPlace
from booking_migrate.stores.ports import ComparedReader, ScannedDocument, StartPool
from booking_migrate.stores.readers import HoldsPeople

_LENGTH = struct.Struct("<i")
_SMALLEST = 5


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
        if not _SMALLEST <= length <= LARGEST_DOCUMENT:
            raise BrokenDocument(name, f"byte {position}", f"no BSON document is {length} bytes long")
        raw = head + stream.read(length - _LENGTH.size)
        if len(raw) < length:
            raise BrokenDocument(name, f"byte {position}", "the file ends within a document")
        try:
            fields = _decode(raw)
            # Decoding keeps the last of several values, and the documents of a client are those with its id as the first one.
            yield FileDocument(raw, fields if raw.count(b"clientId\x00") <= 1 else None)
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


class FileReader(HoldsPeople, ComparedReader):
    """Reads a file once, whole, when it is first asked for a document; see `DocumentReader` for the promises."""

    def __init__(
        self,
        place: FilePlace | StreamPlace,
        json_format: JsonFormat | None,
        listener: Listener,
        start_pool: StartPool | None = None,
    ) -> None:
        """Take the place; nothing is opened yet.

        Args:
            place: the file, or standard input.
            json_format: how JSON is to be understood; None: as the first document says.
            listener: notified of the progress.
            start_pool: starts a pool that parses large JSON files; None: they are parsed in this process.
        """
        self._place = place
        self._start_pool = start_pool
        self._json_format = json_format
        self._listener = listener
        self._spool: Spool | None = None
        self.name = self._place.name
        self.is_live = False

    @override
    def check(self) -> None:
        self._filled()

    def estimate_count(self) -> int | None:
        """Return the exact count once the file has been read, None before."""
        return self._spool.count if self._spool else None

    @override
    def scan_by_client(self) -> Iterator[ScannedDocument]:
        # Within a client, documents keep their order in the file.
        yield from self._filled().scan()

    @override
    def scan_chunks(self, documents: int, *, apart: bool) -> Iterator[Chunk]:
        return whole_clients(pack(self.scan_by_client()), documents)

    @override
    def scan_client_documents(self) -> Iterator[bytes]:
        yield from self._filled().scan_grouped()

    @override
    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        yield from self._filled().find(ids)

    @override
    def conflicting(self) -> Iterator[bytes]:
        yield from self._filled().conflicting()

    def missing(self) -> None:
        """Return None: a file that does not exist is refused when it is opened."""

    def partition(self) -> None:
        """Return None: a file has no index."""

    @override
    def find_by_client(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        yield from self._filled().find_by_client(client_ids)

    @override
    def close(self) -> None:
        if self._spool:
            self._spool.close()
            self._spool = None

    def _filled(self) -> Spool:
        if self._spool is None:
            self._listener.notify(PhaseStarted(f"reading {self.name}", total=None))
            spool = Spool()
            try:
                with open_input(self._place) as stream:
                    spool.fill(self._rows(stream), self._report)
            except BaseException:
                spool.close()
                raise
            self._spool = spool
            self._listener.notify(PhaseEnded())
        return self._spool

    def _report(self, documents: int) -> None:
        self._listener.notify(Advanced(documents))

    def _rows(self, stream: BinaryIO) -> Iterator[Row]:
        head, stream = looked_ahead(stream)
        check_content(head, self._place)
        file_format = FileFormat.JSON_LINES if isinstance(self._place, StreamPlace) else self._place.format
        match file_format:
            case FileFormat.JSON_LINES if not is_pretty_printed(head):
                return read_line_rows(stream, self.name, self._json_format, self._start_pool)
            case FileFormat.JSON_LINES | FileFormat.JSON_ARRAY:
                return read_array_rows(stream, self.name, self._json_format, self._start_pool)
            case FileFormat.BSON:
                return map(row_of, read_dump(stream, self.name))
        assert_never(file_format)


def read_extended_json(path: Path) -> Iterator[bytes]:
    """Yield the documents of a file of Extended JSON lines that this program wrote; none if it does not exist."""
    if not path.exists():
        return
    place = FilePlace(str(path), FileFormat.JSON_LINES)
    with closing(FileReader(place, JsonFormat.EXTENDED, NullListener())) as reader:
        for scanned in reader.scan_by_client():
            yield scanned.raw
