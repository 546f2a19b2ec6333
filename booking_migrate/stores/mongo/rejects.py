"""Rejected bookings in the collection `booking_migrate_rejected`, which all runs of a database share.

`CollectionRejects` keeps those of a whole run, `SelectedRejects` those of clients that are derived again.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from pymongo import DeleteMany, InsertOne, ReplaceOne
from typing_extensions import override

from booking_migrate.bson.document import MAXIMUM_SIZE, read_fields
from booking_migrate.bson.format import display_id
from booking_migrate.domain.rejection import Reason, Rejection
from booking_migrate.errors import RecordTooLarge
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import read, reading, write, writing
from booking_migrate.stores.mongo.raw import any_of, as_driver_document, id_of, stores_any
from booking_migrate.stores.mongo.retry import attempts, settled
from booking_migrate.stores.mongo.scan import find_documents, scan_by_id
from booking_migrate.stores.rejects import Ledger, Record, RejectsKeeper, carried_id, record_of

_GROUP_BYTES = 8 * 1024 * 1024
_GROUP_COUNT = 1000

Operation = InsertOne[Any] | ReplaceOne[Any] | DeleteMany


def find_records(collection: DriverCollection, *, source: str, target: str) -> Iterator[bytes]:
    """Yield the records of one source and target, whole."""
    with reading(collection):
        yield from scan_by_id(collection, {"source": source, "target": target})


def count_records(collection: DriverCollection, *, source: str, target: str) -> tuple[int, int]:
    """Return how many bookings of a source and target are rejected, and how many of them because of a conflict.

    Those whose session was kept by a decision are not rejected.
    """
    undecided = {"source": source, "target": target, "decision": {"$exists": False}}
    # One question, since a cut-over asks it while writes are refused.
    by_reason = [{"$match": undecided}, {"$group": {"_id": "$reason", "count": {"$sum": 1}}}]
    found = read(collection, lambda: list(collection.aggregate(by_reason)))
    counts = {each["_id"]: int(each["count"]) for each in found}
    return sum(counts.values()), counts.get(Reason.CONFLICT.value, 0)


class _RecordWriter(RejectsKeeper):
    """Writes records that are not there yet."""

    def __init__(self, collection: DriverCollection, *, source: str, target: str) -> None:
        self._collection = collection
        self._source = source
        self._target = target
        self._pending: list[Record] = []
        self._pending_bytes = 0
        self._changed = False
        self.name = self._collection.name

    def prepare(self) -> None:
        """Do nothing: the server creates the collection with its first record."""

    @abstractmethod
    def _record(self, rejected: Rejection) -> Record:
        """Make the record of a rejection, and remember it."""

    @override
    def add(self, rejected: Rejection) -> None:
        record = _checked(self.name, self._record(rejected), rejected)
        self._pending.append(record)
        self._pending_bytes += len(record.raw)
        if len(self._pending) >= _GROUP_COUNT or self._pending_bytes >= _GROUP_BYTES:
            self.flush()

    @override
    def flush(self) -> None:
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        if not pending:
            return
        with writing(self._collection):
            for attempt in attempts():
                with attempt:
                    if attempt.num > 1:
                        settled(self._collection)
                    self._write_missing(pending)

    def _write_missing(self, records: Sequence[Record]) -> None:
        ids = [record.record_id for record in records]
        there = {id_of(raw): raw for raw in find_documents(self._collection, any_of("_id", ids))}
        self._write(
            [
                ReplaceOne({"_id": record.record_id}, as_driver_document(record.raw))
                if record.record_id in there
                else InsertOne(as_driver_document(record.raw))
                for record in records
                if there.get(record.record_id) != record.raw
            ]
        )

    def _write(self, operations: list[Operation]) -> None:
        if not operations:
            return
        self._changed = True
        self._collection.bulk_write(operations, ordered=False)


class CollectionRejects(_RecordWriter):
    """Keeps rejected bookings in a collection and writes only what is not there yet; see `RejectsKeeper`."""

    def __init__(self, collection: DriverCollection, *, source: str, target: str) -> None:
        super().__init__(collection, source=source, target=target)
        self._ledger = Ledger(source, target)

    @override
    def _record(self, rejected: Rejection) -> Record:
        return self._ledger.add(rejected)

    def include(self, record_ids: Iterable[str]) -> None:
        """Count records to this run that another process has written."""
        self._ledger.include(record_ids)

    @override
    def finish(self) -> bool:
        self.flush()
        stale = (record_id for record_id in self._ids_of_this_target() if record_id not in self._ledger)
        while some := list(islice(stale, _GROUP_COUNT)):
            write(self._collection, partial(self._write, [DeleteMany({"_id": {"$in": some}})]))
        return self._changed

    @override
    def abandon(self) -> None:
        # Records that were written stay: the next run finds them.
        self._ledger.close()

    def _ids_of_this_target(self) -> Iterator[str]:
        with reading(self._collection):
            condition = {"source": self._source, "target": self._target}
            yield from map(id_of, scan_by_id(self._collection, condition, fields={"_id": 1}))


class ChunkRejects(_RecordWriter):
    """Keeps the rejected bookings of some chunks of a run, of a collection, where no two bookings have the same bytes.

    Which records of earlier runs are outdated is known where the chunks come together, from the ids of the records.
    """

    def __init__(self, collection: DriverCollection, *, source: str, target: str) -> None:
        super().__init__(collection, source=source, target=target)
        self._ids: list[str] = []

    @override
    def _record(self, rejected: Rejection) -> Record:
        record = record_of(rejected, self._source, self._target, 0)
        self._ids.append(record.record_id)
        return record

    def drain(self) -> tuple[Sequence[str], bool]:
        """Return the ids of the records since the last call, and whether any of them was not there before."""
        drained = self._ids, self._changed
        self._ids, self._changed = [], False
        return drained

    @override
    def finish(self) -> bool:
        self.flush()
        return self._changed

    @override
    def abandon(self) -> None:
        """Do nothing: nothing is held."""


_IDS_PER_QUERY = 1000


def find_records_of(
    collection: DriverCollection, booking_ids: Iterable[Any], *, source: str, target: str
) -> Iterator[bytes]:
    """Yield the records of some bookings of one source and target, whole."""
    with reading(collection):
        # Most collections reject nothing, and then no id has to be asked for. The server's count may be wrong after a crash.
        if not read(collection, lambda: stores_any(collection)):
            return
        asked = list(map(carried_id, booking_ids))
        for start in range(0, len(asked), _IDS_PER_QUERY):
            some = any_of("bookingId", asked[start : start + _IDS_PER_QUERY])
            for raw in find_documents(collection, some):
                fields = read_fields(raw)
                if (fields["source"], fields["target"]) == (source, target):
                    yield raw


def _checked(name: str, record: Record, rejected: Rejection) -> Record:
    """Return a record that MongoDB can hold.

    Raises:
        RecordTooLarge: the booking and its reasons together are over its limit.
    """
    if len(record.raw) > MAXIMUM_SIZE:
        raise RecordTooLarge(name, display_id(rejected.document_id))
    return record


class SelectedRejects(RejectsKeeper):
    """Keeps the rejected records of some bookings of one source and target; see `RejectsKeeper`."""

    def __init__(self, collection: DriverCollection, *, source: str, target: str) -> None:
        self._collection = collection
        self.name = collection.name
        self._source = source
        self._target = target
        self._records: dict[str, Record] = {}
        self._booking_ids: Iterable[Any] = ()
        self._changed = False

    def prepare(self) -> None:
        """Do nothing: the server creates the collection with its first record."""

    def select(self, booking_ids: Iterable[Any]) -> None:
        """Begin again with these bookings, by their `_id`, which may be asked for more than once."""
        self._records = {}
        self._booking_ids = booking_ids

    @override
    def add(self, rejected: Rejection) -> None:
        record = _checked(self.name, record_of(rejected, self._source, self._target, 0), rejected)
        self._records[record.record_id] = record

    def flush(self) -> None:
        """Do nothing: the records are written by `finish`, before the outdated ones are removed."""

    @override
    def finish(self) -> bool:
        with writing(self._collection):
            for attempt in attempts():
                with attempt:
                    if attempt.num > 1:
                        settled(self._collection)
                    self._replace()
        return self._changed

    def _replace(self) -> None:
        there = {
            read_fields(raw)["_id"]: raw
            for raw in find_records_of(
                self._collection, self._booking_ids, source=self._source, target=self._target
            )
        }
        operations: list[ReplaceOne[Any] | DeleteMany] = [
            ReplaceOne({"_id": record.record_id}, as_driver_document(record.raw), upsert=True)
            for record in self._records.values()
            if there.get(record.record_id) != record.raw
        ]
        stale = [record_id for record_id in there if record_id not in self._records]
        if stale:
            operations.append(DeleteMany({"_id": {"$in": stale}}))
        if not operations:
            return
        self._changed = True
        self._collection.bulk_write(operations)

    @override
    def abandon(self) -> None:
        """Do nothing: nothing is held."""
