"""The journal of rewritten references: one document a rewrite, and one for each note, which has some thousand documents.

It is in the database of the references, in collections of its own.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from bson.binary import Binary
from bson.code import Code
from bson.raw_bson import RawBSONDocument
from pymongo import ReturnDocument
from pymongo.collection import Collection

from booking_migrate.bson.document import (
    DOCUMENT,
    Element,
    Opaque,
    element_of,
    elements,
    read_exactly,
    read_value,
    wrap,
)
from booking_migrate.stores.mongo.connection import TIMES, DriverCollection
from booking_migrate.stores.mongo.failures import read, write
from booking_migrate.stores.mongo.raw import as_driver_document, find_all, find_raw
from booking_migrate.stores.mongo.replica_set import build_index
from booking_migrate.stores.mongo.sessions import Sessions
from booking_migrate.stores.reference_journal import (
    ABSENT,
    DocumentChange,
    FieldChange,
    Note,
    RewriteRecord,
    RewriteState,
)

Result = TypeVar("Result")

_ARRAY = 0x04
_NAMES_AT_ONCE = 1000
NOTHING: Mapping[int, str] = {}


class MongoReferenceJournal:
    """Records and notes of rewrites. Everything is durable (majority) when a method returns."""

    def __init__(self, rewrites: DriverCollection, notes: DriverCollection) -> None:
        self._rewrites: Collection[dict[str, Any]] = rewrites.with_options(codec_options=TIMES)
        self._notes = notes
        self._number = 0
        self.sessions: Final = Sessions(rewrites, "references")
        """Those in which this process writes notes and documents: one, since it never does both at a time."""

        self.latest: RewriteRecord | None = None
        """The record that this process has saved last: how far it is, also if the server cannot be asked any more."""

    def _write(self, collection: DriverCollection, action: Callable[..., Result]) -> Result:
        """Write to a collection in a recorded session."""
        with self.sessions.one() as session:
            return write(collection, partial(action, session=session))

    def end_earlier(self) -> None:
        """End what earlier processes have sent for any rewrite. Called under the lock, before notes are looked at.

        Raises:
            StillRunning: it does not end in time.
        """
        own = self.sessions.ids(1)
        self.sessions.end(b"".join(each.sessions for each in self.rewrites() if each.sessions != own))

    def at_work(self, rewrite_id: str) -> RewriteRecord:
        """Record in which sessions this process works on a rewrite from now on, alone; return the record.

        Raises:
            StillRunning: what an earlier process has sent does not end in time.
        """
        self.end_earlier()
        return self.save(rewrite_id, problem=None, sessions=self.sessions.ids(1))

    def rewrites(self) -> Sequence[RewriteRecord]:
        """Return all rewrites, the newest first."""
        # Names that were made in the same second are in any order.
        order = [("begun_at", -1), ("_id", -1)]
        found = read(self._rewrites, lambda: list(self._rewrites.find().sort(order)), waits=False)
        return [_record(each) for each in found]

    def create(self, record: RewriteRecord) -> RewriteRecord:
        """Record a new rewrite, and return it with its time set."""
        write(self._notes, lambda: build_index(self._notes, [("rewrite", 1), ("documents.i", 1)]))
        fields = {"_id": record.rewrite_id, **record.model_dump(mode="python", exclude={"rewrite_id"})}
        named = {"_id": record.rewrite_id}
        self._write(self._rewrites, partial(self._rewrites.replace_one, named, fields, upsert=True))
        return self._update(record.rewrite_id, {"begun_at": "$$NOW"})

    def save(self, rewrite_id: str, **changes: Any) -> RewriteRecord:
        """Change some fields of a rewrite, and return it. A state that ends it sets its time."""
        fields: dict[str, Any] = {name: {"$literal": value} for name, value in changes.items()}
        if changes.get("state") in (RewriteState.DONE, RewriteState.UNDONE):
            fields["ended_at"] = "$$NOW"
        return self._update(rewrite_id, fields)

    def _update(self, rewrite_id: str, fields: Mapping[str, Any]) -> RewriteRecord:
        change, after = [{"$set": dict(fields)}], ReturnDocument.AFTER
        update = partial(
            self._rewrites.find_one_and_update, {"_id": rewrite_id}, change, return_document=after
        )
        saved = self._write(self._rewrites, update)
        if saved is None:
            raise RuntimeError(f"the record of the rewrite {rewrite_id} has disappeared")
        self.latest = _record(saved)
        return self.latest

    def remove(self, rewrite_id: str) -> None:
        """Remove a rewrite that has changed nothing."""
        self._write(self._rewrites, partial(self._rewrites.delete_one, {"_id": rewrite_id}))
        self.latest = None

    def note(self, rewrite_id: str, token: int, note: Note) -> str:
        """Record what is about to be written, and return the note's name, which follows all others."""
        self._number += 1
        name = f"{rewrite_id}/{token:09d}/{self._number:09d}"
        fields = _note_fields(name, rewrite_id, note)
        # Sent again, it finds itself there, or is written: its name is used once.
        self._write(self._notes, partial(self._notes.replace_one, {"_id": name}, fields, upsert=True))
        return name

    def void(self, name: str, positions: Sequence[int], refused: Mapping[int, str] = NOTHING) -> None:
        """Record that nothing is to be undone of some documents of a note, and why the server refused some of them."""
        change: dict[str, Any] = {"$addToSet": {"void": {"$each": list(positions)}}}
        if refused:
            change["$set"] = {"refused": _saved(refused)}
        self._write(self._notes, partial(self._notes.update_one, {"_id": name}, change))

    def stuck(self, name: str, documents: Mapping[int, str]) -> None:
        """Record which documents of a note the server refuses with their old ids, and why; none: it refuses none of them."""
        change = {"$set": {"stuck": _saved(documents)}}
        self._write(self._notes, partial(self._notes.update_one, {"_id": name}, change))

    def refused(self, rewrite_id: str) -> Iterator[Note]:
        """Yield the notes with documents that the server refused with their new ids. Memory holds one of them."""
        yield from self._read(self._names({"rewrite": rewrite_id, "refused": {"$exists": True}}))

    def notes(self, rewrite_id: str, *, after: str = "") -> Iterator[Note]:
        """Yield the notes in their order; if a name is given, those after it. Memory holds one of them."""
        yield from self._read(self.names(rewrite_id, after=after))

    def newest_first(self, rewrite_id: str) -> Iterator[Note]:
        """Yield the notes, the newest first. Memory holds one of them."""
        yield from self._read(reversed(self.names(rewrite_id)))

    def names(self, rewrite_id: str, *, after: str = "") -> Sequence[str]:
        """Return the names of the notes in their order. There is one for some thousand documents."""
        # "0" follows "/".
        return self._names({"_id": {"$gt": after or f"{rewrite_id}/", "$lt": f"{rewrite_id}0"}})

    def notes_of(self, rewrite_id: str, identities: Sequence[bytes]) -> Sequence[Note]:
        """Return the notes that have one of these documents, in their order."""
        wanted = _with(rewrite_id, identities)
        found = read(self._notes, lambda: list(find_raw(self._notes, wanted, by_id=True)))
        return [_note(each) for each in found]

    def notes_with(self, rewrite_id: str, identities: Sequence[bytes], *, after: str = "") -> Iterator[Note]:
        """Yield the notes that have one of these documents, in their order, after one of a name. Memory holds one of them."""
        yield from self._read(self._names({**_with(rewrite_id, identities), "_id": {"$gt": after}}))

    def _names(self, wanted: Mapping[str, Any]) -> Sequence[str]:
        find = partial(self._notes.find, wanted, {"_id": 1}, sort=[("_id", 1)], batch_size=_NAMES_AT_ONCE)
        return [each["_id"] for each in read(self._notes, lambda: list(find()))]

    def _read(self, names: Iterable[str]) -> Iterator[Note]:
        for name in names:
            yield from map(_note, find_all(self._notes, {"_id": name}))

    def drop(self, name: str) -> None:
        """Drop a note whose documents were restored and read again."""
        self._write(self._notes, partial(self._notes.delete_one, {"_id": name}))


def _with(rewrite_id: str, identities: Sequence[bytes]) -> Mapping[str, Any]:
    return {"rewrite": rewrite_id, "documents.i": {"$in": [Binary(each) for each in identities]}}


def _record(fields: Mapping[str, Any]) -> RewriteRecord:
    known = {name: value for name, value in fields.items() if name in RewriteRecord.model_fields}
    return RewriteRecord.model_validate({**known, "rewrite_id": fields["_id"]})


def _note_fields(name: str, rewrite_id: str, note: Note) -> Mapping[str, Any]:
    documents = [
        {"i": Binary(each.identity), "h": Binary(each.digest), "c": list(map(_change_fields, each.changes))}
        for each in note.documents
    ]
    fields = {"_id": name, "rewrite": rewrite_id, "collection": note.collection, "documents": documents}
    return {**fields, "void": sorted(note.void), "refused": _saved(note.refused)} if note.void else fields


def _change_fields(change: FieldChange) -> Mapping[str, Any]:
    field, path, before, after = change
    if type(before) is Opaque or type(after) is Opaque:
        return _raw_change(change)
    fields = {"f": field, "p": path, "b": before, "a": after}
    if before is ABSENT:
        del fields["b"]
    return fields


def _raw_change(change: FieldChange) -> RawBSONDocument:
    parts = [element_of("f", change.field), element_of("p", change.path)]
    parts += [] if change.before is ABSENT else [element_of("b", change.before)]
    return as_driver_document(wrap([*parts, element_of("a", change.after)]))


def _note(raw: bytes) -> Note:
    plain = read_exactly(raw)
    if plain is not None:
        documents = tuple(map(_plain_document, plain["documents"]))
        if not any(type(value) is Code for each in documents for change in each.changes for value in change):
            return Note(
                plain["_id"],
                plain["collection"],
                documents,
                frozenset(plain.get("void", ())),
                *(_reasons(plain.get(name)) for name in ("refused", "stuck")),
            )
    parts = {each.name: each for each in elements(raw)}
    documents = tuple(map(_document, elements(parts[b"documents"].value)))
    void = frozenset(read_value(parts[b"void"])) if b"void" in parts else frozenset[int]()
    reasons = [read_value(parts[name]) if name in parts else () for name in (b"refused", b"stuck")]
    named = (read_value(parts[b"_id"]), read_value(parts[b"collection"]))
    return Note(*named, documents, void, *map(_reasons, reasons))


def _saved(reasons: Mapping[int, str]) -> list[Mapping[str, Any]]:
    return [{"at": position, "why": why} for position, why in sorted(reasons.items())]


def _reasons(saved: Any) -> Mapping[int, str]:
    return {each["at"]: each["why"] for each in saved or ()}


def _plain_document(fields: Mapping[str, Any]) -> DocumentChange:
    changes = [FieldChange(each["f"], each["p"], each.get("b", ABSENT), each["a"]) for each in fields["c"]]
    return DocumentChange(bytes(fields["i"]), bytes(fields["h"]), tuple(changes))


def _document(element: Element) -> DocumentChange:
    parts = {each.name: each for each in elements(element.value)}
    # Length and subtype come first.
    identity, digest = (parts[name].value[5:] for name in (b"i", b"h"))
    return DocumentChange(identity, digest, tuple(map(_change, elements(parts[b"c"].value))))


def _change(element: Element) -> FieldChange:
    if element.kind not in (DOCUMENT, _ARRAY):
        raise RuntimeError("a note has a change that is not a document")
    parts = {each.name: each for each in elements(element.value)}
    before = read_value(parts[b"b"]) if b"b" in parts else ABSENT
    return FieldChange(read_value(parts[b"f"]), read_value(parts[b"p"]), before, read_value(parts[b"a"]))
