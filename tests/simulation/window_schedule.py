"""One schedule of a reverse window: a cut-over is done; windows are kept, and a rollback comes, while the application writes."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from random import Random
from typing import Any
from unittest.mock import patch

from booking_migrate.errors import BookingMigrateError, RollbackTooSlow
from booking_migrate.rollback import relocations, window
from booking_migrate.rollback.restore import RollbackPlan
from booking_migrate.rollback.run import roll_back
from booking_migrate.rollback.window import Window
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.plan import Limits
from booking_migrate.runs.session import RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.journal import RunState
from booking_migrate.stores.locks import Holder
from booking_migrate.stores.scratch import Scratch
from tests.simulation.adapters import Store
from tests.simulation.application import Application
from tests.simulation.checks import RUN
from tests.simulation.process import (
    _CLOCK,
    _HOLDER,
    _LISTENER,
    TEMPLATES,
    Process,
    begin,
    migrated,
    simulated,
)
from tests.simulation.server import Journal, Locks
from tests.simulation.window_application import Expected, NewApplication, booking_of
from tests.simulation.window_server import RESTORED, Undone, window_parts
from tests.simulation.world import SOURCE, TARGET, Killed, Rates, Violation, World, fields

_PROCESSES, _CALM_PROCESSES = 6, 8
_KEEPER = Holder(RUN, "cutover --reverse-window", "user", "host", 1, "")
_SECONDS = (3600.0, 3600.0, 3600.0, 0.05)


@lru_cache(maxsize=TEMPLATES)
def cut_over(number: int) -> World:
    """A world that was just cut over, with what both applications had written before."""
    random = Random(number)
    world = migrated(number).copied(random)
    application = Application(world)
    begin(world, number)
    for _ in range(random.randint(0, 4)):
        application.write()
    Process(world).cut_over()
    world.swapped_at = None
    world.trace = []
    return world


def _meanwhile(self: Window, follower: Any, action: Any) -> Any:
    """Let what another thread does be done at the steps of the action."""
    world = _CLOCK.world
    if world is None:
        raise RuntimeError("a schedule has a world")

    def beside() -> None:
        follower.keep(0.0)
        self._confirm()

    world.meanwhile = beside
    try:
        return action()
    finally:
        world.meanwhile = None


class _Memory(Scratch):
    """A private database in memory: one on disk takes longer than a schedule."""

    def __init__(self, schema: str) -> None:
        self._database = sqlite3.connect(":memory:", isolation_level=None)
        self._database.executescript(schema)


@contextmanager
def simulated_window() -> Iterator[None]:
    """Let the code of a window run on the calling thread, by the world's clock."""
    with (
        simulated(),
        patch.object(window, "monotonic", _CLOCK.monotonic),
        patch.object(Window, "_meanwhile", _meanwhile),
        patch.object(relocations, "Scratch", _Memory),
    ):
        yield


class WindowSimulation:
    """One schedule."""

    def __init__(self, seed: int) -> None:
        """Let the seed decide what happens how often."""
        self.seed = seed
        self.random = Random(seed)
        self.world = world = cut_over(seed % TEMPLATES).copied(self.random)
        self.application = NewApplication(world)
        world.application = self.application.write
        world.stranger = self.application.write_foreign

    def run(self) -> None:
        """Carry the schedule out, and check what must hold.

        Raises:
            Violation: it does not.
        """
        world, choose = self.world, self.random.choice
        begin(world, self.seed)
        world.rates = Rates(
            write=choose((0.0, 0.02, 0.06)),
            write_fenced=choose((0.0, 0.05, 0.3)),
            kill=choose((0.0, 0.005, 0.015)),
            failure=choose((0.0, 0.0, 0.006)),
            foreign=choose((0.0, 0.0, 0.01)),
            slow=choose((0.0, 0.0, 0.01)),
            blocked=choose((0.0, 0.2, 0.5)),
            lost_fence=choose((0.0, 0.0, 0.15)),
            killed_command=choose((0.0, 0.0, 0.3)),
        )
        for number in range(_PROCESSES + _CALM_PROCESSES):
            world.is_calm = number >= _PROCESSES
            if world.is_calm:
                # It may have been sent long ago, and ends at some time.
                world.carry_out_pending()
            if self._one_process():
                break
        else:
            raise Violation("the rollback does not end")
        world.is_dead, world.is_calm = False, True
        check(world, self.application)

    def _one_process(self) -> bool:
        """Run one process; return whether nothing more is to be done."""
        world, random = self.world, self.random
        world.is_dead = False
        run = world.runs[RUN]
        if run.state is RunState.ROLLED_BACK:
            return True
        is_ready = run.state is RunState.RESTORING or (run.window.get("built") and self._is_intact())
        try:
            if is_ready and (world.is_calm or random.random() < 0.6):
                world.said("rollback")
                self._roll_back()
                return True
            if run.state is RunState.RESTORING:
                return False
            world.said("window")
            self._keep()
        except Killed:
            return False
        except KeyboardInterrupt:
            world.said("interrupted")
        except RollbackTooSlow as error:
            world.said(error.message)
            if world.is_fenced:
                raise Violation("the fence stands after an aborted rollback") from error
        except BookingMigrateError as error:
            world.said(f"{type(error).__name__}: {error}")
        return False

    def _is_intact(self) -> bool:
        stored = self.world.collections.get(RESTORED)
        return stored is not None and str(stored.uuid) == self.world.runs[RUN].window["restored"]

    def _keep(self) -> None:
        world, random = self.world, self.random
        journal, locks = Journal(world), Locks(world)
        locks.rounds = random.randint(5, 80)
        lock = HeldLock.acquire(locks, TARGET, _KEEPER)
        try:
            run = world.runs[RUN]
            seconds = _SECONDS[0] if world.is_calm else random.choice(_SECONDS)
            Window(run, window_parts(world), journal, lock, _LISTENER).keep(seconds)  # type: ignore[arg-type]
        except BaseException as error:
            lock.release_after(error)
            raise
        lock.release()

    def _roll_back(self) -> None:
        world = self.world
        stores = RunStores(Journal(world), Locks(world), Undone(world), None, lambda _: Store(world))  # type: ignore[arg-type]
        roll_back(
            RollbackPlan(
                world.runs[RUN],
                stores,
                _HOLDER,
                exists=lambda name: name in world.collections,
                places=lambda _run: window_parts(world).whole,
                in_place=_unused,
                listener=_LISTENER,
                signal_guard=SignalGuard(),
                window=lambda _run: window_parts(world),
                limits=Limits(attempts=3),
                converts_later=None,
                discard_later=False,
                older=None,
                tail=_unused,
            )
        )


def _unused(*_arguments: Any) -> Any:
    raise NotImplementedError


def check(world: World, application: NewApplication) -> None:
    """Check that the live collection has every booking of the ledger, once, and nothing else.

    Raises:
        Violation: it has not.
    """
    run = world.runs[RUN]
    if run.state is not RunState.ROLLED_BACK or run.window:
        raise Violation(f"the run is {run.state}, and its window {dict(run.window)}")
    if world.is_fenced:
        raise Violation("the fence stands")
    left = {*world.collections} - {SOURCE}
    if left or world.rejects or world.related or world.facts or world.dirty:
        raise Violation(f"something is left: {left}")
    found = {}
    for key, raw in world.collections[SOURCE].documents.items():
        values = fields(raw)
        if "sessions" in values:
            # One that the new application has made and left empty stays: nothing says what else it would be.
            if application.left.issuperset(map(booking_of, values["sessions"])):
                continue
            raise Violation(f"{key} is a client document")
        found[key] = Expected(values["clientId"], values["notes"])
    for key in sorted({*found, *application.ledger} - application.loose):
        expected = application.ledger.get(key)
        if found.get(key) != expected:
            raise Violation(f"{key}: expected {expected}, found {found.get(key)}")


def run_window_seed(seed: int) -> list[str]:
    """Carry out one schedule, within `simulated_window`, and return its trace.

    Raises:
        Violation: something does not hold; with seed and trace.
    """
    simulation = WindowSimulation(seed)
    try:
        simulation.run()
    except (Violation, KeyError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        trace = "\n".join(simulation.world.trace)
        raise Violation(f"seed {seed}: {problem}\n{trace}") from error
    return simulation.world.trace
