"""How a journal in a database is read back."""

from typing import Any

import pytest
from bson.objectid import ObjectId
from pymongo.database import Database
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from booking_migrate.bson.document import write_fields
from booking_migrate.stores.journal import DocumentNote, NoteKind, RangeNote
from booking_migrate.stores.mongo.connection import open_collection
from booking_migrate.stores.mongo.journal import MongoJournal
from booking_migrate.stores.own_collections import BEFORE, RANGES, RUNS
from tests.support.sent_commands import SentCommands
from tests.support.server import Server

FEW = 100
"""More ranges than these are not asked for at a time."""


class Questions(SentCommands):
    """Notes how many documents each question asks for."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def started(self, event: CommandStartedEvent) -> None:
        """Note one."""
        if event.command_name in ("find", "getMore"):
            self.sizes.append(event.command["batchSize"])


class Replies(CommandListener):
    """Counts the images that the server returns."""

    def __init__(self) -> None:
        self.images = 0

    def started(self, event: CommandStartedEvent) -> None:
        """Do nothing."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Do nothing."""

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Count those of one reply."""
        cursor = event.reply.get("cursor", {})
        if cursor.get("ns", "").endswith(BEFORE):
            self.images += len(cursor.get("firstBatch", cursor.get("nextBatch")))


def test_few_ranges_come_at_a_time(server: Server, database: Database[dict[str, Any]]) -> None:
    """However many ranges a run has, a few are in memory at a time, and all of them come in their order."""
    questions = Questions()
    with server.client(event_listeners=[questions]) as client:
        journal = MongoJournal(
            *(open_collection(client, database.name, name) for name in (RUNS, RANGES, BEFORE))
        )
        identities = [write_fields({"_id": ObjectId(f"{number:024x}")}) for number in range(400)]
        for identity in identities:
            note = DocumentNote(identity, bytes(32), None)
            journal.note("run", 1, RangeNote(NoteKind.DOCUMENTS, identity, identity, [note]))
        questions.sizes.clear()
        found = [note.identity for noted in journal.ranges("run", NoteKind.DOCUMENTS) for note in noted.notes]

    assert identities == found
    assert len(questions.sizes) >= 400 / FEW
    assert max(questions.sizes) <= FEW


def test_the_notes_of_a_document_come_without_those_beside_it(
    server: Server, database: Database[dict[str, Any]]
) -> None:
    """What is noted of a document is found without the images of others in its ranges; repeated images are held once."""
    identities = [write_fields({"_id": ObjectId(f"{number:024x}")}) for number in range(100)]
    images = [write_fields({"_id": ObjectId(f"{number:024x}"), "text": "a" * 1000}) for number in range(100)]
    replies = Replies()
    with server.client(event_listeners=[replies]) as client:
        journal = MongoJournal(
            *(open_collection(client, database.name, name) for name in (RUNS, RANGES, BEFORE))
        )
        for number in range(3):
            notes = [
                DocumentNote(identity, bytes([number] * 32), image)
                for identity, image in zip(identities, images, strict=True)
            ]
            journal.note("run", 1, RangeNote(NoteKind.DOCUMENTS, identities[0], identities[-1], notes))
        replies.images = 0
        found = [note for noted in journal.of_documents(["run"], identities[7:8]) for note in noted.notes]

    assert [(identities[7], bytes([number] * 32), images[7]) for number in range(3)] == [
        (note.identity, note.after, note.before) for note in found
    ]
    assert {id(found[0].before)} == {id(note.before) for note in found}
    assert 3 == replies.images


@pytest.mark.parametrize("way", ["of documents", "between"])
def test_notes_that_are_written_anew_meanwhile(
    database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A process that verifies beside a follower finds a note that is dropped while it reads, under the name that it has by then."""
    identity = write_fields({"_id": ObjectId(f"{1:024x}")})
    noted = RangeNote(NoteKind.DOCUMENTS, identity, identity, [DocumentNote(identity, bytes(32), identity)])
    places = [open_collection(database.client, database.name, name) for name in (RUNS, RANGES, BEFORE)]
    follower, reader = MongoJournal(*places), MongoJournal(*places)
    names = [follower.note("run", 1, noted)]
    images = MongoJournal._images

    def dropped(self: MongoJournal, *asked: Any) -> Any:
        if len(names) < 4:
            names.append(follower.note("run", 1, noted))
            follower.drop(names[-2])
        return images(self, *asked)

    monkeypatch.setattr(MongoJournal, "_images", dropped)
    found = (
        reader.of_documents(["run"], [identity])
        if way == "of documents"
        else reader.between("run", identity, identity)
    )

    assert [noted.notes] == [each.notes for each in found]
    assert list(names[-1]) == [each.name for each in found]
