"""What runs in place noted about clients, and which clients are unchanged since."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from booking_migrate.bson.document import value_in
from booking_migrate.bson.order import OBJECT_ID_KEY, id_key, sort_key
from booking_migrate.domain.client_document import ClientDocument
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.runs.noted_ranges import NotedRanges
from booking_migrate.stores.journal import DocumentNote, NoteKind, RangeNote, RunJournal, RunRecord

_CLAIM = b"\x07legacyBookingId\x00"
"""The bytes before the ObjectId of a session's booking."""


class Notes(NamedTuple):
    """Everything that some runs noted, the oldest run first."""

    moved: NotedRanges
    documents: NotedRanges

    @classmethod
    def of(cls, journal: RunJournal, run_ids: Sequence[str]) -> "Notes":
        """Read which ranges the runs noted; nothing more may be noted."""
        kinds = (NoteKind.MOVED, NoteKind.DOCUMENTS)
        return cls(*(NotedRanges(journal, run_ids, kind) for kind in kinds))


class _First(NamedTuple):
    """The oldest note about a document."""

    place: int
    """How many ranges were noted before."""

    before: bytes | None
    after: bytes | None


class NotedClients:
    """What runs noted about some clients."""

    def __init__(self, notes: Notes) -> None:
        """Take what the runs noted."""
        self._notes = notes
        self._covered: list[tuple[bytes, bytes]] = []
        self._moved: dict[bytes, bytes | None] = {}
        self._first: dict[bytes, _First] = {}
        self._before: dict[bytes, _First] = {}
        self._again: set[bytes] = set()
        """The documents that were written more than once: others may have changed them in between."""

    def cover(self, keys: Iterable[bytes]) -> None:
        """Read what was noted about clients with these sort keys."""
        wanted = [key for key in keys if not any(first <= key <= last for first, last in self._covered)]
        if not wanted:
            return
        first, last = min(wanted), max(wanted)
        self._covered.append((first, last))
        for noted in self._notes.moved.between(first, last):
            for note in noted.notes:
                self._moved.setdefault(note.key, note.before)
        for noted in self._notes.documents.between(first, last):
            place = self._notes.documents.place(noted.name)
            for note in noted.notes:
                self._remember(place, note)

    def _remember(self, place: int, note: DocumentNote) -> None:
        """Remember what a document was before the first note about it, and what it became."""
        key = note.key
        known = self._first.get(key)
        if known is not None and known.place != place:
            self._again.add(key)
        if known is not None and known.place <= place:
            return
        first = self._first[key] = _First(place, note.before, note.after)
        if known is not None and known.before is not None:
            self._before = {client: each for client, each in self._before.items() if each is not known}
        client_key = None if note.before is None else client_key_of(note.before)
        if client_key is not None and self._before.get(client_key, first).place >= place:
            self._before[client_key] = first

    def is_moved(self, key: bytes, archived: bytes) -> bool:
        """Return whether the runs moved a booking that is in the archive, and not yet brought it back."""
        return key in self._moved and self._moved[key] != archived

    def superseded(self, key: bytes) -> bytes | None:
        """Return what the archive had under the `_id` of a booking before the runs moved it there."""
        return self._moved.get(key)

    def before(self, client_key: bytes) -> bytes | None:
        """Return the client document that a client had before the runs; None if they created it, or it has none."""
        known = self._before.get(client_key)
        return None if known is None else known.before

    def knows(self, document: ClientDocument) -> bool:
        """Return whether the runs noted anything about a client document."""
        return sort_key(document.document_id) in self._first

    def has_created(self, document: ClientDocument) -> bool:
        """Return whether the runs created a client document."""
        first = self._first.get(sort_key(document.document_id))
        return first is not None and first.before is None

    def is_unchanged(self, client_key: bytes, documents: Sequence[bytes], archived: Sequence[bytes]) -> bool:
        """Return whether a client is unchanged since the runs moved all of its bookings.

        Its document is byte for byte the one that they created, and its sessions are exactly those of the client's bookings
        in the archive, all of which the runs moved.

        Args:
            client_key: the sort key of the client's id.
            documents: the client documents that it has now.
            archived: what the archive has of the client.
        """
        is_covered = any(first <= client_key <= last for first, last in self._covered)
        if len(documents) != 1 or client_key in self._before or not is_covered:
            return False
        raw = documents[0]
        key = id_key(raw)
        first = self._first.get(key)
        if first is None or first.before is not None or key in self._again:
            return False
        if first.after != sha256(raw).digest():
            return False
        if raw.count(_CLAIM) != len(archived):
            return False
        for original in archived:
            own = id_key(original)
            is_plain = own in self._moved and self._moved[own] is None and own.startswith(OBJECT_ID_KEY)
            if not is_plain or _CLAIM + own[len(OBJECT_ID_KEY) :] not in raw:
                return False
        return True


def moved_ranges(
    journal: RunJournal, run: RunRecord, notes: Notes
) -> Iterator[tuple[RangeNote, NotedClients]]:
    """Yield a run's notes of moved bookings, each part with all notes about the same clients."""
    covered: tuple[bytes, bytes] | None = None
    about = NotedClients(notes)
    for noted in journal.ranges(run.run_id, NoteKind.MOVED):
        notes.moved.hold(noted)
        # A range may have several parts; its clients are read once.
        if covered != (noted.first, noted.last):
            covered = noted.first, noted.last
            about = NotedClients(notes)
            about.cover(covered)
        yield noted, about


def client_key_of(raw: bytes) -> bytes | None:
    """Return the sort key of a document's `clientId`; None if it is not a client's id."""
    client_id = value_in(raw, b"clientId")
    return sort_key(client_id) if is_client_id(client_id) else None
