"""The backlog of changes that were read and not handled yet, and a thread that reads changes during a run.

Read only after the run, the oplog would contain the run's own writes, no longer cached, and might have lost the history.
"""

from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import closing
from threading import Event

from typing_extensions import override

from booking_migrate.errors import BookingMigrateError
from booking_migrate.runs.background import Companion, in_background
from booking_migrate.stores.changes import ChangeBatch, ChangeFeed, Dirty, DirtyStore, Position, dirty_of
from booking_migrate.stores.journal import RunRecord

_IN_MEMORY = 50_000
"""How many dirty entries are held in memory before they are moved to the store."""

_PAUSE_SECONDS = 0.2
"""The pause after the feed had no new changes."""


class Backlog:
    """The dirty entries, each once: in memory up to a limit, beyond it in the durable store."""

    def __init__(
        self, store: DirtyStore, save: Callable[[Position], None], begun: "Backlog | None" = None
    ) -> None:
        """Take the parts.

        Args:
            store: keeps what is dirty until it is handled.
            save: records the position of the feed; earlier changes are handled, or in the store.
            begun: what was read before; its entries are taken over.
        """
        self._store = store
        self._save = save
        self._dirty = Dirty() if begun is None else begun.take()
        self.position: Position | None = None if begun is None else begun.position
        """The position of the feed; None: nothing was read."""

        self.changes: int = 0 if begun is None else begun.changes
        """How many changes were read."""

    def add(self, batch: ChangeBatch) -> None:
        """Add what changed."""
        self._dirty.add(dirty_of(batch.changes))
        self.changes += len(batch.changes)
        self.position = batch.position
        if len(self._dirty) > _IN_MEMORY:
            self.keep()

    def keep(self) -> None:
        """Move the entries in memory to the store, and save the position after that."""
        if self._dirty:
            self._store.add(self._dirty)
            self._dirty = Dirty()
        if self.position is not None:
            self._save(self.position)

    def take(self) -> Dirty:
        """Return the entries in memory, and forget them."""
        taken, self._dirty = self._dirty, Dirty()
        return taken


OpenBacklog = Callable[[RunRecord, Callable[[], None]], tuple[ChangeFeed, Backlog]]
"""Opens the feed where a run begins, and its backlog; the second argument confirms the run's lock."""


class BackgroundReader(Companion):
    """Reads the changes on a thread while a run reads its source.

    If it fails, nothing is lost: the changes are read from the position in the run's record afterwards.
    """

    def __init__(self, open_backlog: OpenBacklog) -> None:
        """Take what opens the feed, which is called on the thread."""
        self._open = open_backlog
        self._is_over = Event()
        self._run_id = ""
        self._reading: Future[Backlog | None] | None = None

    @override
    def begin(self, run: RunRecord, confirm: Callable[[], None]) -> None:
        self._run_id = run.run_id
        self._reading = in_background(lambda: self._read(run, confirm), name="changes")

    @override
    def end(self) -> None:
        self._is_over.set()
        if self._reading is not None:
            wait([self._reading])

    def backlog_of(self, run: RunRecord) -> Backlog | None:
        """Return the backlog of a run that has ended; None if nothing was read, or if reading failed."""
        return None if self._reading is None or self._run_id != run.run_id else self._reading.result()

    def _read(self, run: RunRecord, confirm: Callable[[], None]) -> Backlog | None:
        try:
            feed, backlog = self._open(run, confirm)
            with closing(feed):
                while not self._is_over.is_set():
                    batch = feed.read(0.0)
                    if any(change.is_end for change in batch.changes):
                        # It has to be met by what handles changes, which reads it again.
                        return None
                    backlog.add(batch)
                    if not batch.changes:
                        self._is_over.wait(_PAUSE_SECONDS)
        except BookingMigrateError:
            # The next reader of the changes meets the error again, if it persists, and reports it.
            return None
        return backlog
