"""The documents of one file on disk, in client order and with their duplicates marked."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from bson.int64 import Int64
from bson.objectid import ObjectId

from booking_migrate.bson.document import Element, elements
from booking_migrate.bson.order import OBJECT_ID_KEY, element_key, sort_key
from booking_migrate.stores.files.opening import FileDocument
from booking_migrate.stores.ports import Duplicate, ScannedDocument
from booking_migrate.stores.scratch import Scratch

_REPORT_EVERY = 5000
_EXACT_KEYS = frozenset({ObjectId, str, int, Int64})
"""Types whose decoded value has the key of its bytes; other decoded values may stand for a deprecated type."""

_MARKS = {None: Duplicate.NONE, 1: Duplicate.COPY, 2: Duplicate.CONFLICT}
_COPY, _CONFLICT = 1, 2


Row = tuple[bytes | None, bytes, bool, bytes]
"""One document: the sort keys of its `_id` (None: it has none) and of its `clientId` (empty: it has none), whether it has a
field `sessions`, and its BSON."""


def row_of(document: FileDocument) -> Row:
    """Return the row of a document."""
    raw, fields = document
    if fields is not None:
        client, document_id = fields.get("clientId"), fields.get("_id")
        if type(client) is type(document_id) is ObjectId:
            return (
                OBJECT_ID_KEY + document_id.binary,
                OBJECT_ID_KEY + client.binary,
                "sessions" in fields,
                raw,
            )
        if type(client) in _EXACT_KEYS and type(document_id) in _EXACT_KEYS:
            return sort_key(document_id), sort_key(client), "sessions" in fields, raw
    by_name: dict[bytes, Element] = {}
    for element in elements(raw):
        # Of a name that occurs twice the first value counts, as where a server sorts.
        by_name.setdefault(element.name, element)
    client_element, id_element = by_name.get(b"clientId"), by_name.get(b"_id")
    return (
        element_key(id_element) if id_element else None,
        element_key(client_element) if client_element else b"",
        b"sessions" in by_name,
        raw,
    )


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

    def fill(self, rows: Iterable[Row], report: Callable[[int], None]) -> None:
        """Take all documents of a file; called once.

        Args:
            rows: the documents in the file's order.
            report: called now and then with the number of documents since its last call.
        """
        self._database.execute("BEGIN")
        self._database.insert(
            "INSERT INTO document (id, client, grouped, raw) VALUES (?, ?, ?, ?)",
            self._counted(rows, report),
        )
        self._database.execute("CREATE INDEX by_id ON document (id) WHERE id IS NOT NULL")
        self._mark_duplicates()
        self._database.execute("COMMIT")

    def _counted(self, rows: Iterable[Row], report: Callable[[int], None]) -> Iterator[Row]:
        reported = 0
        for row in rows:
            yield row
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
        """Yield all documents by client, then in the order of the file."""
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
