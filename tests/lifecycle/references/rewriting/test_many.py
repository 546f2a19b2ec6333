"""Very many documents in eight forms over four collections, rewritten beside a writer, and undone byte for byte.

A million of them: ``REFERENCES=1000000 python -m pytest -m slow tests/lifecycle/references/rewriting/test_many.py``.
"""

import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import bson
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.rewriting.conftest import REWRITE, UNDO
from tests.support.booking_lines import booking, client
from tests.support.references import MAKERS, new, old, payment

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

DOCUMENTS = int(os.environ.get("REFERENCES", "20000"))
EACH = DOCUMENTS // len(MAKERS)
_AT_ONCE = 5000


class Application(threading.Thread):
    """Inserts and replaces payments with old ids, as fast as it can, and notes whose bookings they are of."""

    def __init__(self, payments: Any) -> None:
        super().__init__(daemon=True)
        self._payments = payments
        self._chance = random.Random(20)
        self._stopped = threading.Event()
        self.ledger: dict[int, int] = {}

    def run(self) -> None:
        """Write until stopped."""
        while not self._stopped.is_set():
            number, of = self._chance.randrange(EACH * 2), self._chance.randrange(EACH)
            self._payments.replace_one({"_id": number}, {**payment(of), "_id": number}, upsert=True)
            self.ledger[number] = of

    def stop(self) -> None:
        """Stop, and wait for the last write."""
        self._stopped.set()
        self.join()


def insert(collection: Any, documents: Iterator[dict[str, Any]]) -> None:
    """Insert documents, some at a time."""
    while some := list(islice(documents, _AT_ONCE)):
        collection.insert_many(some, ordered=False)


def wrong(database: Db, ledger: dict[int, int], of: Any) -> list[Any]:
    """The documents that do not have their references in this form, or have anything else changed."""
    found = []
    for name, make in MAKERS.items():
        for number in range(EACH if name != "payments" else EACH * 2):
            if name != "payments":
                expected = make(number, of)
            elif number in ledger or number < EACH:
                expected = {**make(ledger.get(number, number), of), "_id": number}
            else:
                continue
            found.append((name, bson.encode(expected)))
    missing = []
    for start in range(0, len(found), _AT_ONCE):
        part = found[start : start + _AT_ONCE]
        for name in {each for each, _raw in part}:
            wanted = {sort(bson.decode(raw)["_id"]): bson.decode(raw) for each, raw in part if each == name}
            ids = [each["_id"] for each in wanted.values()]
            there = {sort(each["_id"]): each for each in database[name].find({"_id": {"$in": ids}})}
            missing += [each["_id"] for key, each in wanted.items() if there.get(key) != each]
    counted = sum(database[name].count_documents({}) for name in MAKERS)
    return [*missing, *([f"{counted} documents"] if counted != len(found) else [])]


def sort(value: Any) -> str:
    """A key of an `_id`."""
    return repr(value)


def hashes(database: Db) -> dict[str, str]:
    """The server's hash of each collection."""
    answer: dict[str, str] = database.command("dbHash", collections=list(MAKERS))["collections"]
    return answer


@pytest.mark.slow
def test_every_reference_resolves_and_an_undo_is_byte_equal(
    database: Db, server_uri: str, command: Run, tables: str
) -> None:
    """All references have their new ids, those that were written meanwhile too; nothing else changes, and an undo restores all."""
    insert(
        database.bookings,
        (booking(number, clientId=client(number % (EACH // 10))) for number in range(EACH + 5)),
    )
    places = ("--source", "bookings", "--target", "clients", "--quiet")
    assert 0 == command("migrate", *places).returncode
    assert 0 == command("verify", *places).returncode
    assert 0 == command("cutover", *places, "--yes").returncode
    for name, make in MAKERS.items():
        insert(database[name], map(make, range(EACH)))
    connection: MongoClient[dict[str, Any]] = MongoClient(server_uri)
    application = Application(connection[database.name].payments)
    application.start()
    threading.Timer(max(2.0, DOCUMENTS / 20_000), application.stop).start()
    done = command(*REWRITE, "--config", tables)
    application.stop()
    connection.close()
    rest = command(*REWRITE, "--config", tables)
    ledger = application.ledger

    assert (0, 0) == (done.returncode, rest.returncode), done.stderr + rest.stderr
    assert json.loads(done.stdout)["again"] > 0
    assert [] == wrong(database, ledger, new)
    assert 0 == command(*UNDO).returncode
    assert [] == wrong(database, ledger, old)
    before = hashes(database)
    assert 0 == command(*REWRITE, "--config", tables).returncode
    assert before != hashes(database)
    assert 0 == command(*UNDO).returncode
    assert before == hashes(database)
