"""A run into a file. The file appears whole or not at all, so a run is never continued, only undone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from typing_extensions import override

from booking_migrate import __version__
from booking_migrate.errors import NoRun, OutputFailed, WriteFailed
from booking_migrate.events import Listener, Warned
from booking_migrate.migrate.journaled_run import JournaledOutcome
from booking_migrate.migrate.journaled_target import ForwardingTarget
from booking_migrate.migrate.pipeline import migrate as migrate_stream
from booking_migrate.runs.plan import Counts, MigrationPlan
from booking_migrate.runs.session import RunRequest
from booking_migrate.runs.states import check_transition
from booking_migrate.runs.undo import UndoOutcome
from booking_migrate.runs.workers import WorkerPool
from booking_migrate.stores.files.atomic import Sidecar, SidecarRecord, WrittenFile, digest_of, write_failures
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.ports import DocumentReader, TargetWriter


class SidecarTarget(ForwardingTarget):
    """A target file with a sidecar that records the run that wrote it."""

    def __init__(
        self,
        target: TargetWriter,
        sidecar: Sidecar,
        request: RunRequest,
        files: Sequence[Path],
    ) -> None:
        """Take the parts.

        Args:
            target: the target to write to.
            sidecar: the file beside it.
            request: what the caller requests to run.
            files: the target file, and the one with the rejected bookings.
        """
        super().__init__(target)
        self._sidecar = sidecar
        self._request = request
        self._files = files

    @override
    def prepare(self) -> None:
        # A sidecar of a newer version is refused before anything is written.
        self._sidecar.read()
        self._target.prepare()

    @override
    def finish(self) -> bool:
        # The sidecar records first that files will appear, and then their digests.
        before = self._sidecar.read()
        if before is not None and self._is_true(before):
            return self._finish_again()
        was_cut_off = before is not None and before.run.state is RunState.RUNNING
        record = before if before is not None and was_cut_off else self._begun()
        self._sidecar.write(record)
        changed = self._target.finish() or was_cut_off
        with _record_lost():
            if changed:
                self._sidecar.write(self._done(record))
            elif before is not None:
                self._sidecar.write(before)
            else:
                self._sidecar.remove()
        return changed

    def _is_true(self, record: SidecarRecord) -> bool:
        """Return whether the files are those of a run that completed."""
        return record.run.state is RunState.DONE and all(
            digest_of(self._sidecar.resolve(file)) == file.sha256 for file in record.files
        )

    def _finish_again(self) -> bool:
        """Finish a run over the files of an earlier one, whose sidecar is kept unless this run replaces the files."""
        record = self._begun()
        changed = self._target.finish()
        if changed:
            with _record_lost():
                self._sidecar.write(self._done(record))
        return changed

    def note_counts(self, counts: Counts) -> None:
        """Add the counts of a run that completed."""
        record = self._sidecar.read()
        if record is not None:
            run = record.run.model_copy(update={"counts": asdict(counts), "documents": counts.scanned})
            with _record_lost():
                self._sidecar.write(record.model_copy(update={"run": run}))

    def _begun(self) -> SidecarRecord:
        now = datetime.now(UTC)
        holder = self._request.holder
        run = RunRecord(
            run_id=self._request.run_id,
            tool_version=__version__,
            source=self._request.source,
            target=self._request.target,
            state=RunState.RUNNING,
            options=self._request.options,
            user=holder.user,
            host=holder.host,
            pid=holder.pid,
            started_at=now,
            heartbeat_at=now,
            worked_from=now,
            target_existed=self._files[0].exists(),
        )
        return SidecarRecord(
            run=run, files=[WrittenFile(path=self._sidecar.relative(path)) for path in self._files]
        )

    def _done(self, record: SidecarRecord) -> SidecarRecord:
        files = [
            WrittenFile(path=self._sidecar.relative(path), sha256=digest_of(path)) for path in self._files
        ]
        return SidecarRecord(run=_moved(record.run, RunState.DONE), files=files)


@contextmanager
def _record_lost() -> Iterator[None]:
    """Report that the record could not be written although the files are complete.

    Raises:
        OutputFailed: instead of WriteFailed.
    """
    try:
        yield
    except WriteFailed as error:
        raise OutputFailed("migrate", "record of the run", error.place, error.problem) from error


def migrate_to_file(
    plan: MigrationPlan,
    source: DocumentReader,
    target: SidecarTarget,
    *,
    run_id: str,
    users: DocumentReader | None,
    experts: DocumentReader | None,
    listener: Listener,
    start_pool: Callable[[], WorkerPool] | None = None,
) -> JournaledOutcome:
    """Migrate into a file, and record the outcome in its sidecar.

    Raises:
        OutputFailed: the files are complete, but the sidecar could not be written.
        BookingMigrateError: as `migrate.pipeline.migrate`; no file appears.
    """
    outcome = migrate_stream(
        plan, source, target, users=users, experts=experts, listener=listener, start_pool=start_pool
    )
    if outcome.changed:
        target.note_counts(outcome.counts)
    return JournaledOutcome(outcome, run_id, is_resumed=False)


def roll_back_file(sidecar: Sidecar, *, run_id: str | None, listener: Listener) -> UndoOutcome:
    """Remove the files that a run wrote, if they still are byte for byte what it wrote.

    A file that the run replaced (``--overwrite``) does not come back: nothing kept it.

    Raises:
        NoRun: no run is known to have written the file, or another one than named.
    """
    record = sidecar.read()
    if record is None or record.run.run_id != (run_id or record.run.run_id):
        raise NoRun(f"run {run_id or ''} noted in {sidecar.path} to roll back".replace("  ", " "))
    if record.run.state is RunState.ROLLED_BACK:
        return UndoOutcome(record.run, unit="file", was_rolled_back=True)
    outcome = UndoOutcome(record.run, unit="file")
    record = record.model_copy(update={"run": _moved(record.run, RunState.ROLLING_BACK)})
    sidecar.write(record)
    for file in record.files:
        path = sidecar.resolve(file)
        there = digest_of(path)
        if there is None:
            continue
        if there == file.sha256:
            with write_failures(str(path)):
                # Where the run wrote it: a link to it stays.
                path.resolve().unlink()
            outcome.removed += 1
        else:
            outcome.kept += 1
            outcome.kept_ids.append(file.path)
    if record.run.target_existed and outcome.removed:
        listener.notify(Warned("what the run replaced (--overwrite) was not kept and does not come back"))
    outcome.run = _moved(record.run, RunState.ROLLED_BACK).model_copy(update={"kept": outcome.kept})
    sidecar.write(record.model_copy(update={"run": outcome.run}))
    return outcome


def _moved(run: RunRecord, state: RunState) -> RunRecord:
    check_transition(run, state)
    return run.model_copy(update={"state": state, "heartbeat_at": datetime.now(UTC)})
