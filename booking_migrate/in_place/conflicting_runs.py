"""Runs that must not be active while bookings leave a collection."""

from booking_migrate.errors import TargetBusy
from booking_migrate.stores.journal import LockStore, RunJournal


def refuse_readers(collection: str, journal: RunJournal, locks: LockStore) -> None:
    """Refuse to move bookings away under a run that reads them into another collection.

    Args:
        collection: the collection that is to be migrated in place.
        journal: knows all runs of the database.
        locks: knows which of them are active; they hold the locks of their targets.

    Raises:
        TargetBusy: such a run is active.
    """
    targets = {run.target for run in journal.runs() if run.source == collection and run.archive is None}
    for target in sorted(targets - {collection}):
        held = locks.look(target)
        if held is not None and held.is_live:
            raise TargetBusy(collection, f"{held.holder}, which reads it into {target}")
