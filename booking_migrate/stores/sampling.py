"""A part of a place for a quick look: whole clients, chosen by a hash of their ids.

Each client has the same chance, whatever its type and however many bookings it has, and the same clients are chosen
every time. A collection's server chooses by itself and sends nothing else.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from zlib import crc32

from typing_extensions import override

from booking_migrate.bson.document import read_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.stores.blocks import Chunk, pack
from booking_migrate.stores.chunks import whole_clients
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.places import CollectionPlace, Place
from booking_migrate.stores.ports import DocumentReader, ScannedDocument

_RANGE = 1 << 32
"""One more than the greatest CRC-32."""

_WIDER = 4
"""By how much the share of clients grows if none of them is in the sample."""


class SampledReader(DocumentReader):
    """A `DocumentReader` whose scan by client yields about so many documents; everything else is as in the whole."""

    def __init__(
        self, whole: DocumentReader, size: int, scan: Callable[[float], Iterator[ScannedDocument]]
    ) -> None:
        """Take the parts.

        Args:
            whole: the place.
            size: about how many documents to yield.
            scan: yields the documents of a share of the clients, in client order.
        """
        self._whole = whole
        self._size = size
        self._scan = scan
        self.seen = 0
        """How many documents the last scan yielded."""

    @property
    def name(self) -> str:
        """Return the whole's name."""
        return self._whole.name

    @override
    def check(self) -> None:
        self._whole.check()

    def total(self) -> int:
        """Return how many documents the whole has."""
        return self._whole.estimate_count() or 0

    @override
    def estimate_count(self) -> int | None:
        return min(self._size, self.total())

    def scan_by_client(self) -> Iterator[ScannedDocument]:
        """Yield a part of what `DocumentReader.scan_by_client` promises: some clients, each whole; at least one if the place has any."""
        self.seen = 0
        share = min(1.0, self._size / max(self.total(), 1))
        while not self.seen:
            for document in self._scan(share):
                self.seen += 1
                yield document
            if share >= 1:
                return
            # Chance has chosen no client at all, which it does where few documents are asked for.
            share = min(1.0, share * _WIDER)

    @override
    def scan_chunks(self, documents: int, *, apart: bool) -> Iterator[Chunk]:
        return whole_clients(pack(self.scan_by_client()), documents)

    @override
    def scan_client_documents(self) -> Iterator[bytes]:
        return self._whole.scan_client_documents()

    @override
    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        return self._whole.find(ids)

    @override
    def close(self) -> None:
        self._whole.close()


def sample(whole: DocumentReader, place: Place, connection: Connection, size: int) -> SampledReader:
    """Return a reader of about ``size`` documents of a place, as whole clients.

    Args:
        whole: the place, open.
        place: what it is.
        connection: the server and database of collections.
        size: about how many documents; all if there are no more.
    """
    if isinstance(place, CollectionPlace):
        collection = connection.collection(place.name)
        from booking_migrate.stores.mongo.sampling import scan_share  # noqa: PLC0415 - the driver is slow to import

        return SampledReader(whole, size, lambda share: scan_share(collection, share))
    return SampledReader(whole, size, lambda share: _thinned(whole, share))


def _thinned(whole: DocumentReader, share: float) -> Iterator[ScannedDocument]:
    limit = share * _RANGE
    for document in whole.scan_by_client():
        if crc32(sort_key(read_fields(document.raw).get("clientId"))) < limit:
            yield document
