"""The rejected records of some bookings, replaced as a whole: those of all other bookings stay."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pymongo import DeleteMany, ReplaceOne
from pymongo.errors import BulkWriteError
from typing_extensions import override

from booking_migrate.bson.document import MAXIMUM_SIZE, read_fields
from booking_migrate.bson.format import display_id
from booking_migrate.domain.rejection import Rejection
from booking_migrate.errors import RecordTooLarge, WriteFailed
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import bulk_text, reading, writing
from booking_migrate.stores.mongo.raw import any_of, as_driver_document
from booking_migrate.stores.mongo.retry import attempts, is_transient, settled, with_retry
from booking_migrate.stores.mongo.scan import find_documents
from booking_migrate.stores.rejects import Record, RejectsKeeper, carried_id, record_of

_IDS_PER_QUERY = 1000


def find_records_of(
    collection: DriverCollection, booking_ids: Sequence[Any], *, source: str, target: str
) -> Iterator[bytes]:
    """Yield the records of some bookings of one source and target, whole.

    Raises:
        NotPermitted, ConnectionProblem: they cannot be read.
    """
    with reading(collection):
        # Most collections reject nothing, and then no id has to be asked for.
        if not with_retry(collection.estimated_document_count):
            return
        asked = list(map(carried_id, booking_ids))
        for start in range(0, len(asked), _IDS_PER_QUERY):
            some = any_of("bookingId", asked[start : start + _IDS_PER_QUERY])
            for raw in find_documents(collection, some):
                fields = read_fields(raw)
                if (fields["source"], fields["target"]) == (source, target):
                    yield raw


class SelectedRejects(RejectsKeeper):
    """Keeps the rejected records of some bookings of one source and target; see `RejectsKeeper`."""

    def __init__(self, collection: DriverCollection, *, source: str, target: str) -> None:
        """Take the collection of the records, and the names that stand in them."""
        self._collection = collection
        self.name = collection.name
        self._source = source
        self._target = target
        self._records: dict[str, Record] = {}
        self._booking_ids: list[Any] = []
        self._changed = False

    def prepare(self) -> None:
        """Do nothing: the server creates the collection with its first record."""

    def select(self, booking_ids: Iterable[Any]) -> None:
        """Begin again with these bookings, by their `_id`."""
        self._records = {}
        self._booking_ids = list(booking_ids)

    @override
    def add(self, rejected: Rejection) -> None:
        record = record_of(rejected, self._source, self._target, 0)
        if len(record.raw) > MAXIMUM_SIZE:
            raise RecordTooLarge(self.name, display_id(rejected.document_id))
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
        try:
            self._collection.bulk_write(operations, ordered=True)
        except BulkWriteError as error:
            if is_transient(error):
                raise
            raise WriteFailed(self.name, bulk_text(error)) from None

    @override
    def abandon(self) -> None:
        """Do nothing: nothing is held."""
