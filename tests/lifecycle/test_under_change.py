"""Random changes by an old application and a new one, and damage, between random commands on a real server.

Whatever the order, what verify proves and what a cut-over makes live is the truth as `tests.support.truth` derives it, or
the command refuses and says why. The default run is the same every time. To search on, with new seeds:

    pytest -m slow tests/lifecycle/test_under_change.py
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test
from pymongo.database import Database

from tests.lifecycle.conftest import Ended, contents
from tests.support.changing import CHANGES, CLIENTS, KINDS
from tests.support.checked_commands import PLACES, TARGET, Before, CheckedCommands, Options
from tests.support.fail_commands import failing
from tests.support.failpoints import Step
from tests.support.server import Server
from tests.support.truth import CURRENCY, SHORT

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

MIGRATING = (
    Step.TARGET_PREPARED,
    Step.RANGE_NOTED,
    Step.BATCH_WRITTEN,
    Step.TARGET_FINISHED,
    Step.RUN_FINISHED,
)
CUTTING = (
    Step.CUTOVER_NOTED,
    Step.COPIED,
    Step.FENCED,
    Step.DRAINED,
    Step.SETTLED,
    Step.CARRIED,
)
SWAPPING = (Step.SWAPPED, Step.TAILED, Step.CUT_OVER)
UNDOING = (Step.UNDO_BEGUN, Step.INDEX_REMOVED, Step.RANGE_UNDONE, Step.REJECTS_UNDONE, Step.UNDO_PROVEN)

numbers = st.integers(0, 40)
clients = st.integers(0, CLIENTS - 1)
accepted = st.sets(st.sampled_from([SHORT, CURRENCY]))
policies = st.sampled_from([None, None, "source", "target"])
of_rejected = st.sampled_from([None, "carry", "carry", "leave"])
old_acts = st.one_of(
    st.tuples(st.just("insert"), clients, st.sampled_from(sorted(KINDS))),
    st.tuples(st.just("change"), numbers, st.sampled_from(sorted(CHANGES))),
    st.tuples(st.just("move"), numbers, clients),
    st.tuples(st.just("move_back")),
    st.tuples(st.just("delete"), numbers),
    st.tuples(st.just("delete_client"), clients),
    st.tuples(st.just("insert_again"), st.booleans()),
    st.tuples(st.just("change_user"), clients, st.sampled_from(["first@example.com", "second@example.com"])),
    st.tuples(st.just("toggle_user"), clients),
)
new_acts = st.one_of(
    st.tuples(st.just("book"), st.sampled_from(["bookings", TARGET, TARGET]), clients),
    st.tuples(st.sampled_from(["cancel", "spoil", "lose", "forget", "miscount", "drop"]), numbers),
    st.tuples(st.just("double"), numbers, numbers),
)


class UnderChange(CheckedCommands):
    """One life of a small platform."""

    @initialize(calm=st.booleans())
    def begin(self, *, calm: bool) -> None:
        """Begin; in a calm life only the old application is in use until a cut-over, so none may be refused."""
        self.calm = calm
        self.platform.begin()

    @invariant()
    def no_fence_is_left(self) -> None:
        """Between commands the application may write, whatever became of the last one."""
        self.done["step"] += 1
        options = self.database.bookings.options() if self.live is None else {}
        assert {} == options.get("validator", {})

    def teardown(self) -> None:
        for name in self.database.list_collection_names():
            self.database.drop_collection(name)

    # What others do.

    def act(self, client_id: Any = None) -> None:
        self.done["act"] += 1
        self.fresh = False
        self.ledger.note(client_id)

    @precondition(lambda self: self.live is None)
    @rule(acts=st.lists(old_acts, min_size=1, max_size=3))
    def old_application(self, acts: list[tuple[Any, ...]]) -> None:
        for name, *choices in acts:
            getattr(self.platform, name)(*choices)
            self.act()

    @precondition(lambda self: self.live is None and not self.calm)
    @rule(act=new_acts)
    def new_application_or_damage(self, act: tuple[Any, ...]) -> None:
        name, *choices = act
        client_id = getattr(self.platform, name)(*choices)
        # What is written into the source is no one's work on the target.
        self.act(None if choices[0] == "bookings" else client_id)
        if name in {"forget", "miscount"}:
            self.ledger.miscounted.add(client_id)

    # Commands.

    @precondition(lambda self: self.live is None)
    @rule(
        reasons=accepted,
        on_conflict=policies,
        foresees=st.booleans(),
        again=st.booleans(),
        workers=st.sampled_from(["1", "2"]),
        size=st.sampled_from(["2", "1000"]),
    )
    def migrate(
        self,
        reasons: set[str],
        on_conflict: str | None,
        workers: str,
        size: str,
        *,
        foresees: bool,
        again: bool,
    ) -> None:
        options = Options.of(reasons, on_conflict)
        more = ("--workers", workers, "--batch-size", size)
        self.migrates(options, *more, foresees=foresees, again=again)

    @precondition(lambda self: self.live is None and self.ledger.runs)
    @rule(how=st.sampled_from(["verify", "verify --allow-later", "status"]))
    def look(self, how: str) -> None:
        if how == "status":
            with self.reading_only():
                assert 0 == self.run("status", "--target", TARGET, "--json")[0]
        else:
            self.proves(self.options or Options(), *how.split()[1:])

    # The cut-over.

    @precondition(lambda self: self.live is None and self.options is not None)
    @rule(
        policy=of_rejected,
        first=st.sampled_from(["nothing", "verify", "migrate", "migrate"]),
        act=st.none() | st.tuples(numbers, st.sampled_from(sorted(CHANGES))),
    )
    def cutover(self, policy: str | None, first: str, act: tuple[int, str] | None) -> None:
        """Cut over, with or without a migration and a verification right before, and a last change after them."""
        assert self.options is not None
        if first == "migrate":
            self.migrates(self.unfinished or self.options)
        proven = first != "nothing" and self.unfinished is None and self.proves(self.options)
        if act is not None:
            self.platform.change(*act)
            self.act()
        before = Before(self)
        code, report = self.run("cutover", *self.cutting(policy))
        if code == 0:
            self.goes_live(before, policy)
        else:
            self.check_given_up(before, report)
            assert not (proven and policy and not self.ledger.touched), report["error"]

    @precondition(lambda self: self.live is None and self.options is not None)
    @rule(command=st.sampled_from(["renameCollection", "collMod"]))
    def cutover_is_given_up(self, command: str) -> None:
        """The server refuses a step of a cut-over that would have come to its end; the next one does."""
        assert self.options is not None
        self.migrates(self.unfinished or self.options)
        if self.unfinished is not None or not self.proves(self.options):
            return
        before = Before(self)
        with failing(self.server, [command], {"errorCode": 96}, times=1):
            code, _report = self.run("cutover", *self.cutting("carry"))
        assert 5 == code
        self.check_as_before(before)
        self.platform.change(3, "dearer")
        self.act()
        self.cutover(policy="carry", first="verify", act=None)

    @precondition(lambda self: self.live is not None)
    @rule(owner=clients)
    def book_live(self, owner: int) -> None:
        assert self.live is not None
        self.live["booked"].add(self.platform.book("bookings", owner))
        self.act()

    @precondition(lambda self: self.live is not None or self.ledger.runs)
    @rule(newest=st.sampled_from([False, False, True]))
    def rollback(self, *, newest: bool) -> None:
        if self.live is not None:
            self.restores()
        else:
            self.undoes(newest=newest)

    # Interruptions.

    @precondition(lambda self: self.live is None)
    @rule(reasons=accepted, on_conflict=policies, step=st.sampled_from(MIGRATING), count=st.integers(1, 3))
    def migrate_is_killed(self, reasons: set[str], on_conflict: str | None, step: Step, count: int) -> None:
        options = self.unfinished or Options.of(reasons, on_conflict)
        with self.beginning(options):
            code = self.killed(step, count, "migrate", *PLACES, *options, "--batch-size", "2")
        assert code in {-9, 0, 3, 5}
        self.done["migrate killed"] += code == -9
        self.fresh = False
        if code == -9:
            self.unfinished = options
        elif code != 5:
            self.unfinished = None
            self.note_source()

    @precondition(lambda self: self.live is None and self.options is not None)
    @rule(step=st.sampled_from(CUTTING + SWAPPING), policy=of_rejected, returns=st.booleans())
    def cutover_is_killed(self, step: Step, policy: str | None, *, returns: bool) -> None:
        """Killed anywhere, a cut-over is gone on with or taken back, and the source takes writes again."""
        assert self.options is not None
        self.migrates(self.unfinished or self.options)
        if self.unfinished is not None or not self.proves(self.options):
            return
        before = Before(self)
        code = self.killed(step, 1, "cutover", *self.cutting(policy))
        self.done["cutover killed"] += code == -9
        if code == 5:
            self.check_as_before(before)
            return
        if returns:
            self.live = {"before": before, "booked": set()}
            self.restores()
            return
        code, report = self.run("cutover", *self.cutting(policy))
        if code == 5 and TARGET in contents(self.database):
            self.check_given_up(before, report)
        else:
            self.goes_live(before, policy)

    @precondition(lambda self: self.live is None and self.ledger.runs)
    @rule(step=st.sampled_from(UNDOING), count=st.integers(1, 2))
    def rollback_is_killed(self, step: Step, count: int) -> None:
        first = self.ledger.runs[0]
        is_alone = self.ledger.is_alone(first)
        arguments = ("rollback", "--target", TARGET, "--yes", "--json")
        code = self.killed(step, count, *arguments)
        self.done["rollback killed"] += code == -9
        if code == -9:
            code, report = self.run(*arguments)
        else:
            report = {}
        self.check_undone(first, code, report, is_alone=is_alone)


def explore(
    server: Server, database: Db, command: Run, searching: settings, number: int | None = None
) -> Counter[str]:
    """Run the machine, with the chance of a number or of its own; count what was done."""
    done: Counter[str] = Counter()

    class OneLife(UnderChange):
        def __init__(self) -> None:
            super().__init__(server, database, command, done)

    run_state_machine_as_test(OneLife if number is None else seed(number)(OneLife), settings=searching)
    return done


QUICK = settings(
    database=None,
    deadline=None,
    max_examples=4,
    stateful_step_count=30,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
NUMBERS = (8, 1, 6, 2)
"""The first shows all that is wanted; the others are there for when commands, or hypothesis, have changed since."""

WANTED = ("live", "verify 0", "verify 4", "behind", "migrate killed", "cutover killed", "rollback 0")
"""Neither refusing everything nor never being interrupted would show anything."""

SEARCHING = settings(QUICK, derandomize=False, max_examples=300, stateful_step_count=50)


def test_whatever_happens_meanwhile(server: Server, database: Db, command: Run) -> None:
    """In sixty random steps or more, what is proven or live is the truth, or the refusal names the cause."""
    done: Counter[str] = Counter()
    for number in NUMBERS:
        done += explore(server, database, command, QUICK, number)
        if all(done[each] for each in WANTED):
            break

    assert done["step"] >= 50, done
    assert all(done[each] for each in WANTED), done


@pytest.mark.slow
def test_search_on(server: Server, database: Db, command: Run) -> None:
    """The same with seeds of chance, and many more steps."""
    assert explore(server, database, command, SEARCHING)["live"]
