"""The least that a migration in place, and its rollback, take: the same transactions, three at a time, and nothing else.

What the documents become is worked out before the clock starts; nothing is checked, noted, counted or proven.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from queue import Empty, SimpleQueue
from threading import Thread
from time import perf_counter
from typing import Any, NamedTuple, cast

from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from booking_migrate.fastpath.flat import FlatClients, FlatRules
from booking_migrate.stores.chunks import split
from tests.benchmarks.data import CLIENT

Db = Database[dict[str, Any]]

_AT_A_TIME = 3
_GROUP = 4500
"""How many bookings one transaction moves, about 2 MiB."""

_ONLY_DOCUMENTS = {"sessions": {"$type": "array"}}


class _Group(NamedTuple):
    """Whole clients."""

    clients: Sequence[ObjectId]
    bookings: Sequence[bytes]
    documents: Sequence[bytes]


class Transactions:
    """Moves the bookings of a collection there and back."""

    def __init__(self, database: Db, name: str) -> None:
        """Read the bookings of a collection, and make what becomes of them."""
        self._collection = database[name]
        self._archive = database[f"{name}_archive"]
        self._groups = list(_groups(self._collection))
        self._archive.create_index("clientId")
        self._collection.create_index(
            "clientId", unique=True, partialFilterExpression=_ONLY_DOCUMENTS, name="documents"
        )

    def move(self) -> float:
        """Move all of them to the archive. Seconds."""
        return self._timed(self._move)

    def move_back(self) -> float:
        """Move all of them back. Seconds."""
        return self._timed(self._move_back)

    def _move(self, group: _Group, session: ClientSession) -> None:
        of_clients = {"clientId": {"$in": group.clients}}
        list(cast("Any", self._collection.find_raw_batches(of_clients, session=session)))
        self._archive.insert_many(_raw(group.bookings), session=session)
        self._collection.delete_many(of_clients, session=session)
        self._collection.insert_many(_raw(group.documents), session=session)

    def _move_back(self, group: _Group, session: ClientSession) -> None:
        of_clients = {"clientId": {"$in": group.clients}}
        for collection in (self._archive, self._collection):
            list(cast("Any", collection.find_raw_batches(of_clients, session=session)))
        self._collection.delete_many(of_clients, session=session)
        self._collection.insert_many(_raw(group.bookings), session=session)
        self._archive.delete_many(of_clients, session=session)

    def _timed(self, work: Callable[[_Group, ClientSession], None]) -> float:
        waiting: SimpleQueue[_Group] = SimpleQueue()
        for group in self._groups:
            waiting.put(group)

        def run() -> None:
            with self._collection.database.client.start_session() as session:
                while True:
                    try:
                        group = waiting.get_nowait()
                    except Empty:
                        return
                    with session.start_transaction(ReadConcern("snapshot"), WriteConcern("majority")):
                        work(group, session)

        threads = [Thread(target=run) for _ in range(_AT_A_TIME)]
        began = perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return perf_counter() - began


def _groups(collection: Any) -> Iterator[_Group]:
    build = FlatClients(FlatRules()).build
    raws: list[bytes] = []
    for batch in cast("Any", collection.find_raw_batches({}, sort=[("clientId", 1)], allow_disk_use=True)):
        for raw in split(batch).documents():
            if len(raws) >= _GROUP and raws[-1][CLIENT] != raw[CLIENT]:
                yield _group(raws, build)
                raws = []
            raws.append(raw)
    if raws:
        yield _group(raws, build)


def _group(raws: Sequence[bytes], build: Callable[[bytes, Sequence[int]], Any]) -> _Group:
    clients = build(b"".join(raws), [0, *accumulate(map(len, raws))]).clients
    return _Group([each.client_id for each in clients], raws, [each.document for each in clients])


def _raw(documents: Sequence[bytes]) -> list[Any]:
    return list(map(RawBSONDocument, documents))
