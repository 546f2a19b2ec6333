"""Named moments between two durable effects of the program, at which tests kill it, stop it or act.

The program knows nothing of them: each moment is a call of an adapter's method, which is wrapped. What was done before a
moment is durable, and what comes next is not.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any

from booking_migrate.cutover import attempt as cutover
from booking_migrate.cutover import recovery
from booking_migrate.follow.follower import Follower
from booking_migrate.in_place.group import GroupPlan
from booking_migrate.migrate.dispatch import Delegation
from booking_migrate.migrate.journaled_target import JournaledTarget
from booking_migrate.rollback import from_window
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.session import RunSession
from booking_migrate.runs.undo import _Undo
from booking_migrate.stores.files.atomic import Sidecar
from booking_migrate.stores.files.target import FileTarget
from booking_migrate.stores.journal import NoteKind, RangeNote
from booking_migrate.stores.mongo import in_place_units
from booking_migrate.stores.mongo.cutover import MongoLive
from booking_migrate.stores.mongo.fence import FencedSource
from booking_migrate.stores.mongo.in_place import MongoInPlace
from booking_migrate.stores.mongo.in_place_units import StepByStep, Transaction
from booking_migrate.stores.mongo.journal import MongoJournal
from booking_migrate.stores.mongo.kept_copy import KeptCopy
from booking_migrate.stores.mongo.live_swap import LiveSwap
from booking_migrate.stores.mongo.rollback import MongoRestored, MongoUndo
from booking_migrate.stores.mongo.target import MongoTarget
from tests.support.wrapped_methods import WrappedMethods


class Step(Enum):
    """The named moments of a run's life."""

    LOCKED = "locked"
    RUN_NOTED = "run-noted"
    TARGET_PREPARED = "target-prepared"
    RANGE_NOTED = "range-noted"
    BATCH_WRITTEN = "batch-written"
    CHUNK_TAKEN = "chunk-taken"
    CHECKPOINTED = "checkpointed"
    MOVE_PREPARED = "move-prepared"
    ARCHIVED = "archived"
    DOCUMENTS_WRITTEN = "documents-written"
    TARGET_FINISHED = "target-finished"
    RUN_FINISHED = "run-finished"
    UNLOCKED = "unlocked"
    CUTOVER_NOTED = "cutover-noted"
    FENCED = "fenced"
    CAUGHT_UP = "caught-up"
    LEGACY_COPIED = "legacy-copied"
    PROVEN_AGAIN = "proven-again"
    CARRIED = "carried"
    COPIED = "copied"
    DRAINED = "drained"
    SETTLED = "settled"
    SWAPPED = "swapped"
    TAILED = "tailed"
    CUT_OVER = "cut-over"
    FENCE_LIFTED = "fence-lifted"
    RESTORATION_NOTED = "restoration-noted"
    RESTORATION_BUILT = "restoration-built"
    RESTORATION_PROVEN = "restoration-proven"
    RESTORED = "restored"
    FINALIZE_NOTED = "finalize-noted"
    LEGACY_IDS_DROPPED = "legacy-ids-dropped"
    ARCHIVE_DROPPED = "archive-dropped"
    UNDO_BEGUN = "undo-begun"
    INDEX_REMOVED = "index-removed"
    RANGE_UNDONE = "range-undone"
    REJECTS_UNDONE = "rejects-undone"
    UNDO_PROVEN = "undo-proven"
    NOTES_DROPPED = "notes-dropped"


Act = Callable[[Step], None]

_SAVED = {
    "cutting-over": Step.CUTOVER_NOTED,
    "restoring": Step.RESTORATION_NOTED,
    "finalizing": Step.FINALIZE_NOTED,
    "finalized": Step.NOTES_DROPPED,
    "rolling-back": Step.UNDO_BEGUN,
    "rolled-back": Step.UNDO_PROVEN,
}
"""The moment behind the note of a run's new state."""

_SIDECAR = {
    "running": Step.RUN_NOTED,
    "done": Step.RUN_FINISHED,
    "rolling-back": Step.UNDO_BEGUN,
    "rolled-back": Step.UNDO_PROVEN,
}


class _Progress:
    """How far the run of this process is, as far as moments depend on it."""

    def __init__(self) -> None:
        self.state: str | None = None
        self.is_swapped = False
        self.is_copied = False
        self.is_undoing = False
        self.is_finished = False
        """Whether the target of a run side by side is finished."""

        self.is_failing = False


def _of_save(progress: _Progress, fields: dict[str, Any]) -> Step | None:
    state = fields.get("state")
    progress.state = state or progress.state
    progress.is_undoing = state == "rolling-back" or (progress.is_undoing and state is None)
    if state in {"done", "unchanged"}:
        return Step.RUN_FINISHED if "counts" in fields else None
    if state == "cut-over":
        return None if "successor_settings" in fields else Step.CUT_OVER
    if state is not None:
        return _SAVED.get(state)
    if "undone" in fields:
        return Step.RESTORATION_PROVEN
    return Step.CHECKPOINTED if fields.keys() == {"documents", "total"} else None


class _Wrappers(WrappedMethods[Step]):
    """The wrappers of all moments."""

    def __init__(self, act: Act) -> None:
        super().__init__(act)
        self.progress = _Progress()
        _Migration(self)
        _InPlace(self)
        _Cutover(self)
        _follow_live(self)
        _Undoing(self)


def failpoints(act: Act) -> AbstractContextManager[Any]:
    """Call a function at every named moment of this process, for as long as the context lasts.

    Args:
        act: gets the moment. What it raises ends the program as if the adapter's method had raised it.
    """
    return _Wrappers(act)


class _Migration:
    """The moments of a migration side by side, and of the journal."""

    def __init__(self, wrappers: _Wrappers) -> None:
        self.act = wrappers.act
        self.progress = progress = wrappers.progress

        wrappers.after(HeldLock, "acquire", Step.LOCKED)
        wrappers.after(HeldLock, "release", Step.UNLOCKED, unless=lambda: progress.is_failing)
        wrappers.around(RunSession, "fail", self.failed)
        wrappers.around(RunSession, "open", self.opened)
        wrappers.around(MongoJournal, "note", self.noted)
        wrappers.after(JournaledTarget, "prepare", Step.TARGET_PREPARED)
        wrappers.after(MongoTarget, "write", Step.BATCH_WRITTEN, unless=lambda: progress.is_undoing)
        wrappers.after(Delegation, "include", Step.CHUNK_TAKEN)
        wrappers.around(JournaledTarget, "finish", self.finished)
        wrappers.after(MongoTarget, "join", Step.BATCH_WRITTEN)
        wrappers.around(RunSession, "finish", self.ended)
        wrappers.around(MongoJournal, "save", self.saved)
        wrappers.around(Sidecar, "write", self.written)
        wrappers.after(FileTarget, "finish", Step.TARGET_FINISHED)

    def opened(self, whole: Callable[..., Any], session: RunSession) -> None:
        was_open = session._is_open
        whole(session)
        if not was_open:
            self.act(Step.RUN_NOTED)

    def saved(self, whole: Callable[..., Any], journal: MongoJournal, run_id: str, **fields: Any) -> Any:
        result = whole(journal, run_id, **fields)
        step = _of_save(self.progress, fields)
        if step is not None:
            self.act(step)
        return result

    def noted(
        self, whole: Callable[..., Any], journal: MongoJournal, run_id: str, token: int, note: RangeNote
    ) -> Any:
        names = whole(journal, run_id, token, note)
        if note.kind is not NoteKind.REJECTS:
            self.act(Step.RANGE_NOTED)
        return names

    def finished(self, whole: Callable[..., Any], target: JournaledTarget) -> bool:
        result: bool = whole(target)
        self.progress.is_finished = True
        self.act(Step.TARGET_FINISHED)
        return result

    def ended(self, whole: Callable[..., Any], session: RunSession, **named: Any) -> None:
        if not self.progress.is_finished:
            self.act(Step.TARGET_FINISHED)
        whole(session, **named)

    def failed(self, whole: Callable[..., Any], session: RunSession, error: BaseException) -> None:
        self.progress.is_failing = True
        whole(session, error)

    def written(self, whole: Callable[..., Any], sidecar: Sidecar, record: Any) -> None:
        whole(sidecar, record)
        step = _SIDECAR.get(record.run.state.value)
        if step is not None:
            self.act(step)


class _InPlace:
    """The moments of a migration in place."""

    def __init__(self, wrappers: _Wrappers) -> None:
        self.act = wrappers.act
        self.progress = wrappers.progress
        self.calls: list[str] = []

        wrappers.after(MongoInPlace, "prepare", Step.TARGET_PREPARED)
        wrappers.around(MongoInPlace, "work", self.worked)
        wrappers.after(Transaction, "take", Step.MOVE_PREPARED)
        wrappers.around(StepByStep, "take", self.take)
        wrappers.around(in_place_units, "insert_missing", self.inserted)
        wrappers.around(in_place_units, "_remove", self.removed)
        wrappers.around(MongoInPlace, "drop_legacy_ids", self.dropped)
        wrappers.around(MongoInPlace, "drop_archive", self.archive_dropped)
        wrappers.after(MongoInPlace, "drop_indexes", Step.INDEX_REMOVED)

    def take(self, whole: Callable[..., Any], unit: StepByStep, *arguments: Any) -> None:
        self.calls[:] = ["taken"]
        try:
            whole(unit, *arguments)
        finally:
            self.calls.clear()
        self.act(Step.MOVE_PREPARED)

    def inserted(self, whole: Callable[..., Any], *arguments: Any, **how: Any) -> None:
        is_first = self.calls == ["taken"]
        if is_first:
            self.act(Step.RANGE_NOTED)
            self.calls.append("archived")
        whole(*arguments, **how)
        if is_first:
            self.act(Step.ARCHIVED)

    def removed(self, whole: Callable[..., Any], *arguments: Any) -> None:
        if self.calls == ["taken", "archived"]:
            self.calls.append("written")
            self.act(Step.DOCUMENTS_WRITTEN)
        whole(*arguments)

    def dropped(self, whole: Callable[..., Any], collection: MongoInPlace) -> Iterator[int]:
        for count in whole(collection):
            yield count
            self.act(Step.LEGACY_IDS_DROPPED)

    def archive_dropped(
        self, whole: Callable[..., Any], collection: MongoInPlace, *, only_if_empty: bool
    ) -> Any:
        result = whole(collection, only_if_empty=only_if_empty)
        if result or not only_if_empty:
            self.act(Step.ARCHIVE_DROPPED)
        return result

    def worked(self, whole: Callable[..., Any], collection: MongoInPlace, on: Callable[..., Any]) -> Any:
        result = whole(collection, on)
        if self.progress.is_undoing:
            self.act(Step.RANGE_UNDONE)
        elif isinstance(result, GroupPlan) and result.gone:
            self.act(Step.BATCH_WRITTEN)
        return result


class _Cutover:
    """The moments of a cut-over and of its way back."""

    def __init__(self, wrappers: _Wrappers) -> None:
        self.act = wrappers.act
        self.progress = wrappers.progress

        wrappers.after(FencedSource, "raise_fence", Step.FENCED)
        wrappers.after(cutover, "catch_up", Step.CAUGHT_UP)
        wrappers.around(MongoLive, "is_same", self.copied)
        wrappers.around(MongoLive, "has_same_count", self.counted)
        wrappers.around(MongoLive, "carry", self.carried)
        wrappers.around(MongoLive, "swap", self.swapped)
        wrappers.around(FencedSource, "lift_fence", self.lifted)
        wrappers.before(MongoRestored, "complete", Step.RESTORATION_BUILT)
        wrappers.after(MongoRestored, "swap", Step.RESTORED)

    def copied(self, whole: Callable[..., Any], live: MongoLive, legacy: str) -> bool:
        result: bool = whole(live, legacy)
        if result:
            self.act(Step.LEGACY_COPIED)
            self.progress.is_copied = True
        return result

    def proven(self) -> None:
        if self.progress.is_copied:
            self.progress.is_copied = False
            self.act(Step.PROVEN_AGAIN)

    def counted(self, whole: Callable[..., Any], live: MongoLive, legacy: str) -> Any:
        self.proven()
        return whole(live, legacy)

    def carried(self, whole: Callable[..., Any], live: MongoLive, bookings: Any) -> Any:
        self.proven()
        result = whole(live, bookings)
        self.act(Step.CARRIED)
        return result

    def swapped(self, whole: Callable[..., Any], live: MongoLive, seconds: float) -> None:
        whole(live, seconds)
        self.progress.is_swapped = True

    def lifted(self, whole: Callable[..., Any], live: MongoLive, settings: str) -> None:
        is_swapped = live.is_swapped(settings)
        whole(live, settings)
        if self.progress.is_swapped:
            self.progress.is_swapped = False
            self.act(Step.SWAPPED)
        elif not is_swapped:
            self.act(Step.FENCE_LIFTED)


def _follow_live(wrappers: _Wrappers) -> None:
    """Name the moments of a cut-over beside an application that writes."""
    wrappers.after(KeptCopy, "create", Step.COPIED)
    wrappers.after(LiveSwap, "raise_fence", Step.FENCED)
    wrappers.after(Follower, "drain", Step.DRAINED)
    wrappers.after(Follower, "handle_at", Step.SETTLED)
    wrappers.after(LiveSwap, "swap", Step.SWAPPED)
    for module in (cutover, recovery):
        wrappers.after(module, "apply_tail", Step.TAILED)
    wrappers.after(from_window, "apply_window_tail", Step.TAILED)


class _Undoing:
    """The moments of a rollback."""

    def __init__(self, wrappers: _Wrappers) -> None:
        self.act = wrappers.act
        self.progress = progress = wrappers.progress

        wrappers.around(MongoJournal, "ranges", self.ranges)
        wrappers.after(_Undo, "_undo_range", Step.RANGE_UNDONE)
        wrappers.after(MongoUndo, "drop_rejects_if_empty", Step.REJECTS_UNDONE)
        wrappers.after(
            MongoJournal,
            "forget",
            Step.NOTES_DROPPED,
            unless=lambda: progress.is_failing or progress.state == "finalizing",
        )

    def ranges(self, whole: Callable[..., Any], journal: MongoJournal, run_id: str, *kinds: NoteKind) -> Any:
        if self.progress.is_undoing and kinds == (NoteKind.DOCUMENTS,):
            self.act(Step.INDEX_REMOVED)
        return whole(journal, run_id, *kinds)
