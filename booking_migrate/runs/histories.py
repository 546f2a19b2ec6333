"""The histories of documents by the notes of a run, and the current state of the documents."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from booking_migrate.bson.document import identity_of, read_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.runs.provenance import predecessors
from booking_migrate.stores.journal import RangeNote

_IDS_PER_QUERY = 500
"""How many documents one query of the target has."""


@dataclass(slots=True)
class History:
    """What the run noted about one document."""

    document_id: Any
    """Its `_id` as the run wrote it."""

    before: bytes | None
    """The version before the run first wrote it; None if it did not exist."""

    versions: dict[bytes, bytes | None]
    """The digests of versions that the run may have written, each with the version to restore. That is not always `before`:
    others may have changed the document between two writes of an interrupted run.
    """

    noted_in: str
    """The name of the first range that has a note of it."""

    is_removed: bool = False
    """Whether the run may have removed it."""

    @property
    def is_plain(self) -> bool:
        """Return whether it was not there before the run, and the run has only created it, perhaps more than once."""
        return self.before is None and not self.is_removed and not any(self.versions.values())


@dataclass(frozen=True, slots=True)
class Finding:
    """The current state of one of the run's documents."""

    history: History
    present: bytes | None
    is_ours: bool
    """Whether it is a version of the run, and has to be undone."""

    is_restored: bool
    """Whether it is the version from before the run. If neither, others have changed it."""


def histories_of(related: Sequence[RangeNote]) -> dict[bytes, History]:
    """Return the histories of documents, by the sort key of `_id`, out of everything that was noted about their clients."""
    histories: dict[bytes, History] = {}
    versions = predecessors(related)
    for noted in related:
        for note in noted.notes:
            key = note.key
            known = histories.get(key)
            if known is None:
                known = histories[key] = History(note.document_id, note.before, {}, noted.name)
            if note.after is None:
                known.is_removed = True
            else:
                known.versions[note.after] = versions[note.after]
    return histories


def findings_of(find: Any, histories: Mapping[bytes, History]) -> Iterator[Finding]:
    """Yield the current state of these documents, each once."""
    keys = list(histories)
    for start in range(0, len(keys), _IDS_PER_QUERY):
        some = {key: histories[key] for key in keys[start : start + _IDS_PER_QUERY]}
        there: set[bytes] = set()
        for raw in find([history.document_id for history in some.values()]):
            key = sort_key(_id(raw))
            there.add(key)
            yield _finding(some[key], raw)
        absent = [history for key, history in some.items() if key not in there]
        yield from _absent(find, absent)


def _finding(history: History, present: bytes) -> Finding:
    is_restored = present == history.before
    is_ours = not is_restored and sha256(present).digest() in history.versions
    return Finding(history, present, is_ours, is_restored)


def _absent(find: Any, histories: Sequence[History]) -> Iterator[Finding]:
    """Yield documents that are not there under the `_id` that the run gave them."""
    moved = {}
    for history in histories:
        if history.before is None:
            yield Finding(history, None, is_ours=False, is_restored=True)
        elif sort_key(_id(history.before)) == sort_key(history.document_id):
            yield Finding(history, None, is_ours=history.is_removed, is_restored=False)
        else:
            moved[sort_key(_id(history.before))] = history
    found = {sort_key(_id(raw)): raw for raw in find([_id(each.before or b"") for each in moved.values()])}
    for key, history in moved.items():
        yield Finding(history, None, is_ours=False, is_restored=found.get(key) == history.before)


def _id(raw: bytes) -> Any:
    return read_fields(identity_of(raw))["_id"]
