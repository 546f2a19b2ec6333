"""Indexes and options of a target: what is in the way of client documents is refused or named, and clients stay apart."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bson import encode
from pymongo.database import Database

from booking_migrate.bson.document import MAXIMUM_DEPTH
from tests.lifecycle.conftest import Ended
from tests.support.booking_lines import SOUND, booking, client

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

PLACES = ("--source", "bookings", "--target", "clients")
MIGRATE = ("migrate", *PLACES, "--json", "--quiet")
DRY_RUN = ("dry-run", *PLACES, "--json", "--quiet")
VERIFY = ("verify", *PLACES, "--recheck", "0", "--quiet")
INSENSITIVE = {"locale": "en", "strength": 2}

IN_THE_WAY: dict[str, tuple[Any, dict[str, Any]]] = {
    "unique index on a field of sessions": ("bookingNumber", {"unique": True}),
    "expiry": ("updatedAt", {"expireAfterSeconds": 10**9}),
    "expiry within sessions": ("sessions.createdAt", {"expireAfterSeconds": 10**9}),
    "hashed index": ([("sessions.expertId", "hashed")], {}),
}


@pytest.mark.parametrize("case", IN_THE_WAY)
def test_an_index_in_the_way_is_refused(database: Db, command: Run, case: str) -> None:
    """It is named before the first write, by the dry-run too, with the command that helps."""
    keys, options = IN_THE_WAY[case]
    database.bookings.insert_many(map(booking, range(8)))
    database.clients.create_index(keys, name="in_the_way", **options)
    looked = command(*DRY_RUN)
    before = sorted(database.list_collection_names())
    refused = command(*MIGRATE)
    after = sorted(database.list_collection_names())
    database.clients.drop_index("in_the_way")
    done = command(*MIGRATE)

    (blocker,) = json.loads(looked.stdout)["dry_run"]["blockers"]
    assert (5, "UnfitPlace") == (refused.returncode, json.loads(refused.stdout)["error"]["kind"])
    assert json.loads(refused.stdout)["error"]["message"] == blocker["message"]
    assert "in_the_way" in blocker["message"]
    assert '.getCollection("clients").dropIndex("in_the_way")' in blocker["hint"]
    assert before == after
    assert 0 == done.returncode, done.stderr


def test_a_validator_is_refused_by_dry_run_and_migrate(database: Db, command: Run) -> None:
    """A validator that no client document meets is named before the first write."""
    database.bookings.insert_many(map(booking, range(8)))
    database.create_collection("clients", validator={"$jsonSchema": {"required": ["phone"]}})
    looked = command(*DRY_RUN)
    refused = command(*MIGRATE)

    (blocker,) = json.loads(looked.stdout)["dry_run"]["blockers"]
    *steps, about_risks = json.loads(looked.stdout)["next_steps"]
    commands = [each["command"] for each in steps]
    assert about_risks["command"].endswith(" --report dry-run.md")
    assert ["db.", "db.", "booking-migrate migrate", "booking-migrate migrate", "db."] == [
        command[:23] if command.startswith("booking") else command[:3] for command in commands
    ]
    assert f"booking-migrate migrate {' '.join(PLACES)}" == commands[2]
    assert " --target clients_2" in commands[3]
    assert 'validationLevel: "off"' in commands[4]
    assert [f"{each['text']} {each['command']}" for each in steps] == blocker["hint"].splitlines()
    assert "refuses 4 of 4 client documents that were tested" in blocker["message"]
    assert (5, "UnfitPlace") == (refused.returncode, json.loads(refused.stdout)["error"]["kind"])
    assert "booking_migrate_runs" not in database.list_collection_names()


def test_dry_run_tests_every_document(database: Db, command: Run) -> None:
    """A validator that only few client documents break, which no sample shows, is a blocker of the dry-run."""
    database.bookings.insert_many(booking(4 * number, clientId=client(number)) for number in range(500))
    database.bookings.update_one({"clientId": client(250)}, {"$set": {"price": 10**6}})
    database.create_collection("clients", validator={"totalSpent": {"$lt": 10**6}})
    looked = command(*DRY_RUN)
    refused = command(*MIGRATE)

    (blocker,) = json.loads(looked.stdout)["dry_run"]["blockers"]
    assert "refuses 1 of 500 client documents" in blocker["message"]
    assert str(client(250)) in blocker["message"]
    assert (5, "ValidationFailed") == (refused.returncode, json.loads(refused.stdout)["error"]["kind"])


def test_a_unique_index_on_the_address(database: Db, command: Run) -> None:
    """Two clients with one address end the run with index, value and way out; the dry-run knows it before."""
    database.bookings.insert_many(booking(number, clientEmail="same@example.org") for number in range(8))
    database.clients.create_index("clientEmail", unique=True, name="by_email")
    looked = command(*DRY_RUN)
    ended = command(*MIGRATE)
    error = json.loads(ended.stdout)["error"]

    assert "by_email" in looked.stdout
    assert (1, "UniqueIndexViolated") == (ended.returncode, error["kind"])
    assert "3 documents as duplicates in its unique index by_email (clientEmail 1)" in error["message"]
    assert "clientEmail same@example.org" in error["message"]
    found = '.getCollection("bookings").find({"clientEmail": "same@example.org"})'
    correct = (
        '.updateMany({"clientId": CLIENT, "clientEmail": "same@example.org"}, {$set: {"clientEmail": "NEW"}})'
    )
    users = '.getCollection("users").find({"email": "same@example.org"})'
    definition, drop = (
        '.getCollection("clients").getIndexes()',
        '.getCollection("clients").dropIndex("by_email")',
    )
    again = f"booking-migrate {' '.join(MIGRATE)}"
    positions = [error["hint"].find(each) for each in (found, correct, users, definition, drop, again)]
    assert -1 not in positions
    assert sorted(positions) == positions
    assert [again] == error["commands"]
    database.clients.drop_index("by_email")
    assert 0 == command(*MIGRATE).returncode


def test_an_index_that_hinders_nothing_is_only_named(database: Db, command: Run) -> None:
    """A unique index on addresses that differ stays, and the report names it."""
    database.bookings.insert_many(
        booking(number, clientEmail=f"{number % 4}@example.org") for number in range(8)
    )
    database.clients.create_index("clientEmail", unique=True, name="by_email")
    done = command(*MIGRATE)

    assert 0 == done.returncode, done.stderr
    (finding,) = json.loads(done.stdout)["findings"]
    assert ("unique-index", ["by_email"]) == (finding["kind"], finding["sample_ids"])
    assert [] == json.loads(command(*DRY_RUN).stdout)["dry_run"]["blockers"]


def test_a_validator_cannot_be_tried_out_with_a_file(database: Db, command: Run, tmp_path: Path) -> None:
    """Where the bookings come from a file, the server's refusal names document and validator."""
    source = tmp_path / "bookings.jsonl"
    source.write_text(SOUND, encoding="utf-8")
    database.create_collection("clients", validator={"$jsonSchema": {"required": ["phone"]}})
    places = ("--source", str(source), "--target", "clients", "--json", "--quiet")
    looked = command("dry-run", *places)
    refused = command("migrate", *places)
    error = json.loads(refused.stdout)["error"]

    (blocker,) = json.loads(looked.stdout)["dry_run"]["blockers"]
    assert "refuses 4 of 4 client documents" in blocker["message"]
    assert (5, "ValidationFailed") == (refused.returncode, error["kind"])
    assert "phone must be present" in error["message"]


def test_clients_that_differ_in_case_stay_two(database: Db, command: Run) -> None:
    """The target is made with the source's default collation, and the program compares bytes all the same."""
    database.create_collection("bookings", collation=INSENSITIVE)
    database.bookings.insert_many(
        booking(number, clientId=("abc", "ABC", client(1), client(2))[number % 4]) for number in range(12)
    )
    done = command(*MIGRATE)
    again = command(*MIGRATE)
    verified = command(*VERIFY)

    assert (0, 0, 0) == (done.returncode, again.returncode, verified.returncode), done.stderr
    assert (12, 12) == tuple(
        json.loads(ended.stdout)["counts"][name]
        for ended, name in ((done, "migrated"), (again, "already_migrated"))
    )
    assert database.bookings.options()["collation"] == database.clients.options()["collation"]
    assert {"abc", "ABC", client(1), client(2)} == {each["clientId"] for each in database.clients.find()}
    assert 2 == database.clients.count_documents({"clientId": "Abc"})
    rolled_back = command("rollback", "--target", "clients", "--yes", "--quiet")
    assert 0 == rolled_back.returncode
    assert "clients" not in database.list_collection_names()


@pytest.mark.parametrize("name", ["migrate", "verify"])
@pytest.mark.parametrize("are_exchanged", [True, False])
def test_exchanging_source_and_target_is_advised_only_if_it_helps(
    database: Db, command: Run, name: str, are_exchanged: bool
) -> None:
    """A target with other documents names the exchanged places if the source has client documents: else they are refused, too."""
    document = {"clientId": client(1), "sessions": []} if are_exchanged else booking(1)
    database.bookings.insert_one({"_id": 1, **document})
    database.clients.insert_one(booking(2))
    refused = command(name, "--source", "bookings", "--target", "clients", "--json", "--quiet")
    error = json.loads(refused.stdout)["error"]
    exchanged = f"booking-migrate {name} --json --quiet --source clients --target bookings"

    assert (5, "TargetInOldShape") == (refused.returncode, error["kind"])
    assert are_exchanged is (exchanged in error["hint"])
    assert "booking-migrate " in error["hint"]


@pytest.mark.parametrize("levels", [MAXIMUM_DEPTH, MAXIMUM_DEPTH + 1])
@pytest.mark.parametrize("target", ["clients", "clients.bson"])
def test_a_client_document_that_nests_deep(command: Run, tmp_path: Path, target: str, levels: int) -> None:
    """A file may have one that no server takes: dry-run, migrate and verify reject it alike, whatever the target is."""
    deep: Any = {}
    for _ in range(levels - 2):
        deep = {"a": deep}
    document = {"_id": 1, "clientId": client(9), "sessions": [], "deep": deep}
    source = tmp_path / "bookings.bson"
    source.write_bytes(b"".join(map(encode, (booking(1), document))))
    to = target if target == "clients" else str(tmp_path / target)
    places = ("--source", str(source), "--target", to, "--json", "--quiet")
    ended = [command(each, *places) for each in ("dry-run", "migrate", "verify")]
    looked, done, _verified = (json.loads(each.stdout) for each in ended)

    is_rejected = levels > MAXIMUM_DEPTH
    assert [3 if is_rejected else 0] * 2 + [0] == [each.returncode for each in ended]
    reasons = {"nested-too-deep": 1} if is_rejected else {}
    for each in (looked, done):
        assert reasons == {one["reason"]: one["count"] for one in each["rejections"]}
