"""One schedule of a seed: processes of the program one after the other, while the application writes; and what must hold at the end."""

from random import Random

from booking_migrate.cutover.plan import CutoverOutcome
from booking_migrate.errors import BookingMigrateError, CutoverFailed, CutoverRefused
from booking_migrate.stores.journal import RunState
from booking_migrate.stores.own_collections import kept_copy
from tests.simulation.application import Application
from tests.simulation.checks import RUN, check
from tests.simulation.process import TEMPLATES, Process, begin, migrated
from tests.simulation.world import SOURCE, Killed, Rates, Violation

_PROCESSES, _CALM_PROCESSES = 4, 6


class Simulation:
    """One schedule."""

    def __init__(self, seed: int) -> None:
        """Let the seed decide what happens how often."""
        self.seed = seed
        self.random = Random(seed)
        self.world = world = migrated(seed % TEMPLATES).copied(self.random)
        world.trace = []
        self.application = Application(world)
        world.application = self.application.write
        world.stranger = self.application.write_foreign
        world.successor = self._abort
        self.outcome: CutoverOutcome | None = None

    def run(self) -> None:
        """Carry the schedule out, and check what must hold.

        Raises:
            Violation: it does not.
        """
        world = self.world
        begin(world, self.seed)
        choose = self.random.choice
        world.rates = Rates(
            write=choose((0.0, 0.02, 0.06)),
            write_fenced=choose((0.0, 0.05, 0.3)),
            kill=choose((0.0, 0.005, 0.015)),
            failure=choose((0.0, 0.0, 0.006)),
            foreign=choose((0.0, 0.0, 0.0, 0.01)),
            slow=choose((0.0, 0.0, 0.01)),
            blocked=choose((0.0, 0.2, 0.5)),
            lost_fence=choose((0.0, 0.0, 0.15)),
            suspended=choose((0.0, 0.0, 0.2)),
        )
        if self.random.random() < 0.5:
            world.runs[RUN] = world.runs[RUN].model_copy(update={"verified_time": world.now})
        for number in range(_PROCESSES + _CALM_PROCESSES):
            if number >= _PROCESSES:
                world.is_calm = True
                # It may have been sent long ago, and ends at some time.
                world.carry_out_pending()
            else:
                world.is_calm = False
            if self._one_process(is_calm=number >= _PROCESSES):
                break
        else:
            raise Violation("the cut-over does not end")
        self._verify()
        world.is_calm = False
        world.rates = Rates(write_fenced=1.0)
        world.step("later", fails=False)
        world.is_calm = True
        check(world, self.application, None if self.outcome is None else self.outcome.followed)

    def _verify(self) -> None:
        """Let the verifier compare the result with the kept copy, unless others than the program wrote to it."""
        world = self.world
        world.is_dead, world.is_calm = False, True
        if (
            world.is_swapped
            and not self.application.booked
            and not (self.application.foreign or self.application.foreign_copies)
        ):
            found = Process(world).verify(kept_copy(world.runs[RUN].source, RUN), SOURCE)
            if found.mismatch_count:
                raise Violation(f"the verifier finds {found.mismatch_count} mismatches")

    def _one_process(self, *, is_calm: bool) -> bool:
        """Run one process; return whether nothing more is to be done."""
        world, random = self.world, self.random
        world.is_dead = False
        state = world.runs[RUN].state
        try:
            if state is RunState.CUT_OVER:
                return True
            if state is RunState.CUTTING_OVER and random.random() < 0.3:
                self._abort()
            elif state is RunState.DONE and not is_calm and random.random() < 0.4:
                world.said("follow")
                Process(world).follow(random.randint(1, 3))
            else:
                world.said("cut-over")
                self.outcome = Process(world).cut_over()
        except Killed:
            return False
        except CutoverRefused as error:
            world.said(str(error))
            if "found mismatches" in error.message and not self._verify_again():
                return is_calm
        except BookingMigrateError as error:
            world.said(f"{type(error).__name__}: {error}")
            # A process that was suspended may see what the one that took over did.
            if not (world.is_calm and not is_calm):
                self._check_true(error)
            return is_calm and isinstance(error, CutoverFailed)
        return world.runs[RUN].state is RunState.CUT_OVER

    def _check_true(self, error: BookingMigrateError) -> None:
        """Check that what an error says has happened."""
        if self.application.foreign or self.application.foreign_copies:
            return
        if "changed by others" in error.message:
            raise Violation("others are said to have written, and no other program did") from error
        if "does not match the source" in error.message:
            raise Violation("a difference in time is said to be a mismatch") from error

    def _verify_again(self) -> bool:
        """Verify as a refused cut-over advises, while nothing else happens; return whether nothing was wrong."""
        world = self.world
        is_calm, world.is_calm = world.is_calm, True
        process = Process(world)
        is_clean = not process.verify(SOURCE, behind=process.behind()).mismatch_count
        world.runs[RUN] = world.runs[RUN].model_copy(update={"verified_clean": is_clean})
        world.is_calm = is_calm
        return is_clean

    def _abort(self) -> None:
        self.world.said("abort")
        Process(self.world).abort()


def run_seed(seed: int) -> list[str]:
    """Carry out one schedule, within `simulated`, and return its trace.

    Raises:
        Violation: something does not hold, or a collection is missing that is needed; with seed and trace.
    """
    simulation = Simulation(seed)
    try:
        simulation.run()
    except (Violation, KeyError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        trace = "\n".join(simulation.world.trace)
        raise Violation(f"seed {seed}: {problem}\n{trace}") from error
    return simulation.world.trace
