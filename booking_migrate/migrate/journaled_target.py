"""A target whose every write is noted in the journal first, under a lock: what makes a run resumable and undoable."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from hashlib import sha256
from threading import Thread
from typing import Any, NamedTuple, Protocol

from typing_extensions import override

from booking_migrate.domain.rejection import Rejection
from booking_migrate.events import Advanced, Event, Listener, PhaseStarted
from booking_migrate.runs.provenance import JournalHistory, TargetHistory, Trace, client_key_of
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.throttle import NullThrottle, Throttle
from booking_migrate.stores.notes import DocumentNote, NoteKind, RangeNote, identity_of
from booking_migrate.stores.ports import CanHold, Replacement, TargetWriter


class NotingSession(Protocol):
    """What a target asks of the run that writes to it; see `RunSession`, whose methods these are."""

    def lock(self) -> None:
        """See `RunSession.lock`."""

    def open(self) -> None:
        """See `RunSession.open`."""

    def note(self, noted: RangeNote) -> None:
        """See `RunSession.note`."""

    @property
    def history(self) -> JournalHistory:
        """See `RunSession.history`."""

    def confirm(self) -> None:
        """See `RunSession.confirm`."""

    def wrote_before(self) -> bool:
        """See `RunSession.wrote_before`."""

    def checkpoint(self, documents: int, total: int | None) -> None:
        """See `RunSession.checkpoint`."""


class ProgressCounter(Listener):
    """A listener that passes everything on and counts the documents of the stretch of work that began last."""

    def __init__(self, listener: Listener) -> None:
        """Take whoever listens really."""
        self._listener = listener
        self.documents = 0
        self.total: int | None = None

    @override
    def notify(self, event: Event) -> None:
        match event:
            case PhaseStarted(total=total):
                self.documents, self.total = 0, total
            case Advanced(documents):
                self.documents += documents
        self._listener.notify(event)


class _Batch(NamedTuple):
    """What is to be written at a time."""

    new: Sequence[bytes]
    changed: Sequence[Replacement]
    rejected: Sequence[Rejection]
    removed: Sequence[bytes]


class JournaledTarget(TargetWriter, TargetHistory):
    """See `TargetWriter` for the promises; this one also notes before it writes, and checkpoints behind it.

    It is the target's history as well (see `TargetHistory`). A run that is resumed reads its source from the beginning and
    derives every client again; what it has written already comes out as it is there and is left out. Starting in the
    middle would be wrong: bookings may have come for clients that were done, and the rejected records are made true only
    at the end, for all of them.
    """

    def __init__(
        self,
        target: TargetWriter,
        session: NotingSession,
        signal_guard: SignalGuard,
        odometer: ProgressCounter,
        throttle: Throttle | NullThrottle,
    ) -> None:
        """Take the parts.

        Args:
            target: where the result goes really.
            session: the run.
            signal_guard: holds a signal back while a batch is written.
            odometer: knows how far the run is, and whom to tell about its steps.
            throttle: pauses before a batch while a secondary is behind.
        """
        self._target = target
        self._session = session
        self._shield = signal_guard
        self._odometer = odometer
        self._throttle = throttle
        self._found: dict[bytes, bytes | None] = {}
        """What stood in the place of the run's own documents before it began, by the BSON of ``{_id}``."""

        self._writing: Future[None] | None = None
        """What comes of the batch that is on its way."""

        self.written = 0
        """How many documents were really written, those left out that were there already."""

    @property
    @override
    def name(self) -> str:
        return self._target.name

    @property
    @override
    def rejects_name(self) -> str:
        return self._target.rejects_name

    @property
    @override
    def can_store(self) -> CanHold:
        return self._target.can_store

    @override
    def prepare(self) -> None:
        # The run is noted down first.
        self._session.open()
        self._target.prepare()
        self._session.confirm()

    @override
    def scan_client_documents(self) -> Iterator[bytes]:
        # The source is known to be readable, so the lock is taken here.
        self._session.lock()
        return self._target.scan_client_documents()

    @override
    def find_client_documents(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        return self._target.find_client_documents(client_ids)

    @property
    @override
    def has_runs(self) -> bool:
        return self._session.history.has_runs

    @override
    def trace(self, documents: Sequence[bytes]) -> Sequence[Trace]:
        traces = self._session.history.trace(documents)
        for raw, trace in zip(documents, traces, strict=True):
            if trace.found is not raw:
                self._found[identity_of(raw)] = trace.found
        return traces

    @override
    def join(self, changed: Replacement, removed: Sequence[bytes]) -> None:
        self._session.open()
        notes = [
            _changed_note(changed, changed.before),
            *(DocumentNote(identity_of(raw), None, raw) for raw in removed),
        ]
        with self._shield.critical_section():
            self._session.note(RangeNote(NoteKind.JOIN, b"", b"", notes))
            self._session.confirm()
            self._target.join(changed, removed)

    @override
    def write(
        self,
        new: Sequence[bytes],
        changed: Sequence[Replacement],
        rejected: Sequence[Rejection],
        removed: Sequence[bytes] = (),
    ) -> None:
        # , but for one thing: the batch is durable when the next call returns. It is on its way, on a thread
        # of its own, while the caller prepares the next one.
        # Outside of what is protected: Ctrl-C must not wait for a secondary.
        self._throttle.wait()
        with self._shield.critical_section():
            self._await_writer()
            batch = _Batch(new, changed, rejected, removed)
            notes = [
                *(DocumentNote(identity_of(raw), sha256(raw).digest(), None) for raw in new),
                *(_changed_note(change, self._found_of(change.before)) for change in changed),
                *(DocumentNote(identity_of(raw), None, self._found_of(raw)) for raw in removed),
            ]
            self._found = {}
            noted = RangeNote(NoteKind.DOCUMENTS, *_span(batch), notes) if notes else None
            self._writing = self._sent_off(batch, noted)

    def _found_of(self, raw: bytes) -> bytes | None:
        """Return what stood in a document's place before the run, which is what a rollback puts back."""
        return self._found.get(identity_of(raw), raw)

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
        self._session.confirm()
        self._target.write(batch.new, batch.changed, batch.rejected, batch.removed)
        self.written += len(batch.new) + len(batch.changed) + len(batch.removed)

    @override
    def finish(self) -> bool:
        # A run that was continued has changed what it changed before, too.
        with self._shield.critical_section():
            self._await_writer()
            self._session.confirm()
            return self._target.finish() or self._session.wrote_before()

    @override
    def abandon(self) -> None:
        # The run stays in the journal, and can be continued. The batch that is on its way comes to its end,
        # unless somebody has stopped waiting for it. If it fails, that is less than what ended the run; what
        # is in doubt then is settled when the run is continued.
        writing, self._writing = self._writing, None
        if writing is not None:
            if not writing.done():
                self._shield.announce_wait()
            writing.exception()
        self._target.abandon()


def _changed_note(change: Replacement, found: bytes | None) -> DocumentNote:
    return DocumentNote(identity_of(change.after), sha256(change.after).digest(), found)


def _span(batch: _Batch) -> tuple[bytes, bytes]:
    """Return the sort keys of the first and the last client of a batch, each of whose parts is in client order."""
    ends = [
        *batch.new[:1],
        *batch.new[-1:],
        *(change.after for change in (*batch.changed[:1], *batch.changed[-1:])),
        *batch.removed[:1],
        *batch.removed[-1:],
    ]
    keys = [client_key_of(raw) for raw in ends]
    return min(keys), max(keys)
