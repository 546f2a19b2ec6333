"""A target whose every write is noted in the journal first, under a lock: what makes a run resumable and undoable."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Thread
from typing import Any, Protocol

from booking_migrate.domain.bson_document import elements, read_value
from booking_migrate.domain.ordering import sort_key
from booking_migrate.domain.rejection import Rejection
from booking_migrate.engine.interruption import Shield
from booking_migrate.engine.throttle import NoThrottle, Throttle
from booking_migrate.events import Advanced, Event, Listener, PhaseStarted, Reached, Step
from booking_migrate.stores.base import CanHold, Replacement, TargetWriter
from booking_migrate.stores.journal import DocumentNote, NoteKind, RangeNote, identity_of


class NotingSession(Protocol):
    """What a target asks of the run that writes to it; see `RunSession`, whose methods these are."""

    def lock(self) -> None:
        """See `RunSession.lock`."""

    def open(self) -> None:
        """See `RunSession.open`."""

    def note(self, noted: RangeNote) -> None:
        """See `RunSession.note`."""

    def between(self, first: bytes, last: bytes) -> Sequence[RangeNote]:
        """See `RunSession.between`."""

    def confirm(self) -> None:
        """See `RunSession.confirm`."""

    def wrote_before(self) -> bool:
        """See `RunSession.wrote_before`."""

    def checkpoint(self, documents: int, total: int | None) -> None:
        """See `RunSession.checkpoint`."""


class Odometer:
    """A listener that passes everything on and counts the documents of the stretch of work that began last."""

    def __init__(self, listener: Listener) -> None:
        """Take whoever listens really."""
        self._listener = listener
        self.documents = 0
        self.total: int | None = None

    def notify(self, event: Event) -> None:
        """See `Listener.notify`."""
        match event:
            case PhaseStarted(total=total):
                self.documents, self.total = 0, total
            case Advanced(documents):
                self.documents += documents
        self._listener.notify(event)


@dataclass(slots=True)
class _Batch:
    """What is left to write of a batch."""

    rejected: Sequence[Rejection]
    new: list[bytes] = field(default_factory=list)
    changed: list[Replacement] = field(default_factory=list)
    notes: list[DocumentNote] = field(default_factory=list)


class JournaledTarget:
    """See `TargetWriter` for the promises; this one also keeps DESIGN.md's invariants 3 and 7.

    A run that is continued reads its source from the beginning and is shown, of each client, the document as it was
    before the run began; so it comes to the same decisions, counts and bytes as if it had never been interrupted. What
    it then would write and has written already is left out. Starting in the middle would be wrong: bookings may have come
    for clients that were done, and the rejected records are made true only at the end, for all of them.
    """

    def __init__(
        self,
        target: TargetWriter,
        session: NotingSession,
        shield: Shield,
        odometer: Odometer,
        throttle: Throttle | NoThrottle,
    ) -> None:
        """Take the parts.

        Args:
            target: where the result goes really.
            session: the run.
            shield: holds a signal back while a batch is written.
            odometer: knows how far the run is, and whom to tell about its steps.
            throttle: pauses before a batch while a secondary is behind.
        """
        self._target = target
        self._session = session
        self._shield = shield
        self._odometer = odometer
        self._throttle = throttle
        self._ours: dict[bytes, bytes] = {}
        """What the run had written of the batch at hand before it was interrupted, by the BSON of ``{_id}``."""
        self._writing: Future[None] | None = None
        """What comes of the batch that is on its way."""

        self.written = 0
        """How many documents were really written, those left out that were there already."""

    @property
    def name(self) -> str:
        """See `TargetWriter.name`."""
        return self._target.name

    @property
    def rejects_name(self) -> str:
        """See `TargetWriter.rejects_name`."""
        return self._target.rejects_name

    @property
    def can_hold(self) -> CanHold:
        """See `TargetWriter.can_hold`."""
        return self._target.can_hold

    def prepare(self) -> None:
        """See `TargetWriter.prepare`. The run is noted down first."""
        self._session.open()
        self._target.prepare()
        self._session.confirm()
        self._reach(Step.TARGET_PREPARED)

    def scan_client_documents(self) -> Iterator[bytes]:
        """See `TargetWriter.scan_client_documents`. The source is known to be readable, so the lock is taken here."""
        self._session.lock()
        return self._target.scan_client_documents()

    def find_client_documents(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        """See `TargetWriter.find_client_documents`; as they were before the run began."""
        keys = [sort_key(client_id) for client_id in client_ids]
        ranges = self._session.between(min(keys), max(keys)) if keys else ()
        histories = histories_of(ranges)
        for raw in self._target.find_client_documents(client_ids):
            key = identity_of(raw)
            noted = histories.get(key)
            if noted is None or sha256(raw).digest() not in {note.after for note in noted}:
                yield raw
                continue
            self._ours[key] = raw
            if noted[0].before is not None:
                yield noted[0].before

    def join(self, changed: Replacement, removed: Sequence[bytes]) -> None:
        """See `TargetWriter.join`."""
        self._session.open()
        notes = [_changed_note(changed), *(DocumentNote(identity_of(raw), None, raw) for raw in removed)]
        with self._shield.protected():
            self._session.note(RangeNote(NoteKind.JOIN, b"", b"", notes))
            self._reach(Step.RANGE_NOTED)
            self._session.confirm()
            self._target.join(changed, removed)
            self._reach(Step.BATCH_WRITTEN)

    def write(
        self, new: Sequence[bytes], changed: Sequence[Replacement], rejected: Sequence[Rejection]
    ) -> None:
        """See `TargetWriter.write`, but for one thing: the batch is durable when the next call returns.

        It is on its way, on a thread of its own, while the caller prepares the next one.
        """
        # Outside of what is protected: Ctrl-C must not wait for a secondary.
        self._throttle.wait()
        with self._shield.protected():
            self._await_writer()
            batch = _Batch(rejected=rejected)
            for raw in new:
                self._add_new(batch, raw)
            for change in changed:
                self._add_changed(batch, change)
            self._ours = {}
            noted = None
            if batch.notes:
                noted = RangeNote(NoteKind.DOCUMENTS, *_span(new, changed), batch.notes)
            self._writing = self._sent_off(batch, noted)

    def _add_new(self, batch: _Batch, raw: bytes) -> None:
        identity = identity_of(raw)
        there = self._ours.get(identity)
        if there == raw:
            return
        if there is None:
            batch.new.append(raw)
        else:
            batch.changed.append(Replacement(there, raw))
        batch.notes.append(DocumentNote(identity, sha256(raw).digest(), None))

    def _add_changed(self, batch: _Batch, change: Replacement) -> None:
        there = self._ours.get(identity_of(change.after))
        if there != change.after:
            batch.changed.append(change if there is None else Replacement(there, change.after))
            batch.notes.append(_changed_note(change))

    def _await_writer(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
            self._session.checkpoint(self._odometer.documents, self._odometer.total)

    def _sent_off(self, batch: _Batch, noted: RangeNote | None) -> Future[None]:
        """Write a batch on a thread that the process does not wait for if it has to end at once."""
        writing: Future[None] = Future()

        def write() -> None:
            try:
                self._write_batch(batch, noted)
            except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for the batch
                writing.set_exception(error)
            else:
                writing.set_result(None)

        Thread(target=write, name="writer", daemon=True).start()
        return writing

    def _write_batch(self, batch: _Batch, noted: RangeNote | None) -> None:
        """Write one batch. Its note is durable before it: one must never be missing that a rollback would need."""
        if noted is not None:
            self._session.note(noted)
            self._reach(Step.RANGE_NOTED)
        self._session.confirm()
        self._target.write(batch.new, batch.changed, batch.rejected)
        self.written += len(batch.new) + len(batch.changed)
        self._reach(Step.BATCH_WRITTEN)

    def finish(self) -> bool:
        """See `TargetWriter.finish`. A run that was continued has changed what it changed before, too."""
        with self._shield.protected():
            self._await_writer()
            self._session.confirm()
            changed = self._target.finish() or self._session.wrote_before()
            self._reach(Step.TARGET_FINISHED)
        return changed

    def abandon(self) -> None:
        """See `TargetWriter.abandon`. The run stays in the journal, and can be continued.

        The batch that is on its way comes to its end, unless somebody has stopped waiting for it. If it fails, that is less
        than what ended the run; what is in doubt then is settled when the run is continued.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.exception()
        self._target.abandon()

    def _reach(self, step: Step) -> None:
        self._odometer.notify(Reached(step))


def histories_of(ranges: Sequence[RangeNote]) -> dict[bytes, list[DocumentNote]]:
    """What was noted about each document, the oldest note first, by the BSON of ``{_id}``."""
    histories: dict[bytes, list[DocumentNote]] = {}
    for noted in ranges:
        for note in noted.notes:
            histories.setdefault(note.identity, []).append(note)
    return histories


def _changed_note(change: Replacement) -> DocumentNote:
    return DocumentNote(identity_of(change.after), sha256(change.after).digest(), change.before)


def _span(new: Sequence[bytes], changed: Sequence[Replacement]) -> tuple[bytes, bytes]:
    """The sort keys of the first and the last client of a batch, both of whose parts are in client order."""
    ends = [*new[:1], *new[-1:], *(change.after for change in (*changed[:1], *changed[-1:]))]
    keys = [client_key_of(raw) for raw in ends]
    return min(keys), max(keys)


def client_key_of(raw: bytes) -> bytes:
    """The sort key of a client document's `clientId`. Its sessions, which may be megabytes, are not decoded."""
    return sort_key(read_value(next(element for element in elements(raw) if element.name == b"clientId")))
