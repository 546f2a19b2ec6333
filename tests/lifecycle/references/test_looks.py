"""What cutover and finalize say of references: named before the cut-over, and refused before the old ids are removed."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Command, Ended
from tests.lifecycle.references.conftest import IDS
from tests.support.booking_lines import booking
from tests.support.failpoints import Step

Db = Database[dict[str, Any]]
Run = Command

PLACES = ("--source", "bookings", "--target", "clients")
CUTOVER = ("cutover", *PLACES, "--yes", "--max-outage", "60s")
FINALIZE = ("finalize", "--yes", "--json", "--drop-legacy-ids")


def refused(done: Ended) -> tuple[str, str]:
    """Message and hint of an error."""
    assert 5 == done.returncode, done.stdout
    error = json.loads(done.stdout)["error"]
    return error["message"], error["hint"]


def with_legacy_ids(database: Db) -> int:
    """How many client documents have sessions with an old id."""
    return database.bookings.count_documents({"sessions.legacyBookingId": {"$exists": True}})


@pytest.fixture
def cut_over(shop: Db, command: Run) -> Db:
    """A shop that was cut over, with one payment for each of its bookings, and nothing else that refers to them."""
    for name in ("chats", "reviews", "calendar", "decoys"):
        shop[name].drop()
    shop.payments.update_many({}, {"$unset": {"itemId": ""}})
    steps = (("migrate", *PLACES), ("verify", *PLACES), CUTOVER)
    assert [0, 0, 0] == command.once(*([*step, "--quiet"] for step in steps))
    return shop


@pytest.mark.usefixtures("shop")
def test_a_cutover_names_the_fields(command: Run) -> None:
    """Before its question, cutover names fields that hold ids of bookings, and the command that finds all of them."""
    command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    asked = command("cutover", *PLACES)
    said = " ".join(asked.stderr.split())
    done = command(*CUTOVER)

    assert 5 == asked.returncode
    assert "payments.bookingId" in said
    assert "booking-migrate references find --source bookings --target clients" in said
    assert "reviews._id" in " ".join(done.stderr.split())
    assert 0 == done.returncode


def test_after_a_cutover_the_next_steps_name_the_rewrite(shop: Db, command: Run, tmp_path: Path) -> None:
    """The steps after a cut-over say by what old ids find their sessions, and its commands write new ids there."""
    command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    done = command(*CUTOVER, "--keep-index", "--json")
    report = json.loads(done.stdout)
    steps = {each["command"].split(" --")[0]: each for each in report["next_steps"] if each["command"]}
    said = " ".join(done.stderr.split())
    found = command(*_words(steps["booking-migrate references find"], str(tmp_path)), "--json")
    (step,) = json.loads(found.stdout)["next_steps"]
    rewritten = command(*_words(steps["booking-migrate references rewrite"]), "--yes", "--json")

    assert "whose index is kept" in said
    assert "--keep-index" not in said
    assert "payments.bookingId" in report["cutover"]["references"]
    assert "booking_migrate_legacy_ids" == report["cutover"]["legacy_index"]
    assert any("find their sessions by the index" in each["text"] for each in report["next_steps"])
    assert "booking-migrate references keep" not in steps
    assert (0, 0) == (found.returncode, rewritten.returncode), rewritten.stderr
    assert f"booking-migrate references rewrite --config {tmp_path}/references.toml" == step["command"]
    assert 0 == shop.payments.count_documents({"bookingId": {"$in": IDS[1:]}})


@pytest.mark.usefixtures("shop")
def test_a_cutover_that_completes_a_killed_one_names_the_rewrite(
    command: Run, killed: Callable[..., Any]
) -> None:
    """Killed right after the swap, the next cut-over completes it, and has the same steps about references as one that was not."""
    command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    killed(Step.SWAPPED.value, 1, *CUTOVER)
    done = command(*CUTOVER, "--json")
    report = json.loads(done.stdout)
    commands = [each["command"] for each in report["next_steps"] if each["command"]]

    assert 0 == done.returncode, done.stderr
    assert "payments.bookingId" in report["cutover"]["references"]
    assert "reviews._id" in report["cutover"]["references"]
    for name in ("references find", "references rewrite"):
        assert any(each.startswith(f"booking-migrate {name}") for each in commands)


def _words(step: dict[str, str], folder: str = "") -> list[str]:
    """The arguments of a step's command, with the file that it writes in a folder."""
    words = shlex.split(step["command"])[1:]
    return [f"{folder}/{word}" if word.endswith(".toml") else word for word in words]


def test_without_references_nothing_is_said(database: Db, command: Run) -> None:
    """Where no other collection holds an id of a booking, cutover does not speak of references."""
    database.bookings.insert_many(map(booking, range(8)))
    database.notes.insert_one({"text": "nothing"})
    command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))

    assert "references" not in command(*CUTOVER).stderr


def test_old_ids_stay_while_references_need_them(cut_over: Db, command: Run) -> None:
    """Finalize --drop-legacy-ids is refused with the command that rewrites, and nothing is dropped; plain finalize is not."""
    (run,) = cut_over.booking_migrate_runs.find()
    before = set(cut_over.list_collection_names())
    message, hint = refused(command(*FINALIZE))

    assert "payments.bookingId still holds ids of old bookings" in message
    assert f"booking-migrate references rewrite --run {run['_id']} --field payments.bookingId" in hint
    assert before == set(cut_over.list_collection_names())
    assert 4 == with_legacy_ids(cut_over)
    assert 0 == command("finalize", "--yes", "--quiet").returncode


def test_a_finalize_that_is_over_asks_for_nothing(cut_over: Db, command: Run) -> None:
    """When the old bookings are dropped, --drop-legacy-ids removes nothing any more: references do not matter, and nothing leads back to finalize."""
    assert 0 == command("finalize", "--yes", "--quiet").returncode
    again = command(*FINALIZE)

    assert 0 == again.returncode, again.stderr
    assert json.loads(again.stdout)["finalized"]["already"]
    assert "the old ids stay in bookings" in again.stderr
    assert "booking-migrate finalize" not in again.stderr
    assert 4 == with_legacy_ids(cut_over)


def test_a_reference_named_like_that_of_a_session_is_one(cut_over: Db, command: Run) -> None:
    """Copies of client documents are no references; a field that is only called as theirs is one, and all others beside it."""
    cut_over.bookings.aggregate([{"$out": "copied"}])
    cut_over.payments.update_many({}, {"$unset": {"bookingId": ""}})
    cut_over.decks.insert_one({"sessions": [{"sessionId": IDS[2]}, {"sessionId": IDS[3]}], "first": IDS[2]})
    message, _hint = refused(command(*FINALIZE))

    assert message.startswith("decks.first, decks.sessions.sessionId still hold ids of old bookings")


def test_fields_of_the_config_file_are_read_whole(cut_over: Db, command: Run, tmp_path: Path) -> None:
    """A field that the config file names is found whatever its share, and the command takes it from there."""
    cut_over.payments.delete_many({})
    cut_over.payments.insert_many([{"bookingId": None} for _ in range(3000)])
    cut_over.payments.insert_one({"bookingId": str(IDS[3])})
    config = tmp_path / "my.toml"
    config.write_text('[[references]]\ncollection = "payments"\nfield = "bookingId"\n', encoding="utf-8")
    message, hint = refused(command(*FINALIZE, "--config", str(config)))

    assert "payments.bookingId" in message
    assert "references rewrite" in hint
    assert "--field" not in hint
    assert f"--config {config}" in hint


@pytest.mark.parametrize(
    "table", ["exclude = true", 'when = { type = "invoice" }'], ids=["excluded", "other type"]
)
def test_what_was_decided_is_no_obstacle(cut_over: Db, command: Run, tmp_path: Path, table: str) -> None:
    """A field that is excluded, or whose condition no reference meets, is not in the way."""
    config = tmp_path / "my.toml"
    config.write_text(
        f'[[references]]\ncollection = "payments"\nfield = "bookingId"\n{table}\n', encoding="utf-8"
    )

    assert 0 == command(*FINALIZE, "--config", str(config)).returncode
    assert 0 == with_legacy_ids(cut_over)


def test_rejected_and_dangling_ones_are_no_obstacle(database: Db, command: Run) -> None:
    """References to rejected bookings and to none stay as they are anyway, so they are not in the way."""
    database.bookings.insert_many([*map(booking, range(8)), booking(9, duration=5)])
    database.payments.insert_many([{"bookingId": booking(9)["_id"]}, {"bookingId": booking(99)["_id"]}])
    command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    command(*CUTOVER, "--rejected", "leave", "--quiet")

    assert 0 == command(*FINALIZE).returncode
    assert 0 == with_legacy_ids(database)


def test_what_is_not_looked_at_is_named(cut_over: Db, command: Run, tmp_path: Path) -> None:
    """Time series and names of fields, where old ids are not looked for, are named before the question, and in the report."""
    cut_over.create_collection("telemetry", timeseries={"timeField": "at", "metaField": "booking"})
    cut_over.create_collection("heat", timeseries={"timeField": "at"})
    config = tmp_path / "my.toml"
    config.write_text(
        '[[references]]\ncollection = "payments"\nfield = "bookingId"\nexclude = true\n'
        '[[references]]\ncollection = "heat"\nfield = "booking"\nexclude = true\n',
        encoding="utf-8",
    )
    asked = command("finalize", "--drop-legacy-ids", "--config", str(config))
    done = command(*FINALIZE, "--config", str(config))
    unseen = {each["why"]: each["collections"] for each in json.loads(done.stdout)["finalized"]["unseen"]}

    for said in (asked.stderr, done.stderr):
        assert (
            "not looked at for old ids: time series: telemetry; field names that are themselves ids"
            in " ".join(said.split())
        )
    assert 5 == asked.returncode
    assert 0 == done.returncode, done.stderr
    assert {"time-series": ["telemetry"], "field-names": []} == unseen


def test_the_index_goes_with_the_ids(cut_over: Db, command: Run) -> None:
    """Finalize --drop-legacy-ids drops the index that the program made for them, and names one of others with its command."""
    assert 0 == command("references", "keep", "--source", "bookings", "--quiet").returncode
    cut_over.bookings.create_index([("sessions.legacyBookingId", 1), ("clientId", 1)], name="theirs")
    page = command("finalize", "--yes", "--drop-legacy-ids", "--leave-references").stdout
    again = command(*FINALIZE)
    done = json.loads(again.stdout)["finalized"]

    assert "booking_migrate_legacy_ids" not in cut_over.bookings.index_information()
    assert "theirs" in cut_over.bookings.index_information()
    assert "index booking_migrate_legacy_ids was dropped" in page
    assert 'dropIndex("theirs")' in page
    assert done["already"]
    assert "the old ids stay" not in again.stderr
    assert [] == done["unseen"]


def test_on_request_they_are_left(cut_over: Db, command: Run) -> None:
    """--leave-references goes on; afterwards the old ids are gone."""
    done = command(*FINALIZE, "--leave-references")

    assert 0 == done.returncode, done.stderr
    assert 4 == json.loads(done.stdout)["finalized"]["documents_changed"]
    assert 0 == with_legacy_ids(cut_over)


def test_the_command_that_is_named_helps(shop: Db, command: Run) -> None:
    """The command of the refusal rewrites every form that is in the way, and the same finalize then drops the old ids, which ends it."""
    for arguments in (("migrate", *PLACES), ("verify", *PLACES), CUTOVER):
        command(*arguments, "--quiet")
    _, hint = refused(command(*FINALIZE))
    (suggested,) = re.findall(r"first: booking-migrate (.*)", hint)
    rewritten = command(*shlex.split(suggested), "--yes", "--quiet")

    assert 0 == rewritten.returncode, rewritten.stderr
    assert 0 == command(*FINALIZE).returncode
    assert 0 == with_legacy_ids(shop)
    verified = json.loads(command("references", "verify", "--json").stdout)
    # The undo would be refused now.
    assert (0, []) == (verified["exit_code"], verified["next_steps"])


def test_in_place_likewise(shop: Db, command: Run) -> None:
    """The same holds for the end of a migration in place."""
    command("migrate", "--in-place", "--quiet")
    message, hint = refused(command(*FINALIZE))

    assert "payments.bookingId" in message
    assert "--field payments.bookingId" in hint
    assert "bookings_legacy" in shop.list_collection_names()
    assert 0 == command(*FINALIZE, "--leave-references").returncode
    assert 0 == with_legacy_ids(shop)
