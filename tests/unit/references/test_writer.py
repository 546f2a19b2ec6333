"""What a writer of references knows of its own writes, and of those of others between them."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, cast

import bson
import pytest
from bson.timestamp import Timestamp

from booking_migrate.references.batches import regrouped
from booking_migrate.references.changes import Planned
from booking_migrate.references.drain import OthersWrites
from booking_migrate.references.writer import Place, Writer
from booking_migrate.stores.changes import Change, ChangeBatch, Position, Role
from booking_migrate.stores.mongo.referring_writes import UpdatesDone
from booking_migrate.stores.reference_journal import DocumentChange, FieldChange, Note
from tests.support.references import new, old

Document = dict[str, Any]
NAME = "orders"


class Feed:
    """A feed that has one change for each `_id` that is put into it."""

    def __init__(self) -> None:
        self.time = Timestamp(1, 1)
        self._changes: list[Change] = []

    def put(self, document_id: Any) -> None:
        """Add a change, later than all before."""
        self.time = Timestamp(1, self.time.inc + 1)
        self._changes.append(Change(Role.REFERRING, "update", document_id, (), self.time, collection=NAME))

    def read(self, *_arguments: Any, **_options: Any) -> ChangeBatch:
        """Return all changes since the last call."""
        changes, self._changes = self._changes, []
        return ChangeBatch(changes, Position({}, self.time))


class Collection:
    """Documents in memory, each written if it has what was read; its feed has a change for each write."""

    name = NAME

    def __init__(self, feed: Feed, *documents: Document) -> None:
        self._feed = feed
        self.documents = {each["_id"]: each for each in documents}

    def find(self, ids: Sequence[Any]) -> Mapping[bytes, bytes]:
        """Return documents by the BSON of their `_id`."""
        return {bson.encode({"_id": each}): bson.encode(self.documents[each]) for each in ids}

    def write(self, updates: Sequence[Any]) -> UpdatesDone:
        """Change documents that are as they were read."""
        written = 0
        for each in updates:
            document = self.documents[bson.decode(each.identity)["_id"]]
            if all(document[change.path] == change.before for change in each.changes):
                document.update({change.path: change.after for change in each.changes})
                self._feed.put(document["_id"])
                written += 1
        return UpdatesDone(written == len(updates), (), self._feed.time)


class Journal:
    """Notes in memory."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.voided: list[tuple[str, Sequence[int]]] = []

    def note(self, _rewrite_id: str, _token: int, note: Note) -> str:
        """Keep a note, and return its name."""
        self.notes.append(note)
        return str(len(self.notes))

    def void(self, name: str, positions: Sequence[int], _refused: Mapping[int, str]) -> None:
        """Keep which documents of a note are void."""
        self.voided.append((name, positions))


def planned(document: Document, *names: str) -> Planned:
    """The change of some fields of a document from old ids to new ones."""
    raw = bson.encode(document)
    numbers = {old(number): number for number in range(20)}
    changes = tuple(FieldChange(name, name, document[name], new(numbers[document[name]])) for name in names)
    identity = bson.encode({"_id": document["_id"]})
    return Planned(DocumentChange(identity, sha256(raw).digest(), changes), (), raw)


def plan_again(collection: str, raws: Sequence[bytes]) -> list[Planned]:
    """Plan what is left to change in documents."""
    assert NAME == collection
    left = []
    for raw in raws:
        document = bson.decode(raw)
        names = [name for name, value in document.items() if value in [old(number) for number in range(20)]]
        if names:
            left.append(planned(document, *names))
    return left


@pytest.fixture
def feed() -> Feed:
    """A feed without changes."""
    return Feed()


@pytest.fixture
def others(feed: Feed) -> OthersWrites:
    """What others write, by that feed."""
    return OthersWrites(cast(Any, feed))


@pytest.fixture
def journal() -> Journal:
    """A journal without notes."""
    return Journal()


@pytest.fixture
def write(others: OthersWrites, journal: Journal) -> Callable[..., Any]:
    """Write changes of documents of a collection."""
    lock = SimpleNamespace(confirm=lambda: None, token=1)
    writer = Writer(cast(Any, journal), cast(Any, lock), "w", plan_again)
    writer.others = others

    def write_all(collection: Collection, *changes: Planned) -> Any:
        return writer.write(Place(cast(Any, None), cast(Any, collection)), changes)

    return write_all


def test_own_writes_are_not_read_again(feed: Feed, others: OthersWrites, write: Callable[..., Any]) -> None:
    """The changes that writing itself makes are not those of others; the next change of the same document is."""
    collection = Collection(feed, {"_id": 1, "a": old(1)}, {"_id": 2, "a": old(2)})
    write(collection, *(planned(each, "a") for each in collection.documents.values()))

    assert {} == others.read()
    feed.put(2)
    assert [2] == list(others.read().values())


def test_a_document_that_has_new_ids_already_leaves_no_expectation(
    feed: Feed, others: OthersWrites, write: Callable[..., Any]
) -> None:
    """A document that was read before it got its new ids is not written; what others write to it later is read."""
    first, second = {"_id": 1, "a": old(1)}, {"_id": 2, "a": old(2)}
    collection = Collection(feed, {"_id": 1, "a": new(1)}, dict(second))
    write(collection, planned(first, "a"), planned(second, "a"))
    others.read()
    feed.put(1)

    assert [1] == list(others.read().values())


def test_one_missed_document_does_not_make_own_writes_those_of_others(
    feed: Feed, others: OthersWrites, write: Callable[..., Any]
) -> None:
    """If one document of many had changed, the own writes to the others still are own ones; a later change of one is not."""
    read = [{"_id": number, "a": old(number)} for number in range(1, 6)]
    collection = Collection(
        feed, *({**each, "a": old(9)} if each["_id"] == 3 else dict(each) for each in read)
    )
    write(collection, *(planned(each, "a") for each in read))
    feed.put(2)

    assert [2] == [each for each in others.read().values() if each != 3]


def test_what_others_wrote_meanwhile_is_planned_again_in_every_document(
    feed: Feed, others: OthersWrites, write: Callable[..., Any]
) -> None:
    """A change of others that was taken for an own one is not missed, even if the document has the new ids that were planned."""
    first, second = {"_id": 1, "a": old(1)}, {"_id": 2, "a": old(2)}
    collection = Collection(feed, {"_id": 1, "a": new(1), "b": old(7)}, dict(second))

    def write_late(updates: Sequence[Any]) -> UpdatesDone:
        # What another one did to the first document is read while the write is on its way.
        feed.put(1)
        assert {} == others.read()
        del collection.write
        return collection.write(updates)

    collection.write = write_late  # type: ignore[method-assign]
    write(collection, planned(first, "a"), planned(second, "a"))

    assert {"_id": 1, "a": new(1), "b": new(7)} == collection.documents[1]


def test_a_document_that_was_written_and_changed_at_once_keeps_its_note(
    feed: Feed, journal: Journal, write: Callable[..., Any]
) -> None:
    """Where others change one of two references right after they were written, the note of the other one stays for an undo."""
    first, second = {"_id": 1, "a": old(1), "b": old(2)}, {"_id": 2, "a": old(3)}
    collection = Collection(feed, dict(first), {"_id": 2, "a": old(9)})

    def write_and_change(updates: Sequence[Any]) -> UpdatesDone:
        del collection.write
        done = collection.write(updates)
        collection.documents[1]["b"] = old(5)
        return done

    collection.write = write_and_change  # type: ignore[method-assign]
    write(collection, planned(first, "a", "b"), planned(second, "a"))

    assert [("1", [1])] == journal.voided
    assert {1: {"_id": 1, "a": new(1), "b": new(5)}, 2: {"_id": 2, "a": new(9)}} == collection.documents


def test_batches_take_the_size_that_holds_when_they_are_filled() -> None:
    """A rate that is set while documents are read makes the next batches smaller."""
    size = 4
    batches = regrouped([[b"1", b"2", b"3", b"4", b"5"], [b"6", b"7", b"8"]], lambda: size)
    first = next(batches)
    size = 2

    assert [4, 2, 2] == [len(first), *map(len, batches)]
