"""A collection is migrated within itself: client documents come, old bookings go to the archive whole."""

import json
from collections.abc import Callable
from typing import Any

import bson
import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Ended, contents
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

MIGRATE = ("migrate", "--in-place", "--json", "--quiet")
_BESIDE = ("migrate", "--target", "beside", "--json", "--quiet")


def _raw(documents: Any) -> dict[Any, bytes]:
    return {document["_id"]: bson.encode(document) for document in documents}


@pytest.mark.usefixtures("bookings")
def test_result_is_that_of_side_by_side(database: Db, command: Run) -> None:
    """The client documents are those that a migration side by side writes; rejected bookings stay where they are."""
    originals = _raw(database.bookings.find())
    beside = json.loads(command(*_BESIDE).stdout)
    expected = _raw(database.beside.find())
    command("rollback", "--target", "beside", "--yes", "--quiet")
    done = command(*MIGRATE)
    report = json.loads(done.stdout)

    assert 3 == done.returncode, done.stderr
    assert beside["counts"] == report["counts"]
    assert beside["rejections"] == report["rejections"]
    assert beside["spent"] == report["spent"]
    assert expected == _raw(database.bookings.find({"sessions": {"$exists": True}}))
    left = _raw(database.bookings.find({"sessions": {"$exists": False}}))
    archived = _raw(database.bookings_legacy.find())
    assert originals == left | archived
    assert (2, 28) == (len(left), len(archived))
    assert ("bookings_legacy", 2) == (report["archive"], report["passes"])


@pytest.mark.usefixtures("bookings")
def test_second_run_changes_nothing(database: Db, command: Run) -> None:
    """A second run finds only what was rejected, and changes neither collection, archive nor rejects."""
    command(*MIGRATE)
    before = contents(database)
    second = command(*MIGRATE)
    report = json.loads(second.stdout)

    assert 3 == second.returncode, second.stderr
    assert before == contents(database)
    assert (2, 0, 2, False) == (
        report["counts"]["scanned"],
        report["counts"]["migrated"],
        report["counts"]["rejected"],
        report["changed"],
    )


def test_client_document_of_the_application(database: Db, command: Run) -> None:
    """A client document that the application made keeps its `_id` and its sessions, and gets the bookings."""
    own = {
        "_id": 7,
        "clientId": client(1),
        "sessions": [{"sessionId": 1, "price": 5}],
        "by": "the application",
    }
    database.bookings.insert_many([own, *map(booking, range(8))])
    done = command(*MIGRATE)
    document = database.bookings.find_one({"clientId": client(1)})

    assert 0 == done.returncode, done.stderr
    assert document is not None
    assert (7, 3, 45, "the application") == (
        document["_id"],
        document["totalSessions"],
        document["totalSpent"],
        document["by"],
    )
    assert {"sessionId": 1, "price": 5} == document["sessions"][0]
    assert 4 == database.bookings.count_documents({})


def test_two_client_documents_are_refused(database: Db, command: Run) -> None:
    """A client with two client documents refuses the run by name, and nothing was written."""
    database.bookings.insert_many(
        [booking(1), *({"_id": number, "clientId": client(2), "sessions": []} for number in (1, 2))]
    )
    before = contents(database)
    refused = command(*MIGRATE)

    assert 5 == refused.returncode
    assert (
        f"1 client has more than one client document in bookings: {client(2)} has those with _id 1 and 2"
        in refused.stderr
    )
    assert before == contents(database)
    assert [] == list(database.booking_migrate_runs.find())


@pytest.mark.parametrize("kind", ["view", "capped", "timeseries", "absent"])
def test_other_kinds_are_refused(database: Db, command: Run, kind: str) -> None:
    """What cannot be migrated in place is refused by name, and nothing is written."""
    options: dict[str, dict[str, Any]] = {
        "view": {"viewOn": "x", "pipeline": []},
        "capped": {"capped": True, "size": 4096},
        "timeseries": {"timeseries": {"timeField": "at"}},
    }
    wording = {
        "view": "bookings cannot be used: it is a view",
        "capped": "bookings cannot be used: it is a capped collection",
        "timeseries": "bookings cannot be used: it is a time series",
        "absent": "bookings does not exist",
    }
    if kind in options:
        database.create_collection("bookings", **options[kind])
    refused = command(*MIGRATE)

    assert 5 == refused.returncode
    assert wording[kind] in refused.stderr


@pytest.mark.usefixtures("bookings")
@pytest.mark.parametrize(
    ("option", "problem"),
    [
        (("--target", "x"), "--target: it means nothing with --in-place"),
        (("--rejects", "x.jsonl"), "--rejects: it means nothing with --in-place"),
        (("--archive", "bookings"), "--archive: bookings is the collection itself"),
        (("--archive", "x.jsonl"), "--archive: in place takes a collection"),
        (("--source", "x.jsonl"), "--source: in place takes a collection"),
    ],
    ids=lambda value: value[0].strip("-") + "-" + value[1] if isinstance(value, tuple) else "",
)
def test_unfit_options_are_refused(command: Run, option: tuple[str, ...], problem: str) -> None:
    """An option that means nothing in place is refused by name, as is a place that is no collection."""
    refused = command(*MIGRATE, *option)

    assert 2 == refused.returncode
    assert problem in refused.stderr
