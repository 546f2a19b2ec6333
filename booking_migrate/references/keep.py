"""Keeping old ids usable: the index by which references to old bookings find the session.

Following makes it for its own use, and nothing but a rollback removes it. Where nothing was followed it is made on request.
"""

from typing import TYPE_CHECKING, NamedTuple

from booking_migrate.errors import NoOldIds
from booking_migrate.runs.states import UNDOABLE
from booking_migrate.stores.journal import RunJournal

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.legacy_index import MongoLegacyIndex


class KeptIndex(NamedTuple):
    """The index by which old ids are found."""

    collection: str
    name: str
    is_made: bool
    """Whether it was made now; otherwise it existed."""


def keep_index(index: "MongoLegacyIndex") -> KeptIndex:
    """Make the index, unless one exists that does the same.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: the server does not do it.
    """
    found = index.found()
    if found is None:
        index.make()
    return KeptIndex(index.collection_name, found or index.name, is_made=found is None)


def keep_live_index(index: "MongoLegacyIndex", journal: RunJournal) -> KeptIndex:
    """Make the index of a collection that is live, unless one exists that does the same. A rollback removes it.

    After a cut-over a rollback replaces the whole collection; in place, the run's record has the indexes that it removes.

    Raises:
        NoOldIds: no session has an old id, so that nothing can be found by it.
        ConnectionProblem, NotPermitted, WriteFailed: the server does not do it.
    """
    found = index.found()
    if found is not None:
        return KeptIndex(index.collection_name, found, is_made=False)
    if not index.has_old_ids():
        raise NoOldIds(index.collection_name)
    in_place = (run for run in journal.runs(index.collection_name) if run.archive is not None)
    newest = next((run for run in in_place if run.state in UNDOABLE), None)
    if newest is not None:
        # First the record: a process that is killed in between leaves an index to be removed, not one that stays.
        journal.annotate(newest.run_id, indexes_made=[*{*newest.indexes_made, index.name}])
    index.make()
    return KeptIndex(index.collection_name, index.name, is_made=True)
