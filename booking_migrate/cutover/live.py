"""A cut-over beside an application that writes: writes are refused only while the last few changes are applied.

The kept copy, the verification of the whole target and all earlier changes come before the fence. Behind it, only the
changes since the last round are derived and verified, as of the fence's cluster time. Everything before the swap can be
aborted.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from bson.timestamp import Timestamp

from booking_migrate.bson.order import sort_key
from booking_migrate.cutover.fencing import Fencing, FencingParts, LiveReport, Swap
from booking_migrate.errors import REPLACED, CutoverFailed, CutoverTooSlow
from booking_migrate.errors.base import SAME_COMMAND
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.follow.engine import Engine, Handled
from booking_migrate.follow.follower import Follower
from booking_migrate.follow.part import Kept
from booking_migrate.quantities import grouped
from booking_migrate.runs.background import meanwhile
from booking_migrate.runs.plan import Limits
from booking_migrate.stores.changes import Change, ChangeFeed, Dirty, DirtyStore, Position
from booking_migrate.verify import VerificationOutcome

T = TypeVar("T")


class CopiedSource(Kept, Protocol):
    """The kept copy, as a cut-over needs it."""

    def create(self) -> None:
        """Copy the source. Writes during the copying may be missing."""

    def compare(self) -> Iterable[Any]:
        """Return the `_id` values under which source and copy differ; in use, a difference may be temporary."""


@dataclass(frozen=True, slots=True)
class Following:
    """The parts by which a cut-over follows the application."""

    engine: Engine
    feed: ChangeFeed
    store: DirtyStore
    copy: CopiedSource
    watch_copy: Callable[[Position], ChangeFeed]
    """Opens the same feed at a position, with the kept copy."""

    swap: Swap
    now: Callable[[], Timestamp]
    save: Callable[[Position], None]
    prepare: Callable[[], None]
    """Creates the indexes by which single clients are looked up."""

    verify: Callable[[], VerificationOutcome]
    """Verifies the whole target against the kept copy; clients that changed since the saved position are behind."""

    counts: Callable[[], Mapping[str, int]]
    """Returns how many bookings there are, were rejected, and conflict, by the names in a run's counts."""

    is_proven: bool
    """Whether the whole target was verified, so that each client that changed since is verified when it is followed."""

    limits: Limits
    listener: Listener


class LivePreparation:
    """Everything of a live cut-over up to the swap."""

    def __init__(
        self,
        parts: Following,
        *,
        fail: Callable[[str, str], CutoverFailed],
        mismatched: Callable[[VerificationOutcome], CutoverFailed],
        confirm: Callable[[], None],
        note_fence: Callable[[Timestamp | None], None],
        block: Callable[[], None],
        lift_fence: Callable[[], None],
        note_lifted: Callable[[float], None],
        undo_check: Callable[[], None],
        check: Callable[[], None],
        ready: Callable[[], None],
        end_pending: Callable[[], None],
        is_swapped: Callable[[], bool],
        proving: str,
    ) -> None:
        """Take the parts.

        Args:
            parts: by which the application is followed.
            fail: makes the error for a problem and its advice.
            mismatched: makes the error for a verification that found mismatches.
            confirm: checks that the lock is still held.
            note_fence: records that writes may be refused, and from which cluster time on.
            block: refuses every user's writes, if that was asked for.
            lift_fence: lifts the fence, and ends the refusal of all users' writes; called from any thread.
            note_lifted: records that writes are accepted again, and for how many seconds they were refused.
            undo_check: undoes what `check` did.
            check: raises if conflicts or rejected bookings prevent the swap.
            ready: does the long steps that the swap needs.
            end_pending: ends what the server has not carried out yet of the swap.
            is_swapped: returns whether the target has the source's name.
            proving: the advice to derive the target again and to prove it, which begins with a verb.
        """
        self._parts = parts
        self._fail = fail
        self._mismatched = mismatched
        self._confirm = confirm
        self._ready = ready
        self._proving = proving
        self.report = LiveReport()
        self._follower = Follower(
            parts.engine,
            parts.feed,
            parts.store,
            now=parts.now,
            save=parts.save,
            on_wrong=self._refuse_wrong,
            prepare=lambda: None,
            on_replaced=self._refuse_replaced,
        )
        fencing = FencingParts(
            swap=parts.swap,
            limits=parts.limits,
            listener=parts.listener,
            confirm=confirm,
            note_fence=note_fence,
            block=block,
            lift_fence=lift_fence,
            note_lifted=note_lifted,
            undo_check=undo_check,
            check=check,
            end_pending=end_pending,
            is_swapped=is_swapped,
            fail=fail,
            too_slow=CutoverTooSlow,
            again=f"Run the same command again: {SAME_COMMAND}",
        )
        self._fencing = Fencing(self._follower, fencing, self.report)

    def prepare(self) -> None:
        """Do everything that takes long, while the application writes."""
        parts, follower = self._parts, self._follower
        parts.prepare()
        follower.is_verified = parts.is_proven
        self._round("following the changes since the last run")
        self._copy()
        if not parts.is_proven:
            self._prove()
        self._meanwhile(self._ready)

    def _round(self, label: str) -> None:
        # Those of before, such as during the copying, are kept to be handled in this round.
        waiting = self._follower.waiting or 0
        self._parts.listener.notify(PhaseStarted(label, waiting or None, "change"))
        done = self._follower.round(0.0)
        self._parts.listener.notify(Advanced(waiting + done.changes))
        self._parts.listener.notify(PhaseEnded())
        self._confirm()

    def _meanwhile(self, action: Callable[[], T]) -> T:
        """Return the result of a long action; during it the feed is read, so that the oplog does not lose its changes."""

        def beside() -> None:
            self._follower.keep(0.0)
            self._confirm()

        # A command that still runs on the server after a signal is ended by the next process.
        return meanwhile(action, beside)

    def _copy(self) -> None:
        """Copy the source, and correct the copy: documents that differ are written again and read back."""
        parts = self._parts
        parts.listener.notify(PhaseStarted("copying the source", None))
        self._meanwhile(parts.copy.create)
        # Changes of others to the copy are found from here on: by the comparison, and later by the feed.
        position = self._follower.position
        if position is None:
            raise RuntimeError("the copy is made when the feed has been read")
        self._follower.watch_copy(parts.watch_copy(position), parts.now())
        self._follower.kept = parts.copy
        differing = self._meanwhile(lambda: {sort_key(value): value for value in parts.copy.compare()})
        self._follower.mark(Dirty(bookings=differing))
        parts.listener.notify(PhaseEnded())
        self._round("following the changes since the copy")

    def _prove(self) -> None:
        """Verify the whole target against the kept copy.

        Only this process changes them, and not meanwhile. What the next rounds derive is behind, and they verify it.
        """
        outcome = self._meanwhile(self._parts.verify)
        if outcome.mismatch_count:
            raise self._mismatched(outcome)
        self._follower.is_verified = True

    def swap(self) -> None:
        """Refuse writes, apply the last changes, and swap; retry while the limit is passed.

        Raises:
            CutoverTooSlow: the limit was passed every time.
            CutoverFailed: target or kept copy is not what the source makes.
        """
        self._fencing.swap()

    @property
    def written(self) -> int:
        """Return how many client documents were written or removed since the cut-over began."""
        return self._follower.progress.written

    def _refuse_wrong(self, handled: Handled) -> None:
        if handled.foreign:
            raise self._fail(
                f"client documents of the target were changed by others: {grouped(len(handled.foreign))}",
                f"End what else writes to the target.\n{self._proving}",
            )
        if handled.verification is not None and handled.verification.mismatch_count:
            raise self._mismatched(handled.verification)
        raise self._fail(
            f"the kept copy was changed by others, documents that differ from the source: {grouped(len(handled.differing))}",
            f"End what else writes to the copy, then run the same command again, which makes a new one: {SAME_COMMAND}",
        )

    def _refuse_replaced(self, change: Change) -> None:
        raise self._fail(REPLACED.format(collection=change.collection), self._proving)
