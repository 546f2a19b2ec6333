"""Commands that the program prints can be copied as they are: with the database and the config file that the user named."""

import json
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database
from typer.testing import CliRunner, Result

from booking_migrate.cli.app import app
from tests.support.booking_lines import booking
from tests.support.failpoints import Step
from tests.support.server import Server

Db = Database[dict[str, Any]]
Invoke = Callable[..., Result]
Killed = Callable[..., Any]

PLACES = ("--source", "bookings", "--target", "clients")
CONFIG = 'accept = ["currency-not-allowed"]\n[contract]\ncurrencies = ["EUR", "INR"]\n'


@pytest.fixture
def named(database: Db) -> tuple[str, str]:
    """The option that names the database; no variable does."""
    database.bookings.insert_many([*map(booking, range(8)), booking(8, duration=5)])
    return ("--db", database.name)


@pytest.fixture
def invoke(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """A function that runs the program in a folder of its own, with the server in a variable and nothing else."""
    for name in list(os.environ):
        if name.startswith(("BOOKING_MIGRATE_", "MONGODB_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MONGODB_URI", server.uri)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), prog_name="booking-migrate")

    return run


def commands_in(text: str) -> list[str]:
    """The commands that stand in a text."""
    return re.findall(r"booking-migrate [a-z][^\n]*", text)


def copied(invoke: Invoke, command: str) -> Result:
    """What comes of a command as it was printed, run without any further option that matters."""
    program, *words = shlex.split(command)
    assert "booking-migrate" == program
    return invoke(*words)


def possible(invoke: Invoke, *named: str) -> list[str]:
    """The commands that status names for the newest run."""
    newest = json.loads(invoke("status", *named, "--json").stdout)["runs"][0]
    return list(newest["possible"])


def test_status_names_database_and_config_file(
    invoke: Invoke, named: tuple[str, str], tmp_path: Path
) -> None:
    """Status names the database that it was given, and the config file that the run had; what it prints runs from any folder."""
    config = tmp_path / "my config.toml"
    config.write_text(CONFIG, encoding="utf-8")
    assert 3 == invoke("migrate", *PLACES, *named, "--config", config.name, "--quiet").exit_code
    os.chdir("/")
    verify, back = possible(invoke, *named)

    assert f"booking-migrate rollback --db {named[1]} --run" in back
    assert f"--db {named[1]}" in verify
    assert f"--config {shlex.quote(str(config))}" in verify
    assert 0 == copied(invoke, verify).exit_code
    carry, leave = (each for each in possible(invoke, *named) if " cutover " in each)
    assert (" --rejected carry", " --rejected leave") == (carry[-17:], leave[-17:])
    assert 0 == copied(invoke, leave + " --yes").exit_code
    assert 0 == copied(invoke, back + " --yes").exit_code


def test_the_config_file_given_replaces_the_placeholder(
    invoke: Invoke, named: tuple[str, str], database: Db, tmp_path: Path
) -> None:
    """For a run whose journal names no config file, the one that status is given is printed."""
    tmp_path.joinpath("c.toml").write_text(CONFIG, encoding="utf-8")
    invoke("migrate", *PLACES, *named, "--config", "c.toml", "--quiet")
    database.booking_migrate_runs.update_many({}, {"$unset": {"config": ""}})

    assert all("--config CONFIG.toml" in each for each in possible(invoke, *named)[:1])
    assert all("--config c.toml" in each for each in possible(invoke, *named, "--config", "c.toml"))


def test_advice_after_verify_names_everything(invoke: Invoke, named: tuple[str, str], database: Db) -> None:
    """After mismatches, the commands that help have the places, the rules and the database of the verification."""
    given = (*PLACES, *named, "--accept", "duration-too-short")
    assert 0 == invoke("migrate", *given, "--quiet").exit_code
    database.bookings.update_one({"_id": booking(1)["_id"]}, {"$set": {"notes": "changed"}})
    # Followed, the change would be behind, and no mismatch.
    database.booking_migrate_runs.update_many({}, {"$unset": {"follow": ""}})
    steps = json.loads(invoke("verify", *given, "--recheck", "0", "--json").stdout)["next_steps"]
    explain, migrate, again, mismatches, decided, once_more, derived, at_last = (
        step["command"] for step in steps if (step["command"] or "").startswith("booking-migrate")
    )

    assert (
        f"booking-migrate migrate --db {named[1]} {' '.join(PLACES)} --accept duration-too-short" == migrate
    )
    assert migrate == derived
    assert f"{migrate} --on-conflict source" == decided
    assert set(given) <= set(again.split())
    assert again == at_last
    assert f"{again} --on-conflict source" == once_more
    lacking = json.loads(invoke("verify", *PLACES, *named, "--json").stdout)["next_steps"][0]
    assert "lacks --accept of the run" in lacking["text"]
    assert (
        f"booking-migrate verify --db {named[1]} {' '.join(PLACES)} --accept duration-too-short"
        == lacking["command"]
    )
    assert 0 == copied(invoke, migrate).exit_code
    assert 0 == copied(invoke, mismatches).exit_code
    assert f" {booking(1)['_id']} " in explain
    assert 0 == copied(invoke, explain).exit_code


def test_a_session_that_is_right(invoke: Invoke, named: tuple[str, str], database: Db) -> None:
    """Once its booking is corrected, the two commands printed for that lead to the cut-over, and nothing is deleted."""
    given = (*PLACES, *named, "--accept", "duration-too-short")
    assert 0 == invoke("migrate", *given, "--quiet").exit_code
    of_first = {"sessions.legacyBookingId": booking(1)["_id"]}
    assert database.clients.update_one(of_first, {"$set": {"sessions.0.notes": "right"}}).modified_count
    steps = json.loads(invoke("verify", *given, "--json").stdout)["next_steps"]
    (first,) = (
        place for place, step in enumerate(steps) if step["text"].startswith("If any session is right")
    )
    losing = [place for place, step in enumerate(steps) if "lost" in step["text"] or "loses" in step["text"]]
    database.bookings.update_one({"_id": booking(1)["_id"]}, {"$set": {"notes": "right"}})

    assert first + 1 < min(losing)
    assert [0, 0] == [copied(invoke, step["command"]).exit_code for step in steps[first : first + 2]]
    assert 0 == invoke("cutover", *given, "--yes").exit_code


def test_in_place(invoke: Invoke, named: tuple[str, str], database: Db) -> None:
    """The verification that is advised after a migration in place is of that run, and leads to no deletion of what is live."""
    done = invoke("migrate", "--in-place", "--source", "bookings", "--archive", "old", *named, "--json")
    verify = json.loads(done.stdout)["next_steps"][-1]["command"]

    assert f"booking-migrate verify --db {named[1]} --in-place --source bookings --archive old" == verify
    assert 0 == copied(invoke, verify).exit_code
    database.bookings.update_one({"sessions": {"$exists": True}}, {"$set": {"sessions.0.notes": "damaged"}})
    damaged = copied(invoke, f"{verify} --json")
    assert 4 == damaged.exit_code
    assert "explain" in damaged.stdout
    assert "deleteOne" not in damaged.stdout
    assert "is live as before" not in damaged.stdout


def test_errors_name_the_database(invoke: Invoke, named: tuple[str, str], database: Db) -> None:
    """A hint of an error is as complete as a report, and so is the finding of an unfinished run."""
    assert 3 == invoke("migrate", *PLACES, *named, "--quiet").exit_code
    database.booking_migrate_runs.update_many({}, {"$set": {"state": "interrupted"}})
    refused = invoke("migrate", "--in-place", "--source", "bookings", *named)
    findings = json.loads(invoke("verify", *PLACES, *named, "--json").stdout)["findings"]
    (unfinished,) = [each for each in findings if each["kind"] == "run-not-finished"]

    assert 5 == refused.exit_code
    assert 3 == len(commands_in(refused.stderr))
    for command in commands_in(refused.stderr + "\n" + unfinished["advice"]):
        assert f"--db {named[1]}" in command
    assert 3 == copied(invoke, commands_in(unfinished["advice"])[0]).exit_code


@pytest.mark.parametrize(
    "more", [("--rejected", "leave"), ("--rejected", "carry", "--max-outage", "30s", "--attempts", "3")]
)
def test_a_cutover_is_continued_with_its_own_options(
    invoke: Invoke, named: tuple[str, str], database: Db, killed: Killed, more: tuple[str, ...]
) -> None:
    """A cut-over that was killed is printed with the options that only it has, and can be continued so."""
    assert 3 == invoke("migrate", *PLACES, *named, "--quiet").exit_code
    assert 0 == invoke("verify", *PLACES, *named, "--quiet").exit_code
    killed(Step.FENCED.value, 1, "cutover", *PLACES, *named, "--yes", "--quiet", *more)
    abort, cutover, _ = possible(invoke, *named)

    given = dict(zip((name.removeprefix("--") for name in more[::2]), more[1::2], strict=True))
    (run,) = database.booking_migrate_runs.find()
    assert given == run["cutover_options"]
    assert cutover.endswith(" ".join(more))
    assert f"booking-migrate cutover --db {named[1]} {' '.join(PLACES)} --abort" == abort
    assert 0 == copied(invoke, cutover + " --yes").exit_code


def test_rejected_bookings_are_accepted_as_printed(invoke: Invoke, named: tuple[str, str]) -> None:
    """Where bookings may be accepted as they are, a cut-over that they prevent prints the whole way there, and it leads there."""
    assert 3 == invoke("migrate", *PLACES, *named, "--quiet").exit_code
    assert 0 == invoke("verify", *PLACES, *named, "--quiet").exit_code
    refused = invoke("cutover", *PLACES, *named, "--yes").stderr
    accepting = [each for each in commands_in(refused) if " --accept duration-too-short" in each]

    assert ["migrate", "verify", "cutover"] == [shlex.split(each)[1] for each in accepting]
    assert [0, 0, 0] == [
        copied(invoke, each + " --yes" * (" cutover " in each)).exit_code for each in accepting
    ]


@pytest.mark.parametrize("side", ["target", "source"])
def test_conflicts_are_decided_as_printed(
    invoke: Invoke, named: tuple[str, str], database: Db, side: str
) -> None:
    """With conflicts, migrate and cutover print both decisions with a criterion, the loss last, and each leads to the cut-over."""
    given = (*PLACES, *named, "--accept", "duration-too-short")
    assert 0 == invoke("migrate", *given, "--quiet").exit_code
    of_first = {"sessions.legacyBookingId": booking(1)["_id"]}
    assert database.clients.update_one(of_first, {"$set": {"sessions.0.notes": "other"}}).modified_count
    steps = json.loads(invoke("migrate", *given, "--json").stdout)["next_steps"]
    deciding = {
        step["command"]: step["text"]
        for step in steps
        if step["command"] and "migrate migrate " in step["command"]
    }
    proving = [step["command"] for step in steps if step["text"].startswith("Then verify")]
    refused = invoke("cutover", *given, "--yes").stderr
    printed = [each for each in commands_in(refused) if f" --on-conflict {side}" in each]

    assert ["target", "source"] == [each.rpartition(" ")[2] for each in deciding]
    assert ["target", "source"] == [each.partition("--on-conflict ")[2].partition(" ")[0] for each in proving]
    assert [False, True] == ["is lost" in text for text in deciding.values()]
    assert all(set(given) <= set(each.split()) for each in deciding)
    assert refused.index("--on-conflict target") < refused.index("is lost")
    assert "so usually the bookings are right" in refused
    assert ["migrate", "verify"] == [shlex.split(each)[1] for each in printed]
    assert [0, 0] == [copied(invoke, each).exit_code for each in printed]
    assert 0 == invoke("cutover", *given, "--yes").exit_code


def test_no_connection_string(invoke: Invoke, named: tuple[str, str], server: Server) -> None:
    """What is printed never holds the connection string, however it was given."""
    invoke("migrate", *PLACES, *named, "--quiet")
    shown = invoke("status", *named, "--uri", server.uri)

    assert 0 == shown.exit_code
    assert server.uri not in shown.output


def test_accepting_more_keeps_what_is_accepted(
    invoke: Invoke, named: tuple[str, str], database: Db, tmp_path: Path
) -> None:
    """The command that accepts one more reason still accepts those that were typed, or that the config file names."""
    database.bookings.insert_one(booking(9, currency="usd"))
    tmp_path.joinpath("c.toml").write_text('accept = ["duration-too-short"]\n', encoding="utf-8")
    for accepted in (("--accept", "duration-too-short"), ("--config", "c.toml")):
        database.clients.drop()
        for verb in ("dry-run", "migrate"):
            steps = json.loads(invoke(verb, *PLACES, *named, *accepted, "--json").stdout)["next_steps"]
            accept_more = next(each["command"] for each in steps if "may hold such values" in each["text"])
            assert 0 == copied(invoke, accept_more).exit_code


def test_settings_of_one_command_are_options_of_another(
    invoke: Invoke, named: tuple[str, str], tmp_path: Path
) -> None:
    """What a table of the config file says for one command alone is an option in what is printed about another one."""
    text = '[migrate]\ntarget = "my clients"\naccept = ["duration-too-short"]\n'
    tmp_path.joinpath("c.toml").write_text(text, encoding="utf-8")
    ended = invoke("migrate", *named, "--config", "c.toml", "--json")
    assert 0 == ended.exit_code
    (verify,) = [each["command"] for each in json.loads(ended.stdout)["next_steps"] if each["command"]]

    assert "--target 'my clients' --accept duration-too-short" in verify
    assert 0 == copied(invoke, verify).exit_code


@pytest.mark.parametrize("booking_id", [-5, "-x", "--json", "a b$HOME`id`"])
def test_any_id_can_be_explained(
    invoke: Invoke, named: tuple[str, str], database: Db, booking_id: int | str
) -> None:
    """The command that looks at a mismatch runs as it is, also for an id that looks like an option."""
    database.bookings.delete_many({})
    database.bookings.insert_one({**booking(1), "_id": booking_id})
    assert 0 == invoke("migrate", *PLACES, *named, "--quiet").exit_code
    database.clients.update_one({}, {"$set": {"sessions.0.notes": "changed"}})
    steps = json.loads(invoke("verify", *PLACES, *named, "--recheck", "0", "--json").stdout)["next_steps"]
    (explain,) = [each["command"] for each in steps if " explain " in (each["command"] or "")]

    assert copied(invoke, explain).exit_code in (0, 4)


def test_options_are_added_before_what_ends_them(invoke: Invoke) -> None:
    """What is added to a command with an argument behind `--` stays an option."""
    ended = invoke("explain", "--source", "absent.jsonl", "--", "-5")

    assert ended.exit_code
    assert re.search(r"booking-migrate explain --source absent\.jsonl .*-- -5", ended.stderr)
