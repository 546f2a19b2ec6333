"""Bookings without a session in their own client's documents, and sessions that stand in documents of other clients.

Which belongs to which is known only when every client has been read, so both wait on disk.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from booking_migrate.stores.scratch import Scratch


class Absent(NamedTuple):
    """A booking whose session is not in a document of its client."""

    key: bytes
    """The sort key of its `_id`."""

    original: bytes
    is_listed: bool
    """Whether the live collection had it after the cut-over, so that the application must have deleted it."""


class Found(NamedTuple):
    """A session of an old booking that is in another document than the client's."""

    session: bytes
    client: bytes
    """The client fields of the document that it stands in, BSON."""


class Relocations:
    """Both kinds, on disk; memory does not grow with them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._database = Scratch(
            "CREATE TABLE absent (key BLOB PRIMARY KEY, original BLOB, listed INTEGER);"
            "CREATE TABLE found (position INTEGER PRIMARY KEY, key BLOB, original BLOB, session BLOB, client BLOB);"
            "CREATE INDEX by_key ON found (key);"
        )

    def add_absent(self, absent: Absent) -> None:
        """Remember a booking that is missing at its place."""
        self._database.execute("INSERT INTO absent VALUES (?, ?, ?)", *absent)

    def add_found(self, key: bytes, original: bytes, found: Found) -> None:
        """Remember a session that is at another place than its booking's."""
        self._database.execute(
            "INSERT INTO found (key, original, session, client) VALUES (?, ?, ?, ?)", key, original, *found
        )

    def absent(self) -> Iterator[tuple[Absent, Sequence[Found]]]:
        """Yield each missing booking with its sessions elsewhere, in the order of reading."""
        for key, original, listed in self._database.rows("SELECT * FROM absent ORDER BY key"):
            rows = self._database.rows(
                "SELECT session, client FROM found WHERE key = ? ORDER BY position", key
            )
            yield Absent(key, original, bool(listed)), [Found(*row) for row in rows]

    def copies(self) -> Iterator[tuple[bytes, Found]]:
        """Yield the sessions elsewhere of bookings that are not missing at their place, each with its booking."""
        for original, session, client in self._database.rows(
            "SELECT original, session, client FROM found WHERE key NOT IN (SELECT key FROM absent) "
            "ORDER BY position"
        ):
            yield original, Found(session, client)

    def close(self) -> None:
        """Drop the file on disk."""
        self._database.close()
