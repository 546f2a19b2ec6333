"""Whether the archive still is the one that runs in place moved old bookings to."""

from typing import TYPE_CHECKING

from booking_migrate.errors import ArchiveNotOwn, OldBookingsLost
from booking_migrate.runs.states import RESUMABLE
from booking_migrate.stores.journal import NoteKind, RunJournal, RunRecord, RunState

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.in_place import MongoInPlace

_COMPLETE = RESUMABLE | {RunState.DONE}
"""The states of a run whose moved bookings are all in the archive: a rollback takes them out of it again."""

_UNDONE = frozenset({RunState.ROLLED_BACK, RunState.FINALIZED})
"""The states of a run whose bookings have left the archive."""

_LOOKED_AT = 100
"""How many of a run's bookings are looked for: a few that were taken out by hand are for verify to find."""


def check_archive(collection: "MongoInPlace", journal: RunJournal) -> None:
    """Refuse an archive that was dropped, or that is another collection of the same name.

    Args:
        collection: the collection and its archive.
        journal: knows what runs have moved.

    Raises:
        OldBookingsLost: it does not exist, though a run moved bookings to it.
        ArchiveNotOwn: it has none of the bookings that a run moved to it, or documents although no run moved any.
    """
    own = [run for run in journal.runs(collection.name) if run.archive == collection.archive_name]
    for run in own:
        check_archive_of(run, collection, journal)
    is_known = any(run.state not in _UNDONE for run in own)
    if not is_known and collection.archive_exists() and not collection.is_archive_empty():
        raise ArchiveNotOwn(collection.archive_name, None)


def check_archive_of(run: RunRecord, collection: "MongoInPlace", journal: RunJournal) -> None:
    """As `check_archive`, for one run.

    Raises:
        OldBookingsLost, ArchiveNotOwn: as `check_archive`.
    """
    if run.state not in _COMPLETE or not run.tally.get("moved", {}).get("migrated"):
        return
    if not collection.archive_exists():
        raise OldBookingsLost(collection.archive_name, "migrate --in-place --archive OTHER")
    first = next(journal.ranges(run.run_id, NoteKind.MOVED), None)
    ids = [] if first is None else [note.document_id for note in first.notes[:_LOOKED_AT]]
    # What a later run has moved too is back in the collection when that run is undone.
    if ids and not collection.archived(ids) and not collection.find(ids):
        raise ArchiveNotOwn(collection.archive_name, run.run_id)
