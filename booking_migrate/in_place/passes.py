"""Passes through a collection that is migrated in place: batches of clients, and the outcome for every document met.

A batch has as many clients as can be moved quickly, far below the limit of a transaction. On write conflicts with the
application it is bisected, down to single clients, which are finally left for the next pass.

Each document of a pass is moved, rejected, left for the next pass, or was deleted by the application. Every document is
accounted for, so none is missed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import sleep
from typing import Any, TypeVar

from bson.objectid import ObjectId

from booking_migrate.bson.document import value_in
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import OBJECT_ID_KEY, id_key, sort_key
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.errors import BookingsLeft, Contended
from booking_migrate.in_place.group import GroupPlan
from booking_migrate.migrate.counts import SAMPLES, MigrationCounts
from booking_migrate.stores.in_place import PendingDocument
from booking_migrate.stores.rejects import RejectsKeeper

_FIRST_BYTES = 512 * 1024
_LEAST_BYTES, _MOST_BYTES = 16 * 1024, 2 * 1024 * 1024
"""The size of the old bookings in the first batch; a transaction writes about twice as much, and its oplog entry splits at
16 MiB."""

_SLOW, _QUICK = 1.0, 0.25
"""Seconds a batch takes: above the first value its size is halved, below the second doubled. A transaction may last 60."""

_STRAYS = 500

_TRIES = 12
"""How often a client is tried if the application writes to it continuously."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 1.0

_SESSIONS = b"sessions\x00"

Result = TypeVar("Result")


@dataclass(slots=True)
class Batch:
    """Clients that are moved together, or documents without a client."""

    clients: list[Any] = field(default_factory=list)
    """Their ids, decoded, no two of them equal."""

    met: dict[bytes, list[bytes]] = field(default_factory=dict)
    """The sort key of the `_id` of each document, by that of its client's id."""

    ids: dict[bytes, Any] = field(default_factory=dict)
    """The `_id` of each document whose sort key does not have it, by that key."""

    strays: list[Any] = field(default_factory=list)
    """The `_id` of documents without a client."""

    documents: int = 0
    size: int = 0


class AdaptiveSize:
    """The size of the next batch, adapted to the time that earlier ones took."""

    def __init__(self, bookings: Callable[[], int]) -> None:
        """Take what returns the largest number of bookings, which may change."""
        self._bookings = bookings
        self._bytes = _FIRST_BYTES

    def is_full(self, batch: Batch) -> bool:
        """Return whether a batch may take no further client."""
        return batch.documents >= self._bookings() or batch.size >= self._bytes

    def learn(self, seconds: float) -> None:
        """Adapt to how long a batch took."""
        if seconds > _SLOW:
            self._bytes = max(_LEAST_BYTES, self._bytes // 2)
        elif seconds < _QUICK:
            self._bytes = min(_MOST_BYTES, self._bytes * 2)


def batches(pending: Iterable[PendingDocument], measure: AdaptiveSize) -> Iterator[Batch]:
    """Yield batches of whole clients in client order; documents without a client come in batches of their own."""
    batch, strays = Batch(), Batch()
    key: bytes | None = None
    met: list[bytes] = []
    for found in pending:
        if found.ids is not None and not is_client_id(found.client_id):
            strays.strays.append(found.document_id)
            strays.documents += 1
            if strays.documents >= _STRAYS:
                yield strays
                strays = Batch()
            continue
        if found.client_key != key:
            if measure.is_full(batch):
                yield batch
                batch = Batch()
            key = found.client_key
            batch.clients.append(found.client_id)
            batch.met[key] = met = []
        met.append(found.key)
        if found.ids is not None:
            batch.ids[found.key] = found.document_id
        batch.documents += 1
        batch.size += found.size
    for rest in (batch, strays):
        if rest.documents:
            yield rest


def bisect_on_conflict(
    clients: Sequence[Any],
    attempt: Callable[[Sequence[Any]], Result],
    *,
    pause: Callable[[float], None] = sleep,
) -> Iterator[tuple[Sequence[Any], Result | None]]:
    """Apply an operation to clients, to all at once if that succeeds, otherwise to halves.

    Args:
        clients: their ids; at least one.
        attempt: applies it to some of them, all or nothing.
        pause: waits for this number of seconds.

    Yields:
        Each part with its result; None for a client that could not be handled.
    """
    tries = _TRIES if len(clients) == 1 else 1
    for number in range(tries):
        if number:
            pause(min(_FIRST_PAUSE * 2**number, _LONGEST_PAUSE))
        try:
            result = attempt(clients)
        except Contended:
            continue
        yield clients, result
        return
    if len(clients) == 1:
        yield clients, None
        return
    middle = len(clients) // 2
    yield from bisect_on_conflict(clients[:middle], attempt, pause=pause)
    yield from bisect_on_conflict(clients[middle:], attempt, pause=pause)


@dataclass(slots=True)
class Progress:
    """What the run has moved, in this process or before it was interrupted."""

    counts: MigrationCounts
    written: int = 0
    changed: int = 0

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> "Progress":
        """Return the progress that was saved; none if that is empty."""
        progress = cls(MigrationCounts(), saved.get("written", 0), saved.get("changed", 0))
        progress.counts.add(saved.get("moved", {}))
        return progress

    def saved(self) -> dict[str, Any]:
        """As values of BSON."""
        return {"moved": self.counts.saved(), "written": self.written, "changed": self.changed}

    def after(self, plan: GroupPlan) -> "Progress":
        """Return the progress after this plan was carried out."""
        return self.plus(Progress(plan.counts, len(plan.new), len(plan.changed)))

    def plus(self, other: "Progress") -> "Progress":
        """Return both together."""
        counts = MigrationCounts()
        counts.add(self.counts.saved())
        counts.add(other.counts.saved())
        return Progress(counts, self.written + other.written, self.changed + other.changed)


@dataclass(slots=True)
class Pass:
    """One pass through the collection."""

    rejects: RejectsKeeper
    rejected: MigrationCounts = field(default_factory=MigrationCounts)
    moved: int = 0
    left: dict[bytes, Any] = field(default_factory=dict)
    """The clients of documents that are neither moved nor rejected, by the sort key of the documents' `_id`."""

    @property
    def is_last(self) -> bool:
        """Return whether nothing that could be converted was found."""
        return not self.moved and not self.left

    def done(self, plan: GroupPlan) -> None:
        """Count what a plan moved or rejected."""
        self.moved += len(plan.gone)
        if self.left:
            for key in _keys(plan):
                self.left.pop(key, None)

    def leave(self, client_id: Any, keys: Iterable[bytes]) -> None:
        """Leave a client's documents for the next pass, by the sort keys of their `_id`."""
        self.left.update((key, client_id) for key in keys)

    def account(
        self,
        met: Iterable[bytes],
        ids: Mapping[bytes, Any],
        plans: Sequence[GroupPlan],
        find: Callable[[Sequence[Any]], Sequence[bytes]],
    ) -> None:
        """Account for the documents of a batch, and leave those that other processes changed in the meantime.

        Args:
            met: the sort key of the `_id` of each.
            ids: the `_id` of each whose sort key does not have it, by that key.
            plans: what was moved or rejected of them.
            find: finds documents of the collection by `_id`.
        """
        unhandled = set(met).difference(*map(_keys, plans))
        if not unhandled:
            return
        wanted = [
            ids[key] if key in ids else ObjectId(key[len(OBJECT_ID_KEY) :]) for key in sorted(unhandled)
        ]
        for raw in find(wanted):
            is_document = _SESSIONS in raw and isinstance(read_client_document(raw), ClientDocument)
            if not is_document:
                self.leave(value_in(raw, b"clientId"), [id_key(raw)])

    def check(self, place: str, passes: int) -> None:
        """Make sure that nothing is left.

        Raises:
            BookingsLeft: documents are.
        """
        if not self.left:
            return
        clients = {sort_key(client_id): client_id for client_id in self.left.values()}
        sample = [display_id(clients[key]) for key in sorted(clients)[:SAMPLES]]
        raise BookingsLeft(place, len(self.left), len(clients), sample, passes)


def _keys(plan: GroupPlan) -> Iterable[bytes]:
    yield from map(id_key, plan.gone)
    yield from (sort_key(rejection.document_id) for rejection in plan.rejected)
