"""The clients that a change concerns; see `stores.changes.Links`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pymongo import ASCENDING
from typing_extensions import override

from booking_migrate.bson.document import elements, read_fields, read_value, value_in
from booking_migrate.stores.changes import Links
from booking_migrate.stores.mongo.administration import FOLLOWED, make_index
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import reading, write
from booking_migrate.stores.mongo.raw import any_of
from booking_migrate.stores.mongo.reader import FindDocuments
from booking_migrate.stores.mongo.rejects import find_records_of
from booking_migrate.stores.mongo.replica_set import build_index
from booking_migrate.stores.rejects import RejectedRecords

LEGACY_FIELD = "sessions.legacyBookingId"
_CLIENT_ONLY: Mapping[str, Any] = {"clientId": 1}


@dataclass(frozen=True, slots=True)
class LinkedCollections:
    """The collections that questions are put to."""

    source: DriverCollection
    target: DriverCollection
    rejected: DriverCollection
    experts: DriverCollection | None
    expert_user_field: str


class MongoLinks(Links):
    """See `Links` for the promises."""

    def __init__(
        self, collections: LinkedCollections, fetch: FindDocuments, *, source: str, target: str
    ) -> None:
        """Take where to look, how documents are fetched, and the names of source and target in rejected records."""
        self._in = collections
        self._fetch = fetch
        self._source = source
        self._target = target

    @override
    def prepare(self) -> None:
        make_index(self._in.target, FOLLOWED)
        write(self._in.rejected, lambda: build_index(self._in.rejected, [("bookingId", ASCENDING)]))

    @override
    def clients_of_bookings(self, booking_ids: Sequence[Any]) -> Iterator[Any]:
        for raw in self._find(self._in.target, claiming_any_of(booking_ids), _CLIENT_ONLY):
            yield value_in(raw, b"clientId")
        for raw in self.rejected_records(booking_ids):
            booking = next(part for part in elements(raw) if part.name == b"booking")
            value = read_value(booking)
            fields = read_fields(bytes(value)) if isinstance(value, bytes) else value
            yield fields.get("clientId")

    @override
    def documents_of_bookings(self, booking_ids: Sequence[Any]) -> Iterator[bytes]:
        return self._find(self._in.target, claiming_any_of(booking_ids))

    def rejected_records(self, booking_ids: Iterable[Any]) -> Iterator[bytes]:
        """Yield the records of these bookings for this source and target, whole."""
        return find_records_of(self._in.rejected, booking_ids, source=self._source, target=self._target)

    def rejected_of(self, booking_ids: Iterable[Any]) -> RejectedRecords:
        """Return the same records, to be found by bookings."""
        return RejectedRecords(self._in.rejected.name, partial(self.rejected_records, booking_ids))

    @override
    def clients_of_experts(self, expert_ids: Sequence[Any]) -> Iterator[Any]:
        for raw in self._find(self._in.source, any_of("expertId", expert_ids), _CLIENT_ONLY):
            yield value_in(raw, b"clientId")

    @override
    def experts_of_users(self, user_ids: Sequence[Any]) -> Iterator[Any]:
        if self._in.experts is not None:
            for raw in self._find(self._in.experts, any_of(self._in.expert_user_field, user_ids), {"_id": 1}):
                yield value_in(raw, b"_id")

    def _find(
        self,
        collection: DriverCollection,
        condition: Mapping[str, Any],
        fields: Mapping[str, Any] | None = None,
    ) -> Iterator[bytes]:
        with reading(collection):
            yield from self._fetch(collection, condition, fields=fields)


def claiming_any_of(booking_ids: Sequence[Any]) -> Mapping[str, Any]:
    """Return the query for client documents with a session of one of these bookings."""
    if None not in booking_ids:
        return any_of(LEGACY_FIELD, booking_ids)
    # A query for null would find every document with a session booked since, which lacks the field.
    others = any_of(LEGACY_FIELD, [value for value in booking_ids if value is not None])
    return {"$or": [others, {LEGACY_FIELD: {"$type": "null"}}]}
