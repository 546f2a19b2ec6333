"""Locks in the collection `booking_migrate_locks`: one document a target, judged by the server's clock."""

from collections.abc import Mapping
from typing import Any

from bson.int64 import Int64
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError
from pymongo.write_concern import WriteConcern
from typing_extensions import override

from booking_migrate.errors import TargetBusy
from booking_migrate.stores.journal import HeldLockView, Holder, Lease, LockStore, is_dead
from booking_migrate.stores.mongo.connection import TIMES, DriverCollection
from booking_migrate.stores.mongo.failures import reading, writing
from booking_migrate.stores.mongo.replica_set import await_majority
from booking_migrate.stores.mongo.retry import attempts, settled, with_retry

COLLECTION = "booking_migrate_locks"

_EXPIRED = {"$lt": ["$until", "$$NOW"]}


class MongoLocks(LockStore):
    """See `LockStore` for the promises."""

    def __init__(self, collection: DriverCollection) -> None:
        self._collection = collection

    @override
    def acquire(self, name: str, holder: Holder, seconds: float) -> Lease:
        # A holder on this machine that has died need not be waited for.
        with reading(self._collection):
            with_retry(lambda: self._collection.find_one({"_id": name}, {"_id": 1}), waits=False)
        await_majority(self._collection)
        with writing(self._collection):
            self._ensure(name)
            taken = self._take({"_id": name, "$expr": _EXPIRED}, holder, seconds)
            if taken is None:
                there = with_retry(lambda: self._collection.find_one({"_id": name})) or {}
                if there.get("birth") and is_dead(there["pid"], there["birth"]):
                    # The token makes sure that no other process has taken it over in between.
                    taken = self._take({"_id": name, "token": there["token"]}, holder, seconds)
                if taken is None:
                    raise TargetBusy(name, _described(there))
        return Lease(name, int(taken["token"]))

    @override
    def renew(self, lease: Lease, seconds: float) -> bool:
        # Not waiting for a majority saves a round trip a batch. A primary that has been deposed may accept
        # it, but then the batch that follows it is not acknowledged by a majority either and is rolled back
        # by the servers.
        quick = self._collection.with_options(write_concern=WriteConcern(w=1))
        with writing(self._collection):
            for attempt in attempts():
                with attempt:
                    result = quick.update_one(
                        {"_id": lease.name, "token": lease.token}, [{"$set": _until(seconds)}]
                    )
        return result.matched_count == 1

    @override
    def look(self, name: str) -> HeldLockView | None:
        with reading(self._collection):
            found = with_retry(
                lambda: list(
                    self._collection.with_options(codec_options=TIMES).aggregate(
                        [{"$match": {"_id": name}}, {"$set": {"expired": _EXPIRED}}]
                    )
                )
            )
        if not found or "run_id" not in found[0]:
            return None
        there = found[0]
        is_gone = there["expired"] or (bool(there["birth"]) and is_dead(there["pid"], there["birth"]))
        return HeldLockView(_holder(there), there["at"], is_live=not is_gone)

    @override
    def release(self, lease: Lease, *, waits: bool = True) -> None:
        # The document stays: its token must not be used again.
        quick = self._collection.with_options(write_concern=WriteConcern(w=1))
        with writing(self._collection):
            for attempt in attempts():
                with attempt:
                    (self._collection if waits else quick).update_one(
                        {"_id": lease.name, "token": lease.token},
                        [{"$set": {"until": "$at", "pid": 0, "birth": ""}}],
                    )

    def _ensure(self, name: str) -> None:
        # A query with $expr cannot insert, so the document comes first, expired since the beginning of time.
        free = {"token": Int64(0), "until": {"$toDate": Int64(0)}}
        try:
            for attempt in attempts():
                with attempt:
                    self._collection.update_one(
                        {"_id": name},
                        [{"$set": {key: {"$ifNull": [f"${key}", value]} for key, value in free.items()}}],
                        upsert=True,
                    )
        except DuplicateKeyError:
            # Another process has just done the same.
            return

    def _take(self, condition: Mapping[str, Any], holder: Holder, seconds: float) -> Mapping[str, Any] | None:
        fields = {key: {"$literal": value} for key, value in holder._asdict().items()}
        for attempt in attempts():
            with attempt:
                if attempt.num > 1:
                    settled(self._collection)
                    # The attempt before may have succeeded without our hearing of it.
                    ours = self._collection.find_one({"_id": condition["_id"], **holder._asdict()})
                    if ours is not None:
                        return ours
                taken: Mapping[str, Any] | None = self._collection.find_one_and_update(
                    condition,
                    [{"$set": {**fields, **_until(seconds), "token": {"$add": ["$token", Int64(1)]}}}],
                    return_document=ReturnDocument.AFTER,
                )
        return taken


def _until(seconds: float) -> Mapping[str, Any]:
    return {"at": "$$NOW", "until": {"$add": ["$$NOW", round(seconds * 1000)]}}


def _described(there: Mapping[str, Any]) -> str:
    if "run_id" not in there:
        return "a process that has just started"
    return str(_holder(there))


def _holder(there: Mapping[str, Any]) -> Holder:
    return Holder(*[there[name] for name in Holder._fields])
