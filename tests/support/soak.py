"""An application that is used while its bookings are migrated: writers, readers, and what must be true of both.

Writers behave as the new application, which reads both shapes and writes the new one, and as an old instance that is
still there. Whatever was acknowledged is remembered; what ended in an error may have happened or not.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bson.objectid import ObjectId
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, InvalidOperation, OperationFailure, PyMongoError
from pymongo.write_concern import WriteConcern

from tests.support.booking_lines import client
from tests.support.bookings import a_booking

Bookings = Collection[dict[str, Any]]
PRICE = 20
_FIRST_NOTES = a_booking()["notes"]
_REST_SECONDS = 0.03
"""How long a thread rests between two things that it does: if none did, the program would not get at the processors.
With a third of this a soak took three times as much of them: the longer it went on, the more there was to migrate."""

_LONGEST_SECONDS = 90.0
"""No thread works longer, whatever happens."""


@dataclass
class Ledger:
    """What was acknowledged, and what may be."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    clients: dict[Any, Any] = field(default_factory=dict)
    """The client of each booking and each session that was acknowledged, by `_id` or `sessionId`."""

    possible: set[Any] = field(default_factory=set)
    """Bookings and sessions that may be there or not."""

    busy: set[Any] = field(default_factory=set)
    """The bookings that somebody is changing just now."""

    notes: dict[Any, set[str | None]] = field(default_factory=dict)
    """The last notes of each booking that was changed; several if an answer was lost."""

    latencies: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What readers saw that nobody may see."""

    errors: Counter[str] = field(default_factory=Counter)
    reads: int = 0

    def wrong(self, problem: str) -> None:
        """Note down what must not be."""
        with self.lock:
            self.problems.append(problem)


class Application:
    """Writers and readers at full speed, in threads."""

    def __init__(self, uri: str, database: str, clients: int, seed: int) -> None:
        self._uri = uri
        self._database = database
        self._clients = clients
        self._seed = seed
        self._stopped = threading.Event()
        self.ledger = Ledger()

    def fill(self, bookings: int) -> None:
        """Put old bookings there before anything begins."""
        with MongoClient[dict[str, Any]](self._uri) as mongo:
            documents = [self._old_booking(number % self._clients) for number in range(bookings)]
            mongo[self._database].bookings.insert_many(documents)
            # As an application does that may have several instances.
            mongo[self._database].bookings.create_index(
                "clientId", unique=True, partialFilterExpression={"sessions": {"$exists": True}}
            )
        self.ledger.clients.update((each["_id"], each["clientId"]) for each in documents)

    @contextmanager
    def running(self, *, old_instances: int = 1, writers: int = 2, readers: int = 2) -> Iterator[None]:
        """Let it work while the context lasts."""
        self._stopped.clear()
        jobs: list[Callable[[Bookings, random.Random], None]] = [
            *[self._book, self._change] * writers,
            *[self._book_as_before] * old_instances,
        ]
        threads = [
            threading.Thread(target=self._write, args=(job, self._seed + number))
            for number, job in enumerate(jobs)
        ]
        threads += [
            threading.Thread(target=self._read, args=(self._seed + 100 + each,)) for each in range(readers)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()

    def _write(self, job: Callable[[Bookings, random.Random], None], seed: int) -> None:
        chance = random.Random(seed)
        deadline = time.monotonic() + _LONGEST_SECONDS
        with MongoClient[dict[str, Any]](self._uri) as mongo:
            bookings = mongo[self._database].get_collection(
                "bookings", write_concern=WriteConcern("majority")
            )
            while not self._stopped.is_set() and time.monotonic() < deadline:
                try:
                    job(bookings, chance)
                except PyMongoError as error:
                    with self.ledger.lock:
                        self.ledger.errors[type(error).__name__] += 1
                time.sleep(_REST_SECONDS)

    def _timed(self, write: Callable[[], Any]) -> Any:
        began = time.monotonic()
        result = write()
        with self.ledger.lock:
            self.ledger.latencies.append(time.monotonic() - began)
        return result

    def _book(self, bookings: Bookings, chance: random.Random) -> None:
        """Book into the client's document, or make one."""
        client_id, session_id = client(chance.randrange(self._clients)), ObjectId()
        now = datetime.now(UTC)
        session = {
            "sessionId": session_id,
            "price": PRICE,
            "status": "pending",
            "createdAt": now,
            "updatedAt": now,
        }
        with self.ledger.lock:
            self.ledger.possible.add(session_id)
        self._timed(lambda: append_session(bookings, client_id, session, now))
        with self.ledger.lock:
            self.ledger.possible.discard(session_id)
            self.ledger.clients[session_id] = client_id

    def _book_as_before(self, bookings: Bookings, chance: random.Random) -> None:
        """Book as an old instance does."""
        booking = self._old_booking(chance.randrange(self._clients))
        with self.ledger.lock:
            self.ledger.possible.add(booking["_id"])
        self._timed(lambda: bookings.insert_one(booking))
        with self.ledger.lock:
            self.ledger.possible.discard(booking["_id"])
            self.ledger.clients[booking["_id"]] = booking["clientId"]
        time.sleep(0.02)

    def _old_booking(self, number: int) -> dict[str, Any]:
        now = datetime.now(UTC)
        return a_booking(
            _id=ObjectId(),
            clientId=client(number),
            price=PRICE,
            createdAt=now,
            updatedAt=now,
            scheduledDate=now,
        )

    def _change(self, bookings: Bookings, chance: random.Random) -> None:
        """Change a booking's notes in whichever shape it is."""
        with self.ledger.lock:
            chosen, client_id = chance.choice(list(self.ledger.clients.items()))
            if chosen in self.ledger.busy:
                return
            self.ledger.busy.add(chosen)
            text = f"note {chance.getrandbits(60):x}"
            # If this ends in an error, the booking may have any of them.
            self.ledger.notes.setdefault(chosen, {None, _FIRST_NOTES}).add(text)
        try:
            self._timed(lambda: change_notes(bookings, client_id, chosen, text))
            with self.ledger.lock:
                self.ledger.notes[chosen] = {text}
        finally:
            with self.ledger.lock:
                self.ledger.busy.discard(chosen)

    def _read(self, seed: int) -> None:
        chance = random.Random(seed)
        deadline = time.monotonic() + _LONGEST_SECONDS
        with MongoClient[dict[str, Any]](self._uri) as mongo:
            while not self._stopped.is_set() and time.monotonic() < deadline:
                client_id = client(chance.randrange(self._clients))
                with self.ledger.lock:
                    wanted = {each for each, owner in self.ledger.clients.items() if owner == client_id}
                try:
                    with mongo.start_session(snapshot=True) as session:
                        found = list(
                            mongo[self._database].bookings.find({"clientId": client_id}, session=session)
                        )
                except (PyMongoError, InvalidOperation) as error:
                    with self.ledger.lock:
                        self.ledger.errors[f"read: {type(error).__name__}"] += 1
                    continue
                self._judge(client_id, wanted, found)
                time.sleep(_REST_SECONDS)

    def _judge(self, client_id: Any, wanted: set[Any], found: list[dict[str, Any]]) -> None:
        seen = Counter(identities(found))
        twice = [each for each, count in seen.items() if count > 1]
        missing = [each for each in wanted if each not in seen]
        if twice:
            self.ledger.wrong(f"a reader saw {twice[0]} of {client_id} twice")
        if missing:
            self.ledger.wrong(f"a reader did not see {missing[0]} of {client_id}")
        if sum("sessions" in document for document in found) > 1:
            self.ledger.wrong(f"a reader saw two documents of {client_id}")
        with self.ledger.lock:
            self.ledger.reads += 1

    def problems(self) -> list[str]:
        """Everything that is not as it must be, when nobody writes any more."""
        ledger = self.ledger
        with MongoClient[dict[str, Any]](self._uri) as mongo:
            documents = list(mongo[self._database].bookings.find())
        seen = Counter(identities(documents))
        found = list(ledger.problems)
        found += [f"{each} is there {seen[each]} times" for each in ledger.clients if seen[each] != 1]
        found += [
            f"{each} is unknown"
            for each in seen
            if each not in ledger.clients and each not in ledger.possible
        ]
        holders = Counter(each["clientId"] for each in documents if "sessions" in each)
        found += [f"{each} has {count} documents" for each, count in holders.items() if count > 1]
        for document in (each for each in documents if "sessions" in each):
            count = len(document["sessions"])
            if (document["totalSessions"], document["totalSpent"]) != (count, count * PRICE):
                found.append(f"the totals of {document['clientId']} are wrong")
        notes = dict(_notes(documents))
        found += [
            f"{each} has the notes {notes.get(each)}, not {allowed}"
            for each, allowed in ledger.notes.items()
            if notes.get(each) not in allowed
        ]
        return found


def identities(documents: list[dict[str, Any]]) -> Iterator[Any]:
    """What each booking and each session of these documents is known by."""
    for document in documents:
        if "sessions" not in document:
            yield document["_id"]
        for session in document.get("sessions", ()):
            yield session.get("legacyBookingId", session["sessionId"])


def _notes(documents: list[dict[str, Any]]) -> Iterator[tuple[Any, Any]]:
    for document in documents:
        if "sessions" not in document:
            yield document["_id"], document.get("notes")
        for session in document.get("sessions", ()):
            yield session.get("legacyBookingId", session["sessionId"]), session.get("notes")


def append_session(bookings: Bookings, client_id: Any, session: dict[str, Any], now: datetime) -> None:
    """Book into the client's document, or make one, as the new application does."""
    added = {
        "$push": {"sessions": session},
        "$inc": {"totalSessions": 1, "totalSpent": PRICE},
        # The clocks of two writers do not tell whose write comes last.
        "$max": {"updatedAt": now},
    }
    while True:
        if bookings.update_one({"clientId": client_id, "sessions": {"$exists": True}}, added).matched_count:
            return
        document = {
            "clientId": client_id,
            "clientUserId": "9062",
            "clientEmail": "test0209@gmail.com",
            "sessions": [session],
            "totalSessions": 1,
            "totalSpent": PRICE,
            "createdAt": now,
            "updatedAt": now,
        }
        try:
            bookings.insert_one(document)
        except DuplicateKeyError:
            continue
        return


def change_notes(bookings: Bookings, client_id: Any, chosen: Any, text: str) -> None:
    """Change a booking's notes in whichever shape it is.

    Raises:
        OperationFailure: it was found in neither, again and again.
    """
    now = datetime.now(UTC)
    values = {"$set": {"sessions.$.notes": text, "sessions.$.updatedAt": now}, "$max": {"updatedAt": now}}
    for _attempt in range(1000):
        old = bookings.update_one(
            {"_id": chosen, "sessions": {"$exists": False}}, {"$set": {"notes": text, "updatedAt": now}}
        )
        if old.matched_count:
            return
        for name in ("legacyBookingId", "sessionId"):
            where = {"clientId": client_id, f"sessions.{name}": chosen}
            if bookings.update_one(where, values).matched_count:
                return
    raise OperationFailure("the booking was in neither shape, a thousand times")
