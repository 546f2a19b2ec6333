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


def made(name: str, of: Any, ledger: dict[int, int]) -> Iterator[dict[str, Any]]:
    """The documents that a collection has to hold, with their references in one form."""
    if name != "payments":
        return (MAKERS[name](number, of) for number in range(EACH))
    known = ((number, ledger.get(number, number if number < EACH else None)) for number in range(EACH * 2))
    return ({**payment(booked, of), "_id": number} for number, booked in known if booked is not None)


@pytest.fixture
def ideal(database: Db) -> Iterator[Db]:
    """Another database, for what there has to be; dropped after the test."""
    other: Db = database.client[f"{database.name}_ideal"]
    yield other
    other.client.drop_database(other)


def differences(database: Db, ideal: Db, ledger: dict[int, int], of: Any) -> list[Any]:
    """The collections that do not have exactly the bytes that they have to have, each with the documents that differ first."""
    for name in MAKERS:
        ideal.drop_collection(name)
        insert(ideal[name], made(name, of, ledger))
    there, wanted = hashes(database), hashes(ideal)
    return [
        (name, *islice(_unequal(database[name], ideal[name]), 3))
        for name in MAKERS
        if there[name] != wanted[name]
    ]


def _unequal(collection: Any, ideal: Any) -> Iterator[Any]:
    """The documents that differ, as they are and as they have to be; the order of fields is not looked at."""
    for wanted in ideal.find():
        if (there := collection.find_one({"_id": wanted["_id"]})) != wanted:
            yield there, wanted
    yield collection.count_documents({}), ideal.count_documents({})


def hashes(database: Db) -> dict[str, str]:
    """The server's hash of each collection."""
    answer: dict[str, str] = database.command("dbHash", collections=list(MAKERS))["collections"]
    return answer


@pytest.mark.slow
def test_every_reference_resolves_and_an_undo_is_byte_equal(
    database: Db, ideal: Db, server_uri: str, command: Run, tables: str
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

    assert (0, 0) == (done.returncode, rest.returncode), done.stderr + rest.stderr
    assert json.loads(done.stdout)["again"] > 0
    assert [] == differences(database, ideal, application.ledger, new)
    undone = command(*UNDO)
    report = json.loads(undone.stdout)["references"]
    # What was replaced after it was rewritten was rewritten again: the first value is superseded by the last one.
    assert 0 == undone.returncode, undone.stderr
    assert (0, []) == (report["kept"], report["samples"])
    assert [] == differences(database, ideal, application.ledger, old)
