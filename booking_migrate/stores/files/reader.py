"""A file, or standard input, as a `DocumentReader`: read by its format's reader, and sorted on disk by a `Spool`.

A BSON file has documents one after the other, as mongodump writes them (https://bsonspec.org/spec.html). One of them is *broken*
when its lengths are wrong. What a value means is not judged here: invalid UTF-8 and deprecated types are legal in files that
servers have written.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, assert_never

from bson import decode
from bson.errors import BSONError
from bson.int64 import Int64
from bson.objectid import ObjectId
from typing_extensions import override

from booking_migrate.bson.document import CODEC, Document, MalformedBson, check_structure, elements
from booking_migrate.bson.order import element_key, sort_key
from booking_migrate.errors import BrokenDocument
from booking_migrate.events import Advanced, Listener, NullListener, PhaseEnded, PhaseStarted
from booking_migrate.stores.chunks import Chunk, pack, whole_clients
from booking_migrate.stores.files.json_files import is_pretty_printed, read_array, read_lines
from booking_migrate.stores.files.opening import (
    LARGEST_DOCUMENT,
    FileDocument,
    check_content,
    looked_ahead,
    open_input,
)
from booking_migrate.stores.places import FileFormat, FilePlace, JsonFormat, StreamPlace
from booking_migrate.stores.ports import ComparedReader, Duplicate, ScannedDocument
from booking_migrate.stores.readers import HoldsPeople
from booking_migrate.stores.scratch import Scratch

_LENGTH = struct.Struct("<i")
_SMALLEST = 5
_REPORT_EVERY = 5000
_EXACT_KEYS = frozenset({ObjectId, str, int, Int64})
"""Types whose decoded value has the key of its bytes; other decoded values may stand for a deprecated type."""

_MARKS = {None: Duplicate.NONE, 1: Duplicate.COPY, 2: Duplicate.CONFLICT}
_COPY, _CONFLICT = 1, 2


class Spool:
    """The documents of one file, in client order and with their duplicates marked."""

    def __init__(self) -> None:
        # The raw document comes last, so that the keys are read without it.
        self._database = Scratch(
            "CREATE TABLE document (position INTEGER PRIMARY KEY, id BLOB, client BLOB, grouped INTEGER, raw BLOB);"
            "CREATE TABLE mark (position INTEGER PRIMARY KEY, mark INTEGER);"
        )
        self.count = 0
        """How many documents there are."""

    def fill(self, documents: Iterable[FileDocument], report: Callable[[int], None]) -> None:
        """Take all documents of a file; called once.

        Args:
            documents: the documents in the file's order.
            report: called now and then with the number of documents since its last call.
        """
        self._database.execute("BEGIN")
        self._database.insert(
            "INSERT INTO document (id, client, grouped, raw) VALUES (?, ?, ?, ?)",
            self._rows(documents, report),
        )
        self._database.execute("CREATE INDEX by_id ON document (id) WHERE id IS NOT NULL")
        self._mark_duplicates()
        self._database.execute("COMMIT")

    def _rows(
        self, documents: Iterable[FileDocument], report: Callable[[int], None]
    ) -> Iterator[tuple[bytes | None, bytes, bool, bytes]]:
        reported = 0
        for document in documents:
            yield _row(document)
            self.count += 1
            if self.count - reported >= _REPORT_EVERY:
                report(self.count - reported)
                reported = self.count
        report(self.count - reported)

    def _mark_duplicates(self) -> None:
        database = self._database
        for (key,) in database.rows(
            "SELECT id FROM document WHERE id IS NOT NULL GROUP BY id HAVING count(*) > 1"
        ):
            (distinct,) = database.row(
                "SELECT count(*) FROM document WHERE id = ?1 AND raw <> "
                "(SELECT raw FROM document WHERE id = ?1 ORDER BY position LIMIT 1)",
                key,
            )
            if distinct:
                database.execute(
                    "INSERT INTO mark SELECT position, ? FROM document WHERE id = ?", _CONFLICT, key
                )
            else:
                database.execute(
                    "INSERT INTO mark SELECT position, ? FROM document WHERE id = ? ORDER BY position "
                    "LIMIT -1 OFFSET 1",
                    _COPY,
                    key,
                )

    def scan(self) -> Iterator[ScannedDocument]:
        """Yield all documents by client, then as they stood in the file."""
        for raw, mark in self._database.rows(
            "SELECT raw, mark FROM document LEFT JOIN mark USING (position) ORDER BY client, position"
        ):
            yield ScannedDocument(raw, _MARKS[mark])

    def scan_grouped(self) -> Iterator[bytes]:
        """Yield the documents with a field `sessions` that are not marked as duplicates, in the same order."""
        for (raw,) in self._database.rows(
            "SELECT raw FROM document LEFT JOIN mark USING (position) "
            "WHERE grouped AND mark IS NULL ORDER BY client, position"
        ):
            yield raw

    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the last document of each of these `_id` values that there is."""
        for value in ids:
            for (raw,) in self._database.rows(
                "SELECT raw FROM document WHERE id = ? ORDER BY position DESC LIMIT 1", sort_key(value)
            ):
                yield raw

    def conflicting(self) -> Iterator[bytes]:
        """Yield the first document of each `_id` that several documents with other bytes have."""
        for (raw,) in self._database.rows(
            "SELECT raw FROM document WHERE position IN (SELECT min(position) FROM document "
            "JOIN mark USING (position) WHERE mark = ? GROUP BY id) ORDER BY position",
            _CONFLICT,
        ):
            yield raw

    def find_by_client(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the documents of these clients. It reads all keys: for a question now and then, not for a scan."""
        for value in client_ids:
            for (raw,) in self._database.rows(
                "SELECT raw FROM document WHERE client = ? ORDER BY position", sort_key(value)
            ):
                yield raw

    def close(self) -> None:
        """Close the file on disk."""
        self._database.close()


def _row(document: FileDocument) -> tuple[bytes | None, bytes, bool, bytes]:
    raw, fields = document
    if fields is not None:
        client, document_id = fields.get("clientId"), fields.get("_id")
        if type(client) in _EXACT_KEYS and type(document_id) in _EXACT_KEYS:
            return sort_key(document_id), sort_key(client), "sessions" in fields, raw
    # Of a name that occurs twice the last value counts, as in `read_fields`.
    by_name = {element.name: element for element in elements(raw)}
    client_element, id_element = by_name.get(b"clientId"), by_name.get(b"_id")
    return (
        element_key(id_element) if id_element else None,
        element_key(client_element) if client_element else b"",
        b"sessions" in by_name,
        raw,
    )


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


class FileReader(HoldsPeople, ComparedReader):
    """Reads a file once, whole, when it is first asked for a document; see `DocumentReader` for the promises."""

    def __init__(
        self, place: FilePlace | StreamPlace, json_format: JsonFormat | None, listener: Listener
    ) -> None:
        self._place = place
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
        # Within a client, documents come as they stood in the file.
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

    def cut(self) -> None:
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
                    spool.fill(self._documents(stream), self._report)
            except BaseException:
                spool.close()
                raise
            self._spool = spool
            self._listener.notify(PhaseEnded())
        return self._spool

    def _report(self, documents: int) -> None:
        self._listener.notify(Advanced(documents))

    def _documents(self, stream: BinaryIO) -> Iterator[FileDocument]:
        head, stream = looked_ahead(stream)
        check_content(head, self._place)
        file_format = FileFormat.JSON_LINES if isinstance(self._place, StreamPlace) else self._place.format
        match file_format:
            case FileFormat.JSON_LINES if not is_pretty_printed(head):
                return read_lines(stream, self.name, self._json_format)
            case FileFormat.JSON_LINES | FileFormat.JSON_ARRAY:
                return read_array(stream, self.name, self._json_format)
            case FileFormat.BSON:
                return read_dump(stream, self.name)
        assert_never(file_format)


def read_extended_json(path: Path) -> Iterator[bytes]:
    """Yield the documents of a file of Extended JSON lines that this program wrote; none if it does not exist."""
    if not path.exists():
        return
    place = FilePlace(str(path), FileFormat.JSON_LINES)
    with closing(FileReader(place, JsonFormat.EXTENDED, NullListener())) as reader:
        for scanned in reader.scan_by_client():
            yield scanned.raw
