"""A replica set of three whose primary does not stay: every command comes to what it comes to in quiet times."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

import pytest
from pymongo.database import Database

from booking_migrate.cli import progress
from booking_migrate.events import Event, Listener, NullListener, Retried, WaitEnded, Waiting
from booking_migrate.rollback.window import Window
from booking_migrate.stores.mongo import exclusive, scan
from booking_migrate.stores.mongo.retry import settled, with_retry
from tests.lifecycle.conftest import Ended, contents, own_validator
from tests.lifecycle.live.test_window import interrupt_when_built
from tests.support.booking_lines import booking, client
from tests.support.failpoints import Step, failpoints
from tests.support.pauses import polled, shorten_pauses
from tests.support.replica_set import ReplicaSet, replica_set
from tests.support.server import environment_of

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

PLACES = ("--source", "bookings", "--target", "clients")
MIGRATE = ("migrate", *PLACES, "--batch-size", "5", "--json")
VERIFY = ("verify", *PLACES, "--recheck", "0", "--json")
# An election takes longer than writes may be refused by default.
CUTOVER = ("cutover", *PLACES, "--rejected", "carry", "--yes", "--json", "--max-outage", "60s")
_ELECTION = 500
"""After how many milliseconds without a primary there is an election."""

ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")


@pytest.fixture(scope="module")
def server() -> Iterator[ReplicaSet]:
    """Three servers."""
    with replica_set(election_milliseconds=_ELECTION) as servers:
        yield servers


@pytest.fixture
def environment(server: ReplicaSet, database: Db) -> dict[str, str]:
    """Variables by which the driver notices at once what has become of a server."""
    return environment_of(polled(server.uri), database.name)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch, 0.05)


@pytest.fixture
def database(server: ReplicaSet) -> Iterator[Db]:
    """A database of thirty bookings of four clients, one to be rejected; dropped after the test."""
    name = f"test_{uuid4().hex[:16]}"
    database = server.client()[name]
    server.unmoved(lambda: fill(database))
    yield database
    server.unmoved(lambda: server.client().drop_database(name))


def fill(database: Db) -> None:
    """Put thirty bookings into it, one to be rejected, whatever a first try has put there."""
    database.bookings.drop()
    database.bookings.insert_many([*map(booking, range(29)), booking(29, duration=5)])


class Unrest:
    """A listener and failpoint that makes the primary step down, in the very middle of the work."""

    def __init__(self, act: Callable[[], object], every: int) -> None:
        """Act at every so manieth event."""
        self._act = act
        self._every = every
        self._events = 0
        self.elections = 0

    def notify(self, event: Event) -> None:
        """Act if it is time to; what is said about the unrest itself does not count."""
        if not isinstance(event, Waiting | WaitEnded | Retried):
            self()

    def __call__(self, _step: Step | None = None) -> None:
        """Act if it is time to."""
        self._events += 1
        if self._events % self._every == 0:
            self._act()
            self.elections += 1


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[["Unrest | _At"], None]]:
    """A function that puts a listener in the place of the progress bar, and has it called at every failpoint."""
    monkeypatch.setattr(scan, "_BATCH_SIZE", 5)
    stack = ExitStack()

    def listen(listener: Unrest | _At) -> None:
        @contextmanager
        def ear(*_stream: Any, **_options: Any) -> Iterator[Listener]:
            yield listener

        monkeypatch.setattr(progress, "progress", ear)
        stack.close()
        stack.enter_context(failpoints(listener))

    with stack:
        yield listen


def test_a_primary_that_keeps_stepping_down(
    server: ReplicaSet, database: Db, command: Run, listening: Callable[["Unrest | _At"], None]
) -> None:
    """Migrate, verify and rollback, with elections all along, leave the bytes of undisturbed ones."""
    before = contents(database)
    command(*MIGRATE)
    migrated = contents(database)
    command(*ROLLBACK)
    seen = []
    for step, every, expected in ((MIGRATE, 8, migrated), (VERIFY, 1, migrated), (ROLLBACK, 8, before)):
        unrest = Unrest(server.step_down, every)
        listening(unrest)
        ended = command(*step)
        server.await_primary()
        seen.append(ended.returncode)
        assert unrest.elections > 0
        assert expected == contents(database), ended.stderr

    assert [3, 0, 0] == seen


def test_an_election_is_said(
    server: ReplicaSet, database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While there is no primary, it is said that one is waited for, also if the driver waits for it within one call."""
    monkeypatch.setattr(progress, "SAID_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(progress, "_POLL_SECONDS", 0.02)
    left = [Step.RANGE_NOTED]

    def step_down(step: Step) -> None:
        if step in left:
            left.clear()
            server.step_down()

    with failpoints(step_down):
        done = command(*MIGRATE)
    server.await_primary()

    assert 3 == done.returncode, done.stderr
    assert "waiting for a primary since " in done.stderr
    assert " s for a primary" in done.stderr.partition("waited ")[2]
    assert 29 == sum(len(each["sessions"]) for each in database.clients.find())


def test_a_cutover_through_elections(
    server: ReplicaSet, database: Db, command: Run, listening: Callable[["Unrest | _At"], None]
) -> None:
    """A cut-over with an election at every eighth thing it does is done, and the old collection is kept whole."""
    codes = [command(*MIGRATE).returncode, command(*VERIFY).returncode]
    source = contents(database)["bookings"]
    unrest = Unrest(server.step_down, every=8)
    listening(unrest)
    done = command(*CUTOVER)
    server.await_primary()

    assert [3, 0, 0] == [*codes, done.returncode], done.stderr
    assert unrest.elections > 0
    assert source == contents(database)[json.loads(done.stdout)["cutover"]["legacy"]]
    assert 1 == database.bookings.count_documents({"sessions": {"$exists": False}})
    assert 29 == sum(len(each.get("sessions", [])) for each in database.bookings.find())
    assert {} == own_validator(database.bookings)


def test_a_rollback_out_of_a_window_through_elections(
    server: ReplicaSet,
    database: Db,
    command: Run,
    listening: Callable[["Unrest | _At"], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A window is kept, and a rollback out of it is done, with an election at every eighth thing that they do."""
    command(*MIGRATE)
    command(*VERIFY)
    source = contents(database)["bookings"]
    monkeypatch.setattr(Window, "_is_over", interrupt_when_built)
    unrest = Unrest(server.step_down, every=8)
    listening(unrest)
    done = command(*CUTOVER, "--reverse-window", "2h")
    since = {"$set": {"sessions.0.notes": "since"}}
    server.unmoved(lambda: database.bookings.update_one({"clientId": client(0)}, since))
    listening(unrest)
    back = command(*ROLLBACK, "--max-outage", "60s")
    changed = server.unmoved(lambda: database.bookings.find_one({"notes": "since"})) or {}
    was = {"$set": {"notes": booking(0)["notes"]}}
    server.unmoved(lambda: database.bookings.update_one({"_id": changed["_id"]}, was))

    assert [0, 3] == [done.returncode, back.returncode], done.stderr + back.stderr
    assert unrest.elections > 1
    assert json.loads(back.stdout)["undone"]["followed"]
    assert source == contents(database)["bookings"]


def test_a_command_that_an_election_undoes(
    server: ReplicaSet, database: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A validator that only a primary had which died since is set again on its successor, where all later writes are durable."""
    killed: list[int] = []

    def of_a_successor(collection: Any) -> None:
        if not killed:
            killed.append(server.kill_primary())
            # Nothing is left to fetch; but a new primary may want to look for it first.
            server.replicate(on=True)
            server.await_primary()
        with_retry(lambda: settled(collection))

    monkeypatch.setattr(exclusive, "settled", of_a_successor)
    server.await_all()
    server.replicate(on=False)
    try:
        exclusive.validate(database.bookings, {"validator": {"sessions": {"$type": "array"}}})
        options = database.bookings.options()
    finally:
        server.replicate(on=True)
        for port in killed:
            server.restart(port)

    assert {"sessions": {"$type": "array"}} == options.get("validator")


def test_a_primary_that_is_killed(
    server: ReplicaSet, database: Db, command: Run, listening: Callable[["Unrest | _At"], None]
) -> None:
    """When the primary's machine dies in the middle of a migrate, the two others carry it to its end."""
    command(*MIGRATE)
    migrated = contents(database)
    command(*ROLLBACK)
    killed: list[int] = []
    server.await_all()
    listening(_At(Step.BATCH_WRITTEN, lambda: killed.append(server.kill_primary())))
    try:
        done = command(*MIGRATE)
        found = server.unmoved(lambda: contents(database))
    finally:
        for port in killed:
            server.restart(port)

    assert 3 == done.returncode, done.stderr
    assert 1 == len(killed)
    assert migrated == found


class _At(NullListener):
    """Acts once, at one step."""

    def __init__(self, step: Step, act: Callable[[], object]) -> None:
        self._step: Step | None = step
        self._act = act

    def __call__(self, step: Step) -> None:
        """Act if this is the step."""
        if step is self._step:
            self._step = None
            self._act()
