"""What a reverse window and a rollback out of it share: places, follower, and clean-up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson.timestamp import Timestamp

from booking_migrate.cutover.fencing import Swap
from booking_migrate.domain.carried_changes import ChangesSince
from booking_migrate.errors import WindowReplaced, WindowStopped
from booking_migrate.follow.engine import Handled
from booking_migrate.follow.follower import Follower
from booking_migrate.quantities import grouped
from booking_migrate.rollback.restored_clients import RestorationPlaces
from booking_migrate.rollback.window_engine import WindowEngine
from booking_migrate.stores.changes import Change, ChangeFeed, DirtyStore, Position
from booking_migrate.stores.journal import RunJournal, RunRecord
from booking_migrate.stores.open_window import WindowPlaces

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.rollback import MongoUndo


_BEGINNING = Timestamp(0, 0)


@dataclass(frozen=True, slots=True)
class WindowParts:
    """The parts of a window."""

    places: WindowPlaces
    whole: RestorationPlaces
    """The places of a rollback without a window."""

    feed: Callable[[Position | Timestamp], ChangeFeed]
    """Opens the changes of the live collection, of the restored one, which others may write to, and of the kept copy as a whole."""

    live_feed: Callable[[Position | Timestamp], ChangeFeed]
    """Opens the same without those of the restored one."""

    tail: Callable[[Timestamp], ChangeFeed]
    """Opens the changes with whole documents, and with the rename that makes the restored collection live."""

    store: DirtyStore
    swap: Swap
    late: "MongoUndo"
    """Writes to the collection of the live name."""

    oplog_began: Callable[[], Timestamp | None]


def begin_of(window: Mapping[str, Any], parts: WindowParts) -> Position | Timestamp | None:
    """Return the position up to which the restored collection is complete; None if it is not."""
    if not window.get("built") or not is_intact(window, parts):
        return None
    time: Timestamp = window["time"]
    return Position.of(window) if "token" in window else time


def is_intact(window: Mapping[str, Any], parts: WindowParts) -> bool:
    """Return whether the restored collection is still the one that the window created."""
    made: str = window["restored"]
    return parts.whole.restored.identity() == made


def follower_of(
    parts: WindowParts,
    feed: ChangeFeed,
    *,
    confirm: Callable[[], None],
    save: Callable[[Position], None],
    on_replaced: Callable[[Change], None],
) -> Follower:
    """Return a follower from the live collection into the restored one; all writes are read back.

    Changes of others to the restored collection are corrected, if the feed has them.
    """
    follower = Follower(
        WindowEngine(parts.places, parts.whole, confirm),
        feed,
        parts.store,
        now=parts.places.now,
        save=save,
        on_wrong=_refuse_wrong,
        prepare=lambda: None,
        on_replaced=on_replaced,
        copied=_BEGINNING,
    )
    follower.is_verified = True
    return follower


def _refuse_wrong(handled: Handled) -> None:
    if None in handled.differing:
        raise WindowStopped("others have dropped or renamed the collection that is kept ready")
    raise WindowStopped(f"documents differ from what was written: {grouped(len(handled.differing))}")


def replaced(parts: WindowParts, change: Change) -> WindowReplaced:
    """Return the error about the live collection or the kept copy that others replaced."""
    return WindowReplaced(change.collection, parts.whole.restored.name)


def note_replaced(run_id: str, window: Mapping[str, Any], journal: RunJournal) -> None:
    """Record that everything has to be read again; what was kept ready stays, since it may be the last to have some changes."""
    facts = {"facts": {**window["facts"], "ready": False}} if "facts" in window else {}
    journal.annotate(run_id, window={**window, **facts, "built": False, "replaced": True})


def changes_in(parts: WindowParts) -> ChangesSince:
    """Return the changes since the cut-over, as far as the window has followed."""
    since = ChangesSince()
    for facts in parts.places.notes.counted():
        since.merge(ChangesSince(**facts))
    return since


def close_window(
    run: RunRecord, parts: WindowParts, journal: RunJournal, confirm: Callable[[], None]
) -> None:
    """Drop the restored collection and the state of a window. May be repeated.

    Raises:
        LeaseLost: another process has taken the lock over.
    """
    confirm()
    parts.whole.restored.end_copying()
    parts.whole.restored.drop()
    clear_notes(run, parts, journal)
    parts.store.clear()
    journal.annotate(run.run_id, window={})


def clear_notes(run: RunRecord, parts: WindowParts, journal: RunJournal) -> None:
    """Remove the notes about documents and clients, and their collection unless another run has a window."""
    notes = parts.places.notes
    notes.clear()
    # A window is recorded before it notes anything.
    if not any(each.window for each in journal.runs() if each.run_id != run.run_id):
        notes.drop_if_empty()
