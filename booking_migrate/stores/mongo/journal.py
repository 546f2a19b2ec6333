"""The journal in collections of the target's database.

``booking_migrate_runs`` has one document a run, ``booking_migrate_ranges`` one for each range of clients, and
``booking_migrate_before`` the documents as they were, in parts that fit into a document of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from typing_extensions import override

from booking_migrate.errors import JournalTooNew, NoRun
from booking_migrate.stores.journal import (
    JOURNAL_VERSION,
    DocumentNote,
    NoteKind,
    RangeNote,
    RunJournal,
    RunRecord,
    RunState,
)
from booking_migrate.stores.mongo.connection import TIMES, DriverCollection
from booking_migrate.stores.mongo.failures import reading, writing
from booking_migrate.stores.mongo.replica_set import build_index
from booking_migrate.stores.mongo.retry import attempts, with_retry

RUNS = "booking_migrate_runs"
RANGES = "booking_migrate_ranges"
BEFORE = "booking_migrate_before"

_PART = 12 * 1024 * 1024
"""How much of an image one document holds, in bytes; it has to fit beside its names."""

_RANGES_AT_ONCE = 4
"""How many ranges are read at a time."""

_NOTES = 20_000
"""How many notes one range holds; more would not fit into one document."""

_KEY = 256
"""How many bytes of a sort key a range keeps. Cut off, two keys still stand in the same order, or become equal."""


_NUMBERS = count()
"""Numbers of the notes of this process: a run may note through several journals, and through several threads at a time."""


class WrittenRange(NamedTuple):
    """The documents that a note becomes."""

    fields: Mapping[str, Any]
    """That of the range."""

    images: Sequence[Mapping[str, Any]]
    """Those of the documents as they were, in parts."""


class MongoJournal(RunJournal):
    """See `RunJournal` for the promises."""

    def __init__(self, runs: DriverCollection, ranges: DriverCollection, before: DriverCollection) -> None:
        self._runs: Collection[dict[str, Any]] = runs.with_options(codec_options=TIMES)
        self._ranges = ranges
        self._before = before

    @override
    def runs(self, target: str | None = None) -> Sequence[RunRecord]:
        with reading(self._runs):
            condition = {} if target is None else {"target": target}
            found = with_retry(lambda: list(self._runs.find(condition).sort("started_at", -1)), waits=False)
        newest = max((run["version"] for run in found), default=0)
        if newest > JOURNAL_VERSION:
            raise JournalTooNew(RUNS, newest, JOURNAL_VERSION)
        return [_record(run) for run in found]

    @override
    def now(self) -> datetime:
        with reading(self._runs):
            hello = with_retry(lambda: self._runs.database.command("hello", codec_options=TIMES))
        time: datetime = hello["localTime"]
        return time

    @override
    def create(self, run: RunRecord) -> RunRecord:
        # The index for `between` is made here, since readers may not make one.
        self._ensure_index()
        fields = {"_id": run.run_id, **run.model_dump(mode="python", exclude={"run_id"})}
        with writing(self._runs):
            for attempt in attempts():
                with attempt:
                    self._runs.replace_one({"_id": run.run_id}, fields, upsert=True)
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
        with writing(self._runs):
            for attempt in attempts():
                with attempt:
                    saved = self._runs.find_one_and_update(
                        {"_id": run_id},
                        [{"$set": dict(fields)}],
                        return_document=ReturnDocument.AFTER,
                    )
        if saved is None:
            raise NoRun(f"run {run_id} in {RUNS}")
        return _record(saved)

    @override
    def remove(self, run_id: str) -> None:
        self.forget(run_id)
        with writing(self._runs):
            for attempt in attempts():
                with attempt:
                    self._runs.delete_one({"_id": run_id})

    @override
    def note(self, run_id: str, token: int, noted: RangeNote) -> None:
        # The images come first: a range whose image is lacking would be of no use.
        for written in self.written(run_id, token, noted):
            self.put(written)

    def written(self, run_id: str, token: int, noted: RangeNote) -> Iterator["WrittenRange"]:
        """Yield a note as the documents that stand for it, under names that no other note has."""
        for start in range(0, max(1, len(noted.notes)), _NOTES):
            # With the token, so that a process whose lock expired does not clash with its successor.
            name = f"{run_id}/{token:09d}/{next(_NUMBERS):09d}"
            part = noted.notes[start : start + _NOTES]
            fields = {
                "_id": name,
                "run": run_id,
                "kind": noted.kind.value,
                "first": noted.first[:_KEY].hex(),
                "last": noted.last[:_KEY].hex(),
                "documents": [_described(each) for each in part],
            }
            yield WrittenRange(fields, _images(run_id, name, part))

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
        with writing(collection):
            for attempt in attempts():
                with attempt:
                    # Sent again, it finds itself there, or is written: its name is given once.
                    collection.replace_one({"_id": fields["_id"]}, fields, upsert=True)

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
            "last": {"$gte": first[:_KEY].hex()},
            "first": {"$lte": last[:_KEY].hex()},
        }
        return list(self._find(condition))

    def _ensure_index(self) -> None:
        with writing(self._ranges):
            for attempt in attempts():
                with attempt:
                    build_index(self._ranges, [("run", 1), ("last", 1)])

    def _find(self, condition: Mapping[str, Any]) -> Iterator[RangeNote]:
        for noted in self._scan(condition):
            has_images = any(document["image"] for document in noted["documents"])
            images = self._images_of(noted["_id"]) if has_images else {}
            yield RangeNote(
                NoteKind(noted["kind"]),
                bytes.fromhex(noted["first"]),
                bytes.fromhex(noted["last"]),
                [
                    DocumentNote(
                        document["id"], document["after"], images[position] if document["image"] else None
                    )
                    for position, document in enumerate(noted["documents"])
                ],
                noted["_id"],
            )

    def _scan(self, condition: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Yield ranges in the order of their names; a cursor that is lost is opened again behind the last of them."""
        rest = condition
        found = self._open(rest)
        while True:
            with reading(self._ranges):
                for attempt in attempts():
                    with attempt:
                        if attempt.num > 1:
                            found = self._open(rest)
                        noted = next(found, None)
            if noted is None:
                return
            rest = {"$and": [condition, {"_id": {"$gt": noted["_id"]}}]}
            yield noted

    def _open(self, condition: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        # Few at a time: a range has thousands of notes, and the driver decodes all that it is sent.
        return self._ranges.find(condition).sort("_id", 1).allow_disk_use(True).batch_size(_RANGES_AT_ONCE)

    def _images_of(self, name: str) -> Mapping[int, bytes]:
        """Return a range's documents as they were, by their positions among its notes."""
        images: dict[int, bytes] = {}
        # "0" follows "/": all parts of this range, in their order by the index on `_id`.
        with reading(self._before):
            condition = {"_id": {"$gt": f"{name}/", "$lt": f"{name}0"}}
            parts = with_retry(lambda: list(self._before.find(condition).sort("_id", 1)))
        for part in parts:
            position = int(part["_id"].rsplit("/", 2)[1])
            images[position] = images.get(position, b"") + part["bytes"]
        return images

    @override
    def forget(self, run_id: str) -> None:
        for collection in (self._ranges, self._before):
            with writing(collection):
                for attempt in attempts():
                    with attempt:
                        collection.delete_many({"run": run_id})


def _images(run_id: str, name: str, notes: Sequence[DocumentNote]) -> list[Mapping[str, Any]]:
    return [
        {
            "_id": f"{name}/{position:06d}/{part:03d}",
            "run": run_id,
            "bytes": note.before[start : start + _PART],
        }
        for position, note in enumerate(notes)
        if note.before is not None
        for part, start in enumerate(range(0, len(note.before), _PART))
    ]


def _described(note: DocumentNote) -> Mapping[str, Any]:
    return {
        # As bytes: an `_id` may be of a type that the driver re-types.
        "id": note.identity,
        "after": note.after,
        "image": note.before is not None,
    }


def _record(run: Mapping[str, Any]) -> RunRecord:
    fields = {name: value for name, value in run.items() if name in RunRecord.model_fields}
    return RunRecord.model_validate({**fields, "run_id": run["_id"], "state": RunState(run["state"])})
