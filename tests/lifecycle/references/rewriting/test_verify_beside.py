"""References are proven while the application writes: what it writes meanwhile is behind, what was there before is a mismatch."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from pymongo.database import Database

from booking_migrate.cli import references_verify
from booking_migrate.references import verify
from booking_migrate.stores.mongo.referring import MongoReferring
from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.rewriting.conftest import REWRITE
from tests.support.references import new, old

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

VERIFY = ("references", "verify", "--json")


@pytest.fixture(autouse=True)
def orders(database: Db, command: Run, cut_over: None) -> None:  # noqa: ARG001
    """Orders whose references are rewritten."""
    database.orders.insert_many({"_id": number, "b": old(number)} for number in range(6))
    assert 0 == command(*REWRITE, "--field", "orders.b").returncode


@contextmanager
def around_the_scan(before: Callable[[], object], after: Callable[[], object]) -> Iterator[None]:
    """Let the application do something when the verification has begun, and something when it has read the documents."""
    whole = MongoReferring.scan

    def scan(own: MongoReferring, *places: Any, **fields: Any) -> Iterator[list[bytes]]:
        before()
        yield from whole(own, *places, **fields)
        after()

    with mock.patch.object(MongoReferring, "scan", scan):
        yield


def verified(command: Run, code: int) -> dict[str, Any]:
    """The report of a verification."""
    done = command(*VERIFY)
    assert code == done.returncode, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def nothing() -> None:
    """Do nothing."""


def test_old_ids_that_are_written_meanwhile_are_behind(database: Db, command: Run) -> None:
    """Of two documents with old ids, the one from before is a mismatch, and the one that is written meanwhile is not."""
    database.orders.insert_one({"_id": 20, "b": old(7)})

    def write() -> None:
        database.orders.insert_one({"_id": 21, "b": old(8)})

    with around_the_scan(write, nothing):
        report = verified(command, 4)

    assert ["20"] == [each["document_id"] for each in report["reference_mismatches"]]
    assert (1, 1, 2) == (report["mismatch_count"], report["behind"], report["looked_again"])
    assert 8 == report["fields"][0]["values"]


@pytest.mark.parametrize("change", ["rewritten", "deleted", "session"])
def test_what_is_repaired_meanwhile_is_looked_at_again(database: Db, command: Run, change: str) -> None:
    """A document that is rewritten or deleted after it was read, or whose session is there by then, is not reported."""
    document = database.bookings.find_one({"sessions.sessionId": new(3)}) or {}
    if change == "session":
        database.bookings.update_one({"_id": document["_id"]}, {"$set": {"sessions": []}})
    else:
        database.orders.insert_one({"_id": 20, "b": old(7)})

    def repair() -> None:
        if change == "rewritten":
            database.orders.update_one({"_id": 20}, {"$set": {"b": new(7)}})
        elif change == "deleted":
            database.orders.delete_one({"_id": 20})

    whole = verify.verify_references

    def verifying(plan: Any) -> Any:
        settle = type(plan.old_ids).existing

        def existing(own: Any, sessions: Any, documents: Any) -> Any:
            answer = settle(own, sessions, documents)
            if sessions:
                database.bookings.replace_one({"_id": document["_id"]}, document)
            return answer

        with mock.patch.object(type(plan.old_ids), "existing", existing):
            return whole(plan)

    with (
        around_the_scan(nothing, repair),
        mock.patch.object(references_verify, "verify_references", verifying),
    ):
        report = verified(command, 0)

    assert report["looked_again"] > 0
    assert (0, 0) == (report["mismatch_count"], report["behind"])


def test_without_a_change_stream_the_bytes_decide(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where changes cannot be followed, that is said, and a document with other bytes than were read is behind."""
    monkeypatch.setattr(references_verify, "open_referring_changes", lambda *_places: "not here")
    database.orders.insert_one({"_id": 20, "b": old(7)})

    def touch() -> None:
        database.orders.update_one({"_id": 20}, {"$set": {"n": 1}})

    with around_the_scan(nothing, touch):
        done = command(*VERIFY)
    report = json.loads(done.stdout)

    assert 0 == done.returncode
    assert 1 == report["behind"]
    assert "changes cannot be followed (not here)" in " ".join(done.stderr.split())
