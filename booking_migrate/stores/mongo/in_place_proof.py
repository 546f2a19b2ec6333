"""A collection that was migrated in place, as the two sides that a verification compares."""

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from operator import itemgetter
from typing import Any

from typing_extensions import override

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.booking import read_booking
from booking_migrate.domain.contract import is_client_id
from booking_migrate.stores.blocks import Chunk, pack
from booking_migrate.stores.chunks import whole_clients
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.pending import LEFT
from booking_migrate.stores.mongo.reader import FindDocuments, MongoReader
from booking_migrate.stores.mongo.scan import find_documents
from booking_migrate.stores.ports import ComparedReader, ScannedDocument

_CLAIMING: Mapping[str, Any] = {"sessions.legacyBookingId": {"$exists": True}}
"""The client documents that hold a booking; any other is the application's own, and was not migrated."""


def open_old_side(collection: DriverCollection, archive: DriverCollection) -> ComparedReader:
    """Return the old bookings: those in the archive, and those that are still, or again, in the collection."""
    return _Both(
        MongoReader(archive, required=True), MongoReader(collection, required=True, fetch=_only(LEFT))
    )


def open_new_side(collection: DriverCollection) -> ComparedReader:
    """Return the client documents that bookings were migrated into."""
    return MongoReader(collection, required=True, fetch=_only(_CLAIMING))


def _only(wanted: Mapping[str, Any]) -> FindDocuments:
    def fetch(
        collection: DriverCollection,
        condition: Mapping[str, Any],
        *,
        fields: Mapping[str, Any] | None = None,
        by_client: bool = False,
    ) -> Iterator[bytes]:
        return find_documents(collection, {"$and": [condition, wanted]}, fields=fields, by_client=by_client)

    return fetch


class _Both(ComparedReader):
    """Two collections read as one; see `ComparedReader` for the promises."""

    def __init__(self, first: ComparedReader, second: ComparedReader) -> None:
        self._sides = (first, second)

    @property
    def name(self) -> str:
        """Return both names."""
        return " and ".join(side.name for side in self._sides)

    @property
    def is_live(self) -> bool:
        """Return True: collections may be in use."""
        return True

    @override
    def check(self) -> None:
        for side in self._sides:
            side.check()

    def cut(self) -> None:
        """Return None: two collections at a time are not cut."""

    def estimate_count(self) -> int | None:
        """Return how many the first holds: the second is hardly anything but client documents."""
        return self._sides[0].estimate_count()

    @override
    def scan_by_client(self) -> Iterator[ScannedDocument]:
        keyed = merge(*(_keyed(side.scan_by_client()) for side in self._sides), key=itemgetter(0))
        return (scanned for _key, scanned in keyed)

    @override
    def scan_chunks(self, documents: int, *, apart: bool) -> Iterator[Chunk]:
        return whole_clients(pack(self.scan_by_client()), documents)

    @override
    def scan_client_documents(self) -> Iterator[bytes]:
        for side in self._sides:
            yield from side.scan_client_documents()

    @override
    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        for side in self._sides:
            yield from side.find(ids)

    @override
    def find_by_client(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        for side in self._sides:
            yield from side.find_by_client(client_ids)

    @override
    def close(self) -> None:
        for side in self._sides:
            side.close()


def _keyed(scan: Iterator[ScannedDocument]) -> Iterator[tuple[bytes, ScannedDocument]]:
    """Yield documents with what they are ordered by; one without a client stays behind its neighbour, wherever that is."""
    key = b""
    for scanned in scan:
        client_id = read_booking(scanned.raw).fields.get("clientId")
        if is_client_id(client_id):
            key = sort_key(client_id)
        yield key, scanned
