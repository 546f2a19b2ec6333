"""References are rewritten beside an application that writes old ids all the time: none that was acknowledged is missed."""

import json
import random
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from bson.objectid import ObjectId
from pymongo import MongoClient
from pymongo.database import Database

from booking_migrate.references import batches, rewrite
from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.rewriting.conftest import COUNT, REWRITE, UNDO
from tests.support.references import by_id, new, old

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

pytestmark = pytest.mark.usefixtures("cut_over")

DOCUMENTS = 200
_MIB = 1024 * 1024
FIELDS = ("--field", "orders.bookingId", "--field", "orders.items.bookingId", "--field", "orders.bookingIds")


class Application(threading.Thread):
    """Inserts, changes, shifts and deletes documents with old ids, as fast as it can, and notes what is acknowledged."""

    def __init__(self, collection: Any, seed: int) -> None:
        super().__init__(daemon=True)
        self._collection = collection
        self._chance = random.Random(seed)
        self._stopped = threading.Event()
        self.written = 0
        self.ledger: dict[int, dict[str, list[int]]] = {}
        """Of each document the numbers of the bookings that its fields refer to."""

    def insert(self, number: int) -> None:
        """Insert a document, and note it."""
        known = {
            name: [self._chance.randrange(COUNT) for _ in range(size)]
            for name, size in (("one", 1), ("items", 3), ("many", 4))
        }
        self._collection.insert_one(
            {
                "_id": number,
                "bookingId": old(known["one"][0]),
                "items": [{"bookingId": old(each), "n": at} for at, each in enumerate(known["items"])],
                "bookingIds": [old(each) for each in known["many"]],
            }
        )
        self.ledger[number] = known

    def run(self) -> None:
        """Write until stopped."""
        steps = (self._change, self._shift, self._push, self._replace, self._insert, self._remove)
        while not self._stopped.is_set():
            self._chance.choice(steps)(self._chance.choice(list(self.ledger)))
            self.written += 1

    def stop(self) -> None:
        """Stop, and wait for the last write."""
        self._stopped.set()
        self.join()

    def _change(self, number: int) -> None:
        to = self._chance.randrange(COUNT)
        self._collection.update_one({"_id": number}, {"$set": {"bookingId": old(to)}})
        self.ledger[number]["one"] = [to]

    def _shift(self, number: int) -> None:
        if len(self.ledger[number]["items"]) > 1:
            self._collection.update_one({"_id": number}, {"$pop": {"items": -1, "bookingIds": -1}})
            self.ledger[number]["items"].pop(0)
            del self.ledger[number]["many"][:1]

    def _push(self, number: int) -> None:
        to = self._chance.randrange(COUNT)
        at_front = {"$each": [{"bookingId": old(to)}], "$position": 0}
        self._collection.update_one({"_id": number}, {"$push": {"items": at_front, "bookingIds": old(to)}})
        self.ledger[number]["items"].insert(0, to)
        self.ledger[number]["many"].append(to)

    def _replace(self, number: int) -> None:
        self._collection.delete_one({"_id": number})
        self.insert(number)

    def _insert(self, _number: int) -> None:
        self.insert(max(self.ledger) + 1)

    def _remove(self, number: int) -> None:
        if len(self.ledger) > DOCUMENTS // 2:
            self._collection.delete_one({"_id": number})
            del self.ledger[number]


def expected(ledger: Mapping[int, Mapping[str, list[int]]]) -> dict[int, tuple[list[ObjectId], ...]]:
    """The new ids that documents have to hold, by `_id`."""
    return {
        number: (
            [new(each) for each in known["one"]],
            [new(each) for each in known["items"]],
            [new(each) for each in known["many"]],
        )
        for number, known in ledger.items()
    }


def there(collection: Any) -> dict[int, tuple[list[ObjectId], ...]]:
    """The ids that documents hold."""
    return {
        number: ([each["bookingId"]], [item["bookingId"] for item in each["items"]], each["bookingIds"])
        for number, each in by_id(collection.find()).items()
    }


def stopped_before_the_end(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the application write until everything was scanned once, and stop it then."""
    whole = rewrite._Rewriting._end_beside_others

    def end(own: Any) -> Any:
        application.stop()
        return whole(own)

    monkeypatch.setattr(rewrite._Rewriting, "_end_beside_others", end)


@pytest.mark.parametrize("seed", [0, *(pytest.param(each, marks=pytest.mark.slow) for each in (1, 2, 3))])
def test_every_acknowledged_reference_resolves(
    seed: int, database: Db, server_uri: str, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a writer at full speed, every reference that it was told is stored has its new id in the end, and nothing else changed."""
    client: MongoClient[dict[str, Any]] = MongoClient(server_uri)
    application = Application(client[database.name].orders, seed)
    for number in range(DOCUMENTS):
        application.insert(number)
    stopped_before_the_end(application, monkeypatch)
    application.start()
    done = command(*REWRITE, *FIELDS, "--batch-size", "10")
    application.stop()
    client.close()
    report = json.loads(done.stdout)

    assert 0 == done.returncode, done.stderr
    assert expected(application.ledger) == there(database.orders)
    assert report["followed"]
    assert report["again"] > 0
    assert application.written > 100


def test_an_undo_keeps_what_was_changed_since(database: Db, command: Run) -> None:
    """An undo puts old ids back wherever arrays have them now; what others have changed stays: ids of old bookings count apart."""
    database.orders.insert_many(
        {
            "_id": number,
            "bookingId": old(number),
            "bookingIds": [old(number), old(number + 1), old(number + 2)],
        }
        for number in range(1, 8)
    )
    assert 0 == command(*REWRITE, *FIELDS[:2], *FIELDS[4:]).returncode
    database.orders.update_one({"_id": 1}, {"$set": {"bookingId": old(9)}})
    database.orders.update_one({"_id": 2}, {"$pop": {"bookingIds": -1}})
    database.orders.update_one({"_id": 4}, {"$set": {"bookingId": str(old(9))}})
    database.orders.update_one(
        {"_id": 3}, {"$push": {"bookingIds": {"$each": [old(9)], "$position": 0}}, "$set": {"paid": True}}
    )
    for number, value in ((5, new(9)), (6, ObjectId()), (7, None)):
        database.orders.update_one({"_id": number}, {"$set": {"bookingId": value}})
    done = command(*UNDO)
    undone = json.loads(done.stdout)["references"]
    orders = by_id(database.orders.find())

    assert 3 == done.returncode, done.stderr
    assert old(9) == orders[1]["bookingId"]
    assert [old(3), old(4)] == orders[2]["bookingIds"]
    assert [old(9), old(3), old(4), old(5)] == orders[3]["bookingIds"]
    assert {"_id": 4, "bookingId": str(old(9)), "bookingIds": [old(4), old(5), old(6)]} == orders[4]
    assert {(number, "bookingId") for number in "567"} == {
        (each["document_id"], each["path"]) for each in undone["samples"]
    }
    assert (3, 3) == (undone["kept"], undone["superseded"])


def test_an_undo_of_what_was_rewritten_twice_has_what_the_application_wrote(
    database: Db, command: Run
) -> None:
    """A document that was replaced after its rewrite, and rewritten again, has its last old id: nothing is wrong, exit code 0."""
    database.orders.insert_one({"_id": 1, "bookingId": old(1), "url": f"/b/{old(1)}"})
    words = (*REWRITE, "--field", "orders.bookingId", "--field", "orders.url")
    assert 0 == command(*words).returncode
    last = {"_id": 1, "bookingId": old(2), "url": f"/b/{old(2)}?by={ObjectId()}"}
    database.orders.replace_one({"_id": 1}, last)
    assert 0 == command(*words).returncode
    done = command(*UNDO)
    undone = json.loads(done.stdout)["references"]

    assert 0 == done.returncode, done.stderr
    assert (0, 2, 2) == (undone["kept"], undone["superseded"], undone["values"])
    assert last == database.orders.find_one()


def test_large_documents_that_others_write(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents that others have written are read some megabytes at a time, however many there are in a batch."""
    database.letters.insert_many([{"_id": each, "bookingId": old(each % COUNT)} for each in range(40)])
    end = rewrite._Rewriting._end_beside_others
    sizes = []

    def write_first(rewriting: Any) -> Any:
        database.letters.update_many({}, {"$set": {"bookingId": old(1), "text": "x" * _MIB}})
        return end(rewriting)

    def noting(found: Any, size: Any) -> Any:
        for batch in found:
            sizes.append(sum(map(len, batch)))
            yield from batches.regrouped([batch], size)

    monkeypatch.setattr(rewrite._Rewriting, "_end_beside_others", write_first)
    monkeypatch.setattr(rewrite, "regrouped", noting)
    done = command(*REWRITE, "--field", "letters.bookingId")

    assert 0 == done.returncode, done.stderr
    assert 40 == database.letters.count_documents({"bookingId": new(1)})
    assert 40 * _MIB < sum(sizes)
    # What was left of the limit, and one reply of the server.
    assert max(sizes) < (8 + 16) * _MIB
