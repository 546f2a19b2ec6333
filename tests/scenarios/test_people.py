"""Users and experts that are ambiguous, absent, or were not named at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.database import Database
from typer.testing import CliRunner, Result

from booking_migrate.cli.app import app
from booking_migrate.errors import ExitCode
from tests.support.booking_lines import EXPERT, booking, client, lines
from tests.support.bookings import ABSENT

Db = Database[dict[str, Any]]
Run = Callable[..., Result]

FIRST_GENERATION = dict.fromkeys(("clientUserId", "clientEmail", "expertUserId", "expertEmail"), ABSENT)
USER: dict[str, Any] = {"_id": client(1), "user_id": "1111", "email": "user@example.org"}
EXPERT_USER: dict[str, Any] = {"_id": ObjectId(), "user_id": "2222", "email": "expert@example.org"}
AN_EXPERT: dict[str, Any] = {"_id": EXPERT, "userId": EXPERT_USER["_id"]}

AMBIGUOUS = {
    "an email": (USER, USER | {"email": "other@example.org"}),
    "a field that nobody looks up": (USER, USER | {"name": "x"}),
    "ids that MongoDB calls equal": (USER | {"_id": 7}, USER | {"_id": Int64(7)}),
}
COMMANDS = ("dry-run", "migrate", "verify", "explain")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """A function that runs a command in a folder of its own, without any server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MONGODB_URI", raising=False)

    def run(command: str, *arguments: str) -> Result:
        which = [str(booking(1)["_id"])] if command == "explain" else []
        return CliRunner().invoke(app, [command, *which, *arguments], prog_name="booking-migrate")

    return run


def write(**documents: list[dict[str, Any]]) -> None:
    """Write files of the working folder, by their names without suffix."""
    for name, each in documents.items():
        Path(f"{name}.jsonl").write_text(lines(*each), encoding="utf-8")


FILES = ("--source", "bookings.jsonl", "--target", "clients.jsonl")
PEOPLE = ("--users", "users.jsonl", "--experts", "experts.jsonl")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", AMBIGUOUS)
def test_different_users_of_one_id(run: Run, command: str, case: str) -> None:
    """The same `_id` twice with other content is refused by name, and nothing is written."""
    users = list(AMBIGUOUS[case])
    write(bookings=[booking(1, **FIRST_GENERATION)], users=users, experts=[AN_EXPERT], clients=[])
    before = {path: path.read_bytes() for path in Path().iterdir()}
    ended = run(command, *FILES, *PEOPLE)

    assert ExitCode.REFUSED == ended.exit_code, ended.output
    shown = users[0]["_id"]
    said = f"users.jsonl has several different users with the same _id: {shown}"
    assert said in ended.output.replace("\n", " ")
    assert before == {path: path.read_bytes() for path in Path().iterdir()}


def test_different_experts_of_one_id(run: Run) -> None:
    """Experts are refused likewise, also where no booking asks for them."""
    experts = [AN_EXPERT, AN_EXPERT | {"userId": client(1)}]
    write(bookings=[booking(1)], users=[USER, EXPERT_USER], experts=experts)
    ended = run("migrate", *FILES, *PEOPLE)

    assert ExitCode.REFUSED == ended.exit_code
    assert f"several different experts with the same _id: {EXPERT}" in ended.output.replace("\n", " ")
    assert not Path("clients.jsonl").exists()


def test_the_same_user_twice(run: Run) -> None:
    """The same `_id` twice with equal bytes is one user."""
    write(bookings=[booking(1, **FIRST_GENERATION)], users=[USER, EXPERT_USER, USER], experts=[AN_EXPERT] * 2)
    migrated, verified = run("migrate", *FILES, *PEOPLE), run("verify", *FILES, *PEOPLE)

    assert (ExitCode.DONE, ExitCode.DONE) == (migrated.exit_code, verified.exit_code), migrated.output


def test_view_with_different_users_of_one_id(run: Run, database: Db, server_uri: str) -> None:
    """A view, in which an `_id` may occur more than once, is refused if it shows different users of one `_id`."""
    database.bookings.insert_one(booking(1, **FIRST_GENERATION))
    database.experts.insert_one(AN_EXPERT)
    database.people.insert_many([{"user": each} for each in (USER, EXPERT_USER)])
    database.command("create", "seen", viewOn="people", pipeline=[{"$replaceWith": "$user"}])
    place = ("--uri", server_uri, "--db", database.name, "--users", "seen")
    sound = run("dry-run", *place)
    database.people.insert_one({"user": USER})
    twice = run("dry-run", *place)
    database.people.insert_one({"user": USER | {"email": "other@example.org"}})
    ended = run("migrate", *place)

    assert (ExitCode.DONE, ExitCode.DONE) == (sound.exit_code, twice.exit_code), sound.output
    assert ExitCode.REFUSED == ended.exit_code
    assert f"seen has several different users with the same _id: {client(1)}" in ended.output
    assert "bookings_consolidated" not in database.list_collection_names()


def steps_of(ended: Result) -> str:
    """What a JSON report suggests."""
    return " ".join(step["text"] for step in json.loads(ended.stdout)["next_steps"])


@pytest.mark.parametrize("command", ["dry-run", "migrate"])
def test_no_users_given(run: Run, command: str) -> None:
    """That no users were given is said once, and the report names the option instead of blaming the source."""
    write(bookings=[booking(number, **FIRST_GENERATION) for number in range(300)])
    ended = run(command, "--batch-size", "10", *FILES, "--json")

    assert ExitCode.REJECTED == ended.exit_code
    assert 1 == ended.stderr.count("no users were given: --users")
    assert 1 == ended.stderr.count("no experts were given: --experts")
    said = steps_of(ended)
    assert "No users were given: --users. Run the same command again with --users FILE" in said
    assert "No experts were given: --experts." in said
    assert "Fix" not in said


def test_no_users_given_and_faults_of_the_source(run: Run) -> None:
    """Where bookings are rejected for other reasons too, the source is named as well."""
    write(bookings=[booking(1, **FIRST_GENERATION), booking(2, currency="usd")])
    said = steps_of(run("migrate", *FILES, "--json"))

    assert "No users were given: --users." in said
    assert "Fix them in the source" in said


def test_nobody_is_needed(run: Run) -> None:
    """Bookings that lack nothing need no users, and none are missed."""
    write(bookings=[booking(1), booking(2)])
    ended = run("migrate", *FILES, "--json")

    assert ExitCode.DONE == ended.exit_code
    assert "given" not in ended.stderr
    assert "given" not in steps_of(ended)


@pytest.mark.parametrize("manner", [(), ("--in-place",)])
def test_absent_default_collection(run: Run, database: Db, server_uri: str, manner: tuple[str, ...]) -> None:
    """The default collection of users that does not exist is named once, with its database and the option."""
    database.bookings.insert_many(booking(number, **FIRST_GENERATION) for number in range(30))
    database.experts.insert_one(AN_EXPERT)
    ended = run("migrate", "--uri", server_uri, "--db", database.name, "--json", *manner)

    assert ExitCode.REJECTED == ended.exit_code
    absent = f"o users were given: {database.name}.users does not exist, and --users names no other"
    assert 1 == ended.stderr.count(absent)
    assert absent in steps_of(ended)
    assert "experts" not in ended.stderr
    assert "Fix" not in steps_of(ended)


@pytest.mark.parametrize("command", COMMANDS)
def test_named_collection_does_not_exist(run: Run, database: Db, server_uri: str, command: str) -> None:
    """A collection of users that an option names has to exist."""
    database.bookings.insert_one(booking(1, **FIRST_GENERATION))
    database.create_collection("bookings_consolidated")
    ended = run(command, "--uri", server_uri, "--db", database.name, "--users", "usres")

    assert ExitCode.REFUSED == ended.exit_code
    assert "usres does not exist" in ended.output
