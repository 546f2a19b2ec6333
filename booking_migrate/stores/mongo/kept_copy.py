"""The kept copy of the source: made by the server, and brought up to date by `_id` while the source is written to."""

from collections.abc import Iterator, Sequence
from functools import partial
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from bson.objectid import ObjectId
from bson.timestamp import Timestamp
from pymongo import DeleteOne, ReplaceOne, UpdateOne

from booking_migrate.bson.document import value_in
from booking_migrate.bson.order import sort_key
from booking_migrate.stores.mongo.administration import comment_for, create, end_own_commands
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import read, reading, write
from booking_migrate.stores.mongo.raw import SIMPLE, any_of, find_raw, replacing
from booking_migrate.stores.mongo.reader import FindDocuments, SnapshotFetch
from booking_migrate.stores.mongo.scan import find_documents

_PER_WRITE = 500


class KeptCopy:
    """The copy `SOURCE_legacy_RUN` of a source that is in use."""

    def __init__(self, source: DriverCollection, copy: DriverCollection) -> None:
        """Take both collections, of one database."""
        self.name: Final = copy.name
        self._source = source
        self._copy = copy

    def create(self) -> None:
        """Copy the source. What is written to it meanwhile may be missing: `update` brings it in."""
        write(self._source, self._copy_all)
        # As all others it is compared afterwards.
        self.update([None], list(find_without_id(self._source)))

    def _copy_all(self) -> None:
        """Copy what the source has; tried again, it starts over."""
        # After a lost answer it is the own earlier command that may still write.
        end_own_commands(self._copy)
        # Not $out: its rename at the end waits for every open transaction of the database, and all writers wait behind it.
        self.drop()
        create(self._copy)
        self._source.aggregate(copy_into(self._copy), comment=comment_for(self._copy)).close()

    def update(self, booking_ids: Sequence[Any], documents: Sequence[bytes]) -> None:
        """Make these documents of the copy what the source has at one time: ``documents`` are those that exist, BSON."""
        there = {sort_key(value_in(raw, b"_id")): raw for raw in documents}
        for start in range(0, len(booking_ids), _PER_WRITE):
            operations: list[ReplaceOne[Any] | UpdateOne | DeleteOne] = []
            for value in booking_ids[start : start + _PER_WRITE]:
                raw = there.get(sort_key(value))
                # An equality of an ObjectId is what the server looks up fastest.
                same_id = {"_id": value} if type(value) is ObjectId else any_of("_id", [value])
                operations.append(
                    DeleteOne(same_id, collation=SIMPLE)
                    if raw is None
                    else replacing(same_id, raw, upsert=True)
                )
            write(self._copy, partial(self._copy.bulk_write, operations, ordered=False))

    def differing(
        self, booking_ids: Sequence[Any], documents: Sequence[bytes], time: Timestamp | None = None
    ) -> list[Any]:
        """Return those of these `_id` values under which the copy, as of a cluster time or as it is, holds something else; see `update`."""
        expected = {sort_key(value_in(raw, b"_id")): raw for raw in documents}
        found: dict[bytes, bytes] = {}
        fetch: FindDocuments = find_documents if time is None else SnapshotFetch(time)
        with reading(self._copy):
            for start in range(0, len(booking_ids), _PER_WRITE):
                for raw in fetch(self._copy, any_of("_id", booking_ids[start : start + _PER_WRITE])):
                    found[sort_key(value_in(raw, b"_id"))] = raw
        return [value for value in booking_ids if expected.get(sort_key(value)) != found.get(sort_key(value))]

    def compare(self) -> Iterator[Any]:
        """Yield the `_id` values under which source and copy hold something else, in the order of `_id`.

        Both are read once, side by side. Where the source is in use, a difference may be one of time.
        """
        with reading(self._source):
            both = merge(*map(self._scan, (self._source, self._copy)), key=itemgetter(0))
            for _, found in groupby(both, key=itemgetter(0)):
                ours, *theirs = (raw for _, raw in found)
                if theirs != [ours]:
                    yield value_in(ours, b"_id")

    @staticmethod
    def _scan(collection: DriverCollection) -> Iterator[tuple[bytes, bytes]]:
        for raw in find_raw(collection, {}, by_id=True):
            yield sort_key(value_in(raw, b"_id")), raw

    def drop(self) -> None:
        """Drop the copy, if it is there."""
        write(self._copy, lambda: self._copy.database.drop_collection(self._copy.name))


def copy_into(copy: DriverCollection) -> list[dict[str, Any]]:
    """Return the pipeline that copies a collection into an empty one, without the document whose `_id` is null."""
    # $merge refuses null as `_id`. An expression, so that the collection is scanned, and not read along an index.
    # Inserted, since an upsert would put the fields into another order.
    into = {"into": copy.name, "whenMatched": "fail", "whenNotMatched": "insert"}
    return [{"$match": {"$expr": {"$ne": ["$_id", None]}}}, {"$merge": into}]


def find_without_id(collection: DriverCollection) -> Iterator[bytes]:
    """Yield the document whose `_id` is null, which `copy_into` leaves out, if there is one."""
    with reading(collection):
        yield from find_documents(collection, any_of("_id", [None]))


def count_documents(collection: DriverCollection) -> int:
    """Return how many documents a collection has, as the server's own count says."""
    return read(collection, collection.estimated_document_count)
