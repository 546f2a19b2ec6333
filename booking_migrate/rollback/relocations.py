"""Documents and sessions that belong to different clients in the kept copy and in the live collection.

Some are looked up on the other side by their `_id`. Bookings without a session in their own client's documents, and sessions
in documents of other clients, are kept on disk: they are matched when every client has been read.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from booking_migrate.bson.document import Element, elements, read_value
from booking_migrate.bson.order import OBJECT_ID_KEY, element_key, sort_key
from booking_migrate.domain.carried_changes import booking_id_of, document_with_sessions
from booking_migrate.stores.ports import DocumentReader
from booking_migrate.stores.scratch import Scratch
from booking_migrate.verify.join import ClientPair

_GROUPS = 200
_GROUP_BYTES = 8 * 1024 * 1024
_OBJECT_ID_FIRST = b"\x07_id\x00"
_IDS_PER_QUERY = 1000
"""How many ids one query has."""


def in_portions(pairs: Iterator[ClientPair]) -> Iterator[Sequence[ClientPair]]:
    """Size of the clients that are looked up with one query."""
    portion: list[ClientPair] = []
    size = 0
    for pair in pairs:
        portion.append(pair)
        size += sum(map(len, (*pair.source_bytes, *pair.target_bytes)))
        if len(portion) >= _GROUPS or size >= _GROUP_BYTES:
            yield portion
            portion, size = [], 0
    yield portion


class Counterparts:
    """The counterparts of the documents of some clients on the other side."""

    def __init__(
        self,
        kept: DocumentReader,
        current: DocumentReader,
        pairs: Sequence[ClientPair],
        *,
        converts_later: bool = False,
    ) -> None:
        """Look up documents that belong to another client on the other side.

        Args:
            kept: the copy of the old collection.
            current: the live collection.
            pairs: the clients.
            converts_later: whether sessions booked since are to become old bookings, whose `_id` values are looked up, too.
        """
        later: dict[bytes, Any] = {}
        in_kept: dict[bytes, Any] = {}
        in_current: dict[bytes, Any] = {}
        for pair in pairs:
            ours = {id_key(raw): raw for raw in pair.source_bytes}
            theirs = {id_key(raw) for raw in pair.target_bytes}
            claimed: set[bytes] = set()
            for raw in pair.target_bytes:
                document = document_with_sessions(raw)
                if id_key(raw) not in ours:
                    in_kept[id_key(raw)] = id_of(raw)
                for session in document.sessions if document else ():
                    key = session.legacy_key
                    if key is None and converts_later and (booking_id := booking_id_of(session)) is not None:
                        later[sort_key(booking_id)] = booking_id
                    elif key is not None and key not in ours:
                        in_kept[key] = session.fields["legacyBookingId"]
                    elif key is not None:
                        claimed.add(key)
            for key in ours.keys() - theirs - claimed:
                in_current[key] = id_of(ours[key])
        self._kept = _found(kept, list(in_kept.values()))
        self._current = _found(current, list(in_current.values()))
        self._taken = {key for side in (kept, current) for key in _found(side, list(later.values()))}

    def kept(self, key: bytes) -> bytes | None:
        """Return the document of this `_id` that another client had before the cut-over."""
        return self._kept.get(key)

    def is_taken(self, key: bytes) -> bool:
        """Return whether a document of either side has the `_id` that the booking of a session booked since is to have."""
        return key in self._taken

    def current(self, key: bytes) -> bytes | None:
        """Return the document of this `_id` that belongs to another client now."""
        return self._current.get(key)


def _found(reader: DocumentReader, ids: Sequence[Any]) -> dict[bytes, bytes]:
    remaining = iter(ids)
    found: dict[bytes, bytes] = {}
    while some := list(islice(remaining, _IDS_PER_QUERY)):
        found.update((id_key(raw), raw) for raw in reader.find(some))
    return found


def id_key(raw: bytes) -> bytes:
    """Return the sort key of a document's `_id`."""
    # Nearly always an ObjectId in the first field.
    return OBJECT_ID_KEY + raw[9:21] if raw[4:9] == _OBJECT_ID_FIRST else element_key(_id(raw))


def id_of(raw: bytes) -> Any:
    """Return a document's `_id`, decoded."""
    return read_value(_id(raw))


def _id(raw: bytes) -> Element:
    return next(element for element in elements(raw) if element.name == b"_id")


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
    """The client fields of the document that has it, as BSON."""


class Relocations:
    """Both kinds, on disk; memory does not grow with them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._database = Scratch(
            "CREATE TABLE absent (key BLOB PRIMARY KEY, original BLOB, listed INTEGER);"
            "CREATE TABLE found (position INTEGER PRIMARY KEY, key BLOB, original BLOB, session BLOB, client BLOB);"
            "CREATE INDEX by_key ON found (key);"
            "CREATE TABLE claimed (key BLOB PRIMARY KEY, owner BLOB);"
        )

    def add_absent(self, absent: Absent) -> None:
        """Remember a booking without a session in its client's documents."""
        self._database.execute("INSERT INTO absent VALUES (?, ?, ?)", *absent)

    def add_found(self, key: bytes, original: bytes, found: Found) -> None:
        """Remember a session in a document of another client than the booking's."""
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
        """Yield the sessions elsewhere of bookings that are not missing, each with its booking."""
        for original, session, client in self._database.rows(
            "SELECT original, session, client FROM found WHERE key NOT IN (SELECT key FROM absent) "
            "ORDER BY position"
        ):
            yield original, Found(session, client)

    def claim(self, key: bytes, owner: bytes) -> bool:
        """Take an `_id` for a session that becomes an old booking; return whether no other session has taken it."""
        self._database.execute("INSERT OR IGNORE INTO claimed VALUES (?, ?)", key, owner)
        (first,) = self._database.row("SELECT owner FROM claimed WHERE key = ?", key)
        return bool(first == owner)

    def close(self) -> None:
        """Drop the file on disk."""
        self._database.close()
