"""How a journal in a database is read back."""

from typing import Any

from bson.objectid import ObjectId
from pymongo.database import Database
from pymongo.monitoring import CommandStartedEvent

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
