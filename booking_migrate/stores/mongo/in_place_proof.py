"""A collection that was migrated in place, as the two sides that a verification compares."""

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from operator import itemgetter
from typing import Any

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
    """The old bookings: those in the archive, and those that are still, or again, in the collection."""
    return _Both(
        MongoReader(archive, required=True), MongoReader(collection, required=True, fetch=_only(LEFT))
    )


def open_new_side(collection: DriverCollection) -> ComparedReader:
    """The client documents that bookings were migrated into."""
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


class _Both:
    """Two collections read as one; see `ComparedReader` for the promises."""

    def __init__(self, first: ComparedReader, second: ComparedReader) -> None:
        self._sides = (first, second)

    @property
    def name(self) -> str:
        """Both names."""
        return " and ".join(side.name for side in self._sides)

    @property
    def is_live(self) -> bool:
        """Collections may be in use."""
        return True

    def check(self) -> None:
        """See `DocumentReader.check`."""
        for side in self._sides:
            side.check()

    def cut(self) -> None:
        """Two collections at a time are not cut."""

    def estimate_count(self) -> int | None:
        """How many the first holds: the second is hardly anything but client documents."""
        return self._sides[0].estimate_count()

    def scan_by_client(self) -> Iterator[ScannedDocument]:
        """See `DocumentReader.scan_by_client`."""
        keyed = merge(*(_keyed(side.scan_by_client()) for side in self._sides), key=itemgetter(0))
        return (scanned for _key, scanned in keyed)

    def scan_chunks(self, documents: int, *, apart: bool) -> Iterator[Chunk]:  # noqa: ARG002 - the port's signature
        """See `DocumentReader.scan_chunks`."""
        return whole_clients(pack(self.scan_by_client()), documents)

    def scan_client_documents(self) -> Iterator[bytes]:
        """See `DocumentReader.scan_client_documents`."""
        for side in self._sides:
            yield from side.scan_client_documents()

    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        """See `DocumentReader.find`."""
        for side in self._sides:
            yield from side.find(ids)

    def find_by_client(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        """See `ComparedReader.find_by_client`."""
        for side in self._sides:
            yield from side.find_by_client(client_ids)

    def close(self) -> None:
        """See `DocumentReader.close`."""
        for side in self._sides:
            side.close()


def _keyed(scan: Iterator[ScannedDocument]) -> Iterator[tuple[bytes, ScannedDocument]]:
    """Documents with what they are ordered by; one without a client stays behind its neighbour, wherever that is."""
    key = b""
    for scanned in scan:
        client_id = read_booking(scanned.raw).fields.get("clientId")
        if is_client_id(client_id):
            key = sort_key(client_id)
        yield key, scanned
