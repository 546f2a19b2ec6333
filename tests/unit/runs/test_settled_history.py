"""A process that reads a target in client order knows what earlier runs wrote, without reading all of their notes each time."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from random import Random
from typing import cast

import bson
import pytest
from bson.objectid import ObjectId

from booking_migrate.bson.document import identity_of
from booking_migrate.runs.noted_ranges import SettledHistory
from booking_migrate.runs.provenance import JournalHistory, client_key_of
from booking_migrate.stores.journal import DocumentNote, NoteKind, RangeNote, RunJournal, Span

RUNS = ("first", "followed", "current")
CLIENTS, BATCH = 1000, 40


class Journal:
    """A journal in memory, which counts how many ranges were read."""

    def __init__(self) -> None:
        self.noted: dict[str, list[RangeNote]] = {run: [] for run in RUNS}
        self.read = 0

    def note(self, run: str, notes: Sequence[tuple[int, DocumentNote]]) -> None:
        """Append a range of notes about some clients."""
        keys = [client_key_of(document(client, 0)) for client, _ in notes]
        name = f"{run}/{len(self.noted[run]):04}"
        noted = RangeNote(NoteKind.DOCUMENTS, min(keys), max(keys), [each for _, each in notes], name)
        self.noted[run].append(noted)

    def between(self, run: str, first: bytes, last: bytes) -> Sequence[RangeNote]:
        """Return the ranges that overlap these keys."""
        return self._counted([each for each in self.noted[run] if first <= each.last and each.first <= last])

    def spans(self, run: str, _kind: NoteKind) -> Iterator[Span]:
        """Yield what all ranges are about."""
        return (Span(each.name, each.first, each.last) for each in self.noted[run])

    def named(self, names: Sequence[str]) -> Sequence[RangeNote]:
        """Return ranges by name."""
        every = (each for parts in self.noted.values() for each in parts)
        return self._counted([each for each in every if each.name in names])

    def of_documents(self, runs: Sequence[str], identities: Sequence[bytes]) -> Sequence[RangeNote]:
        """Return whole ranges, as the journal does."""
        wanted = set(identities)
        every = (each for run in runs for each in self.noted[run])
        return self._counted([each for each in every if wanted & {note.identity for note in each.notes}])

    def _counted(self, found: list[RangeNote]) -> list[RangeNote]:
        self.read += len(found)
        return found


def document(client: int, version: int, number: int | None = None) -> bytes:
    """A version of a client's document, perhaps under the `_id` of an older one."""
    client_id = ObjectId(client.to_bytes(12, "big"))
    return bson.encode({"_id": client if number is None else number, "clientId": client_id, "v": version})


def noted(client: int, before: bytes | None, version: int) -> tuple[int, DocumentNote]:
    """The note that a client's document gets a version."""
    after = document(client, version)
    return client, DocumentNote(identity_of(after), sha256(after).digest(), before)


def story(seed: int, followed: int) -> Journal:
    """Two runs and one that is continued; the second one noted so many times what was followed: clients from anywhere."""
    random, journal = Random(seed), Journal()
    versions: dict[int, int] = {}
    for start in range(0, CLIENTS, 20):
        # Some had a document of others, and some of these under another `_id`.
        before = [
            (client, random.choice([None, None, document(client, 90), document(client, 91, 1000 + client)]))
            for client in range(start, start + 20)
        ]
        journal.note("first", [noted(client, raw, 0) for client, raw in before])
    for number in range(followed):
        some = random.sample(range(CLIENTS), 2)
        journal.note(
            "followed", [noted(each, document(each, versions.get(each, 0)), number + 1) for each in some]
        )
        versions.update(dict.fromkeys(some, number + 1))
    for start in range(0, CLIENTS // 2, 20):
        some = random.sample(range(start, start + 20), 2)
        journal.note("current", [noted(each, document(each, versions.get(each, 0)), 500) for each in some])
    return journal


@pytest.mark.parametrize("followed", [0, 20, 300])
@pytest.mark.parametrize("current", ["current", None])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_known(seed: int, current: str | None, followed: int) -> None:
    """Documents come from where they come from if everything is read each time; but far less is read."""
    journal = story(seed, followed)
    runs = RUNS if current else RUNS[:2]
    every = JournalHistory(cast("RunJournal", journal), runs, current)
    settled = SettledHistory(cast("RunJournal", journal), runs, current)
    random, read = Random(seed), {every: 0, settled: 0}
    for start in range(0, CLIENTS, BATCH):
        documents = [
            document(client, random.choice([0, followed, 90, 99, 500]))
            for client in range(start, start + BATCH)
        ]
        found = {}
        for history in (every, settled):
            journal.read = 0
            found[history] = (
                history.trace(documents),
                history.found(documents),
                history.baselines(documents),
            )
            read[history] += journal.read

        assert found[every] == found[settled]
    if followed == 300:
        assert read[settled] < read[every] / 2
