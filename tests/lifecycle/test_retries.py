"""Passing troubles of the server: lost connections, elections, acknowledgements that never come."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Ended, contents
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

MIGRATE = ("migrate", "--target", "clients", "--batch-size", "5", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")

LOST_BEFORE: dict[str, Any] = {"closeConnection": True}
"""The connection is lost before the server does anything."""

STEPPED_DOWN: dict[str, Any] = {"errorCode": 189, "errorLabels": ["RetryableWriteError"]}
"""The primary has stepped down and did nothing."""

NOT_ACKNOWLEDGED: dict[str, Any] = {
    "writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}
}
"""The server did it, but cannot say that a majority has it."""

TROUBLES: list[tuple[str, dict[str, Any]]] = [
    ("insert", LOST_BEFORE),
    ("insert", NOT_ACKNOWLEDGED),
    ("update", STEPPED_DOWN),
    ("update", NOT_ACKNOWLEDGED),
    ("findAndModify", NOT_ACKNOWLEDGED),
]


@contextmanager
def failing(server: Server, times: int, commands: list[str], failure: dict[str, Any]) -> Iterator[None]:
    """While the context lasts, the next few of these commands of the program fail."""
    admin = server.client().admin
    data = {"failCommands": commands, "appName": "booking-migrate", **failure}
    admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)
    try:
        yield
    finally:
        admin.command("configureFailPoint", "failCommand", mode="off")


@pytest.mark.usefixtures("bookings")
def test_writes_fail_for_a_while(server: Server, database: Db, command: Run) -> None:
    """Writes that fail three times in a row are tried on, and the result is that of a run without trouble."""
    before = contents(database)
    undisturbed = command(*MIGRATE)
    expected = contents(database)
    command(*ROLLBACK)

    assert before == contents(database)
    for name, failure in TROUBLES:
        with failing(server, 3, [name], failure):
            troubled = command(*MIGRATE)
        assert 3 == troubled.returncode, (name, failure, troubled.stderr)
        assert expected == contents(database), (name, failure)
        assert _counts(undisturbed) == _counts(troubled)
        assert 0 == command(*ROLLBACK).returncode
        assert before == contents(database), (name, failure)


def _counts(ended: Ended) -> Any:
    return json.loads(ended.stdout)["counts"]


@pytest.mark.usefixtures("bookings")
@pytest.mark.parametrize("failure", [LOST_BEFORE, NOT_ACKNOWLEDGED], ids=["lost", "not-acknowledged"])
def test_a_rollback_is_troubled(server: Server, database: Db, command: Run, failure: dict[str, Any]) -> None:
    """Deletes of a rollback that fail for a while are tried on, and everything is as before."""
    before = contents(database)
    command(*MIGRATE)
    with failing(server, 3, ["delete"], failure):
        undone = command(*ROLLBACK)

    assert 0 == undone.returncode, undone.stderr
    assert before == contents(database)


@pytest.mark.usefixtures("bookings")
def test_a_cut_scan_can_be_continued(server: Server, database: Db, command: Run) -> None:
    """A server that breaks off the reading of the source ends the run with 10; the same command then completes it."""
    command(*MIGRATE)
    expected = contents(database)
    command(*ROLLBACK)
    with failing(server, 1000, ["find"], LOST_BEFORE):
        broken = command(*MIGRATE)
    completed = command(*MIGRATE)

    assert (10, 3) == (broken.returncode, completed.returncode), completed.stderr
    assert expected == contents(database)
