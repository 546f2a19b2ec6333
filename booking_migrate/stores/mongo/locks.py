"""The locks of all targets of a database, in ``booking_migrate_locks``: one document a target, judged by the server's clock."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from bson.int64 import Int64
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError
from pymongo.write_concern import WriteConcern
from typing_extensions import override

from booking_migrate.errors import TargetBusy
from booking_migrate.stores.locks import LEASE_SECONDS, HeldLockView, Holder, Lease, LockStore, is_dead
from booking_migrate.stores.mongo.connection import TIMES, DriverCollection
from booking_migrate.stores.mongo.failures import read, write, writing
from booking_migrate.stores.mongo.replica_set import await_majority
from booking_migrate.stores.mongo.retry import attempts, settled, with_retry

_EXPIRED = {"$lt": ["$until", "$$NOW"]}
_FREE = {"$or": [_EXPIRED, {"$eq": ["$pid", 0]}]}
"""Whether a lock may be taken. One that was released is free whatever the clock says: that of a new primary may be behind."""


class MongoLocks(LockStore):
    """See `LockStore` for the promises."""

    def __init__(self, collection: DriverCollection, lease_seconds: float = LEASE_SECONDS) -> None:
        self._collection = collection
        self.lease_seconds = lease_seconds

    @override
    def acquire(self, name: str, holder: Holder) -> Lease:
        # A holder on this machine that has died need not be waited for.
        read(self._collection, lambda: self._collection.find_one({"_id": name}, {"_id": 1}), waits=False)
        await_majority(self._collection)
        with writing(self._collection):
            self._ensure(name)
            taken = self._take({"_id": name, "$expr": _FREE}, holder)
            if taken is None:
                there = with_retry(lambda: self._collection.find_one({"_id": name})) or {}
                if there.get("birth") and is_dead(there["pid"], there["birth"]):
                    # The token makes sure that no other process has taken it over in between.
                    taken = self._take({"_id": name, "token": there["token"]}, holder)
                if taken is None:
                    known = str(_holder(there)) if "run_id" in there else "a process that has just started"
                    raise TargetBusy(name, known, self.lease_seconds)
        return Lease(name, int(taken["token"]))

    @override
    def renew(self, lease: Lease) -> bool:
        # Not waiting for a majority saves a round trip a batch. A primary that has been deposed may accept
        # it, but then the batch that follows it is not acknowledged by a majority either and is rolled back
        # by the servers.
        quick = self._collection.with_options(write_concern=WriteConcern(w=1))
        held, longer = {"_id": lease.name, "token": lease.token}, [{"$set": _until(self.lease_seconds)}]
        return write(self._collection, lambda: quick.update_one(held, longer)).matched_count == 1

    @override
    def holds(self, lease: Lease) -> bool:
        held = {"_id": lease.name, "token": lease.token, "pid": {"$ne": 0}}
        return read(self._collection, lambda: self._collection.find_one(held, {"_id": 1})) is not None

    @override
    def request_hand_over(self, name: str, holder: Holder | None) -> None:
        wanted = {"$unset": {"wanted": ""}} if holder is None else {"$set": {"wanted": holder._asdict()}}
        write(self._collection, lambda: self._collection.update_one({"_id": name}, wanted))

    @override
    def requested_by(self, lease: Lease) -> Holder | None:
        held = {"_id": lease.name, "token": lease.token}
        there = read(self._collection, lambda: self._collection.find_one(held, {"wanted": 1})) or {}
        return _holder(there["wanted"]) if "wanted" in there else None

    @override
    def look(self, name: str) -> HeldLockView | None:
        timed = self._collection.with_options(codec_options=TIMES)
        stages: list[Mapping[str, Any]] = [{"$match": {"_id": name}}, {"$set": {"expired": _EXPIRED}}]
        found = read(self._collection, lambda: list(timed.aggregate(stages)))
        if not found or "run_id" not in found[0]:
            return None
        there = found[0]
        # A released lock has no process.
        has_ended = not there["pid"] or is_dead(there["pid"], there["birth"])
        is_live = not (there["expired"] or has_ended)
        return HeldLockView(_holder(there), there["at"], is_live, has_ended)

    @override
    def held(self) -> Mapping[str, HeldLockView]:
        there = read(
            self._collection, lambda: list(self._collection.find({"run_id": {"$exists": True}}, {"_id": 1}))
        )
        found = ((name, self.look(name)) for name in sorted(each["_id"] for each in there))
        return {name: view for name, view in found if view is not None and view.is_live}

    @override
    def release(self, lease: Lease, *, waits: bool = True) -> None:
        # The document stays: its token must not be used again.
        quick = self._collection.with_options(write_concern=WriteConcern(w=1))
        held, free = {"_id": lease.name, "token": lease.token}, {"until": "$at", "pid": 0, "birth": ""}
        used = self._collection if waits else quick
        write(self._collection, lambda: used.update_one(held, [{"$set": free}]))

    def _ensure(self, name: str) -> None:
        # A query with $expr cannot insert, so the document comes first, expired since the beginning of time.
        free = {"token": Int64(0), "until": {"$toDate": Int64(0)}}
        kept = {key: {"$ifNull": [f"${key}", value]} for key, value in free.items()}
        # Another process may just have done the same.
        with suppress(DuplicateKeyError):
            with_retry(lambda: self._collection.update_one({"_id": name}, [{"$set": kept}], upsert=True))

    def _take(self, condition: Mapping[str, Any], holder: Holder) -> Mapping[str, Any] | None:
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
                    [
                        {
                            "$set": {
                                **fields,
                                **_until(self.lease_seconds),
                                "token": {"$add": ["$token", Int64(1)]},
                            }
                        },
                        {"$unset": "wanted"},
                    ],
                    return_document=ReturnDocument.AFTER,
                )
        return taken


def _until(seconds: float) -> Mapping[str, Any]:
    return {"at": "$$NOW", "until": {"$add": ["$$NOW", round(seconds * 1000)]}}


def _holder(there: Mapping[str, Any]) -> Holder:
    return Holder(*[there[name] for name in Holder._fields])
