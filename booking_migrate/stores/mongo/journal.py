"""The journal and the locks in collections of the target's database.

``booking_migrate_runs`` has one document a run, ``booking_migrate_ranges`` one for each range of clients, and
``booking_migrate_before`` the documents as they were, in parts that fit into a document of their own. ``booking_migrate_locks`` has
one document a target, judged by the server's clock.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import count
from typing import Any

from bson.int64 import Int64
from pymongo import ReplaceOne, ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError
from pymongo.write_concern import WriteConcern
from typing_extensions import override

from booking_migrate.bson.document import read_fields
from booking_migrate.errors import JournalTooNew, NoRun, TargetBusy
from booking_migrate.stores.journal import (
    JOURNAL_VERSION,
    HeldLockView,
    Holder,
    Lease,
    LockStore,
    NoteKind,
    RangeNote,
    RunJournal,
    RunRecord,
    RunState,
    Span,
)
from booking_migrate.stores.mongo.connection import TIMES, DriverCollection
from booking_migrate.stores.mongo.dirty import COLLECTION as DIRTY
from booking_migrate.stores.mongo.dirty import MongoDirty
from booking_migrate.stores.mongo.failures import read, reading, write, writing
from booking_migrate.stores.mongo.journal_notes import (
    WrittenRange,
    cut_key,
    has_images,
    read_range,
    written_ranges,
)
from booking_migrate.stores.mongo.replica_set import await_majority, build_index
from booking_migrate.stores.mongo.retry import attempts, settled, with_retry
from booking_migrate.stores.mongo.scan import scan_by_id
from booking_migrate.stores.process import is_dead

RUNS = "booking_migrate_runs"
RANGES = "booking_migrate_ranges"
BEFORE = "booking_migrate_before"
LOCKS = "booking_migrate_locks"

_RANGES_AT_ONCE = 100
"""How many ranges are read at a time."""

_PROGRESS = "progress"
"""The kind of a document that is not a note: it has what one of several that work at the same time has done."""

_EXPIRED = {"$lt": ["$until", "$$NOW"]}
_NUMBERS = count()
"""Numbers of the notes of this process: a run may note through several journals, and through several threads at a time."""


class MongoJournal(RunJournal):
    """See `RunJournal` for the promises."""

    def __init__(self, runs: DriverCollection, ranges: DriverCollection, before: DriverCollection) -> None:
        self._runs: Collection[dict[str, Any]] = runs.with_options(codec_options=TIMES)
        self._ranges = ranges
        self._before = before

    @override
    def runs(self, target: str | None = None) -> Sequence[RunRecord]:
        condition = {} if target is None else {"target": target}
        found = read(self._runs, lambda: list(self._runs.find(condition).sort("started_at", -1)), waits=False)
        newest = max((run["version"] for run in found), default=0)
        if newest > JOURNAL_VERSION:
            raise JournalTooNew(RUNS, newest, JOURNAL_VERSION)
        return [_record(run) for run in found]

    @override
    def now(self) -> datetime:
        hello = read(self._runs, lambda: self._runs.database.command("hello", codec_options=TIMES))
        time: datetime = hello["localTime"]
        return time

    @override
    def create(self, run: RunRecord) -> RunRecord:
        # The index for `between` is made here, since readers may not make one.
        write(self._ranges, lambda: build_index(self._ranges, [("run", 1), ("last", 1)]))
        fields = {"_id": run.run_id, **run.model_dump(mode="python", exclude={"run_id"})}
        self._put(self._runs, fields)
        times = dict.fromkeys(("started_at", "worked_from", "heartbeat_at"), "$$NOW")
        return self._update(run.run_id, times)

    @override
    def save(self, run_id: str, **changes: Any) -> RunRecord:
        fields = {
            name: "$$NOW" if name == "worked_from" else {"$literal": value} for name, value in changes.items()
        }
        return self._update(run_id, {**fields, "heartbeat_at": "$$NOW"})

    @override
    def annotate(self, run_id: str, **changes: Any) -> None:
        self._update(run_id, {name: {"$literal": value} for name, value in changes.items()})

    def _update(self, run_id: str, fields: Mapping[str, Any]) -> RunRecord:
        changes, after = [{"$set": dict(fields)}], ReturnDocument.AFTER
        saved = write(
            self._runs,
            lambda: self._runs.find_one_and_update({"_id": run_id}, changes, return_document=after),
        )
        if saved is None:
            raise NoRun(f"run {run_id} in {RUNS}")
        return _record(saved)

    @override
    def remove(self, run_id: str) -> None:
        self.forget(run_id)
        write(self._runs, lambda: self._runs.delete_one({"_id": run_id}))

    @override
    def note(self, run_id: str, token: int, noted: RangeNote) -> None:
        # The images come first: a range whose image is lacking would be of no use.
        ranges = list(self.written(run_id, token, noted))
        for written in ranges:
            for image in written.images:
                self._put(self._before, image)
        named = [ReplaceOne({"_id": each.fields["_id"]}, dict(each.fields), upsert=True) for each in ranges]
        # Sent again, they find themselves there, or are written: their names are given once.
        write(self._ranges, lambda: self._ranges.bulk_write(named, ordered=False))

    def written(self, run_id: str, token: int, noted: RangeNote) -> Iterator[WrittenRange]:
        """Yield a note as the documents that stand for it, under names that no other note has."""
        # With the token, so that a process whose lock expired does not clash with its successor.
        names = (f"{run_id}/{token:09d}/{next(_NUMBERS):09d}" for _ in iter(int, 1))
        return written_ranges(run_id, names, noted)

    def put(self, written: WrittenRange) -> None:
        """Write a note, outside of any transaction."""
        for image in written.images:
            self._put(self._before, image)
        self._put(self._ranges, written.fields)

    def insert(self, written: WrittenRange, session: ClientSession) -> None:
        """Write a note within a transaction; the driver's errors pass through untouched."""
        if written.images:
            self._before.insert_many(map(dict, written.images), session=session)
        self._ranges.insert_one(dict(written.fields), session=session)

    def _put(self, collection: DriverCollection, fields: Mapping[str, Any]) -> None:
        # Sent again, it finds itself there, or is written: its name is given once.
        write(collection, lambda: collection.replace_one({"_id": fields["_id"]}, fields, upsert=True))

    @override
    def ranges(self, run_id: str, *kinds: NoteKind, after: str | None = None) -> Iterator[RangeNote]:
        wanted = [kind.value for kind in kinds]
        # "0" follows "/": all names of this run, in their order by the index on `_id`.
        names = {"$gt": after or f"{run_id}/", "$lt": f"{run_id}0"}
        yield from self._find({"_id": names, "kind": {"$in": wanted}})

    @override
    def between(
        self, run_id: str, first: bytes, last: bytes, kind: NoteKind = NoteKind.DOCUMENTS
    ) -> Sequence[RangeNote]:
        condition = {
            "run": run_id,
            "kind": kind.value,
            "last": {"$gte": cut_key(first)},
            "first": {"$lte": cut_key(last)},
        }
        return list(self._find(condition))

    @override
    def of_documents(self, run_ids: Sequence[str], identities: Sequence[bytes]) -> Sequence[RangeNote]:
        condition = {
            "run": {"$in": list(run_ids)},
            "documents.id": {"$in": list(identities)},
            "kind": NoteKind.DOCUMENTS.value,
        }
        return list(self._find(condition))

    @override
    def spans(self, run_id: str, kind: NoteKind) -> Iterator[Span]:
        condition = {"run": run_id, "kind": kind.value}
        fields = {"first": 1, "last": 1}
        with reading(self._ranges):
            for found in map(read_fields, scan_by_id(self._ranges, condition, fields=fields)):
                yield Span(found["_id"], bytes.fromhex(found["first"]), bytes.fromhex(found["last"]))

    @override
    def named(self, names: Sequence[str]) -> Sequence[RangeNote]:
        return list(self._find({"_id": {"$in": list(names)}}))

    @override
    def progress(self, run_id: str) -> Sequence[Mapping[str, Any]]:
        condition = {"run": run_id, "kind": _PROGRESS}
        found: list[Mapping[str, Any]] = read(self._ranges, lambda: list(self._ranges.find(condition)))
        return found

    def keep_progress(self, run_id: str, slot: int, facts: Mapping[str, Any], session: ClientSession) -> None:
        """Write what one of several that work at the same time has done, within a transaction.

        Each has a document of its own: two transactions that change one document do not go together.
        """
        around = {"run": run_id, "kind": _PROGRESS, "slot": slot, "first": "", "last": "", "documents": []}
        self._ranges.update_one(
            {"_id": f"{run_id}/{_PROGRESS}/{slot:03d}"},
            {"$set": {**around, **facts}},
            upsert=True,
            session=session,
        )

    @override
    def prepare_lookup(self) -> None:
        write(self._ranges, lambda: build_index(self._ranges, [("documents.id", 1)]))

    def _find(self, condition: Mapping[str, Any]) -> Iterator[RangeNote]:
        for noted in self._in_order(condition):
            images = self._images_of(noted["_id"]) if has_images(noted) else {}
            yield read_range(noted, images)

    def _in_order(self, condition: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        # Few at a time: a range has thousands of notes.
        with reading(self._ranges):
            yield from map(read_fields, scan_by_id(self._ranges, condition, at_once=_RANGES_AT_ONCE))

    def _images_of(self, name: str) -> Mapping[int, bytes]:
        """Return a range's documents as they were, by their positions among its notes."""
        images: dict[int, bytes] = {}
        # "0" follows "/": all parts of this range, in their order by the index on `_id`.
        condition = {"_id": {"$gt": f"{name}/", "$lt": f"{name}0"}}
        for part in read(self._before, lambda: list(self._before.find(condition).sort("_id", 1))):
            position = int(part["_id"].rsplit("/", 2)[1])
            images[position] = images.get(position, b"") + part["bytes"]
        return images

    @override
    def forget(self, run_id: str) -> None:
        for collection in (self._ranges, self._before):
            write(collection, partial(collection.delete_many, {"run": run_id}))
        MongoDirty(self._runs.database.get_collection(DIRTY), run_id).clear()


def _record(run: Mapping[str, Any]) -> RunRecord:
    fields = {name: value for name, value in run.items() if name in RunRecord.model_fields}
    return RunRecord.model_validate({**fields, "run_id": run["_id"], "state": RunState(run["state"])})


class MongoLocks(LockStore):
    """See `LockStore` for the promises."""

    def __init__(self, collection: DriverCollection) -> None:
        self._collection = collection

    @override
    def acquire(self, name: str, holder: Holder, seconds: float) -> Lease:
        # A holder on this machine that has died need not be waited for.
        read(self._collection, lambda: self._collection.find_one({"_id": name}, {"_id": 1}), waits=False)
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
                    known = str(_holder(there)) if "run_id" in there else "a process that has just started"
                    raise TargetBusy(name, known)
        return Lease(name, int(taken["token"]))

    @override
    def renew(self, lease: Lease, seconds: float) -> bool:
        # Not waiting for a majority saves a round trip a batch. A primary that has been deposed may accept
        # it, but then the batch that follows it is not acknowledged by a majority either and is rolled back
        # by the servers.
        quick = self._collection.with_options(write_concern=WriteConcern(w=1))
        held, longer = {"_id": lease.name, "token": lease.token}, [{"$set": _until(seconds)}]
        return write(self._collection, lambda: quick.update_one(held, longer)).matched_count == 1

    @override
    def want(self, name: str, holder: Holder | None) -> None:
        wanted = {"$unset": {"wanted": ""}} if holder is None else {"$set": {"wanted": holder._asdict()}}
        write(self._collection, lambda: self._collection.update_one({"_id": name}, wanted))

    @override
    def wanted_by(self, lease: Lease) -> Holder | None:
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
        is_gone = there["expired"] or (bool(there["birth"]) and is_dead(there["pid"], there["birth"]))
        return HeldLockView(_holder(there), there["at"], is_live=not is_gone)

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
                    [
                        {"$set": {**fields, **_until(seconds), "token": {"$add": ["$token", Int64(1)]}}},
                        {"$unset": "wanted"},
                    ],
                    return_document=ReturnDocument.AFTER,
                )
        return taken


def _until(seconds: float) -> Mapping[str, Any]:
    return {"at": "$$NOW", "until": {"$add": ["$$NOW", round(seconds * 1000)]}}


def _holder(there: Mapping[str, Any]) -> Holder:
    return Holder(*[there[name] for name in Holder._fields])
