"""A collection in the other shape, compared document by document with the data."""

import json
from collections.abc import Callable
from typing import Any

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.bson.document import CODEC
from tests.lifecycle.conftest import Ended, contents
from tests.support.booking_lines import EXPERT, booking, client
from tests.support.bookings import ABSENT, DAY

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

CREATE = ("view", "create", "--json", "--quiet")
START = 1_756_765_143_359
CLIENT_FIELDS = ("clientUserId", "clientEmail")


def _documents(database: Db, name: str) -> list[dict[str, Any]]:
    return list(database[name].with_options(codec_options=CODEC).find())


def _encoded(documents: list[dict[str, Any]]) -> dict[Any, bytes]:
    return {document["_id"]: bson.encode(document, codec_options=CODEC) for document in documents}


def _as_shown(old: dict[str, Any]) -> dict[str, Any]:
    """An old booking as the view shows it once it is migrated: the client's fields first, no `__v`."""
    first = {name: old[name] for name in ("_id", "clientId", *CLIENT_FIELDS)}
    return {**first, **{name: value for name, value in old.items() if name not in first and name != "__v"}}


def _mixed(database: Db) -> list[dict[str, Any]]:
    """Bookings of both generations, with prices of all types and fields that the contract does not know."""
    database.users.insert_many(
        [
            *(
                {"_id": client(number), "user_id": f"100{number}", "email": f"c{number}@x.org"}
                for number in range(4)
            ),
            {"_id": "expert's user", "user_id": "2000", "email": "expert@x.org"},
        ]
    )
    database.experts.insert_one({"_id": EXPERT, "userId": "expert's user"})
    # A total over decimals and doubles has the same value, but the server writes it with more zeros.
    prices: list[list[Any]] = [
        [20, 7],
        [Int64(7), 20],
        [663.83, 4224.11, 9533.41, 20],
        [Decimal128("9.50"), Decimal128("0.1"), 20],
    ]
    missing = dict.fromkeys(("clientUserId", "expertUserId", "clientEmail", "expertEmail"), ABSENT)
    bookings = []
    for number in range(32):
        changes: dict[str, Any] = {"price": prices[number % 4][number // 4 % len(prices[number % 4])]}
        changes["createdAt"] = DatetimeMS(START + (number * 7 % 5) * DAY)
        if number % 3 == 0:
            changes |= missing
        if number % 5 == 0:
            changes |= {"status": ABSENT, "room": {"floor": number}, "tags": [1, "b"]}
        if number % 11 == 0:
            changes |= {"expertUserId": None, "createdAt": ABSENT}
        bookings.append(booking(number, **changes))
    return bookings


def test_old_shape(database: Db, command: Run) -> None:
    """Each migrated booking is shown with its old id and fields; bookings that are not migrated pass as they are."""
    migrated = [booking(number, room=number) for number in range(12)]
    rejected = booking(12, duration=5, room={"odd": [1]})
    database.bookings.insert_many([*migrated, rejected])
    command("migrate", "--in-place", "--quiet")
    late = booking(13)
    new = {"sessionId": ObjectId(), "price": 5, "status": "pending"}
    database.bookings.insert_one(late)
    database.bookings.insert_one({"_id": 7, "clientId": client(9), "sessions": [new], "totalSessions": 1})
    database.bookings.insert_one({"_id": 8, "clientId": client(10), "sessions": []})
    before = contents(database)
    created = command(*CREATE, "--name", "bookings_flat")
    shown = _documents(database, "bookings_flat")

    assert 0 == created.returncode, created.stderr
    wanted = [
        *map(_as_shown, migrated),
        rejected,
        late,
        {"_id": new["sessionId"], "clientId": client(9), "price": 5, "status": "pending"},
    ]
    assert _encoded(wanted) == _encoded(shown)
    assert len(wanted) == len(shown)
    assert before == {name: digest for name, digest in contents(database).items() if name != "system.views"}


def test_old_shape_before_migration(database: Db, command: Run) -> None:
    """Over a collection that is not migrated, the view shows the collection, and the same bookings after its cut-over."""
    bookings = _mixed(database)
    database.bookings.insert_many(bookings)
    command(*CREATE, "--name", "bookings_flat")

    assert _encoded(_documents(database, "bookings")) == _encoded(_documents(database, "bookings_flat"))
    for step in (["migrate"], ["verify"], ["cutover", "--yes", "--rejected", "carry"]):
        assert command(*step, "--quiet").returncode in {0, 3}
    assert database.bookings.find_one({"sessions": {"$exists": True}})
    assert {each["_id"] for each in bookings} == {
        each["_id"] for each in _documents(database, "bookings_flat")
    }


def test_new_shape(database: Db, command: Run) -> None:
    """Over an unmigrated collection, the view shows the very documents that a migration writes."""
    database.bookings.insert_many(_mixed(database))
    created = command(*CREATE, "--name", "preview", "--new-shape")
    migrated = command("migrate", "--target", "clients", "--json", "--quiet")

    assert 0 == created.returncode, created.stderr
    assert (32, 0) == tuple(
        json.loads(migrated.stdout)["counts"][name] for name in ("migrated", "rejected")
    ), migrated.stdout
    shown = _documents(database, "preview")
    assert 4 == len(shown)
    assert _encoded(_documents(database, "clients")) == _encoded(shown)


def test_new_shape_of_a_half_migrated_collection(database: Db, command: Run) -> None:
    """Client documents that are there keep what they have, and bookings of their clients are added to them."""
    database.bookings.insert_many(map(booking, range(8)))
    own = {
        "sessionId": ObjectId(),
        "price": 1.5,
        "createdAt": DatetimeMS(START),
        "updatedAt": DatetimeMS(START),
    }
    dates = {"createdAt": DatetimeMS(START), "updatedAt": DatetimeMS(START)}
    head = {"clientUserId": "1", "clientEmail": "a@b.c"}
    totals = {"totalSessions": 1, "totalSpent": 1.5, **dates}
    database.bookings.insert_many(
        [
            {"_id": 7, "clientId": client(1), **head, "sessions": [own], **totals, "by": "the application"},
            {"_id": 8, "clientId": client(9), "sessions": [own], "totalSessions": 5},
        ]
    )
    command(*CREATE, "--name", "preview", "--new-shape")
    shown = _encoded(_documents(database, "preview"))
    command("migrate", "--in-place", "--quiet")

    assert _encoded(_documents(database, "bookings")) == shown


def test_ids_that_the_server_cannot_derive(database: Db, command: Run) -> None:
    """An id that is no ObjectId stands for itself: the server has no SHA-256."""
    database.bookings.insert_many([booking(1, _id="one", clientId="c"), booking(2, _id=2, clientId="c")])
    command(*CREATE, "--name", "preview", "--new-shape")
    (shown,) = _documents(database, "preview")

    assert ("c", [2, "one"]) == (shown["_id"], [session["sessionId"] for session in shown["sessions"]])


def test_again_and_dropped(database: Db, command: Run) -> None:
    """The same view again says so; a dropped one is gone, and dropping it again says so; all exit with 0."""
    database.bookings.insert_one(booking(1))
    runs = [command(*CREATE, "--name", "flat") for _ in range(2)]
    runs += [command("view", "drop", "--name", "flat", "--json", "--quiet") for _ in range(2)]

    assert [0, 0, 0, 0] == [run.returncode for run in runs]
    assert [True, False, True, False] == [json.loads(run.stdout)["changed"] for run in runs]
    assert ["bookings"] == [
        name for name in database.list_collection_names() if not name.startswith("system.")
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (
            ("create", "--name", "taken"),
            5,
            "taken cannot be used: there is a collection of that name already",
        ),
        (("drop", "--name", "taken"), 5, "taken cannot be used: it is a collection, not a view"),
        (("drop", "--name", "other"), 5, "other cannot be used: it is a view over taken"),
        (("create", "--name", "x", "--source", "absent"), 5, "absent does not exist"),
        (("create", "--name", "x", "--source", "other"), 5, "other cannot be used: it is a view"),
        (("create", "--name", "x.jsonl"), 2, "a view is over a collection, and 'x.jsonl' does not name one"),
        (("create", "--name", "booking_migrate_x"), 2, "the program keeps its own records"),
    ],
    ids=["taken", "drop-collection", "drop-other", "absent", "over-view", "file", "own"],
)
def test_what_is_refused(
    database: Db, command: Run, arguments: tuple[str, ...], code: int, problem: str
) -> None:
    """A name that is taken, a source that is none, and a drop of anything else than the view are refused."""
    database.taken.insert_one({})
    database.bookings.insert_one(booking(1))
    database.command("create", "other", viewOn="taken", pipeline=[])
    refused = command("view", *arguments)

    assert code == refused.returncode, refused.stderr
    assert problem in " ".join(refused.stderr.split())
