"""A small platform in use: what an old application does to bookings, a new one to client documents, and what damages them.

Every act takes numbers for its choices, so that a test can repeat it, and returns the client whose document in the target
it touched, if any.
"""

from decimal import Decimal
from typing import Any

from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from pymongo.database import Database

from tests.support.booking_lines import EXPERT, booking, client
from tests.support.bookings import ABSENT, DAY
from tests.support.truth import CODEC, documents_of, total

Db = Database[dict[str, Any]]
Document = dict[str, Any]

CLIENTS = 5
MOST_BOOKINGS = 20
_WITHOUT_PEOPLE = dict.fromkeys(("clientUserId", "clientEmail", "expertUserId", "expertEmail"), ABSENT)
_FIRST_TIME = 1_756_765_143_359

KINDS: dict[str, Document] = {
    "plain": {},
    "first generation": _WITHOUT_PEOPLE,
    "of an unknown expert": {**_WITHOUT_PEOPLE, "expertId": ObjectId("e" * 24)},
    "bare": {"status": ABSENT, "paymentStatus": ABSENT, "notes": ABSENT},
    "too short": {"duration": 5},
    "in odd money": {"currency": "usd"},
    "of nobody": {"clientId": None},
    "decimal": {"price": Decimal128(Decimal("12.50"))},
}
"""What an old application inserts."""

CHANGES: dict[str, Document] = {
    "cancelled": {"status": "cancelled", "updatedAt": DatetimeMS(_FIRST_TIME + 9 * DAY)},
    "dearer": {"price": 99},
    "a double": {"price": 20.25},
    "a decimal": {"price": Decimal128(Decimal("20.25"))},
    "earlier": {"createdAt": DatetimeMS(_FIRST_TIME - DAY)},
    "too short": {"duration": 5},
    "long enough": {"duration": 45},
    "odd money": {"currency": "usd"},
    "money": {"currency": "INR"},
    "another address": {"clientEmail": "another@example.com"},
    "a new field": {"meetingLink": "https://example.com/room"},
}
"""What an old application sets in a booking."""


class Platform:
    """The collections of one database."""

    def __init__(self, database: Db, target: str) -> None:
        self._database = database
        self._bookings = database.bookings
        self._target = target
        self._made = 0
        self._deleted: list[Document] = []
        self._moved: tuple[Any, Any] | None = None

    def begin(self) -> None:
        """Fill it: users and an expert, and a few bookings of three clients."""
        people = [
            {"_id": client(number), "user_id": f"{1000 + number}", "email": f"user{number}@example.com"}
            for number in range(CLIENTS)
        ]
        people.append({"_id": ObjectId("d" * 24), "user_id": "2000", "email": "expert@example.com"})
        self._database.users.insert_many(people)
        self._database.experts.insert_one({"_id": EXPERT, "userId": ObjectId("d" * 24)})
        for number, kind in enumerate(("plain", "plain", "first generation", "plain", "too short", "plain")):
            self.insert(number % 3, kind)

    # The old application.

    def insert(self, owner: int, kind: str) -> None:
        """Insert a booking, unless there are many."""
        if self._bookings.count_documents({}) >= MOST_BOOKINGS:
            return
        self._made += 1
        time = DatetimeMS(_FIRST_TIME + self._made * DAY)
        own = {"clientId": client(owner), "createdAt": time, "updatedAt": time, "price": 10 + self._made}
        self._bookings.insert_one(booking(self._made, **{**own, **KINDS[kind]}))

    def change(self, which: int, change: str) -> None:
        """Set fields of a booking."""
        self._bookings.update_one({"_id": self._chosen(which)}, {"$set": CHANGES[change]})

    def move(self, which: int, owner: int) -> None:
        """Move a booking to another client."""
        chosen = self._chosen(which)
        before = self._bookings.find_one_and_update({"_id": chosen}, {"$set": {"clientId": client(owner)}})
        self._moved = (chosen, before["clientId"]) if before else None

    def move_back(self) -> None:
        """Move the booking that was moved last to the client that it came from."""
        if self._moved is not None:
            chosen, owner = self._moved
            self._bookings.update_one({"_id": chosen}, {"$set": {"clientId": owner}})

    def delete(self, which: int) -> None:
        """Delete a booking."""
        found = self._bookings.with_options(CODEC).find_one_and_delete({"_id": self._chosen(which)})
        self._deleted += [found] if found else []

    def delete_client(self, owner: int) -> None:
        """Delete all bookings of a client."""
        where = {"clientId": client(owner), "sessions": {"$exists": False}}
        self._deleted += self._bookings.with_options(CODEC).find(where)
        self._bookings.delete_many(where)

    def insert_again(self, changed: bool) -> None:
        """Insert a booking again that was deleted, with the same `_id`."""
        if self._deleted:
            document = self._deleted.pop()
            self._bookings.insert_one({**document, **({"notes": "once more"} if changed else {})})

    def change_user(self, owner: int, email: str) -> None:
        """Change the address of a user, which bookings of the first generation take over."""
        self._database.users.update_one({"_id": client(owner)}, {"$set": {"email": email}})

    def toggle_user(self, owner: int) -> None:
        """Delete a user, or insert it again."""
        if not self._database.users.delete_one({"_id": client(owner)}).deleted_count:
            own = {"user_id": f"{1000 + owner}", "email": f"user{owner}@example.com"}
            self._database.users.insert_one({"_id": client(owner), **own})

    def _chosen(self, which: int) -> Any:
        """The `_id` of one booking; None if there are none."""
        found = sorted(each["_id"] for each in self._bookings.find({"sessions": {"$exists": False}}, ["_id"]))
        return found[which % len(found)] if found else None

    # The new application.

    def book(self, name: str, owner: int) -> Any:
        """Book into a client's document in a collection, or make one; return the client."""
        self._made += 1
        time = DatetimeMS(_FIRST_TIME + self._made * DAY)
        session = {"sessionId": ObjectId(f"5e55{self._made:020x}"), "price": 7, "createdAt": time}
        session["updatedAt"] = time
        documents = self._database.get_collection(name, codec_options=CODEC)
        is_document = {"clientId": client(owner), "sessions": {"$exists": True}}
        there = documents.find_one(is_document)
        if there is not None:
            _replace(documents, there, [*there["sessions"], session])
            return there["clientId"]
        own = {"clientId": client(owner), "clientUserId": "9062", "clientEmail": "new@example.com"}
        document = {"_id": ObjectId(f"d0c0{self._made:020x}"), **own, "sessions": [session]}
        totals = {"totalSessions": 1, "totalSpent": 7, "createdAt": time, "updatedAt": time}
        documents.insert_one({**document, **totals})
        return client(owner)

    def cancel(self, which: int) -> Any:
        """Cancel a session in the target, whether it comes from a booking or not."""
        document, place = self._session(which)
        if document is not None:
            document["sessions"][place]["status"] = "cancelled by the new application"
            _replace(self._documents(), document, document["sessions"])
        return document and document["clientId"]

    # Damage.

    def spoil(self, which: int) -> Any:
        """Change a value of a session in the target, and nothing else."""
        document, place = self._session(which)
        if document is not None:
            self._documents().update_one(
                {"_id": document["_id"]}, {"$set": {f"sessions.{place}.meetingLink": "elsewhere"}}
            )
        return document and document["clientId"]

    def lose(self, which: int) -> Any:
        """Take a session out of the target, and out of the totals."""
        return self._lose(which, consistent=True)

    def forget(self, which: int) -> Any:
        """Take a session out of the target, and leave the totals as they are."""
        return self._lose(which, consistent=False)

    def _lose(self, which: int, *, consistent: bool) -> Any:
        document, place = self._session(which)
        if document is not None:
            del document["sessions"][place]
            _replace(self._documents(), document, document["sessions"], consistent=consistent)
        return document and document["clientId"]

    def miscount(self, which: int) -> Any:
        """Change the totals of a document in the target."""
        document, _place = self._session(which)
        if document is not None:
            self._documents().update_one({"_id": document["_id"]}, {"$inc": {"totalSpent": 1}})
        return document and document["clientId"]

    def double(self, which: int, into: int) -> Any:
        """Put a session into a document of the target once more, of the same client or of another one."""
        source, place = self._session(which)
        documents = sorted(documents_of(self._database, self._target), key=lambda each: each["_id"])
        if source is None:
            return None
        document = documents[into % len(documents)]
        _replace(self._documents(), document, [*document["sessions"], source["sessions"][place]])
        return document["clientId"]

    def drop(self, which: int) -> Any:
        """Delete a client document of the target."""
        document, _place = self._session(which)
        if document is not None:
            self._documents().delete_one({"_id": document["_id"]})
        return document and document["clientId"]

    def _documents(self) -> Any:
        return self._database.get_collection(self._target, codec_options=CODEC)

    def _session(self, which: int) -> tuple[Document | None, int]:
        """One session of the target: its document, and its place there."""
        documents = sorted(documents_of(self._database, self._target), key=lambda each: each["_id"])
        places = [(each, place) for each in documents for place in range(len(each["sessions"]))]
        return places[which % len(places)] if places else (None, 0)


def _replace(
    documents: Any, document: Document, sessions: list[Document], *, consistent: bool = True
) -> None:
    totals = {"totalSessions": len(sessions), "totalSpent": total(each["price"] for each in sessions)}
    changed = {**document, "sessions": sessions, **(totals if consistent else {})}
    documents.replace_one({"_id": document["_id"]}, changed)
