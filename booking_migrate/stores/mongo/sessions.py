"""The server sessions in which a process has its transactions: known by their ids, so that a successor can end them."""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Final

from bson.binary import UUID_SUBTYPE, Binary
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure, PyMongoError

from booking_migrate.errors import WriteFailed
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import reading, translated

_ID_BYTES = 16
"""How long the id of a server session is."""


class Sessions:
    """Sessions that are taken in turn by the threads of a process."""

    def __init__(self, collection: DriverCollection) -> None:
        """Take a collection of the server."""
        self._collection: Final = collection
        self._sessions: list[ClientSession] = []
        self._idle: SimpleQueue[ClientSession] = SimpleQueue()

    def ids(self, count: int) -> bytes:
        """Return the ids of at least this number of sessions, one behind the other; always the same. The server is contacted.

        Raises:
            ConnectionProblem, NotPermitted: it cannot be.
        """
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
        """End the transactions that a killed process left open in its sessions: they block writes to their documents.

        Raises:
            ConnectionProblem, NotPermitted, WriteFailed: the server cannot be asked.
        """
        # Every user may end sessions of their own (manual, killSessions).
        parts = [ids[start : start + _ID_BYTES] for start in range(0, len(ids), _ID_BYTES)]
        identities = [{"id": Binary(each, UUID_SUBTYPE)} for each in parts]
        try:
            self._collection.database.client.admin.command("killSessions", identities)
        except OperationFailure:
            # Then the server ends them, after the server's limit on the life of a transaction.
            return
        except PyMongoError as error:
            raise translated(error, self._collection, WriteFailed) from None
