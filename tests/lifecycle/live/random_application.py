"""A new application that does whatever it may, at random."""

from random import Random
from typing import Any

from bson import ObjectId
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, WriteError

from booking_migrate.domain.ids import client_document_id
from tests.lifecycle.test_convert_later import document, session
from tests.support.booking_lines import booking, client


class RandomApplication:
    """A new application that does whatever it may."""

    def __init__(self, live: Collection[dict[str, Any]], bookings: int, seed: int) -> None:
        """Write to the live collection, which was migrated from bookings of these numbers."""
        self._bookings = bookings
        self._live = live
        self.random = Random(seed)
        self._number = seed * 1000
        self._deleted: list[dict[str, Any]] = []

    def act(self) -> str:
        """Do something, and say what."""
        self._number += 1
        act = self.random.choice(
            [
                *(self._change, self._book, self._cancel, self._move, self._copy, self._begin),
                *(self._delete, self._reinsert, self._rename, self._pass_on, self._old, self._strip),
            ]
        )
        try:
            act()
        except (DuplicateKeyError, WriteError):
            return f"{act.__name__} refused"
        return act.__name__

    def _any(self) -> dict[str, Any] | None:
        found = list(self._live.find({"sessions.0": {"$exists": True}}).sort("_id", 1))
        return self.random.choice(found) if found else None

    def _change(self) -> None:
        one = self._any()
        if one:
            at = self.random.randrange(len(one["sessions"]))
            field = self.random.choice(["notes", "status", "own"])
            self._live.update_one(
                {"_id": one["_id"]}, {"$set": {f"sessions.{at}.{field}": f"changed {self._number}"}}
            )

    def _book(self) -> None:
        one = self._any()
        if one:
            changes = self.random.choice([{}, {"price": "20"}, {"sessionId": f"own {self._number}"}])
            new = session(self._number, **changes)
            self._live.update_one({"_id": one["_id"]}, {"$push": {"sessions": new}})

    def _cancel(self) -> None:
        one = self._any()
        if one:
            one["sessions"].pop(self.random.randrange(len(one["sessions"])))
            self._live.update_one({"_id": one["_id"]}, {"$set": {"sessions": one["sessions"]}})

    def _move(self) -> None:
        self._copy(is_move=True)

    def _copy(self, *, is_move: bool = False) -> None:
        one, other = self._any(), self._any()
        if one and other and one["_id"] != other["_id"]:
            at = self.random.randrange(len(one["sessions"]))
            self._live.update_one({"_id": other["_id"]}, {"$push": {"sessions": one["sessions"][at]}})
            if is_move:
                one["sessions"].pop(at)
                self._live.update_one({"_id": one["_id"]}, {"$set": {"sessions": one["sessions"]}})

    def _begin(self) -> None:
        owner = self.random.choice([client(50 + self._number % 5), client(self._number % 4), None, 7])
        key = self.random.choice([ObjectId(), client_document_id(client(60)), f"own {self._number % 3}"])
        self._live.insert_one(document(key, owner, session(self._number)))

    def _delete(self) -> None:
        one = self._any()
        if one:
            self._live.delete_one({"_id": one["_id"]})
            self._deleted.append(one)

    def _reinsert(self) -> None:
        if self._deleted:
            one = self._deleted.pop()
            self._live.insert_one({**one, "clientId": self.random.choice([one["clientId"], client(70)])})

    def _rename(self) -> None:
        one = self._any()
        if one:
            self._live.update_one({"_id": one["_id"]}, {"$set": {"clientEmail": f"{self._number}@x.org"}})

    def _pass_on(self) -> None:
        one = self._any()
        if one:
            owner = self.random.choice([client(80 + self._number % 3), client(self._number % 4), None])
            self._live.update_one({"_id": one["_id"]}, {"$set": {"clientId": owner}})

    def _old(self) -> None:
        """Write an old booking, as one who bypasses the guard can."""
        number = self.random.choice([self._number + 500, self._number % self._bookings])
        one = {**booking(number), "notes": f"old {self._number}"}
        self._live.replace_one({"_id": one["_id"]}, one, upsert=True, bypass_document_validation=True)

    def _strip(self) -> None:
        one = self._any()
        if one:
            self._live.update_one(
                {"_id": one["_id"]}, {"$unset": {"sessions": 1}}, bypass_document_validation=True
            )
