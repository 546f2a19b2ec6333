"""One active run: its record in the journal and its lock, from the first write to the end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any

from bson.timestamp import Timestamp

from booking_migrate import __version__
from booking_migrate.bson.document import identity_of
from booking_migrate.errors import BookingMigrateError, DiskFull, LeaseLost, NoMajority, OtherOptions, Refused
from booking_migrate.events import Checkpointed, Listener, NullListener, RunOpened
from booking_migrate.runs.background import ALONE, Companion
from booking_migrate.runs.commands import command_of, rollback_of
from booking_migrate.runs.control import MIGRATE, handed_down
from booking_migrate.runs.followed import FOLLOWING
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.noted_ranges import SettledHistory
from booking_migrate.runs.provenance import JournalHistory, runs_in_effect
from booking_migrate.runs.regulator import Regulator
from booking_migrate.runs.states import (
    RESUMABLE,
    SWITCHING,
    WORKING,
    check_transition,
    differences,
    newest_result,
)
from booking_migrate.runs.status import not_finished, refuse_other_mode
from booking_migrate.stores.journal import (
    JOURNAL_VERSION,
    DocumentNote,
    NoteKind,
    RangeNote,
    RunJournal,
    RunRecord,
    RunState,
)
from booking_migrate.stores.locks import Holder, LockStore
from booking_migrate.stores.ports import LagGauge

if TYPE_CHECKING:
    from booking_migrate.stores.changes import DirtyStore
    from booking_migrate.stores.mongo.rollback import MongoUndo

CHECKPOINT_SECONDS = 1.0
"""How often the progress of a run is recorded; its ranges are recorded one by one."""

_REJECTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class RunStores:
    """The stores that record a run and that it writes to."""

    journal: RunJournal
    locks: LockStore
    target: "MongoUndo"
    lag: LagGauge
    dirty: Callable[[str], "DirtyStore"]
    """Opens the dirty set of a run."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What the caller requests to run."""

    run_id: str
    """The id of the run, if it is a new one."""

    source: str
    target: str
    options: Mapping[str, str]
    """See `runs.states.run_options`."""

    holder: Holder
    maximum_lag: float | None = None
    """How far a secondary may be behind, in seconds, before the run pauses; None: it never pauses."""

    maximum_rate: float | None = None
    """How many bookings a second it may move; None: as many as it can."""

    restart: bool = False
    """Whether an interrupted run is undone first, instead of continued."""

    config: str | None = None
    """The config file, if one was given."""

    archive: str | None = None
    """In place: the collection to which the old bookings are moved."""

    began: Any = None
    """The cluster time before the first read: every later change of the source is followed from there. None: unknown."""

    companion: Companion = ALONE
    """The background work of the run."""

    @property
    def follow(self) -> dict[str, Any]:
        """Return where following the source begins, as a run's record has it."""
        return {} if self.began is None else {"time": self.began}


class RunSession:
    """Opens, continues and closes one run. Nothing is written before `lock`."""

    def __init__(
        self,
        stores: RunStores,
        request: RunRequest,
        undo: Callable[[RunRecord, HeldLock], object],
        listener: Listener | None = None,
    ) -> None:
        """Take the parts; ``undo`` rolls an interrupted run back, for `RunRequest.restart`."""
        self._listener = listener or NullListener()
        self._stores = stores
        self._request = request
        self._undo = undo
        self._lock: HeldLock | None = None
        self._run: RunRecord | None = None
        self._is_open = self._has_written = False
        self._checkpoint = monotonic()
        self._history: JournalHistory | None = None
        self.is_resumed = False

    @property
    def run_id(self) -> str:
        """Return the id of the run: that of the continued run, or the new one."""
        return self._run.run_id if self._run is not None else self._request.run_id

    def regulator(self) -> Regulator:
        """Return what holds the chunks of the run back, by its request and by what others ask of it."""
        request, stores = self._request, self._stores
        return Regulator(
            stores.journal,
            self._listener,
            command=MIGRATE,
            process=request.holder,
            run_id=lambda: self.run_id if self._is_open else None,
            gauge=stores.lag,
            maximum_lag=request.maximum_lag,
            maximum_rate=request.maximum_rate,
        )

    @property
    def token(self) -> int:
        """Return the fencing token of the lock, which is part of the key of each note."""
        return self._held().token

    @property
    def run(self) -> RunRecord:
        """Return the record of the run, which exists after `open`."""
        if self._run is None:
            raise RuntimeError("the session has not been opened: call open() first")
        return self._run

    def keep(self, **facts: Any) -> None:
        """Record facts that are needed to undo the run."""
        self._run = self._stores.journal.save(self.run_id, **facts)

    def lock(self) -> None:
        """Acquire the lock and look for a run to continue. May be called twice.

        Raises:
            TargetBusy: another process holds the lock.
            OtherOptions, UnfinishedRun: an unfinished run exists that this request cannot continue.
        """
        if self._lock is not None:
            return
        request = self._request
        self._lock = HeldLock.acquire(self._stores.locks, request.target, request.holder)
        refuse_other_mode(
            self._stores.journal, self._stores.locks, request.source, in_place=request.archive is not None
        )
        unfinished = self._unfinished()
        if unfinished is not None and unfinished.state is RunState.PLANNED:
            # It was killed before it wrote anything; what it recorded about the target may be outdated.
            self._stores.journal.remove(unfinished.run_id)
            unfinished = None
        if unfinished is not None and unfinished.state in SWITCHING:
            raise not_finished(unfinished)
        if unfinished is not None and request.restart:
            self._undo(unfinished, self._lock)
        elif unfinished is not None:
            self._continue(unfinished)

    def _unfinished(self) -> RunRecord | None:
        runs = self._stores.journal.runs(self._request.target)
        return next((run for run in runs if run.state in RESUMABLE | WORKING), None)

    def _continue(self, run: RunRecord) -> None:
        if run.state is RunState.ROLLING_BACK:
            raise not_finished(run)
        unlike = differences(run.options, self._request.options)
        if unlike:
            raise OtherOptions(run.run_id, unlike, command_of(run, "migrate"))
        self._run = run
        self.is_resumed = True

    def open(self) -> None:
        """Record the run, with everything that is needed to undo it. May be called twice."""
        self.lock()
        if self._is_open:
            return
        if self._run is None:
            self._run = self._stores.journal.create(self._new_run())
        before = self._run
        by = f"{before.user}@{before.host}, process {before.pid}" if self.is_resumed else None
        self._listener.notify(RunOpened(before.run_id, by))
        if self.is_resumed:
            self._save(
                RunState.RUNNING,
                **_identity(self._request.holder),
                resumed=self._run.resumed + 1,
                worked_from=None,
                documents=0,
                problem=None,
                config=self._request.config,
                follow=self._request.follow,
                version=JOURNAL_VERSION,
            )
        else:
            self._note_rejects()
            self._save(RunState.RUNNING)
        self._is_open = True
        self._request.companion.begin(self.run, self._held().confirm)

    def _new_run(self) -> RunRecord:
        now = self._stores.journal.now()
        return RunRecord(
            run_id=self._request.run_id,
            tool_version=__version__,
            source=self._request.source,
            target=self._request.target,
            options=self._request.options,
            **_identity(self._request.holder),
            started_at=now,
            heartbeat_at=now,
            worked_from=now,
            config=self._request.config,
            archive=self._request.archive,
            follow=self._request.follow,
            control=self._handed_down(),
            target_existed=self._stores.target.exists(),
            index_existed=self._stores.target.has_client_index(),
        )

    def _handed_down(self) -> Mapping[str, Any]:
        """Return what was asked of a follower of the target that was killed: this run takes its place."""
        newest = newest_result(self._stores.journal, self._request.target)
        is_killed = newest is not None and newest.follow.get("facts", {}).get("state") == FOLLOWING
        return handed_down(newest.control) if newest is not None and is_killed else {}

    def _note_rejects(self) -> None:
        """Record the existing rejected records, because the run may change and remove them."""
        records = self._stores.target.rejects()
        while some := list(islice(records, _REJECTS_AT_ONCE)):
            notes = [DocumentNote(identity_of(raw), None, raw) for raw in some]
            self.note(RangeNote(NoteKind.REJECTS, b"", b"", notes))

    def note(self, noted: RangeNote) -> None:
        """Record durably what is about to be written."""
        self._stores.journal.note(self.run_id, self._held().token, noted)

    @property
    def history(self) -> JournalHistory:
        """Return the history of the target by the runs from this source that were not undone, with this one if resumed."""
        if self._history is None:
            self.lock()
            request = self._request
            current = self.run_id if self.is_resumed else None
            journal = self._stores.journal
            runs = [run.run_id for run in runs_in_effect(journal, request.source, request.target)]
            self._history = SettledHistory(journal, runs, current)
        return self._history

    def confirm(self) -> None:
        """Check that this process still holds the lock. Called right before each write.

        Raises:
            LeaseLost: another process has taken it over.
        """
        self._held().confirm()
        self._has_written = True

    def wrote_before(self) -> bool:
        """Return whether the run has written anything to the target, in this process or before it was interrupted."""
        noted = self._stores.journal.ranges(self.run_id, NoteKind.DOCUMENTS, NoteKind.JOIN)
        return self._run is not None and (not self._run.index_existed or next(noted, None) is not None)

    def checkpoint(self, documents: int, total: int | None) -> None:
        """Record the progress of the run, at most once per `CHECKPOINT_SECONDS`. What is counted is already durable."""
        if monotonic() - self._checkpoint >= CHECKPOINT_SECONDS:
            self._checkpoint = monotonic()
            self._run = self._stores.journal.save(self.run_id, documents=documents, total=total)
            self._listener.notify(Checkpointed(documents, total))

    def finish(
        self,
        *,
        changed: bool,
        counts: Mapping[str, int],
        documents: int,
        tally: Mapping[str, Any] | None = None,
    ) -> None:
        """Record that the run completed, with what it has moved in place, and release the lock."""
        self._request.companion.end()
        self.confirm()
        known: dict[str, Any] = {"counts": dict(counts), "documents": documents}
        if tally is not None:
            known["tally"] = tally
        if changed:
            self._save(RunState.DONE, **known, written_at=self._stores.journal.now())
        else:
            self._save(RunState.UNCHANGED, **known)
            self._move_position()
        self._held().release()

    def _move_position(self) -> None:
        """Record that the newest result is followed from the beginning of this run on, which found nothing to write.

        What others wrote to the target before that is not looked at in the feed any more, so all of it has to be verified again.
        """
        request, began = self._request, self._request.began
        run = newest_result(self._stores.journal, request.target)
        if run is None or run.state is not RunState.DONE or began is None or request.archive is not None:
            return
        if run.source == request.source and not differences(run.options, request.options):
            facts = {name: value for name, value in run.follow.items() if name == "facts"}
            unverified = max(began, run.follow.get("unverified", began))
            # This run has read what was written up to its beginning, also at that very time.
            time = Timestamp(began.time, began.inc + 1)
            follow = {**facts, "time": time, "unverified": unverified}
            self._stores.journal.annotate(run.run_id, follow=follow)
            self._stores.dirty(run.run_id).clear()

    def fail(self, error: BaseException) -> None:
        """Record the error that ended the run, and release the lock; the caller raises the error again."""
        self._request.companion.end()
        if self._lock is None:
            if isinstance(error, BookingMigrateError):
                error.is_before_start = True
            return
        if isinstance(error, LeaseLost | NoMajority):
            # Another process has taken the run over, or a majority would not acknowledge the record.
            self._lock.release_after(error)
            return
        try:
            self._close(error)
            self._lock.release()
        except BookingMigrateError as trouble:
            # The next start treats the run as one that was killed.
            self._lock.stop()
            error.add_note(f"The end of the run could not be recorded in the journal: {trouble.message}")

    def _close(self, error: BaseException) -> None:
        if self._run is None or self._run.state is not RunState.RUNNING or not self._is_open:
            return
        self._held().confirm()  # It may have been suspended until another process had completed or undone the run.
        if isinstance(error, Refused) and not self._has_written and not self.is_resumed:
            self._stores.journal.remove(self.run_id)
        elif isinstance(error, Exception):
            if isinstance(error, DiskFull) and self._run.archive is None:
                error.undo = rollback_of(self._run)
            self._save(
                RunState.FAILED,
                problem=error.message if isinstance(error, BookingMigrateError) else type(error).__name__,
            )
        else:
            self._save(RunState.INTERRUPTED)

    def _save(self, state: RunState, **changes: Any) -> None:
        if self._run is not None:
            check_transition(self._run, state)
            self._run = self._stores.journal.save(self._run.run_id, state=state.value, **changes)

    def _held(self) -> HeldLock:
        if self._lock is None:
            raise RuntimeError("the session does not hold its lock: call lock() first")
        return self._lock


def _identity(holder: Holder) -> dict[str, Any]:
    return {"user": holder.user, "host": holder.host, "pid": holder.pid}
