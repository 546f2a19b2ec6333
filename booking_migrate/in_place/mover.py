"""Move clients group by group: in the main thread, or in several transactions at a time.

A thread moves flat clients only. All of their documents are theirs alone, so two transactions never touch the same client;
clients that need look-ups, or may concern other clients, are left to the main thread.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from booking_migrate.bson.document import identity_of
from booking_migrate.bson.order import sort_key
from booking_migrate.errors import DuplicateKeys
from booking_migrate.in_place.archive import Replay
from booking_migrate.in_place.group import GroupPlan, GroupPlanner, PlanMode
from booking_migrate.in_place.passes import AdaptiveSize, Batch, Progress, bisect_on_conflict
from booking_migrate.migrate.counts import MigrationCounts
from booking_migrate.runs.background import overlapped
from booking_migrate.runs.provenance import TargetHistory
from booking_migrate.runs.session import RunSession
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.in_place import Move, Unit
from booking_migrate.stores.journal import RunJournal

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.in_place import MongoInPlace


_FRUITLESS, _RETRIED = 2, 20
"""After this number of batches without a flat client, they are looked for only in this number of every twenty."""


@dataclass(slots=True)
class Moved:
    """The outcome of a batch."""

    plans: list[GroupPlan] = field(default_factory=list)
    given_up: list[Any] = field(default_factory=list)
    """The ids of clients to which the application writes continuously."""

    left: list[Any] = field(default_factory=list)
    """The ids of clients that a thread leaves to the main thread."""

    seconds: list[float] = field(default_factory=list)
    """How long each attempt took."""

    def plus(self, other: "Moved") -> "Moved":
        """Return both outcomes together."""
        return Moved(
            [*self.plans, *other.plans],
            [*self.given_up, *other.given_up],
            other.left,
            [*self.seconds, *other.seconds],
        )


@dataclass
class Mover:
    """Moves groups of clients, one after the other."""

    collection: "MongoInPlace"
    planner: GroupPlanner
    session: RunSession
    journal: RunJournal
    history: TargetHistory
    slot: int
    progress: Progress = field(default_factory=lambda: Progress(MigrationCounts()))
    """What this mover has moved."""

    has_begun: Callable[[], bool] = lambda: True
    """Returns whether the run has moved anything before."""

    fruitless: int = 0
    """How many batches in succession had no flat client."""

    cut_off: frozenset[str] = frozenset()
    """The names of the notes about a unit of work that was interrupted between its steps."""

    def move(self, clients: Sequence[Any], mode: PlanMode) -> Moved:
        """Move some clients; where the application writes to them, fewer at a time."""
        moved = Moved()
        for some, plan in bisect_on_conflict(clients, lambda each: self._attempt(each, mode, moved)):
            if plan is None:
                moved.given_up += some
                continue
            moved.left += plan.left
            moved.plans.append(plan)
        return moved

    def _attempt(self, clients: Sequence[Any], mode: PlanMode, moved: Moved) -> GroupPlan:
        began = monotonic()
        try:
            plan = self.collection.work(lambda unit: self.take(unit, clients, mode))
        except DuplicateKeys:
            # The id of a new document is taken: whose it is decides the result.
            match mode:
                case PlanMode.THOROUGH:
                    raise
                case PlanMode.FLAT:
                    return GroupPlan(left=list(clients))
                case PlanMode.OPTIMISTIC:
                    plan = self.collection.work(lambda unit: self.take(unit, clients, PlanMode.THOROUGH))
        moved.seconds.append(monotonic() - began)
        if plan.gone:
            self.progress = self.progress.after(plan)
        return plan

    def take(self, unit: Unit, clients: Sequence[Any], mode: PlanMode = PlanMode.THOROUGH) -> GroupPlan:
        """Plan some clients and write the plan, within one unit of work."""
        plan = self.planner.plan(unit, clients, self.history, mode=mode)
        self._recount(plan)
        plan.counts.check()
        if plan.gone or plan.removed or plan.changed:
            progress = {"tally": self.progress.after(plan).saved()}
            run_id, token, confirm = self.session.run_id, self.session.token, self.session.confirm
            unit.take(Move(plan, run_id, token, progress, confirm, plan.notes, slot=self.slot))
        return plan

    def take_again(self, unit: Replay) -> GroupPlan:
        """Repeat a unit of work that was interrupted between its steps."""
        plan = self.take(unit, unit.client_ids())
        if plan.gone:
            self.progress = self.progress.after(plan)
        return plan

    def _recount(self, plan: GroupPlan) -> None:
        """Count clients only once if this run has moved bookings of theirs before."""
        if not plan.continued or not self.has_begun():
            return
        for document in plan.continued:
            key = sort_key(document.client_id)
            identity = identity_of(document.raw)
            related = self.journal.between(self.session.run_id, key, key)
            counted = (noted for noted in related if noted.name not in self.cut_off)
            if any(note.identity == identity for noted in counted for note in noted.notes):
                plan.counts.recount(len(document.sessions))


class MoverPool:
    """Movers that work at the same time, each on a thread of its own."""

    def __init__(
        self,
        own: Mover,
        others: Sequence[Mover],
        earlier: Progress,
        measure: AdaptiveSize,
        signal_guard: SignalGuard,
    ) -> None:
        """Take the parts.

        Args:
            own: the mover of the main thread.
            others: those of other threads; empty: the main thread does everything.
            earlier: what earlier processes moved and these movers do not count.
            measure: notified of how long each group took.
            signal_guard: defers a signal while a batch is completed.
        """
        self.own = own
        self._others = others
        self._earlier = earlier
        self._measure = measure
        self._signal_guard = signal_guard
        own.has_begun = self._has_begun

    @property
    def size(self) -> int:
        """Return how many transactions may run at a time."""
        return 1 + len(self._others)

    @property
    def progress(self) -> Progress:
        """Return the sum over all movers."""
        whole = self._earlier
        for mover in (self.own, *self._others):
            whole = whole.plus(mover.progress)
        return whole

    def _has_begun(self) -> bool:
        moved = (self._earlier, *(mover.progress for mover in (self.own, *self._others)))
        return any(each.counts.scanned for each in moved)

    def move(self, batches: Iterable[Batch], end: Callable[[Batch, Moved], None]) -> None:
        """Move batches, none of which shares a client with another.

        Args:
            batches: the batches; a signal may end the run while the next one is waited for.
            end: called in the order of the batches, with the outcome of each; a signal is deferred during the call.
        """
        if not self._others:
            for batch in batches:
                with self._signal_guard.critical_section():
                    end(batch, self._whole(batch.clients, Moved()))
            return
        working = overlapped(batches, self._others, _move_flat, on_wait=self._signal_guard.announce_wait)
        with closing(working):
            for batch, moving in working:
                with self._signal_guard.critical_section():
                    moved = moving.result()
                    end(batch, self._whole(moved.left, moved))

    def _whole(self, clients: Sequence[Any], moved: Moved) -> Moved:
        """Move what is left of a batch in this thread."""
        if clients:
            is_alone = not self._others and self.own.collection.has_transactions
            rest = self.own.move(clients, PlanMode.OPTIMISTIC if is_alone else PlanMode.THOROUGH)
            moved = moved.plus(rest)
        for seconds in moved.seconds:
            self._measure.learn(seconds)
        return moved


def _move_flat(mover: Mover, batch: Batch) -> Moved:
    """Move the flat clients of a batch; if earlier batches had none, only a sample of batches is searched for them."""
    if not batch.clients:
        return Moved()
    if mover.fruitless % _RETRIED >= _FRUITLESS:
        mover.fruitless += 1
        return Moved(left=list(batch.clients))
    moved = mover.move(batch.clients, PlanMode.FLAT)
    mover.fruitless = mover.fruitless + 1 if len(moved.left) == len(batch.clients) else 0
    return moved
