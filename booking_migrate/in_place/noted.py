"""What runs in place noted about clients: the bookings that they moved, and the client documents of before."""

from collections.abc import Iterable, Sequence

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.booking import read_booking
from booking_migrate.domain.client_document import ClientDocument
from booking_migrate.domain.contract import is_client_id
from booking_migrate.stores.journal import NoteKind, RunJournal


class NotedClients:
    """What runs noted about some clients."""

    def __init__(self, journal: RunJournal, run_ids: Sequence[str]) -> None:
        """Take the journal, and the runs, the oldest first."""
        self._journal = journal
        self._run_ids = run_ids
        self._covered: list[tuple[bytes, bytes]] = []
        self._moved: dict[bytes, bytes | None] = {}
        self._created: set[bytes] = set()
        self._before: dict[bytes, bytes] = {}
        self._own: dict[bytes, set[bytes]] = {}

    def cover(self, keys: Iterable[bytes]) -> None:
        """Read what was noted about clients with these sort keys."""
        wanted = [key for key in keys if not any(first <= key <= last for first, last in self._covered)]
        if not wanted:
            return
        first, last = min(wanted), max(wanted)
        self._covered.append((first, last))
        for run_id in self._run_ids:
            for noted in self._journal.between(run_id, first, last, NoteKind.MOVED):
                for note in noted.notes:
                    self._moved.setdefault(note.key, note.before)
            for noted in self._journal.between(run_id, first, last):
                for note in noted.notes:
                    self._remember(note.key, note.before)

    def _remember(self, key: bytes, before: bytes | None) -> None:
        """Remember what a document was before the first note about it."""
        if key in self._created or key in self._own:
            return
        if before is None:
            self._created.add(key)
            return
        client_key = client_key_of(before)
        self._own.setdefault(key, set())
        if client_key is not None:
            self._before.setdefault(client_key, before)

    def is_moved(self, key: bytes, archived: bytes) -> bool:
        """Return whether the runs moved a booking that is in the archive, and not yet brought it back."""
        return key in self._moved and self._moved[key] != archived

    def superseded(self, key: bytes) -> bytes | None:
        """Return what the archive had under the `_id` of a booking before the runs moved it there."""
        return self._moved.get(key)

    def before(self, client_key: bytes) -> bytes | None:
        """Return the client document that a client had before the runs; None if they created it, or it has none."""
        return self._before.get(client_key)

    def has_created(self, document: ClientDocument) -> bool:
        """Return whether the runs created a client document."""
        return sort_key(document.document_id) in self._created


def client_key_of(raw: bytes) -> bytes | None:
    """Return the sort key of a document's `clientId`; None if it is not a client's id."""
    client_id = read_booking(raw).fields.get("clientId")
    return sort_key(client_id) if is_client_id(client_id) else None
