"""Whether a rollback that was killed has made the old bookings live, by what is there."""

from contextlib import suppress

from booking_migrate.errors import LiveReplaced, PlaceNotFound
from booking_migrate.rollback.restored_clients import RestorationPlaces
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.ports import DocumentReader


def was_swapped(run: RunRecord, places: RestorationPlaces) -> bool:
    """Return whether an unfinished rollback has made the old bookings live: then the kept copy is not needed any more.

    Raises:
        LiveReplaced: others have dropped or replaced the live collection, and the kept copy still exists.
    """
    with suppress(PlaceNotFound):
        if not places.live.is_swapped(run.successor_settings or ""):
            return False
    # That another collection has the live name, or none, does not prove it.
    built: str | None = run.window.get("restored") or run.undone.get("built")
    if built is not None and places.restored.has_become_live(built):
        return True
    if _exists(places.kept):
        raise LiveReplaced(run.source, run.run_id, places.kept.name, places.restored.name)
    return True


def _exists(reader: DocumentReader) -> bool:
    try:
        reader.check()
    except PlaceNotFound:
        return False
    return True
