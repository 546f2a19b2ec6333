"""Many trials at random: an application at work, a fault at a random step, and a ledger that has to be the result.

A trial is a fault and a seed. The long form is run by ``pytest -m slow tests/lifecycle/live/test_ledger.py``, with 60 seeds of
each fault or as many as the variable ``LEDGER_SEEDS`` says.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from random import Random
from threading import Lock
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import WriteError
from typer.testing import CliRunner

from booking_migrate.cli.app import app
from booking_migrate.errors import FenceBlocked
from booking_migrate.stores.mongo.live_swap import LiveSwap
from tests.lifecycle.conftest import Ended
from tests.support.application import Application, sessions_of
from tests.support.booking_lines import booking, client
from tests.support.fail_commands import fail_point
from tests.support.failpoints import Step, failpoints
from tests.support.killed import killed_at
from tests.support.pauses import polled, shorten_pauses
from tests.support.replica_set import ReplicaSet, replica_set
from tests.support.server import Server, environment_of

Db = Database[dict[str, Any]]

PLACES = ("--source", "bookings", "--target", "clients")
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--rejected", "carry", "--max-outage", "60s")
# A fence that waits for a transaction holds up every other writer: for half of this.
IMPATIENT = ("cutover", *PLACES, "--yes", "--json", "--rejected", "carry", "--max-outage", "2s")
BEFORE_FENCE = (Step.CUTOVER_NOTED, Step.COPIED)
BEFORE_SWAP = (*BEFORE_FENCE, Step.FENCED, Step.DRAINED, Step.SETTLED)
STEPS = (*BEFORE_SWAP, Step.SWAPPED, Step.TAILED, Step.RANGE_NOTED, Step.BATCH_WRITTEN, Step.CUT_OVER)
_HISTORY_LOST = 286
_TRIES = 6


class Fault(Enum):
    """What happens in a trial."""

    KILL = "kill"
    """The process is killed, twice."""

    ELECTION = "election"
    """The primary of three servers steps down."""

    TRANSACTION = "transaction"
    """A transaction has written to the source, and stays open for some attempts."""

    HISTORY = "history"
    """The oplog has lost what the change stream needs."""

    FOREIGN = "foreign"
    """Another program writes to the target after the whole verification."""


SEEDS = int(os.environ.get("LEDGER_SEEDS", "60"))
TRIALS = [
    pytest.param(fault, seed, marks=[pytest.mark.slow] if seed else [], id=f"{fault.value}-{seed}")
    for fault in Fault
    for seed in range(SEEDS)
]


@pytest.fixture(scope="module")
def three() -> Iterator[ReplicaSet]:
    """Three servers."""
    with replica_set(election_milliseconds=500) as servers:
        yield servers


class Trial:
    """A database of sixty bookings in a server, the program, and what happened.

    With an even seed, some clients have a booking beside them that is rejected and carried, which nothing writes to.
    """

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.random = Random(seed)
        self.client: MongoClient[dict[str, Any]] = server.client()
        self.database: Db = self.client[f"test_{uuid4().hex[:16]}"]
        self.environment = environment_of(polled(server.uri), self.database.name)
        self.ended: list[Ended] = []
        self.carried = [booking(10_000 + number, duration=5) for number in range(4 if seed % 2 == 0 else 0)]
        self._unmoved(self._fill)

    def run(self, *arguments: str) -> Ended:
        """Run the program to its end in this process."""
        result = CliRunner().invoke(app, list(arguments), env=self.environment, prog_name="booking-migrate")
        self.ended.append(Ended(result.exit_code, result.stdout, result.stderr))
        return self.ended[-1]

    def close(self) -> None:
        """Drop the database."""
        self._unmoved(lambda: self.client.drop_database(self.database.name))

    def _unmoved(self, act: Callable[[], None]) -> None:
        if isinstance(self.server, ReplicaSet):
            self.server.unmoved(act)
        else:
            act()

    def _fill(self) -> None:
        self.database.bookings.drop()
        self.database.bookings.insert_many([*map(booking, range(60)), *self.carried])

    def kill(self) -> None:
        """Let a cut-over be killed at a random step, or come to its end before that."""
        killed_at(self.random.choice(STEPS), self.random.randint(1, 2), self.environment, *CUTOVER)

    def at(self, steps: tuple[Step, ...], act: Callable[[], None]) -> Callable[[Step], None]:
        """Return what acts once at one of some steps, chosen at random."""
        chosen, left, lock = self.random.choice(steps), [self.random.randint(1, 2)], Lock()

        def reached(step: Step) -> None:
            with lock:
                left[0] -= step is chosen
                is_time = step is chosen and left[0] == 0
            if is_time:
                act()

        return reached

    @property
    def is_live(self) -> bool:
        """Whether the cut-over is complete."""
        return str(self._run_record["state"]) == "cut-over"

    @property
    def is_tail_unread(self) -> bool:
        """Whether it is recorded that nothing is known of what passed the fence."""
        return "tail_unread" in self._run_record["follow"]

    @property
    def _run_record(self) -> Mapping[str, Any]:
        (run,) = self.database.booking_migrate_runs.find()
        return run

    def finish(self) -> None:
        """Cut over, as often as the program itself says that the same command goes on."""
        for _ in range(_TRIES):
            if self.is_live:
                return
            self.run(*CUTOVER)
        raise AssertionError([each.stderr for each in self.ended])


def elections(trial: Trial) -> None:
    """Cut over while the primary steps down at a random step."""
    servers = trial.server
    assert isinstance(servers, ReplicaSet)
    with failpoints(trial.at(STEPS, servers.step_down)):
        trial.run(*CUTOVER)


def transaction(trial: Trial, application: Application) -> None:
    """Cut over while a transaction is open, which is committed or aborted after some attempts."""
    random, bookings = trial.random, trial.database.bookings
    new = {**booking(random.randrange(1000)), "_id": ObjectId(), "clientId": client(random.randrange(40))}
    blocked = random.randint(1, 2)
    is_kept = random.random() < 0.7
    attempts = 0
    raise_fence = LiveSwap.raise_fence
    with trial.client.start_session() as session:
        session.start_transaction()
        try:
            bookings.insert_one(dict(new), session=session)
        except WriteError:
            # A process that was killed has left its fence, or has swapped the collections: nothing was promised.
            trial.run(*CUTOVER)
            return

        def end() -> None:
            if is_kept:
                session.commit_transaction()
                application.ledger[new["_id"]] = new
            else:
                session.abort_transaction()
                application.ledger[new["_id"]] = None

        def raised(self: LiveSwap, seconds: float) -> Any:
            nonlocal attempts
            if attempts == blocked:
                end()
            attempts += 1
            try:
                return raise_fence(self, seconds)
            except FenceBlocked:
                assert attempts <= blocked
                raise

        with mock.patch.object(LiveSwap, "raise_fence", raised):
            trial.run(*IMPATIENT)
        if attempts <= blocked:
            end()


def lost_history(trial: Trial) -> None:
    """Cut over while the oplog loses what the change stream needs, at a random step, for some reads of it."""
    random = trial.random
    commands = random.choice([["aggregate"], ["getMore"], ["aggregate", "getMore"]])
    what = {"namespace": f"{trial.database.name}.$cmd.aggregate", "errorCode": _HISTORY_LOST}
    times = random.choice([1, 2, 5])
    with fail_point(trial.client) as point:

        def lose() -> None:
            point.set(commands, what, times=times)

        with failpoints(trial.at(STEPS, lose)):
            trial.run(*CUTOVER)


def foreign(trial: Trial) -> tuple[str, Any] | None:
    """Cut over while another program writes to the target; return what it did first, and the `_id` of the document."""
    random, clients = trial.random, trial.database.clients
    written: list[tuple[str, Any]] = []

    def write() -> None:
        known = clients.find_one({"sessions.0": {"$exists": True}}, skip=random.randrange(3))
        assert known is not None
        key = known["_id"]
        kind = random.choice(["session", "field", "delete", "insert"])
        if kind == "session":
            clients.update_one({"_id": key}, {"$set": {"sessions.0.notes": "by others"}})
        elif kind == "field":
            clients.update_one({"_id": key}, {"$set": {"by": "others"}})
        elif kind == "delete":
            clients.delete_one({"_id": key})
        else:
            key = ObjectId()
            # A client of its own each time: there may be two such writes.
            owner = client(77 + len(written))
            clients.insert_one({"_id": key, "clientId": owner, "sessions": [], "by": "others"})
        written.append((kind, key))

    if random.random() < 0.3:
        write()
    with failpoints(trial.at(random.choice([BEFORE_FENCE, BEFORE_SWAP]), write)):
        trial.run(*CUTOVER)
    return written[0] if written else None


def check_foreign(trial: Trial, done: tuple[str, Any] | None, application: Application) -> None:
    """Assert that what another program did to the target before the fence did not go live, and that later is named."""
    database, first = trial.database, trial.ended[-1]
    kind, key = done or (None, None)
    named = (
        json.loads(first.stdout)["cutover"]["followed"]["changed_by_others"] if first.returncode == 0 else []
    )
    if first.returncode == 0 and (kind in (None, "delete") and str(key) not in named):
        # A document that was removed just before its client changed was derived again: nothing of it is missing.
        check_live(trial, application)
    elif first.returncode == 0:
        assert str(key) in named
    else:
        for ended in (first, trial.run(*CUTOVER)):
            assert 5 == ended.returncode, ended.stderr
            assert "changed by others" in " ".join(ended.stderr.split())
            assert 0 == database.bookings.count_documents({"sessions": {"$exists": True}})
            assert {} == database.bookings.options().get("validator", {})
            assert not [name for name in database.list_collection_names() if "_legacy_" in name]


def check_live(trial: Trial, application: Application) -> None:
    """Assert that the new live collection is what was acknowledged, and what the one kept copy makes."""
    database = trial.database
    (legacy,) = (name for name in database.list_collection_names() if "_legacy_" in name)
    # Which bookings were carried is known for the names of the run.
    names = PLACES if trial.carried else ("--source", legacy, "--target", "bookings")
    proven = trial.run("verify", *names, "--recheck", "0", "--quiet")

    # What was deleted past the fence is not known then, and that is said.
    application.check(*sessions_of(database.bookings), may_have_ghosts=trial.is_tail_unread)
    assert 0 == proven.returncode, proven.stdout
    assert "clients" not in database.list_collection_names()
    old = {each["_id"] for each in database.bookings.find({"sessions": {"$exists": False}})}
    assert {each["_id"] for each in trial.carried} == old


@pytest.mark.parametrize(("fault", "seed"), TRIALS)
def test_ledger(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, fault: Fault, seed: int
) -> None:
    """Whatever was acknowledged before the swap is the new collection, nothing lost, doubled or stale."""
    shorten_pauses(monkeypatch, 0.05)
    trial = Trial(request.getfixturevalue("three" if fault is Fault.ELECTION else "server"), seed)
    done = None
    try:
        with Application(trial.database.bookings, seed=seed, pause=0.003) as application:
            assert (3 if trial.carried else 0) == trial.run("migrate", *PLACES, "--quiet").returncode
            assert 0 == trial.run("verify", *PLACES, "--quiet").returncode
            if fault is Fault.KILL or (fault is not Fault.FOREIGN and trial.random.random() < 0.3):
                trial.kill()
            if not trial.is_live:
                match fault:
                    case Fault.KILL:
                        trial.kill()
                    case Fault.ELECTION:
                        elections(trial)
                    case Fault.TRANSACTION:
                        transaction(trial, application)
                    case Fault.HISTORY:
                        lost_history(trial)
                    case Fault.FOREIGN:
                        done = foreign(trial)
            if fault is not Fault.FOREIGN:
                trial.finish()
        if fault is Fault.FOREIGN:
            check_foreign(trial, done, application)
        else:
            check_live(trial, application)
    finally:
        trial.close()
