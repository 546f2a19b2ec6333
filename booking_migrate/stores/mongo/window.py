"""What a reverse window knows of single documents and clients, in the collection ``booking_migrate_window``.

Both kinds of entry exist only for documents and clients that something special holds for, so there are few of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bson.binary import Binary
from pymongo import DeleteMany, UpdateOne

from booking_migrate.bson.document import read_fields, value_in, write_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.stores.mongo.administration import drop
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.dirty import RunEntries
from booking_migrate.stores.mongo.failures import read, reading
from booking_migrate.stores.mongo.raw import RAW_OPTIONS, SIMPLE
from booking_migrate.stores.open_window import Related

_NAMES_PER_DELETE = 10_000
"""A command's document is limited to 16 MiB."""


class MongoWindowNotes:
    """The notes of one run."""

    def __init__(self, collection: DriverCollection, run_id: str) -> None:
        self._entries = RunEntries(collection, run_id)
        self._collection = self._entries.collection

    def relate(self, related: Sequence[Related]) -> None:
        """Add to the clients, and bookings of others, that a live document has ever had a part in.

        A deleted document does not say whose it was, nor a changed one whose sessions it has lost.
        """
        self._entries.write(
            [
                UpdateOne(
                    {"_id": self._entries.name("document", sort_key(each.document_id))},
                    {
                        "$addToSet": {
                            "clients": {"$each": [_packed(client) for client in each.clients]},
                            "bookings": {"$each": [_packed(value) for value in each.bookings]},
                        },
                        "$set": {"own": _packed(each.own)},
                    },
                    upsert=True,
                )
                for each in related
            ]
        )

    def clients_of(self, document_ids: Sequence[Any]) -> Iterator[Any]:
        """Yield the clients that were related to live documents; at most a few thousand."""
        for entry in self._documents(document_ids):
            yield from map(_unpacked, entry["clients"])

    def bookings_of(self, document_ids: Sequence[Any]) -> Iterator[Any]:
        """Yield the bookings of other clients of which live documents have held a session; at most a few thousand documents."""
        for entry in self._documents(document_ids):
            yield from map(_unpacked, entry.get("bookings", ()))

    def owners_of(self, document_ids: Sequence[Any]) -> Iterator[Any]:
        """Yield the clients whose own documents these were when they were related last; at most a few thousand."""
        for entry in self._documents(document_ids):
            yield _unpacked(entry["own"])

    def _documents(self, document_ids: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        names = [self._entries.name("document", sort_key(value)) for value in document_ids]
        return read(self._collection, lambda: list(self._collection.find({"_id": {"$in": names}})))

    def count(self, clients: Iterable[bytes], facts: Mapping[bytes, Mapping[str, Any]]) -> None:
        """Replace the counted changes of some clients and relocated bookings, by their keys; those that are left out of ``facts`` have none."""
        nothing = [self._entries.name("client", key) for key in clients if key not in facts]
        self._entries.write(
            [
                *(
                    DeleteMany({"_id": {"$in": nothing[start : start + _NAMES_PER_DELETE]}})
                    for start in range(0, len(nothing), _NAMES_PER_DELETE)
                ),
                *(
                    UpdateOne(
                        {"_id": self._entries.name("client", key)}, {"$set": {"facts": each}}, upsert=True
                    )
                    for key, each in facts.items()
                ),
            ]
        )

    def counted(self) -> Iterator[Mapping[str, Any]]:
        """Yield the changes of each client that has any."""
        entries = read(self._collection, lambda: list(self._collection.find(self._entries.of_kind("client"))))
        yield from (entry["facts"] for entry in entries)

    def clear(self) -> None:
        """Remove all notes of the run."""
        self._entries.clear()

    def drop_if_empty(self) -> None:
        """Drop the collection if it is there and holds nothing; another window's notes must not come in meanwhile."""
        drop(self._collection)


def _packed(value: Any) -> Binary:
    # As bytes: an id may be of a type that the driver re-types.
    return Binary(write_fields({"_id": value}))


def _unpacked(packed: bytes) -> Any:
    return read_fields(packed)["_id"]


def client_values(collection: DriverCollection) -> Iterator[Any]:
    """Yield every value of `clientId` once, from an index on it."""
    grouped = [{"$group": {"_id": "$clientId"}}]
    found = collection.with_options(codec_options=RAW_OPTIONS)
    with reading(collection):
        for document in found.aggregate(grouped, collation=SIMPLE, allowDiskUse=True):
            yield value_in(bytes(document.raw), b"_id")
