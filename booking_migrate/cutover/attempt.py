"""One attempt at a cut-over, beside an application that writes or with everything behind the fence."""

from collections.abc import Mapping
from dataclasses import asdict

from bson.timestamp import Timestamp

from booking_migrate.cutover.catch_up import CaughtUp, catch_up
from booking_migrate.cutover.live import Following, LivePreparation
from booking_migrate.cutover.plan import CutoverOutcome, CutoverPlan
from booking_migrate.cutover.readiness import decisions_in, resolve_conflicts
from booking_migrate.cutover.recovery import (
    bookings_of,
    kept_options,
    note_unread,
    recover,
    recreate_indexes,
)
from booking_migrate.cutover.refusal import (
    ACCEPTED,
    LIFTED_BY_OTHERS,
    STILL_REFUSED,
    RefusedTime,
    attempt_at_rest,
    confirm_fence,
)
from booking_migrate.cutover.tail import apply_tail
from booking_migrate.errors import (
    LIVE_AS_BEFORE,
    BookingMigrateError,
    CutoverFailed,
    LeaseLost,
    NoMajority,
    effect_of,
)
from booking_migrate.events import PhaseEnded, PhaseStarted
from booking_migrate.quantities import grouped
from booking_migrate.runs.advice import CARRYING, LEAVING
from booking_migrate.runs.commands import abort_of, command_of, cutovers_of, ways_beside_deletes
from booking_migrate.runs.finished import FinishedRun
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.provenance import JournalHistory
from booking_migrate.runs.states import check_transition
from booking_migrate.stores.cutover import IndexNote
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.own_collections import kept_copy
from booking_migrate.verify import VerificationOutcome

_EXAMPLES = 5
"""How many mismatches a failure names."""


class Attempt:
    """One attempt at a cut-over."""

    def __init__(self, run: RunRecord, plan: CutoverPlan, lock: HeldLock) -> None:
        self._run = run
        self._refused = RefusedTime(run.refused_seconds)
        self._plan = plan.migration
        self._policy = plan.policy
        self._carries = plan.policy is not None and plan.policy.carries
        self._places = plan.places
        self._live = plan.places.live
        self._stores = plan.stores
        self._lock = lock
        self._listener = plan.listener
        self._shield = plan.signal_guard
        self._follow = plan.follow
        self._limits = plan.limits
        self._is_guarded = plan.is_guarded
        self._plan_tail = plan.tail
        self._legacy = kept_copy(run.source, run.run_id)

    def carry_out(self) -> CutoverOutcome:
        """Cut over, or leave the source live and unchanged."""
        check_transition(self._run, RunState.CUTTING_OVER)
        self._lock.confirm()
        self._run = self._stores.journal.save(
            self._run.run_id,
            state=RunState.CUTTING_OVER.value,
            legacy=self._legacy,
            live_settings=self._live.settings_of_both(),
            last_refusal=0.0,
        )
        try:
            if self._is_guarded and not self._carries:
                self._live.guard()
            if self._follow is None:
                return self._swap_at_rest()
            return self._swap_live(self._follow(self._run, self._lock))
        except BaseException as error:
            self._abort(error)
            raise

    def _swap_at_rest(self) -> CutoverOutcome:
        """Refuse writes, and read everything again behind the fence."""
        caught_up, carried = self._prepare()
        earlier = self._refused.before

        def swap(seconds: float) -> tuple[float, tuple[IndexNote, ...]]:
            with self._shield.critical_section():
                # From here on, only `rollback` can undo the cut-over.
                self._lock.confirm()
                # The answer of an attempt before may have been lost.
                if self._state_after_swap() == STILL_REFUSED:
                    self._check_unchanged()
                    self._live.swap(seconds)
                    self._state_after_swap()
                return self._refused.seconds, self._complete(asdict(caught_up.migration.counts))

        refused, indexes = attempt_at_rest(
            swap, self._state_after_swap, self._limits, self._listener, self._lock.confirm
        )
        options = kept_options(self._run, self._live)
        own = refused - earlier
        return CutoverOutcome(
            self._run, caught_up.written, refused, carried, indexes, options, own_refused_seconds=own
        )

    def _state_after_swap(self) -> str:
        """Return what the application can do. Behind the swap, a block of all writes is ended, too: what follows refuses none."""
        if not self._is_swapped():
            return STILL_REFUSED
        self._lift_fence()
        self._refused.stop()
        return ACCEPTED

    def _is_swapped(self) -> bool:
        return self._live.is_swapped(self._run.live_settings or "")

    def _lift_fence(self) -> None:
        self._live.lift_fence(self._run.live_settings or "")

    def _complete(self, counts: Mapping[str, int]) -> tuple[IndexNote, ...]:
        """Record that the target is live; return how the indexes were handled."""
        if self._is_guarded:
            self._live.guard(is_live=True)
        # Before the state is saved: if that is missing, recovery recreates the indexes again.
        indexes = recreate_indexes(self._run, self._live)
        self._run = self._stores.journal.save(
            self._run.run_id, state=RunState.CUT_OVER.value, counts=dict(counts), fenced_at=None
        )
        return indexes

    def _swap_live(self, parts: Following) -> CutoverOutcome:
        """Apply changes while the application writes, and refuse writes for the last of them only."""
        carried = 0

        def check() -> None:
            nonlocal carried
            self._check_rejected(parts.counts())
            if self._carries:
                carried = self._carry()

        def undo_check() -> None:
            if self._carries:
                # The next attempt carries what is rejected then.
                self._lock.confirm()
                self._live.unguard()
                self._live.remove_carried(bookings_of(self._stores.target.rejects()), keeps_indexes=True)

        def ready() -> None:
            # Bookings that are rejected only after this are carried too; the attempt then builds the indexes.
            if self._carries and self._has_rejected():
                self._live.prepare_carry()

        preparation = LivePreparation(
            parts,
            fail=self._failure,
            mismatched=self._mismatched,
            confirm=self._lock.confirm,
            note_fence=self._note_fence,
            block=self._live.block,
            lift_fence=self._lift_fence,
            note_lifted=self._note_lifted,
            undo_check=undo_check,
            check=check,
            ready=ready,
            end_pending=self._live.end_own_commands,
            is_swapped=self._is_swapped,
            proving=self._proving(),
        )
        self._live.take_over_images()
        preparation.prepare()
        preparation.swap()
        self._lift_fence()
        report = preparation.report
        fenced = self._run.fence_time
        if fenced is not None:
            late = apply_tail(self._plan_tail(self._run, self._lock), fenced)
            report.take(late)
            self._run = note_unread(self._run, self._stores, late)
        with self._shield.critical_section():
            indexes = self._complete({**self._run.counts, **parts.counts()})
        # Fences of aborted and killed attempts are included.
        own = report.outage.total
        return CutoverOutcome(
            self._run,
            preparation.written,
            self._refused.before + own,
            carried,
            indexes,
            kept_options(self._run, self._live),
            report,
            own_refused_seconds=own,
        )

    def _carry(self) -> int:
        """Carry the rejected bookings into the target, and let it refuse other old bookings; return how many."""
        self._lock.confirm()
        carried = self._live.carry(bookings_of(self._stores.target.rejects()))
        # The guard would refuse the carried bookings, so it follows them; it must be set before the target is live.
        if self._is_guarded:
            self._live.guard(is_lenient=True)
        return carried

    def _has_rejected(self) -> bool:
        return next(iter(bookings_of(self._stores.target.rejects())), None) is not None

    def _note_lifted(self, seconds: float) -> None:
        """Record that writes are accepted again."""
        self._run = self._stores.journal.save(
            self._run.run_id,
            fenced_at=None,
            fence_time=None,
            refused_seconds=self._refused.before + seconds,
            refusals=self._run.refusals + 1,
        )
        self._refused.end(seconds)

    def _note_fence(self, fenced: Timestamp | None) -> None:
        """Record that writes may be refused: if the process is killed, the journal must show it."""
        journal = self._stores.journal
        if fenced is None:
            # Options and indexes may have been changed since the cut-over began, which may be hours ago.
            settings = self._live.settings_now(self._run.live_settings or "")
            self._run = journal.save(self._run.run_id, fenced_at=journal.now(), live_settings=settings)
            self._refused.begin()
        else:
            self._run = journal.save(self._run.run_id, fence_time=fenced)

    def _check_rejected(self, counts: Mapping[str, int]) -> None:
        """Check that no conflict, and no rejected booking without a decision, prevents the cut-over.

        Raises:
            CutoverFailed: some do.
        """
        if counts["conflicts"]:
            raise self._failure(
                f"bookings conflict with sessions that others have changed: {grouped(counts['conflicts'])}",
                resolve_conflicts(self._run),
            )
        if counts["rejected"] and self._policy is None:
            known = self._run.model_copy(update={"counts": {**self._run.counts, **counts}})
            carry, leave = cutovers_of(known)
            raise self._failure(
                f"bookings that were added or changed since the migration were rejected: {grouped(counts['rejected'])}",
                f"Cut over again, and {CARRYING}: {carry}\n{LEAVING}: {leave}",
            )

    def _prepare(self) -> tuple[CaughtUp, int]:
        """Do everything up to the swap, at rest; return what was caught up, and how many rejected bookings were carried."""
        attempt_at_rest(
            self._refuse_writes, self._accept_writes, self._limits, self._listener, self._lock.confirm
        )
        places = self._places
        decided = decisions_in(self._stores.target.rejects())
        caught_up = catch_up(
            self._plan,
            places.source,
            places.target,
            run=FinishedRun(self._stores, self._run, self._lock, JournalHistory),
            users=places.users,
            experts=places.experts,
            listener=self._listener,
            signal_guard=self._shield,
        )
        counts = caught_up.migration.counts
        self._check_rejected(asdict(counts))
        if decisions_in(self._stores.target.rejects()) != decided:
            raise self._failure(
                "the conflicts have changed since they were decided with --on-conflict target",
                resolve_conflicts(self._run),
            )
        self._keep_copy()
        outcome = places.verify(self._legacy)
        if outcome.mismatch_count:
            raise self._mismatched(outcome)
        carried = self._carry() if self._carries else 0
        return caught_up, carried

    def _check_unchanged(self) -> None:
        """Check that the source still is what was proven at rest: attempts at the swap may take minutes.

        Raises:
            CutoverFailed: it is not.
        """
        if not self._live.is_fenced():
            raise self._failure(LIFTED_BY_OTHERS, f"Cut over again: {command_of(self._run, 'cutover')}")
        if not self._live.has_same_count(self._legacy):
            raise self._failure(
                "bookings were deleted from the source during the cut-over", self._deletes_go_on()
            )

    def _refuse_writes(self, seconds: float) -> None:
        # Before the fence: if the process is killed after it, the journal must show that writes are refused.
        self._note_fence(None)
        self._live.raise_fence(seconds)
        confirm_fence(self._lock.confirm, self._is_swapped, self._lift_fence)

    def _accept_writes(self) -> str:
        self._lift_fence()
        self._note_lifted(self._refused.seconds - self._refused.before)
        return ACCEPTED

    def _keep_copy(self) -> None:
        self._lock.confirm()
        self._listener.notify(PhaseStarted(f"copying {self._run.source} to {self._legacy}", None))
        self._live.copy(self._legacy)
        self._listener.notify(PhaseEnded())
        if not self._live.is_same(self._legacy):
            raise self._failure(
                f"the copy {self._legacy} differs from the source: bookings were deleted during the cut-over",
                self._deletes_go_on(),
            )

    def _abort(self, error: BaseException) -> None:
        """Undo the attempt, so that the source is live and unchanged; if that fails, add a note with what to run."""
        if isinstance(error, LeaseLost):
            return
        try:
            if self._run.state is not RunState.CUT_OVER:
                with self._shield.critical_section():
                    self._run = self._recovered()
            if self._run.state is RunState.CUT_OVER:
                error.add_note(f"The cut-over is complete: {self._run.source} holds the client documents.")
            elif not effect_of(error):
                error.add_note(f"{self._run.source} {LIVE_AS_BEFORE}")
        except NoMajority:
            error.add_note(
                f"{self._run.source} accepts writes again, but no majority has acknowledged that yet. When a majority of the members is "
                f"available, cut over again: {command_of(self._run, 'cutover')}"
            )
        except BookingMigrateError as trouble:
            error.add_note(self._left_behind(trouble))

    def _recovered(self) -> RunRecord:
        """Undo or complete the attempt; if only the acknowledgement of its last record was lost, nothing has to be done."""
        run = self._run
        saved = next(
            (each for each in self._stores.journal.runs(run.target) if each.run_id == run.run_id), run
        )
        if saved.state is RunState.CUT_OVER:
            return saved
        return recover(run, self._live, self._stores, self._lock, self._plan_tail)

    def _left_behind(self, trouble: BookingMigrateError) -> str:
        """Return the note about a cut-over that could not be cleaned up: first of all whether writes are refused."""
        try:
            is_refusing = self._live.refuses_writes(self._run.live_settings or "")
        except BookingMigrateError:
            is_refusing = True
        if is_refusing:
            return (
                f"The fence could not be lifted ({trouble.message}): {self._run.source} may still refuse writes. As soon as possible, "
                f"accept them again: {abort_of(self._run)}"
            )
        return (
            f"{self._run.source} accepts writes again, but the cut-over could not be cleaned up ({trouble.message}). "
            f"When that is possible: {abort_of(self._run)}"
        )

    def _mismatched(self, outcome: VerificationOutcome) -> CutoverFailed:
        if self._follow is not None:
            # Deletes do not cause them, as at rest: what `status` advises goes by that, and so does the next cut-over.
            self._lock.confirm()
            journal = self._stores.journal
            journal.annotate(self._run.run_id, verified_at=journal.now(), verified_clean=False)
        examples = [each for result in outcome.results for each in result.examples][:_EXAMPLES]
        failure = self._failure(
            f"the target does not match the source, mismatches: {grouped(outcome.mismatch_count)}",
            "\n".join([self._proving(), *([] if self._follow else [self._deletes_go_on()])]),
        )
        failure.examples = tuple(each.place for each in examples)
        return failure

    def _proving(self) -> str:
        """Return the advice to derive the target again, and to prove it."""
        return f"Migrate again: {command_of(self._run, 'migrate')}\nThen verify: {command_of(self._run, 'verify')}"

    def _deletes_go_on(self) -> str:
        """Return the advice about a cut-over at rest that deletes have ended."""
        lines = "\n".join(map(str, ways_beside_deletes(self._run)))
        what = "at rest" if "at-rest" in self._run.cutover_options else "that cannot follow changes"
        return f"A cut-over {what} cannot refuse deletes.\n{lines}"

    def _failure(self, problem: str, advice: str) -> CutoverFailed:
        return CutoverFailed(self._run.target, problem, advice, self._refused.seconds)
