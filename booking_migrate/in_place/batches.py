"""How many clients are moved at a time: as many as go quickly, far below what a transaction may hold."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.contract import is_client_id
from booking_migrate.stores.in_place import Waiting

_FIRST_BYTES = 512 * 1024
_LEAST_BYTES, _MOST_BYTES = 16 * 1024, 2 * 1024 * 1024
"""Of old bookings in a batch; what a transaction writes is about two times that, and 16 MiB is where its record splits."""

_SLOW, _QUICK = 1.0, 0.25
"""Seconds that a batch takes: above the one it is halved, below the other doubled. A transaction may last 60."""

_STRAYS = 500


@dataclass(slots=True)
class Batch:
    """Clients that go together, or documents that have no client."""

    clients: list[Any] = field(default_factory=list)
    """Their ids, decoded, no two of them equal."""

    met: dict[bytes, list[Any]] = field(default_factory=dict)
    """The `_id` of each document, by the sort key of its client's id."""

    strays: list[Any] = field(default_factory=list)
    """The `_id` of documents without a client."""

    documents: int = 0
    size: int = 0


class Measure:
    """How large a batch is, by what the ones before it took."""

    def __init__(self, bookings: int) -> None:
        """Take the largest number of bookings."""
        self._bookings = bookings
        self._bytes = _FIRST_BYTES

    def is_full(self, batch: Batch) -> bool:
        """Return whether a batch may take no further client."""
        return batch.documents >= self._bookings or batch.size >= self._bytes

    def learn(self, seconds: float) -> None:
        """Take note of how long a batch took."""
        if seconds > _SLOW:
            self._bytes = max(_LEAST_BYTES, self._bytes // 2)
        elif seconds < _QUICK:
            self._bytes = min(_MOST_BYTES, self._bytes * 2)


def batches(waiting: Iterable[Waiting], measure: Measure) -> Iterator[Batch]:
    """Whole clients together, in their order; what has no client goes apart."""
    batch, strays = Batch(), Batch()
    key: bytes | None = None
    for found in waiting:
        if not is_client_id(found.client_id):
            strays.strays.append(found.document_id)
            strays.documents += 1
            if strays.documents >= _STRAYS:
                yield strays
                strays = Batch()
            continue
        own = sort_key(found.client_id)
        if own != key:
            if measure.is_full(batch):
                yield batch
                batch = Batch()
            batch.clients.append(found.client_id)
            batch.met[own] = []
            key = own
        batch.met[own].append(found.document_id)
        batch.documents += 1
        batch.size += found.size
    for rest in (batch, strays):
        if rest.documents:
            yield rest
