"""Whether the collections that a command works on still exist: what a run wrote, and what keeps its old bookings."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from booking_migrate.errors import OldBookingsLost
from booking_migrate.in_place.archive import check_archive
from booking_migrate.preflight.outcome import Check, State
from booking_migrate.runs.commands import rollback_of
from booking_migrate.runs.states import FINAL, LIVE
from booking_migrate.stores.journal import RunJournal, RunRecord

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.in_place import MongoInPlace
    from booking_migrate.stores.mongo.inspection import MongoInspector


def check_result(
    command: str,
    run: RunRecord,
    inspector: "MongoInspector",
    journal: RunJournal,
    archive: Callable[[str], "MongoInPlace"],
) -> Check | None:
    """Return what prevents a command because a collection of a run no longer exists; None if nothing does.

    Args:
        command: the command.
        run: the run that it works on.
        inspector: of the database.
        journal: has all runs.
        archive: opens the source of a run in place with its archive.

    Raises:
        OldBookingsLost, ArchiveNotOwn: what kept the old bookings was dropped, or is another collection of the same name.
    """
    if run.state in FINAL:
        # Finalize may have dropped what kept the old bookings.
        return None
    if run.archive is not None:
        check_archive(archive(run.archive), journal)
    elif run.state in LIVE and inspector.collection(run.legacy or "") is None:
        raise OldBookingsLost(run.legacy or "", source=run.source)
    is_live = run.archive is not None or run.state in LIVE
    name = run.source if is_live else run.target
    if inspector.collection(name) is not None:
        return None
    found = f"{name}, which run {run.run_id} wrote, no longer exists"
    if is_live:
        return Check("runs", State.OBSTACLE, found, "Restore it from a backup of the database.")
    if command == "rollback":
        return Check("runs", State.CAUTION, f"{found}: a rollback only records that the run is undone")
    return Check("runs", State.OBSTACLE, found, f"Undo the run, then migrate again: {rollback_of(run)}")
