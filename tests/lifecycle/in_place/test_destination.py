"""Indexes and options of the collection: refused before the first write, named, or kept; and nothing is left silently."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.errors import Contended
from booking_migrate.in_place import passes
from booking_migrate.stores.mongo import in_place
from booking_migrate.stores.mongo.in_place_units import transact
from tests.lifecycle.conftest import Ended, contents
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

MIGRATE = ("migrate", "--in-place", "--json", "--quiet")
ALONE = (*MIGRATE, "--without-transactions")


def _numbered(database: Db) -> None:
    database.bookings.insert_many(booking(number, bookingNumber=f"BK{number:04}") for number in range(12))


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "unique index on a field that client documents lack": (
        "bookingNumber",
        {"unique": True},
        "refuses the second client document: client documents lack these fields",
    ),
    "index that is prepared to be unique": (
        "bookingNumber",
        {"prepareUnique": True},
        "refuses the second client document",
    ),
    "hidden unique index": (
        "bookingNumber",
        {"unique": True, "hidden": True},
        "refuses the second client document",
    ),
    "compound unique index": (
        [("expertId", 1), ("bookingNumber", 1)],
        {"unique": True},
        "refuses the second client document",
    ),
    "unique index with a filter that client documents meet": (
        "bookingNumber",
        {"unique": True, "partialFilterExpression": {"clientEmail": {"$exists": True}}},
        "refuses the second client document",
    ),
    "expiry on createdAt": (
        "createdAt",
        {"expireAfterSeconds": 10**9},
        "makes the server delete client documents with all of their sessions",
    ),
    "expiry within sessions": (
        "sessions.scheduledDate",
        {"expireAfterSeconds": 10**9},
        "makes the server delete client documents",
    ),
    "hashed index on sessions": ([("sessions", "hashed")], {}, "a hashed index holds no arrays"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_index_in_the_way_is_refused(database: Db, command: Run, case: str) -> None:
    """It is named with its definition and the command that helps, and nothing is written; without it all goes well."""
    keys, options, problem = REFUSED[case]
    _numbered(database)
    database.bookings.create_index(keys, name="in_the_way", **options)
    before = database.command("dbHash")["collections"]
    looked = json.loads(command("dry-run", "--json", "--quiet").stdout)
    refused = command(*MIGRATE)
    error = json.loads(refused.stdout)["error"]
    after = database.command("dbHash")["collections"]
    database.bookings.drop_index("in_the_way")
    done = command(*MIGRATE)

    (_, mode) = looked["dry_run"]["needs"]["modes"]
    (finding,) = (each for each in looked["findings"] if each["kind"] == "in-place-refused")
    assert ("in place", False, []) == (mode["name"], mode["possible"], looked["dry_run"]["blockers"])
    assert problem in mode["note"]
    assert ["in_the_way"] == finding["sample_ids"]
    assert finding["advice"].endswith("booking-migrate preflight migrate --in-place --source bookings")
    assert ["booking-migrate migrate --json --quiet", " ".join(["booking-migrate", *MIGRATE])] == error[
        "commands"
    ]
    assert (5, "UnfitPlace") == (refused.returncode, error["kind"])
    assert "in_the_way" in error["message"]
    assert problem in error["message"]
    assert '.getCollection("bookings").dropIndex("in_the_way")' in error["hint"]
    assert before == after
    assert (0, 12) == (done.returncode, json.loads(done.stdout)["counts"]["migrated"])


HARMLESS: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "sparse unique index": ("bookingNumber", {"unique": True, "sparse": True}, []),
    "unique index with a filter on a field of bookings": (
        "bookingNumber",
        {"unique": True, "partialFilterExpression": {"bookingNumber": {"$exists": True}}},
        [],
    ),
    "unique index with the client": (
        [("clientId", 1), ("bookingNumber", 1)],
        {"unique": True},
        ["unique-index"],
    ),
    "unique index on the ids of sessions": ("sessions.sessionId", {"unique": True, "sparse": True}, []),
    "unique index that counts for client documents only": (
        "clientId",
        {"unique": True, "partialFilterExpression": {"sessions": {"$exists": True}}},
        [],
    ),
    "expiry that holds no client document": (
        "createdAt",
        {"expireAfterSeconds": 10**9, "partialFilterExpression": {"status": "cancelled"}},
        ["expiring-index"],
    ),
    "expiry on a field of bookings": (
        "scheduledDate",
        {"expireAfterSeconds": 10**9},
        ["expiring-index"],
    ),
}
"""Indexes, and the kinds of what is said about them."""


@pytest.mark.parametrize("case", HARMLESS)
def test_a_harmless_index_is_kept(database: Db, command: Run, case: str) -> None:
    """An index that client documents can stand beside hinders nothing; what it could do to bookings is named."""
    keys, options, kinds = HARMLESS[case]
    _numbered(database)
    database.bookings.create_index(keys, name="harmless", **options)
    done = command(*MIGRATE)
    report = json.loads(done.stdout)

    assert (0, 12) == (done.returncode, report["counts"]["migrated"]), done.stderr
    assert kinds == [each["kind"] for each in report["findings"]]
    assert "harmless" in database.bookings.index_information()


def test_without_transactions_the_own_bookings_are_in_the_way(database: Db, command: Run) -> None:
    """Where a client document comes before its bookings go, an index that is unique over both is refused."""
    database.bookings.insert_many(map(booking, range(4)))
    database.bookings.create_index("clientId", unique=True, name="in_the_way")
    refused = command(*ALONE)
    done = command(*MIGRATE)

    assert 5 == refused.returncode
    assert "in_the_way" in refused.stderr
    assert (0, 4) == (done.returncode, json.loads(done.stdout)["counts"]["migrated"])


@pytest.mark.parametrize("way", [MIGRATE, ALONE])
def test_a_duplicate_in_another_index_is_no_contention(
    database: Db, command: Run, way: tuple[str, ...]
) -> None:
    """Two clients with one email address end the run with index, value and way out; it goes on without the index."""
    database.bookings.insert_many(
        booking(number, clientEmail="same@example.org" if number == 1 else f"{number}@example.org")
        for number in range(4)
    )
    database.bookings.insert_one(
        {"_id": 1, "clientId": client(9), "clientEmail": "Same@example.org", "sessions": []}
    )
    collation = {"locale": "en", "strength": 2}
    database.bookings.create_index(
        "clientEmail",
        name="by_email",
        unique=True,
        collation=collation,
        partialFilterExpression={"sessions": {"$exists": True}},
    )
    ended = command(*way)
    error = json.loads(ended.stdout)["error"]
    database.bookings.drop_index("by_email")
    done = command(*way)

    assert (1, "UniqueIndexViolated") == (ended.returncode, error["kind"])
    assert "unique index by_email (clientEmail 1)" in error["message"]
    assert 'dropIndex("by_email")' in error["hint"]
    assert (0, 4) == (done.returncode, json.loads(done.stdout)["counts"]["scanned"])
    assert 5 == database.bookings.count_documents({"sessions": {"$type": "array"}})


def test_clients_that_were_given_up_are_named(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that other processes write to all the time ends the run with its id; the next run goes on."""
    database.bookings.insert_many(map(booking, range(12)))
    monkeypatch.setattr(passes, "_TRIES", 2)
    busy = [booking(1)["_id"].binary]

    def contended(session: Any, collection: Any, work: Callable[[Any], Any]) -> Any:
        def refuse(transaction: Any) -> Any:
            settlement = work(transaction)
            if any(each in raw for raw in settlement.gone for each in busy):
                raise Contended(collection.name)
            return settlement

        return transact(session, collection, refuse)

    monkeypatch.setattr(in_place, "transact", contended)
    ended = command(*MIGRATE, "--passes", "2")
    error = json.loads(ended.stdout)["error"]
    busy.clear()
    done = command(*MIGRATE)

    assert (1, "BookingsLeft") == (ended.returncode, error["kind"])
    assert "3 bookings of 1 client in bookings could not be moved in 2 passes" in error["message"]
    assert str(client(1)) in error["message"]
    assert "--passes" in error["hint"]
    assert (0, 12) == (done.returncode, json.loads(done.stdout)["counts"]["scanned"])
    assert 12 == database.bookings_legacy.count_documents({})


def test_what_others_change_meanwhile_is_accounted_for(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A booking that is deleted, one that goes to an earlier client and one that loses its client end as they are then."""
    database.bookings.insert_many(map(booking, range(12)))
    ids = [booking(number)["_id"] for number in range(12)]
    pending = [True]

    def interfering(session: Any, collection: Any, work: Callable[[Any], Any]) -> Any:
        settlement = transact(session, collection, work)
        if pending:
            pending.clear()
            database.bookings.delete_one({"_id": ids[3]})
            database.bookings.update_one({"_id": ids[7]}, {"$set": {"clientId": client(0)}})
            database.bookings.update_one({"_id": ids[2]}, {"$unset": {"clientId": 1}})
        return settlement

    monkeypatch.setattr(in_place, "transact", interfering)
    monkeypatch.setattr(passes, "_FIRST_BYTES", 1)
    done = command(*MIGRATE)
    counts = json.loads(done.stdout)["counts"]

    assert (3, 11, 10, 1) == (
        done.returncode,
        counts["scanned"],
        counts["migrated"] + counts["already_migrated"],
        counts["rejected"],
    )
    assert {*ids} - {ids[2], ids[3]} == {each["_id"] for each in database.bookings_legacy.find()}
    assert [ids[2]] == [each["_id"] for each in database.bookings.find({"sessions": {"$exists": False}})]
    moved = database.bookings.find_one({"clientId": client(0)}) or {}
    assert 4 == moved["totalSessions"]


SCHEMA = {
    "$jsonSchema": {
        "required": ["expertId", "clientId"],
        "properties": {"clientId": {"bsonType": "objectId"}},
    }
}


@pytest.mark.parametrize(
    "validator", [SCHEMA, {"expertId": {"$exists": True}}, {"$expr": {"$isNumber": "$price"}}]
)
def test_a_validator_for_bookings_is_refused(database: Db, command: Run, validator: dict[str, Any]) -> None:
    """It is tried out with client documents by the server, which names it before the first write."""
    database.create_collection("bookings", validator=validator)
    _numbered(database)
    before = contents(database)
    refused = command(*MIGRATE)
    after = contents(database)
    database.command("collMod", "bookings", validationLevel="off")
    done = command(*MIGRATE)

    assert 5 == refused.returncode
    assert "refuses 4 of 4 client documents that were tested" in refused.stderr
    assert '.runCommand({collMod: "bookings", validationLevel: "off"})' in refused.stderr
    assert before == after
    assert 0 == done.returncode, done.stderr


def test_a_validator_that_client_documents_meet_is_kept(database: Db, command: Run) -> None:
    """A validator that allows both shapes stays and hinders nothing; one that only warns is named."""
    both = {"$or": [{"sessions": {"$type": "array"}}, {"expertId": {"$exists": True}}]}
    database.create_collection("bookings", validator=both)
    _numbered(database)
    first = command(*MIGRATE)
    database.command("collMod", "bookings", validator=SCHEMA, validationAction="warn")
    database.bookings.insert_one(booking(20))
    second = command(*MIGRATE)

    assert (0, 0) == (first.returncode, second.returncode)
    assert [] == json.loads(first.stdout)["findings"]
    (finding,) = json.loads(second.stdout)["findings"]
    assert "validator" == finding["kind"]
    assert "logs 1 of 1 client documents" in finding["title"]


def test_a_validator_is_no_finding_after_the_end(database: Db, command: Run) -> None:
    """One that no sample could test has passed every client document that was written: nothing is to be done first any more."""
    database.create_collection("bookings", validator={"$or": [{"sessions": {"$type": "array"}}, SCHEMA]})
    database.bookings.insert_many(booking(number, price=-5) for number in range(400))
    database.bookings.insert_many(booking(number) for number in range(400, 404))
    database.bookings.insert_many(booking(number, price=-5) for number in range(404, 804))
    done = command(*MIGRATE)
    database.command("collMod", "bookings", validator=SCHEMA, validationAction="warn")
    warned = command(*MIGRATE)

    assert (3, 3) == (done.returncode, warned.returncode), done.stderr
    assert [] == json.loads(done.stdout)["findings"]
    (finding,) = json.loads(warned.stdout)["findings"]
    assert finding["advice"].startswith("If that is not wanted: db.")


def test_a_document_that_a_validator_refuses_later_is_named(database: Db, command: Run) -> None:
    """What no sample shows is an error that names document and field, and no value."""
    schema = {"$jsonSchema": {"properties": {"totalSpent": {"maximum": 2000}}}}
    database.create_collection("bookings", validator=schema)
    database.bookings.insert_many(booking(4 * number, price=9) for number in range(350))
    refused = command(*MIGRATE)
    error = json.loads(refused.stdout)["error"]

    assert (5, "ValidationFailed") == (refused.returncode, error["kind"])
    assert "totalSpent must be at most 2000" in error["message"]
    assert "3150" not in error["message"]


def test_other_options_are_kept(database: Db, command: Run) -> None:
    """Default collation and images for change streams stay, and clients that differ in case only stay two."""
    options: dict[str, Any] = {
        "collation": {"locale": "en", "strength": 2},
        "changeStreamPreAndPostImages": {"enabled": True},
    }
    database.command("create", "bookings", **options)
    database.bookings.insert_many(
        booking(number, clientId="abc" if number % 2 else "ABC", clientEmail=f"{number % 2}@b.example")
        for number in range(6)
    )
    before = database.bookings.options()
    done = command(*MIGRATE)
    verified = command("verify", "--in-place", "--recheck", "0", "--quiet")

    assert (0, 0) == (done.returncode, verified.returncode), done.stderr
    assert before == database.bookings.options()
    assert {"abc": 3, "ABC": 3} == {
        document["clientId"]: document["totalSessions"] for document in database.bookings.find()
    }


def test_queryable_encryption_is_refused(database: Db, command: Run) -> None:
    """A collection with encrypted fields is refused by that name."""
    database.command("create", "bookings", encryptedFields={"fields": []})
    database.bookings.insert_one(booking(0))
    refused = command(*MIGRATE)

    assert 5 == refused.returncode
    assert "encrypted fields" in refused.stderr
