"""An old application at work: it inserts, updates, moves and deletes bookings, and keeps a ledger of what was acknowledged."""

from collections.abc import Sequence
from random import Random
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

from bson import ObjectId
from pymongo.collection import Collection
from pymongo.errors import PyMongoError, WriteError

from tests.support.booking_lines import booking, client

_ROUNDS = 200_000
_CLIENTS = tuple(client(number) for number in range(40))

Booking = dict[str, Any]


class Application:
    """Threads that write while the context lasts; each has bookings of its own, so that its ledger is exact."""

    def __init__(
        self,
        bookings: Collection[Booking],
        *,
        seed: int = 0,
        threads: int = 2,
        pause: float = 0.0,
        clients: Sequence[ObjectId] = _CLIENTS,
    ) -> None:
        """Take the collection, and how hard it is written to.

        Args:
            bookings: the collection.
            seed: decides what is written.
            threads: how many write at a time.
            pause: how long each waits between two writes, in seconds; 0: full speed.
            clients: whose bookings are written.
        """
        self._bookings = bookings
        self._clients = clients
        self._pause = pause
        self._over = Event()
        self._threads = [
            Thread(target=self._work, args=(Random(f"{seed}/{number}"),)) for number in range(threads)
        ]
        self.ledger: dict[Any, Booking | None] = {}
        """The last acknowledged version of each booking; None: deleted."""

        self.doubtful: set[Any] = set()
        """The bookings with a write whose outcome is not known."""

        self.acknowledged: dict[str, int] = {}
        """How many writes were acknowledged, by kind."""

        self.refused = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _work(self, random: Random) -> None:
        own: list[Any] = []
        for _ in range(_ROUNDS):
            if self._over.is_set():
                return
            key = random.choice(own) if own and random.random() > 0.3 else None
            try:
                self._write(random, key, own)
            except WriteError:
                # Refused by a fence or the guard: nothing was promised.
                self.refused += 1
                self._over.wait(0.005)
            except PyMongoError:
                # A booking whose insert failed is not in the ledger at all.
                self.doubtful.add(key)
                self._over.wait(0.02)
            if self._pause:
                self._over.wait(self._pause)

    def _write(self, random: Random, key: Any, own: list[Any]) -> None:
        if key is None:
            new = {
                **booking(random.randrange(1000)),
                "_id": ObjectId(),
                "clientId": random.choice(self._clients),
            }
            key = new["_id"]
            self._bookings.insert_one(dict(new))
            own.append(key)
            self._note("insert", key, new)
            return
        known = self.ledger[key]
        kind = random.choice(["update", "update", "move", "delete"])
        if known is None:
            return
        if kind == "delete":
            if self._bookings.delete_one({"_id": key}).deleted_count:
                own.remove(key)
                self._note(kind, key, None)
            return
        change = (
            {"clientId": random.choice(self._clients)} if kind == "move" else {"notes": f"{random.random()}"}
        )
        if self._bookings.update_one({"_id": key}, {"$set": change}).matched_count:
            self._note(kind, key, {**known, **change})

    def _note(self, kind: str, key: Any, version: Booking | None) -> None:
        self.ledger[key] = version
        self.acknowledged[kind] = self.acknowledged.get(kind, 0) + 1

    def check(
        self, sessions: dict[Any, tuple[Any, Any]], twice: int, *, may_have_ghosts: bool = False
    ) -> None:
        """Assert that a new live collection holds what was acknowledged, nothing twice, nothing stale, nothing deleted.

        Args:
            sessions: the client and the notes of each session, by the booking that it was.
            twice: how many sessions stand twice.
            may_have_ghosts: whether what was deleted may still be there.
        """
        assert 0 == twice
        sure = {key: version for key, version in self.ledger.items() if key not in self.doubtful}
        lost = [key for key, version in sure.items() if version is not None and key not in sessions]
        ghosts = [key for key, version in sure.items() if version is None and key in sessions]
        stale = [
            key
            for key, version in sure.items()
            if version is not None
            and key in sessions
            and sessions[key] != (version["clientId"], version["notes"])
        ]
        assert ([], [], []) == (lost, [] if may_have_ghosts else ghosts, stale)


def sessions_of(live: Collection[Booking]) -> tuple[dict[Any, tuple[Any, Any]], int]:
    """The client and notes of each session by the booking that it was, and how many sessions stand twice."""
    found: dict[Any, tuple[Any, Any]] = {}
    count = 0
    for document in live.find({"sessions": {"$exists": True}}):
        for session in document["sessions"]:
            count += 1
            found[session["legacyBookingId"]] = (document["clientId"], session["notes"])
    return found, count - len(found)
