"""The command on a real server: connection options, defaults, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from tests.support.booking_lines import EXPERT, MIXED, booking, client
from tests.support.bookings import ABSENT
from tests.support.server import Server

Db = Database[dict[str, Any]]


@pytest.fixture
def environment(server: Server, database: Db) -> dict[str, str]:
    """The variables that name the server and the test's database."""
    return {"MONGODB_URI": server.uri, "BOOKING_MIGRATE_DB": database.name}


@pytest.fixture(autouse=True)
def old_bookings(database: Db) -> None:
    """Two sound bookings of generation 1, and the people to look up."""
    absent = dict.fromkeys(("clientUserId", "clientEmail", "expertUserId", "expertEmail"), ABSENT)
    database.bookings.insert_many([booking(0, **absent), booking(4, **absent)])
    database.users.insert_one({"_id": client(0), "user_id": "1111", "email": "u@example.org"})
    database.experts.insert_one({"_id": EXPERT, "userId": client(0)})


def test_defaults(run: Callable[..., Any], database: Db, environment: dict[str, str]) -> None:
    """With only a server and a database, the default collections are used on all sides."""
    result = run("migrate", env=environment)
    document = database.bookings_consolidated.find_one({})

    assert result.exit_code == 0, result.output
    assert document is not None
    assert (document["clientUserId"], document["totalSessions"]) == ("1111", 2)


def test_second_run(run: Callable[..., Any], environment: dict[str, str]) -> None:
    """The same again finds nothing to do."""
    run("migrate", env=environment)

    assert run("migrate", env=environment).stdout.startswith("Nothing to do\n")


def test_the_target_is_looked_at_before_a_file_is_read(
    run: Callable[..., Any], environment: dict[str, str], database: Db, tmp_path: Path
) -> None:
    """What the target refuses is not said after a file was read whole."""
    database.clients.create_index("updatedAt", expireAfterSeconds=60)
    source = tmp_path / "bookings.jsonl"
    source.write_text("no JSON\n", encoding="utf-8")
    result = run("migrate", "--source", str(source), "--target", "clients", env=environment)

    assert result.stderr.startswith("error: clients cannot take client documents: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("migrate", "--source", "absent"),
        ("migrate", "--source", "absent", "--target", "out.jsonl"),
        ("migrate", "--users", "absent"),
        ("migrate", "--in-place", "--source", "absent"),
        ("view", "create", "--source", "absent", "--name", "flat"),
    ],
)
def test_a_place_that_is_not_found_changes_nothing(
    run: Callable[..., Any], environment: dict[str, str], arguments: tuple[str, ...]
) -> None:
    """Whichever command and option names it, what does not exist is named, and that nothing was changed."""
    result = run(*arguments, env=environment)
    first, second, *_ = result.stderr.splitlines()

    assert 5 == result.exit_code
    assert first.startswith("error: collection absent does not exist in database ")
    assert "Nothing was changed." == second


def test_file_to_collection(
    run: Callable[..., Any], workspace: Path, database: Db, environment: dict[str, str]
) -> None:
    """From a file into a collection; the rejected bookings stand in a collection too."""
    workspace.joinpath("in.jsonl").write_text(MIXED, encoding="utf-8")
    result = run("migrate", "--source", "in.jsonl", "--target", "clients", "--json", env=environment)

    assert result.exit_code == 3
    assert json.loads(result.stdout)["rejects"] == "booking_migrate_rejected"
    assert (database.clients.count_documents({}), database.booking_migrate_rejected.count_documents({})) == (
        4,
        3,
    )


def test_same_collection(run: Callable[..., Any], environment: dict[str, str]) -> None:
    """One collection cannot be both sides."""
    result = run("migrate", "--target", "bookings", env=environment)

    assert result.exit_code == 2
    assert "source and target are both bookings" in result.stderr


def test_missing_collection(run: Callable[..., Any], environment: dict[str, str]) -> None:
    """Users that were named must be there; those that are only the default need not."""
    result = run("migrate", "--users", "people", env=environment)

    assert result.exit_code == 5
    assert "people does not exist" in result.stderr


def test_missing_database(run: Callable[..., Any], environment: dict[str, str]) -> None:
    """Without a database nothing runs, and the message says what to give."""
    result = run("migrate", env={**environment, "BOOKING_MIGRATE_DB": ""})

    assert result.exit_code == 2
    assert "--db" in result.stderr
