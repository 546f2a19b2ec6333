"""Bringing into a finished run's result what has changed in the source since, while nobody else writes.

It is the stream engine once more, over a target that shows each client document as it was before the run. So every
client is made anew from the bookings as they stand now, those included that were changed; what comes out as it is there
is not written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.domain.consolidation import Consolidation
from booking_migrate.domain.conversion import Session
from booking_migrate.domain.ordering import sort_key
from booking_migrate.domain.rejection import Rejection
from booking_migrate.domain.usual_client import UsualClient
from booking_migrate.engine.interruption import Shield
from booking_migrate.engine.journaled_target import JournaledTarget, Odometer, histories_of
from booking_migrate.engine.lock import HeldLock
from booking_migrate.engine.outcome import MigrationOutcome
from booking_migrate.engine.plan import MigrationPlan
from booking_migrate.engine.session import RunStores
from booking_migrate.engine.stream import migrate as migrate_stream
from booking_migrate.engine.throttle import NoThrottle
from booking_migrate.events import Listener
from booking_migrate.stores.base import DocumentReader, Replacement, TargetWriter
from booking_migrate.stores.journal import DocumentNote, NoteKind, RangeNote, identity_of

_AT_ONCE = 500
"""How many departed clients are dealt with at a time."""


class FinishedRun:
    """A run that came to its end, as a target asks for it that is written once more (`NotingSession`)."""

    def __init__(self, stores: RunStores, run_id: str, lock: HeldLock) -> None:
        self._journal = stores.journal
        self._run_id = run_id
        self._lock = lock

    def lock(self) -> None:
        """The lock is held already."""

    def open(self) -> None:
        """The run is noted down already."""

    def note(self, noted: RangeNote) -> None:
        """See `RunSession.note`."""
        self._journal.note(self._run_id, self._lock.token, noted)

    def between(self, first: bytes, last: bytes) -> Sequence[RangeNote]:
        """See `RunSession.between`."""
        return self._journal.between(self._run_id, first, last)

    def confirm(self) -> None:
        """See `RunSession.confirm`."""
        self._lock.confirm()

    def wrote_before(self) -> bool:
        """It wrote, or it would not be cut over."""
        return True

    def checkpoint(self, documents: int, total: int | None) -> None:
        """Nothing to note: how far the catching up is, is of no use after a crash."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What catching up came to."""

    migration: MigrationOutcome
    """As of the whole migration, made once more."""

    written: int
    """Client documents that were made, made anew or removed."""


def catch_up(
    plan: MigrationPlan,
    source: DocumentReader,
    target: TargetWriter,
    *,
    stores: RunStores,
    run: FinishedRun,
    users: DocumentReader | None,
    experts: DocumentReader | None,
    listener: Listener,
    shield: Shield,
) -> CaughtUp:
    """Make the target what the source has become. Only documents that are as the run left them are changed.

    Raises:
        BookingMigrateError: as `engine.stream.migrate`.
    """
    departed = _Departed(target, stores, run, shield)
    kept = JournaledTarget(target, run, shield, Odometer(listener), NoThrottle())
    outcome = migrate_stream(
        plan,
        source,
        kept,
        users=users,
        experts=experts,
        listener=listener,
        observer=departed,
    )
    departed.finish()
    return CaughtUp(outcome, kept.written + departed.written)


class _Departed:
    """An observer who finds the clients of the target that have no booking in the source any more."""

    def __init__(self, target: TargetWriter, stores: RunStores, run: FinishedRun, shield: Shield) -> None:
        self._target = target
        self._stores = stores
        self._run = run
        self._shield = shield
        self._clients = _clients(target)
        self._next = next(self._clients, None)
        self._gone: list[Any] = []
        self.written = 0

    def see_booking(self, result: Session | Rejection) -> None:
        """See `Observer.see_booking`."""

    def see_client(self, client_id: Any, consolidation: Consolidation) -> None:
        """See `Observer.see_client`."""
        self._see(sort_key(client_id), has_document=consolidation.document is not None)

    @property
    def look(self) -> None:
        """See `Observer.look`."""

    def see_usual_bookings(self, sight: Any) -> None:
        """See `Observer.see_usual_bookings`."""

    def see_usual_client(self, client: UsualClient) -> None:
        """See `Observer.see_usual_client`."""
        self._see(client.key, has_document=True)

    def _see(self, key: bytes, *, has_document: bool) -> None:
        while self._next is not None and self._next[0] < key:
            self._depart(self._next[1])
        if self._next is not None and self._next[0] == key:
            if has_document:
                self._next = next(self._clients, None)
            else:
                self._depart(self._next[1])

    def finish(self) -> None:
        """All clients of the source have been seen."""
        while self._next is not None:
            self._depart(self._next[1])
        self._settle()

    def _depart(self, client_id: Any) -> None:
        self._gone.append(client_id)
        self._next = next(self._clients, None)
        if len(self._gone) >= _AT_ONCE:
            self._settle()

    def _settle(self) -> None:
        """Remove what the run wrote for these clients, and put back what was there before."""
        gone, self._gone = self._gone, []
        if not gone:
            return
        keys = sorted(map(sort_key, gone))
        histories = histories_of(self._run.between(keys[0], keys[-1]))
        removed: list[bytes] = []
        restored: list[Replacement] = []
        for raw in self._target.find_client_documents(gone):
            notes = histories.get(identity_of(raw), [])
            if sha256(raw).digest() not in {note.after for note in notes}:
                continue
            if notes[0].before is None:
                removed.append(raw)
            else:
                restored.append(Replacement(raw, notes[0].before))
        if not removed and not restored:
            return
        noted = [
            *(DocumentNote(identity_of(raw), None, None) for raw in removed),
            *(
                DocumentNote(identity_of(each.after), sha256(each.after).digest(), each.after)
                for each in restored
            ),
        ]
        with self._shield.protected():
            self._run.note(RangeNote(NoteKind.DOCUMENTS, keys[0], keys[-1], noted))
            self._run.confirm()
            self._stores.target.remove(removed)
            self._stores.target.restore(restored)
        self.written += len(noted)


def _clients(target: TargetWriter) -> Iterator[tuple[bytes, Any]]:
    for raw in target.scan_client_documents():
        document = read_client_document(raw)
        if isinstance(document, ClientDocument):
            yield sort_key(document.client_id), document.client_id
