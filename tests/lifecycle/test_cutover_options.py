"""The options of the old collection at a cut-over: kept, or named before the swap and in the report; back with a rollback."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database
from pymongo.errors import OperationFailure

from booking_migrate.stores.mongo.cutover import MongoLive
from tests.lifecycle.conftest import Command
from tests.support.booking_lines import booking
from tests.support.failpoints import Step

Db = Database[dict[str, Any]]
Run = Command

PLACES = ("--source", "bookings", "--target", "clients")
MIGRATE = ("migrate", *PLACES, "--quiet")
VERIFY = ("verify", *PLACES, "--recheck", "0", "--quiet")
# The guard would be one more option of the new collection.
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--no-guard", "--max-outage", "60s")
COLLATION = {"locale": "en", "strength": 2}
IMAGES = {"enabled": True}


def _migrated(database: Db, command: Run, **options: Any) -> None:
    """A collection with these options, migrated and verified."""
    database.command("create", "bookings", **options)
    database.bookings.insert_many(
        booking(number, clientId=("abc", "ABC")[number % 2], clientEmail=f"{number % 2}@b.example")
        for number in range(6)
    )
    assert [0, 0] == command.once(MIGRATE, VERIFY)


def _options(report: str) -> dict[str, bool]:
    return {each["name"]: each["kept"] for each in json.loads(report)["cutover"]["options"]}


def test_collation_and_images_are_kept(database: Db, command: Run) -> None:
    """The live collection has them, text and JSON say so, and the rollback brings the old collection back with its own."""
    _migrated(database, command, changeStreamPreAndPostImages=IMAGES, collation=COLLATION)
    database.bookings.create_index("clientId", name="insensitive")
    database.bookings.create_index("meetingLink", name="exact", collation={"locale": "simple"})
    before = database.bookings.options()
    indexes = database.bookings.index_information()
    done = command(*CUTOVER)
    after = database.bookings.options()
    made = database.bookings.index_information()

    assert 0 == done.returncode, done.stderr
    assert {"changeStreamPreAndPostImages": True, "collation": True} == _options(done.stdout)
    assert before == after
    assert "will lose" not in done.stderr
    assert {"abc", "ABC"} == {each["clientId"] for each in database.bookings.find()}
    assert 2 == database.bookings.count_documents({"clientId": "Abc"})
    assert 2 == made["insensitive_en"]["collation"]["strength"]
    assert "collation" not in made["sessions.meetingLink_1"]
    rolled_back = command("rollback", "--target", "clients", "--yes", "--quiet")
    assert 0 == rolled_back.returncode, rolled_back.stderr
    assert before == database.bookings.options()
    assert indexes == database.bookings.index_information()
    assert 6 == database.bookings.count_documents({})


def test_what_is_kept_is_said_in_words(database: Db, command: Run) -> None:
    """The report for the terminal has a line for each option that was kept."""
    _migrated(database, command, changeStreamPreAndPostImages=IMAGES)
    done = command("cutover", *PLACES, "--yes")

    assert 0 == done.returncode, done.stderr
    assert "option changeStreamPreAndPostImages was kept" in done.stdout


def test_what_cannot_be_kept_is_named_before_the_swap(database: Db, command: Run) -> None:
    """By the dry-run, by the cut-over while nothing is changed, and in its report; a rollback brings it back."""
    validator = {"expertId": {"$exists": True}}
    engine = {"wiredTiger": {"configString": "block_compressor=zlib"}}
    database.create_collection("clients")
    _migrated(
        database,
        command,
        collation=COLLATION,
        validator=validator,
        storageEngine=engine,
        validationLevel="moderate",
    )
    before = database.bookings.options()
    looked = json.loads(command("dry-run", *PLACES, "--json", "--quiet").stdout)
    unconfirmed = command("cutover", *PLACES)
    untouched = database.bookings.options()
    done = command(*CUTOVER)
    steps = " ".join(each["text"] for each in json.loads(done.stdout)["next_steps"])

    (lost,) = (each for each in looked["findings"] if each["kind"] == "options-lost")
    assert ["collation", "storageEngine"] == sorted(lost["sample_ids"])
    assert 5 == unconfirmed.returncode
    for name in ("collation", "storageEngine", "validator"):
        assert f"bookings will lose its option {name}" in unconfirmed.stderr
        assert f"The option {name} was left out" in steps
    assert before == untouched
    assert {"collation": False, "storageEngine": False, "validator": False} == _options(done.stdout)
    assert 0 == command("rollback", "--target", "clients", "--yes", "--quiet").returncode
    assert {**before, "validationAction": "error"} == database.bookings.options()


def test_images_stay_when_a_cut_over_is_killed(
    database: Db, command: Run, killed: Callable[..., Any]
) -> None:
    """Killed behind the swap, the live collection has its images, and the next start reports them."""
    _migrated(database, command, changeStreamPreAndPostImages=IMAGES)
    killed(Step.SWAPPED.value, 1, *CUTOVER)
    at_once = database.bookings.options()
    done = command(*CUTOVER)

    assert {"changeStreamPreAndPostImages": IMAGES} == at_once
    assert {"changeStreamPreAndPostImages": True} == _options(done.stdout)


def test_images_that_cannot_be_kept_stop_the_swap(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the server does not take them over, the source is live as before."""
    _migrated(database, command, changeStreamPreAndPostImages=IMAGES)
    monkeypatch.setattr(MongoLive, "_images", lambda _live: {"enabled": False})
    refused = command(*CUTOVER)

    assert 5 == refused.returncode
    assert "did not take over changeStreamPreAndPostImages" in refused.stderr
    assert 6 == database.bookings.count_documents({"sessions": {"$exists": False}})
    database.bookings.insert_one(booking(7))


@pytest.mark.parametrize(
    ("keys", "options"),
    [("createdAt", {"expireAfterSeconds": 10**9}), ("sessions.updatedAt", {"expireAfterSeconds": 10**9})],
)
def test_an_index_of_the_target_that_came_since(
    database: Db, command: Run, keys: str, options: dict[str, Any]
) -> None:
    """An index that would delete client documents is refused before writes are, and named with what helps."""
    _migrated(database, command)
    database.clients.create_index(keys, name="in_the_way", **options)
    refused = command(*CUTOVER)
    error = json.loads(refused.stdout)["error"]
    database.bookings.update_one({}, {"$set": {"notes": "taken"}})
    database.clients.drop_index("in_the_way")

    assert (5, "UnfitPlace") == (refused.returncode, error["kind"])
    assert '.getCollection("clients").dropIndex("in_the_way")' in error["hint"]
    assert 0 == command(*CUTOVER).returncode


def test_a_validator_that_was_left_off(database: Db, command: Run) -> None:
    """A validator of the target that refuses client documents is named without another target; switched off, in a warning."""
    _migrated(database, command)
    database.command("collMod", "clients", validator={"$jsonSchema": {"required": ["phone"]}})
    refused = command(*CUTOVER)
    hint = json.loads(refused.stdout)["error"]["hint"]
    database.command("collMod", "clients", validationLevel="off")
    done = command(*CUTOVER)

    assert (5, False, False) == (refused.returncode, "clients_2" in hint, '"off"' in hint)
    assert 0 == done.returncode, done.stderr
    assert (
        "the validator of clients is switched off (validationLevel), and stays off when it is live as bookings"
        in done.stderr
    )
    assert "off" == database.bookings.options()["validationLevel"]


def test_a_carried_booking_that_an_index_refuses(database: Db, command: Run) -> None:
    """A rejected booking that a unique index of the target refuses ends the cut-over by name; the source stays live."""
    database.bookings.insert_many([*map(booking, range(8)), *(booking(8 + n, duration=5) for n in range(2))])
    database.clients.create_index("duration", unique=True, sparse=True, name="by_duration")
    assert [3, 0] == command.once(MIGRATE, VERIFY)
    refused = command(*CUTOVER, "--rejected", "carry")
    error = json.loads(refused.stdout)["error"]

    assert (1, "UniqueIndexViolated") == (refused.returncode, error["kind"])
    assert "by_duration" in error["message"]
    assert 10 == database.bookings.count_documents({})
    assert {} == database.bookings.options().get("validator", {})
    with pytest.raises(OperationFailure):
        database.clients.insert_many([{"clientId": 1, "sessions": []}, {"clientId": 1, "sessions": []}])


def test_queryable_encryption_is_refused(database: Db, command: Run) -> None:
    """A source with encrypted fields cannot be replaced, and that is said."""
    _migrated(database, command)
    database.bookings.rename("elsewhere")
    database.command("create", "bookings", encryptedFields={"fields": []})
    refused = command(*CUTOVER)

    assert 5 == refused.returncode
    assert "Queryable Encryption" in refused.stderr


def test_an_index_that_a_rollback_cannot_create_again(database: Db, command: Run) -> None:
    """Client documents beside the old bookings have one value of a unique index: that is said, with the command for later."""
    database.bookings.insert_many(
        booking(number, meetingLink=f"https://meet.example/{number}") for number in range(6)
    )
    database.bookings.create_index("meetingLink", unique=True, name="no_double_booking")
    assert [0, 0] == command.once(MIGRATE, VERIFY)
    assert 0 == command(*CUTOVER).returncode
    of_others = ({"_id": name, "clientId": name, "sessions": [{"sessionId": name}]} for name in ("x", "y"))
    database.bookings.insert_many(of_others)
    done = command("rollback", "--target", "clients", "--yes", "--json")
    steps = " ".join(each["text"] for each in json.loads(done.stdout)["next_steps"])

    assert "E11000" not in steps
    assert "it is unique, and several documents have the same value, such as client documents" in steps
    assert (
        '.getCollection("bookings").createIndex({"meetingLink": 1}, {"name": "no_double_booking", "unique": true}) creates'
        in steps
    )
