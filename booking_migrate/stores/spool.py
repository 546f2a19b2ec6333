"""Sorting on disk: a private sqlite3 database holds what must not be held in memory.

An empty file name makes sqlite3 create its file in the temporary directory (``TMPDIR``) and unlink it at once, so that
nothing is left behind however the process ends. Journal and syncing are off: nothing here outlives the process.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bson.int64 import Int64
from bson.objectid import ObjectId

from booking_migrate.bson.document import elements
from booking_migrate.bson.order import element_key, sort_key
from booking_migrate.errors import WriteFailed
from booking_migrate.stores.files.opening import FileDocument
from booking_migrate.stores.ports import Duplicate, ScannedDocument

_REPORT_EVERY = 5000
_EXACT_KEYS = frozenset({ObjectId, str, int, Int64})
"""Types whose decoded value has the key of its bytes; other decoded values may stand for a deprecated type."""

_MARKS = {None: Duplicate.NONE, 1: Duplicate.COPY, 2: Duplicate.CONFLICT}
_COPY, _CONFLICT = 1, 2


@contextmanager
def disk_failures() -> Iterator[None]:
    """Name the temporary directory when sqlite3 cannot write there.

    Raises:
        WriteFailed: the disk is full, or the temporary directory cannot be used.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise WriteFailed("the temporary directory (TMPDIR)", str(error)) from error


def open_scratch(schema: str) -> sqlite3.Connection:
    """Make a private database on disk that is gone when it is closed or when the process ends."""
    with disk_failures():
        # Used by one thread at a time, but not always by the same one: what is written is written on a thread of its own.
        database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        database.executescript(
            "PRAGMA page_size = 16384; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            "PRAGMA temp_store = FILE; PRAGMA cache_size = -16384; PRAGMA locking_mode = EXCLUSIVE;" + schema
        )
    return database


class Spool:
    """The documents of one file, in client order and with their duplicates marked."""

    def __init__(self) -> None:
        # The raw document comes last, so that the keys are read without it.
        self._database = open_scratch(
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
        with disk_failures():
            self._database.execute("BEGIN")
            self._database.executemany(
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
        groups = self._database.execute(
            "SELECT id FROM document WHERE id IS NOT NULL GROUP BY id HAVING count(*) > 1"
        )
        for (key,) in groups:
            (distinct,) = self._database.execute(
                "SELECT count(*) FROM document WHERE id = ? AND raw <> "
                "(SELECT raw FROM document WHERE id = ? ORDER BY position LIMIT 1)",
                (key, key),
            ).fetchone()
            if distinct:
                self._database.execute(
                    "INSERT INTO mark SELECT position, ? FROM document WHERE id = ?", (_CONFLICT, key)
                )
            else:
                self._database.execute(
                    "INSERT INTO mark SELECT position, ? FROM document WHERE id = ? ORDER BY position "
                    "LIMIT -1 OFFSET 1",
                    (_COPY, key),
                )

    def scan(self) -> Iterator[ScannedDocument]:
        """Yield all documents by client, then as they stood in the file."""
        with disk_failures():
            for raw, mark in self._database.execute(
                "SELECT raw, mark FROM document LEFT JOIN mark USING (position) ORDER BY client, position"
            ):
                yield ScannedDocument(raw, _MARKS[mark])

    def scan_grouped(self) -> Iterator[bytes]:
        """Yield the documents with a field `sessions` that are not marked as duplicates, in the same order."""
        with disk_failures():
            for (raw,) in self._database.execute(
                "SELECT raw FROM document LEFT JOIN mark USING (position) "
                "WHERE grouped AND mark IS NULL ORDER BY client, position"
            ):
                yield raw

    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the last document of each of these `_id` values that there is."""
        with disk_failures():
            for value in ids:
                for (raw,) in self._database.execute(
                    "SELECT raw FROM document WHERE id = ? ORDER BY position DESC LIMIT 1", (sort_key(value),)
                ):
                    yield raw

    def conflicting(self) -> Iterator[bytes]:
        """Yield the first document of each `_id` that several documents with other bytes have."""
        with disk_failures():
            for (raw,) in self._database.execute(
                "SELECT raw FROM document WHERE position IN (SELECT min(position) FROM document "
                "JOIN mark USING (position) WHERE mark = ? GROUP BY id) ORDER BY position",
                (_CONFLICT,),
            ):
                yield raw

    def find_by_client(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the documents of these clients. It reads all keys: for a question now and then, not for a scan."""
        with disk_failures():
            for value in client_ids:
                for (raw,) in self._database.execute(
                    "SELECT raw FROM document WHERE client = ? ORDER BY position", (sort_key(value),)
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
