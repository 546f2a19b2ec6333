"""The client documents that a target held before a run, kept on disk so that memory does not grow with them."""

from typing import Protocol

from booking_migrate.stores.spool import disk_failures, open_scratch


class EarlierDocuments(Protocol):
    """Client documents by their own identity and by their client."""

    def put(self, identity: bytes, client: bytes, raw: bytes, run: str) -> None:
        """Keep a document in the place of what another run had found under this identity.

        Args:
            identity: the BSON of ``{_id}`` under which it is known.
            client: the sort key of its `clientId`.
            raw: the document.
            run: the run that found it. What it has found first stays.
        """

    def drop(self, identity: bytes) -> None:
        """Keep nothing of this identity."""

    def find(self, client: bytes) -> bytes | None:
        """The document of a client, by the sort key of its id; None if there is none."""

    def close(self) -> None:
        """Forget everything. May be called twice."""


class DiskEarlierDocuments:
    """`EarlierDocuments` in a private sqlite3 database."""

    def __init__(self) -> None:
        self._database = open_scratch(
            "CREATE TABLE earlier (identity BLOB PRIMARY KEY, client BLOB, raw BLOB, run TEXT);"
            "CREATE INDEX by_client ON earlier (client);"
        )
        self._database.execute("BEGIN")
        self._is_empty = True

    def put(self, identity: bytes, client: bytes, raw: bytes, run: str) -> None:
        """See `EarlierDocuments.put`."""
        self._is_empty = False
        with disk_failures():
            self._database.execute(
                "INSERT INTO earlier VALUES (?, ?, ?, ?) ON CONFLICT (identity) DO UPDATE "
                "SET client = excluded.client, raw = excluded.raw, run = excluded.run WHERE run <> excluded.run",
                (identity, client, raw, run),
            )

    def drop(self, identity: bytes) -> None:
        """See `EarlierDocuments.drop`."""
        if not self._is_empty:
            with disk_failures():
                self._database.execute("DELETE FROM earlier WHERE identity = ?", (identity,))

    def find(self, client: bytes) -> bytes | None:
        """See `EarlierDocuments.find`."""
        if self._is_empty:
            return None
        with disk_failures():
            row = self._database.execute("SELECT raw FROM earlier WHERE client = ?", (client,)).fetchone()
        return None if row is None else bytes(row[0])

    def close(self) -> None:
        """See `EarlierDocuments.close`."""
        self._database.close()
