"""The server sessions in which a process writes: known by their ids, so that a successor can end what is left of them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Final

from bson.binary import UUID_SUBTYPE, Binary
from pymongo import ReadPreference
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure, PyMongoError

from booking_migrate.errors import StillRunning, WriteFailed
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import reading, translated

_ID_BYTES = 16
"""How long the id of a server session is."""

_WAIT_SECONDS, _LOOK_SECONDS = 30.0, 0.1


def count_sessions(ids: bytes) -> int:
    """Return how many sessions these are the ids of."""
    return len(ids) // _ID_BYTES


class Sessions:
    """Sessions that are taken in turn by the threads of a process."""

    def __init__(self, collection: DriverCollection, what: str | None = None) -> None:
        """Take a collection of the server, and what the sessions write, as users call it; None: this collection."""
        self._collection: Final = collection
        self._what = what or collection.name
        self._sessions: list[ClientSession] = []
        self._idle: SimpleQueue[ClientSession] = SimpleQueue()

    def ids(self, count: int) -> bytes:
        """Return the ids of at least this number of sessions, one behind the other; always the same. The server is contacted."""
        with reading(self._collection):
            while len(self._sessions) < count:
                session = self._collection.database.client.start_session()
                self._sessions.append(session)
                self._idle.put(session)
            return b"".join(bytes(session.session_id["id"]) for session in self._sessions)

    @contextmanager
    def one(self) -> Iterator[ClientSession]:
        """Lend a session; wait for one if all are lent."""
        if not self._sessions:
            self.ids(1)
        session = self._idle.get()
        try:
            yield session
        finally:
            self._idle.put(session)

    def end(self, ids: bytes) -> None:
        """End what a killed process left in its sessions, and wait until it has ended.

        An open transaction blocks writes to its documents; a command that the server still has would be carried out later.

        Raises:
            StillRunning: a command does not end in time.
        """
        parts = [ids[start : start + _ID_BYTES] for start in range(0, len(ids), _ID_BYTES)]
        identities = [Binary(each, UUID_SUBTYPE) for each in parts]
        deadline = time.monotonic() + _WAIT_SECONDS
        try:
            while running := self._ended(identities):
                if time.monotonic() > deadline:
                    raise StillRunning(self._what, str(running[0]["opid"]))
                time.sleep(_LOOK_SECONDS)
        except OperationFailure:
            # Then the server ends transactions, after its limit on their life.
            return
        except PyMongoError as error:
            raise translated(error, self._collection, WriteFailed) from None

    def _ended(self, identities: Sequence[Binary]) -> Sequence[Mapping[str, Any]]:
        """End sessions, and return the commands of theirs that the server still has."""
        if not identities:
            return ()
        client = self._collection.database.client
        # Every user may end sessions of their own (manual, killSessions).
        client.admin.command("killSessions", [{"id": each} for each in identities])
        stages: list[Mapping[str, Any]] = [
            {"$currentOp": {"allUsers": False}},
            {"$match": {"lsid.id": {"$in": identities}}},
            {"$project": {"opid": 1}},
        ]
        return list(client.get_database("admin", read_preference=ReadPreference.PRIMARY).aggregate(stages))
