"""One process of the program: the real code of following and of the cut-over over a `World`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

from booking_migrate.bson.order import sort_key
from booking_migrate.cli.cutover_parts import _without_position
from booking_migrate.cli.following import is_proven, position_of
from booking_migrate.cutover import fencing, recovery, refusal
from booking_migrate.cutover.live import Following, LivePreparation
from booking_migrate.cutover.plan import CutoverOutcome, CutoverPlan
from booking_migrate.cutover.readiness import RejectedPolicy
from booking_migrate.cutover.refusal import Refusal
from booking_migrate.cutover.run import cut_over
from booking_migrate.cutover.tail import TailParts
from booking_migrate.events import NullListener
from booking_migrate.follow import backlog, engine, follower
from booking_migrate.follow import run as follow_run
from booking_migrate.follow.engine import Engine, TimedPlaces
from booking_migrate.follow.run import FollowParts, FollowPlan, follow
from booking_migrate.runs import background, workers
from booking_migrate.runs import lock as run_lock
from booking_migrate.runs.finished import FinishedRun
from booking_migrate.runs.held_history import HeldHistory
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.plan import Limits, MigrationPlan
from booking_migrate.runs.provenance import JournalHistory, PointHistory
from booking_migrate.runs.session import RunRequest, RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.changes import Dirty
from booking_migrate.stores.journal import RunJournal, RunRecord, RunState
from booking_migrate.stores.locks import Holder
from booking_migrate.stores.own_collections import kept_copy
from booking_migrate.verify import VerificationOutcome, VerificationPlan
from booking_migrate.verify import behind as verify_behind
from booking_migrate.verify import run as verify_run
from booking_migrate.verify.behind import BehindClients
from booking_migrate.verify.fastpath import FastPath
from booking_migrate.verify.run import verify
from tests.simulation.adapters import Feed, Places, Reader, Rejected, Store
from tests.simulation.application import CLIENTS, Application
from tests.simulation.checks import RUN
from tests.simulation.server import Journal, Kept, Live, Locks, Swap
from tests.simulation.world import SOURCE, TARGET, Stored, World

_PLAN = MigrationPlan()
_VERIFICATION = VerificationPlan()
_LISTENER = NullListener()
_HOLDER = Holder(RUN, "cutover", "user", "host", 1, "")
TEMPLATES = 48
"""How many worlds the schedules begin from."""
_PROCESSES, _CALM_PROCESSES = 4, 6


class _Inline:
    """A thread that does its work when it is started, so that a seed replays."""

    def __init__(self, target: Any, **_options: Any) -> None:
        self._target = target

    def start(self) -> None:
        """Do the work, unless it is to renew a lease for ever."""
        if self._target.__name__ != "_renew":
            self._target()

    def join(self) -> None:
        """Do nothing: the work is done."""


class _Done:
    """The future of work that was done when it was started: without the locks of a real one."""

    __slots__ = ("_error", "_result")

    def __init__(self) -> None:
        self._result: Any = None
        self._error: BaseException | None = None

    def set_result(self, result: Any) -> None:
        """Take the result."""
        self._result = result

    def set_exception(self, error: BaseException) -> None:
        """Take the error."""
        self._error = error

    def exception(self) -> BaseException | None:
        """Return the error."""
        return self._error

    def result(self) -> Any:
        """Return the result, or raise the error."""
        if self._error is not None:
            raise self._error
        return self._result

    def done(self) -> bool:
        """Return True."""
        return True


def _all_done(futures: Sequence[_Done], _seconds: float) -> Any:
    return SimpleNamespace(done=futures, not_done=())


class _Clock:
    """The clock of the world that is simulated."""

    def __init__(self) -> None:
        self.world: World | None = None

    def monotonic(self) -> float:
        """Return its time."""
        return 0.0 if self.world is None else self.world.clock

    def sleep(self, seconds: float) -> None:
        """Let the time pass, and the application write."""
        if self.world is not None:
            self.world.clock += seconds
            self.world.step("sleep", fails=False)


_CLOCK = _Clock()


_read_meanwhile = LivePreparation._meanwhile


def _without_thread(_self: Refusal) -> None:
    """Leave it to the calling thread to find that the limit has passed."""


def _meanwhile(self: LivePreparation, action: Callable[[], Any]) -> Any:
    """Let what another thread does be done at the steps of the action."""
    world = _CLOCK.world
    if world is None:
        raise RuntimeError("a schedule has a world")
    world.meanwhile = self._follower.keep
    try:
        return _read_meanwhile(self, action)
    finally:
        world.meanwhile = None


_FAST_PATH = lru_cache(maxsize=1)(FastPath)


_SIZES = ((2, 3, 1, 1), (2, 3, 2, 2), (9, 9, 9, 9), (9, 3, 9, 2))
"""How many entries are handled, held in memory and handled behind the fence, and how many clients are derived, at a time: so few
that small worlds come to it, or all together."""


def begin(world: World, seed: int) -> None:
    """Let the code see the time of a world, and do so much at a time as the seed has it."""
    _CLOCK.world = world
    sizes = _SIZES[seed // TEMPLATES % len(_SIZES)]
    follower._ENTRIES_PER_GROUP, backlog._IN_MEMORY, follower._BEHIND_FENCE, engine._CLIENTS_AT_ONCE = sizes


@contextmanager
def simulated() -> Iterator[None]:
    """Let the code run on the calling thread, by the world's clock."""
    with (
        patch.object(background, "Thread", _Inline),
        patch.object(background, "Future", _Done),
        patch.object(background, "wait", _all_done),
        patch.object(workers, "Future", _Done),
        patch.object(run_lock, "Thread", _Inline),
        patch.object(follower, "monotonic", _CLOCK.monotonic),
        patch.object(follow_run, "monotonic", _CLOCK.monotonic),
        patch.object(fencing, "monotonic", _CLOCK.monotonic),
        patch.object(fencing, "sleep", _CLOCK.sleep),
        patch.object(refusal, "monotonic", _CLOCK.monotonic),
        patch.object(Refusal, "_watch", _without_thread),
        patch.object(LivePreparation, "_meanwhile", _meanwhile),
        # It compiles the contract, and keeps nothing of what it checks.
        patch.object(verify_run, "FastPath", _FAST_PATH),
        patch.object(verify_behind, "_AT_MOST_EVERY", 0.0),
        patch.multiple(follower, _ENTRIES_PER_GROUP=2, _BEHIND_FENCE=1),
        patch.object(backlog, "_IN_MEMORY", 3),
        patch.object(engine, "_CLIENTS_AT_ONCE", 2),
    ):
        yield


@dataclass
class Process:
    """One process of the program: what it has in memory is lost with it."""

    world: World

    def __post_init__(self) -> None:
        """Open everything."""
        self.journal = Journal(self.world)
        self.locks = Locks(self.world)
        places = Places(self.world)
        self.stores = RunStores(self.journal, self.locks, places.target, None, lambda _: Store(self.world))  # type: ignore[arg-type]
        self.live: Any = Live(self.world)
        self.request = RunRequest(RUN, SOURCE, TARGET, {}, _HOLDER)
        self.guard = SignalGuard()

    def engine(self, places: Places, run: RunRecord, lock: HeldLock, *, is_watched: bool = False) -> Engine:
        """Return the engine over some places."""
        finished = FinishedRun(self.stores, run, lock, HeldHistory)
        return Engine(
            _PLAN,
            cast("TimedPlaces", places),
            finished,
            verification=lambda: _VERIFICATION,
            listener=_LISTENER,
            signal_guard=self.guard,
            is_watched=is_watched,
        )

    def feed(self, run: RunRecord) -> Feed:
        """Open the feed where the run's record says."""
        begin = position_of(run)
        assert begin is not None
        return Feed(self.world, begin)

    def following(self, run: RunRecord, lock: HeldLock) -> Following:
        """Return the parts of a live cut-over."""
        places = Places(self.world)
        copy = kept_copy(run.source, run.run_id)
        return Following(
            engine=self.engine(places, run, lock, is_watched=True),
            feed=self.feed(run),
            store=Store(self.world),
            copy=Kept(self.world, copy),
            watch_copy=lambda position: Feed(self.world, position, copy=copy),
            swap=Swap(self.world),
            now=places.now,
            save=lambda position: self.journal.annotate(
                RUN, follow={**_without_position(run), **position.saved()}
            ),
            prepare=places.prepare,
            verify=lambda: self.verify(copy, behind=self.behind()),
            counts=lambda: {"conflicts": 0, "rejected": len(self.world.rejects)},
            is_proven=is_proven(run),
            limits=Limits(attempts=3),
            listener=_LISTENER,
        )

    def behind(self) -> BehindClients:
        """Return what knows the clients that changed since the position in the run's record."""
        history = PointHistory(cast("RunJournal", self.journal), [RUN])
        begin = position_of(self.world.runs[RUN])
        assert begin is not None
        # What a majority had when the documents were read, the server's stream has too.
        feed = Feed(self.world, begin, is_prompt=True)
        return BehindClients(feed, Places(self.world).now, history, Store(self.world).scan)

    def verify(
        self, copy: str, target: str = TARGET, behind: BehindClients | None = None
    ) -> VerificationOutcome:
        """Verify the whole target, under one of its names, against the kept copy."""
        rejected = Rejected(self.world.rejects.values)
        baselines = JournalHistory(cast("RunJournal", self.journal), [RUN], RUN).baselines
        plan = VerificationPlan(baselines=baselines, behind=behind)
        old, new = (Reader(self.world, name, lambda: None) for name in (copy, target))
        return verify(plan, old, new, rejected)

    def tail(self, run: RunRecord, lock: HeldLock) -> TailParts:
        """Return the parts for what passed the fence."""
        copy = kept_copy(run.source, run.run_id)
        places = Places(self.world, copy, SOURCE)
        return TailParts(
            feed=Feed(self.world, run.fence_time, is_whole=True, copy=copy),
            copy=Kept(self.world, copy),
            engine=self.engine(places, run, lock),
            places=cast("TimedPlaces", places),
            history=FinishedRun(self.stores, run, lock, PointHistory).history,
            now=places.now,
            listener=NullListener(),
        )

    def cut_over(self) -> CutoverOutcome:
        """Cut over, or continue a cut-over."""
        places = Places(self.world)
        return cut_over(
            CutoverPlan(
                migration=_PLAN,
                request=self.request,
                policy=RejectedPolicy.LEAVE,
                places=SimpleNamespace(live=self.live, source=places.source, target=places.target),  # type: ignore[arg-type]
                stores=self.stores,
                listener=_LISTENER,
                signal_guard=self.guard,
                before=lambda _run: None,
                follow=self.following,
                tail=self.tail,
            )
        )

    def abort(self) -> RunRecord:
        """Abort a cut-over that was killed."""
        return recovery.abort(self.stores, self.live, self.request, self.tail)

    def follow(self, rounds: int) -> None:
        """Follow the source for some rounds."""
        self.locks.rounds = rounds

        def parts(run: RunRecord, lock: HeldLock) -> FollowParts:
            places = Places(self.world)
            return FollowParts(
                engine=self.engine(places, run, lock, is_watched=True),
                feed=self.feed(run),
                store=Store(self.world),
                now=places.now,
                catch_up=lambda: None,
                prepare=places.prepare,
                verify=lambda: self.verify(SOURCE),
                counts=dict,
                oplog_began=lambda: None,
                is_proven=is_proven(run),
            )

        # Without a small outage, the whole target is verified by the cut-over only.
        follow(FollowPlan(self.stores, self.request, parts, _LISTENER, -1.0))


@lru_cache(maxsize=TEMPLATES)
def migrated(number: int) -> World:
    """A world whose source was just migrated."""
    world = World(Random(number))
    world.collections = {SOURCE: Stored(world.number()), TARGET: Stored(world.number())}
    application = Application(world)
    clients = CLIENTS[: world.random.randint(2, 3)]
    for _ in range(world.random.randint(3, 8)):
        world.tick()
        world.put(SOURCE, *application.booking(world.random.choice(clients)), "insert")
    began = datetime(2026, 1, 1, tzinfo=UTC)
    run = RunRecord(
        run_id=RUN,
        tool_version="1",
        source=SOURCE,
        target=TARGET,
        state=RunState.DONE,
        options={},
        user="user",
        host="host",
        pid=1,
        started_at=began,
        heartbeat_at=began,
        worked_from=began,
        written_at=began,
        verified_at=datetime(2026, 1, 2, tzinfo=UTC),
        verified_clean=True,
    )
    world.runs[RUN] = run
    process = Process(world)
    lock = HeldLock.acquire(process.locks, TARGET, _HOLDER)
    bookings = {sort_key(key): key for key in world.collections[SOURCE].documents}
    process.engine(Places(world), run, lock).handle(Dirty(bookings=bookings), world.now, verified=False)
    world.tick()
    world.runs[RUN] = run.model_copy(update={"follow": {"time": world.now}})
    return world


@contextmanager
def from_sound_worlds(template: Callable[[int], World]) -> Iterator[None]:
    """Make the worlds in which schedules begin, before a guard is removed: which ones exist is not left to earlier tests."""
    for number in range(TEMPLATES):
        template(number)
    yield
