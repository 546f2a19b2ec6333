"""A target that records every write in the journal first, with the document that it replaces."""

from collections.abc import Container, Iterator, Sequence
from concurrent.futures import Future
from hashlib import sha256
from typing import Any, NamedTuple

from bson.objectid import ObjectId
from typing_extensions import override

from booking_migrate.bson.document import identity_of, value_in
from booking_migrate.domain.ids import client_document_id
from booking_migrate.domain.rejection import Rejection
from booking_migrate.events import Advanced, Event, Listener, PhaseStarted
from booking_migrate.runs.background import in_background
from booking_migrate.runs.delegation import DelegatedRun
from booking_migrate.runs.finished import FinishedRun
from booking_migrate.runs.provenance import TargetHistory, Trace, client_key_of
from booking_migrate.runs.regulator import Regulator, Unregulated
from booking_migrate.runs.session import RunSession
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.journal import DocumentNote, NoteKind, RangeNote
from booking_migrate.stores.ports import Replacement, TargetWriter


class ProgressCounter(Listener):
    """A listener that forwards every event and counts the documents of the current phase."""

    def __init__(self, listener: Listener) -> None:
        """Take the listener to forward to."""
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
            case _:
                pass
        self._listener.notify(event)


class _Batch(NamedTuple):
    """One batch to write."""

    new: Sequence[bytes]
    changed: Sequence[Replacement]
    rejected: Sequence[Rejection]
    removed: Sequence[bytes]


class ForwardingTarget(TargetWriter):
    """A target that forwards everything to another one; subclasses add to it."""

    def __init__(self, target: TargetWriter) -> None:
        """Take the target to write to."""
        self._target = target
        self.name = target.name
        self.rejects_name = target.rejects_name
        self.can_store = target.can_store

    @override
    def prepare(self) -> None:
        self._target.prepare()

    @override
    def scan_client_documents(self) -> Iterator[bytes]:
        return self._target.scan_client_documents()

    @override
    def scan_clients(self) -> Iterator[Any]:
        return self._target.scan_clients()

    @override
    def may_repeat_clients(self) -> bool:
        return self._target.may_repeat_clients()

    @override
    def find_client_documents(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        return self._target.find_client_documents(client_ids)

    @override
    def join(self, changed: Replacement, removed: Sequence[bytes]) -> None:
        self._target.join(changed, removed)

    @override
    def refuse_taken_ids(self, documents: Sequence[bytes], freed: Container[bytes]) -> None:
        self._target.refuse_taken_ids(documents, freed)

    @override
    def write(
        self,
        new: Sequence[bytes],
        changed: Sequence[Replacement],
        rejected: Sequence[Rejection],
        removed: Sequence[bytes] = (),
    ) -> None:
        self._target.write(new, changed, rejected, removed)

    @override
    def finish(self) -> bool:
        return self._target.finish()

    @override
    def abandon(self) -> None:
        self._target.abandon()


class JournaledTarget(ForwardingTarget, TargetHistory):
    """A `TargetWriter` that records each write in the journal before it, and a checkpoint after it.

    It is the target's history as well (see `TargetHistory`). A run that is resumed reads its source from the beginning and
    derives every client again; documents that are already in the target unchanged are left out. Resuming from a position
    would be wrong: bookings may have been added for clients that were done, and the rejected records are only complete at
    the end, for all clients together.
    """

    def __init__(
        self,
        target: TargetWriter,
        session: RunSession | FinishedRun[Any] | DelegatedRun,
        signal_guard: SignalGuard,
        progress: ProgressCounter,
        regulator: Regulator | Unregulated,
    ) -> None:
        """Take the parts.

        Args:
            target: the target to write to.
            session: the run.
            signal_guard: defers a signal while a batch is written.
            progress: counts the documents of the run.
            regulator: holds a batch back, such as while a secondary is behind.
        """
        super().__init__(target)
        self._session = session
        self._shield = signal_guard
        self._progress = progress
        self._regulator = regulator
        self._found: dict[bytes, bytes | None] = {}
        """What the target had in place of the run's documents before it began, by the BSON of ``{_id}``."""

        self._writing: Future[None] | None = None
        """The result of the batch that is being written."""

        self.written = 0
        """How many documents were written, without those that were already in the target."""

    @override
    def prepare(self) -> None:
        # The run is recorded first.
        self._session.open()
        self._target.prepare()
        self._session.confirm()

    @override
    def scan_client_documents(self) -> Iterator[bytes]:
        self._session.lock()
        return self._target.scan_client_documents()

    @override
    def may_repeat_clients(self) -> bool:
        # The source has been read successfully at this point, so the lock is acquired here; a run may be undone first.
        self._session.lock()
        return self._target.may_repeat_clients()

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
    def found(self, documents: Sequence[bytes]) -> Sequence[bytes | None]:
        return self._session.history.found(documents)

    @override
    def join(self, changed: Replacement, removed: Sequence[bytes]) -> None:
        self._session.open()
        notes = [
            DocumentNote(identity_of(changed.after), sha256(changed.after).digest(), changed.before),
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
        # The batch is written on a thread of its own while the caller prepares the next one, so it is durable only when the
        # next call returns. The throttle waits outside of the critical section: Ctrl-C must not wait for a secondary.
        self._regulator.wait()
        with self._shield.critical_section():
            self._await_writer()
            batch = _Batch(new, changed, rejected, removed)
            self._refuse_taken_ids(batch)
            notes = [
                *(self.note_of(raw, sha256(raw).digest(), None) for raw in new),
                *(self._note_of_change(change) for change in changed),
                *(self.note_of(raw, None, self._found_of(raw)) for raw in removed),
            ]
            self._found = {}
            noted = RangeNote(NoteKind.DOCUMENTS, *_span(batch), notes) if notes else None
            self._writing = in_background(lambda: self._write_batch(batch, noted), name="writer")

    def _refuse_taken_ids(self, batch: _Batch) -> None:
        """Refuse, before it is noted, what cannot be written: an `_id` may have passed between clients of different batches."""
        moved = [
            change for change in batch.changed if identity_of(change.before) != identity_of(change.after)
        ]
        documents = [change.after for change in moved]
        if self.has_runs:
            # Nearly all have an `_id` of their own.
            documents += [raw for raw in batch.new if not _has_own_id(raw)]
        if documents:
            freed = {identity_of(raw) for raw in (*(change.before for change in moved), *batch.removed)}
            self._target.refuse_taken_ids(documents, freed)

    def settle(self) -> None:
        """Wait until the last batch is durable."""
        with self._shield.critical_section():
            self._await_writer()

    def checkpoint(self) -> None:
        """Record the progress of the run; what is counted so far is durable."""
        self._session.checkpoint(self._progress.documents, self._progress.total)

    def note_of(self, raw: bytes, after: bytes | None, before: bytes | None) -> DocumentNote:
        """Return the note of a document; the arguments are its fields."""
        return DocumentNote(identity_of(raw), after, before)

    def _note_of_change(self, change: Replacement) -> DocumentNote:
        digest = sha256(change.after).digest()
        return self.note_of(change.after, digest, self._found_of(change.before))

    def _found_of(self, raw: bytes) -> bytes | None:
        """Return what the target had in a document's place before the run, which a rollback restores."""
        return self._found.get(identity_of(raw), raw)

    def _await_writer(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
            self.checkpoint()

    def _write_batch(self, batch: _Batch, noted: RangeNote | None) -> None:
        """Write one batch, after its note is durable: a rollback needs the note of everything that was written."""
        if noted is not None:
            self._session.note(noted)
        self._session.confirm()
        self._target.write(batch.new, batch.changed, batch.rejected, batch.removed)
        self.written += len(batch.new) + len(batch.changed) + len(batch.removed)

    @override
    def finish(self) -> bool:
        # Changes before the interruption of a continued run count, too.
        with self._shield.critical_section():
            self._await_writer()
            self._session.confirm()
            return self._target.finish() or self._session.wrote_before()

    @override
    def abandon(self) -> None:
        # The run stays in the journal, and can be continued. The batch that is being written is completed, unless the user
        # ends the process by a second signal. An error of the batch is not raised here, because the error that ended the
        # run matters more; continuing the run repairs what the batch left incomplete.
        writing, self._writing = self._writing, None
        if writing is not None:
            if not writing.done():
                self._shield.announce_wait()
            writing.exception()
        self._target.abandon()


def _has_own_id(raw: bytes) -> bool:
    document_id: Any = value_in(raw, b"_id")
    return type(document_id) is ObjectId and document_id == client_document_id(value_in(raw, b"clientId"))


def _span(batch: _Batch) -> tuple[bytes, bytes]:
    """Return the sort keys of the first and the last client of a batch; each of its parts is in client order."""
    ends = [
        *batch.new[:1],
        *batch.new[-1:],
        *(change.after for change in (*batch.changed[:1], *batch.changed[-1:])),
        *batch.removed[:1],
        *batch.removed[-1:],
    ]
    keys = [client_key_of(raw) for raw in ends]
    return min(keys), max(keys)
