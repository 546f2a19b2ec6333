"""The journal in collections of the target's database.

``booking_migrate_runs`` has one document a run, ``booking_migrate_ranges`` one for each range of clients, and
``booking_migrate_before`` the documents as they were, in parts that fit into a document of their own.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import count
from secrets import token_hex
from typing import Any

from pymongo import ReplaceOne, ReturnDocument, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from typing_extensions import override

from booking_migrate.bson.document import read_fields
from booking_migrate.errors import JournalTooNew, NoRun
from booking_migrate.stores.journal import (
    JOURNAL_VERSION,
    NoteKind,
    RangeNote,
    RunJournal,
    RunRecord,
    RunState,
    Span,
)
from booking_migrate.stores.mongo.connection import TIMES, DriverCollection
from booking_migrate.stores.mongo.dirty import MongoDirty
from booking_migrate.stores.mongo.failures import read, reading, write
from booking_migrate.stores.mongo.journal_notes import (
    RangeDropped,
    WrittenRange,
    cut_key,
    read_range,
    written_ranges,
)
from booking_migrate.stores.mongo.replica_set import build_index
from booking_migrate.stores.mongo.scan import scan_by_id
from booking_migrate.stores.own_collections import DIRTY, RUNS

_RANGES_AT_ONCE = 100
"""How many ranges are read at a time."""

_READS = 20
"""How often ranges are read if some are dropped each time: a follower drops `_RANGES_AT_ONCE` at a time, now and then."""

_PROGRESS = "progress"
"""The kind of a document that is not a note: it has the progress of one of several concurrent movers."""

_TOUCHED: Mapping[str, int] = {"touched": 1}

_ATTEMPT_DIGITS = 4
"""How many digits the attempts at one number have."""

_NUMBERS = count()
"""Numbers of the notes of this process: a run may note through several journals, and through several threads at a time."""


class MongoJournal(RunJournal):
    """See `RunJournal` for the promises."""

    def __init__(self, runs: DriverCollection, ranges: DriverCollection, before: DriverCollection) -> None:
        self._runs: Collection[dict[str, Any]] = runs.with_options(codec_options=TIMES)
        self._ranges = ranges
        self._before = before
        self._numbers: Iterator[str] = map("{:09d}".format, _NUMBERS)

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

    @override
    def control(self, run_id: str) -> Mapping[str, Any]:
        found = read(self._runs, lambda: self._runs.find_one({"_id": run_id}, {"control": 1}))
        asked: Mapping[str, Any] = (found or {}).get("control", {})
        return asked

    @override
    def ask(self, run_id: str, command: str, name: str, value: Mapping[str, Any]) -> None:
        asked = {"$literal": dict(value)}
        self._update(run_id, {f"control.{command}.{name}": {"$mergeObjects": [asked, {"at": "$$NOW"}]}})

    def _update(self, run_id: str, fields: Mapping[str, Any]) -> RunRecord:
        changes, after = [{"$set": dict(fields)}], ReturnDocument.AFTER
        saved = write(
            self._runs,
            lambda: self._runs.find_one_and_update({"_id": run_id}, changes, return_document=after),
        )
        if saved is None:
            raise NoRun(f"run {run_id} in {RUNS}", effect="")
        return _record(saved)

    @override
    def remove(self, run_id: str) -> None:
        self.forget(run_id)
        write(self._runs, lambda: self._runs.delete_one({"_id": run_id}))

    @override
    def note(self, run_id: str, token: int, noted: RangeNote) -> Sequence[str]:
        # The images come first: a range whose image is lacking would be of no use.
        ranges = list(self.written(run_id, token, noted))
        for written in ranges:
            for image in written.images:
                self._put(self._before, image)
        named = [ReplaceOne({"_id": each.fields["_id"]}, dict(each.fields), upsert=True) for each in ranges]
        # Sent again, they find themselves there, or are written: their names are given once.
        write(self._ranges, lambda: self._ranges.bulk_write(named, ordered=False))
        return [each.fields["_id"] for each in ranges]

    @override
    def drop(self, names: Sequence[str]) -> None:
        # The images go last: a range whose image is lacking would be of no use.
        for start in range(0, len(names), _RANGES_AT_ONCE):
            some = list(names[start : start + _RANGES_AT_ONCE])
            images = {"$or": [{"_id": {"$gt": f"{name}/", "$lt": f"{name}0"}} for name in some]}
            for collection, condition in ((self._ranges, {"_id": {"$in": some}}), (self._before, images)):
                write(collection, partial(collection.delete_many, condition))

    @override
    def reserve(self) -> int:
        return next(_NUMBERS)

    @override
    def note_under(self, run_id: str, token: int, number: int) -> None:
        # "." sorts before "/", which follows a name in those of its images.
        prefix = f"{run_id}/{token:09d}/{number:09d}."
        condition = {"_id": {"$gt": prefix, "$lt": f"{prefix[:-1]}/"}}
        find = partial(self._ranges.find, condition, {"_id": 1}, sort=[("_id", -1)], limit=1)
        last = next(iter(read(self._ranges, lambda: list(find()))), None)
        attempt = 0 if last is None else int(last["_id"].removeprefix(prefix)[:_ATTEMPT_DIGITS]) + 1
        # The mark keeps two processes apart that are at the same number at the same time.
        self._numbers = map(
            f"{number:09d}.{attempt:0{_ATTEMPT_DIGITS}d}-{token_hex(4)}-{{:04d}}".format, count()
        )

    def written(self, run_id: str, token: int, noted: RangeNote) -> Iterator[WrittenRange]:
        """Yield a note as the documents that stand for it, under names that no other note has."""
        # With the token, so that a process whose lock expired does not clash with its successor.
        names = (f"{run_id}/{token:09d}/{next(self._numbers)}" for _ in iter(int, 1))
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
    def between(self, run_id: str, first: bytes, last: bytes) -> Sequence[RangeNote]:
        condition = {
            "run": run_id,
            "kind": NoteKind.DOCUMENTS.value,
            "last": {"$gte": cut_key(first)},
            "first": {"$lte": cut_key(last)},
        }
        return self._listed(condition)

    @override
    def of_documents(self, run_ids: Sequence[str], identities: Sequence[bytes]) -> Sequence[RangeNote]:
        condition = {
            "run": {"$in": list(run_ids)},
            "documents.id": {"$in": list(identities)},
            "kind": NoteKind.DOCUMENTS.value,
        }
        return self._listed(condition, frozenset(identities))

    @override
    def spans(self, run_id: str, kind: NoteKind) -> Iterator[Span]:
        condition = {"run": run_id, "kind": kind.value}
        fields = {"first": 1, "last": 1}
        with reading(self._ranges):
            for found in map(read_fields, scan_by_id(self._ranges, condition, fields=fields)):
                yield Span(found["_id"], bytes.fromhex(found["first"]), bytes.fromhex(found["last"]))

    @override
    def named(self, names: Sequence[str]) -> Sequence[RangeNote]:
        return self._listed({"_id": {"$in": list(names)}})

    @override
    def progress(self, run_id: str) -> Sequence[Mapping[str, Any]]:
        condition = {"run": run_id, "kind": _PROGRESS}
        found: list[Mapping[str, Any]] = read(self._ranges, lambda: list(self._ranges.find(condition)))
        return found

    def keep_progress(self, run_id: str, slot: int, facts: Mapping[str, Any], session: ClientSession) -> None:
        """Write the progress of one of several concurrent movers, within a transaction.

        Each has a document of its own: two transactions that change one document do not go together.
        """
        self._ranges.update_one(
            {"_id": _progress_name(run_id, slot)},
            # A number that changes each time: a write that changes nothing would not conflict with that of `touch_progress`.
            {"$set": {**_progress_fields(run_id, slot), **facts}, "$inc": _TOUCHED},
            upsert=True,
            session=session,
        )

    def touch_progress(self, run_id: str, slots: int) -> None:
        """Change the documents of progress, those that do not exist yet too, and nothing of what they say.

        It waits for the transactions that have written them; no other one that has begun before can write them any more.
        """
        touched = [
            UpdateOne(
                {"_id": _progress_name(run_id, slot)},
                {"$set": _progress_fields(run_id, slot), "$inc": _TOUCHED},
                upsert=True,
            )
            for slot in range(slots)
        ]
        if touched:
            write(self._ranges, lambda: self._ranges.bulk_write(touched))

    @override
    def prepare_lookup(self) -> None:
        write(self._ranges, lambda: build_index(self._ranges, [("documents.id", 1)]))

    def _listed(
        self, condition: Mapping[str, Any], wanted: Container[bytes] | None = None
    ) -> Sequence[RangeNote]:
        """Return the ranges of a condition; all are read again if a follower drops one meanwhile."""
        for _ in range(_READS - 1):
            with suppress(RangeDropped):
                return list(self._find(condition, wanted))
        return list(self._find(condition, wanted))

    def _find(
        self, condition: Mapping[str, Any], wanted: Container[bytes] | None = None
    ) -> Iterator[RangeNote]:
        shared: dict[bytes, bytes] = {}
        # Few at a time: a range has thousands of notes.
        with reading(self._ranges):
            for noted in map(read_fields, scan_by_id(self._ranges, condition, at_once=_RANGES_AT_ONCE)):
                found = read_range(noted, partial(self._images, noted["_id"], wanted is None), wanted)
                if wanted is None:
                    yield found
                    continue
                # While a result is followed, each note of a document repeats its image.
                notes = [
                    note
                    if note.before is None
                    else note._replace(before=shared.setdefault(note.before, note.before))
                    for note in found.notes
                ]
                yield found._replace(notes=notes)

    def _images(self, name: str, is_whole: bool, positions: Sequence[int]) -> Mapping[int, bytes]:
        """Return a range's documents as they were, all or those at these positions, by their positions among its notes."""
        images: dict[int, bytes] = {}
        # "0" follows "/": all parts of this range, or of one document, in their order by the index on `_id`.
        prefixes = [name] if is_whole else [f"{name}/{position:06d}" for position in positions]
        condition = {"$or": [{"_id": {"$gt": f"{each}/", "$lt": f"{each}0"}} for each in prefixes]}
        for part in read(self._before, lambda: list(self._before.find(condition).sort("_id", 1))):
            position = int(part["_id"].rsplit("/", 2)[1])
            images[position] = images.get(position, b"") + part["bytes"]
        return images

    @override
    def forget(self, run_id: str) -> None:
        for collection in (self._ranges, self._before):
            write(collection, partial(collection.delete_many, {"run": run_id}))
        MongoDirty(self._runs.database.get_collection(DIRTY), run_id).clear()


def _progress_name(run_id: str, slot: int) -> str:
    return f"{run_id}/{_PROGRESS}/{slot:03d}"


def _progress_fields(run_id: str, slot: int) -> Mapping[str, Any]:
    return {"run": run_id, "kind": _PROGRESS, "slot": slot, "first": "", "last": "", "documents": []}


def _record(run: Mapping[str, Any]) -> RunRecord:
    fields = {name: value for name, value in run.items() if name in RunRecord.model_fields}
    return RunRecord.model_validate({**fields, "run_id": run["_id"], "state": RunState(run["state"])})
