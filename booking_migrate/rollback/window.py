"""A reverse window: after a cut-over, the collection that a rollback restores is kept up to date.

It begins as a copy of the kept copy; changes of the new application are applied client by client (`window_engine`), from the
feed of the live collection. The kept copy is only read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from time import monotonic
from typing import Any, TypeVar

from bson.timestamp import Timestamp

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.errors import (
    BookingMigrateError,
    HistoryLost,
    LeaseLost,
    WindowReplaced,
    WindowStopped,
    WindowUnavailable,
)
from booking_migrate.events import Advanced, Announced, Listener, PhaseEnded, PhaseStarted, Warned
from booking_migrate.follow.follower import Follower, Round
from booking_migrate.quantities import clock
from booking_migrate.rollback.window_parts import (
    WindowParts,
    begin_of,
    close_window,
    follower_of,
    note_replaced,
    replaced,
)
from booking_migrate.runs.background import meanwhile
from booking_migrate.runs.commands import going_back
from booking_migrate.runs.followed import BUILDING, FOLLOWING
from booking_migrate.runs.lock import HeldLock
from booking_migrate.stores.changes import Change, ChangeFeed, Dirty, Position, Role
from booking_migrate.stores.journal import RunJournal, RunRecord, RunState
from booking_migrate.stores.locks import Holder

_SAVE_SECONDS = 1.0
"""How often the state of a window is recorded."""

_MARKED_AT_ONCE = 5000

T = TypeVar("T")


class WindowEnd(StrEnum):
    """Why keeping a window ended. The values are an API."""

    EXPIRED = "expired"
    """Its time was over, and the restored collection was dropped."""

    INTERRUPTED = "interrupted"
    HANDED_OVER = "handed-over"


@dataclass(frozen=True, slots=True)
class WindowOutcome:
    """The outcome of keeping a window."""

    end: WindowEnd
    ends_at: datetime
    """When it ends, or ended."""

    changes: int = 0
    clients: int = 0
    """How many clients were derived again, each as often as that happened."""

    taken_by: Holder | None = None
    """Which process has taken the lock over; None: it was not handed over."""


class _LockRequested(Exception):
    """Another process asked for the lock."""

    def __init__(self, by: Holder) -> None:
        super().__init__()
        self.by = by


class Window:
    """One window that is kept, under the lock of the run's target."""

    def __init__(
        self, run: RunRecord, parts: WindowParts, journal: RunJournal, lock: HeldLock, listener: Listener
    ) -> None:
        """Take a run that was cut over, and the parts of its window."""
        self._run = run
        self._parts = parts
        self._journal = journal
        self._lock = lock
        self._listener = listener
        self._window = dict(run.window)
        self._position: Position | None = None
        self._last = Round(0, 0, 0.0)
        self._saved_at = 0.0
        self._follower: Follower | None = None
        self._sees_swap = False
        """Whether the feed began before the swap of the cut-over, which looks like a replacement by others."""

        self._swapped: Timestamp | None = None
        """The cluster time of the swap, once it was read."""

    def keep(self, seconds: float) -> WindowOutcome:
        """Keep the restored collection up to date until the time is over, a signal arrives, or the lock is requested.

        Args:
            seconds: how long the window is open, from when it was opened first.

        Raises:
            WindowStopped: it cannot be kept; the restored collection was dropped.
            WindowReplaced: others replaced the live collection or the kept copy; the restored one stays until the next command.
            LeaseLost, BookingMigrateError: as `WindowEngine.handle`.
        """
        began: datetime = self._window.get("began") or self._journal.now()
        self._window = {**self._window, "began": began, "ends_at": began + timedelta(seconds=seconds)}
        try:
            return self._outcome(self._keep_following())
        except _LockRequested as wanted:
            return self._outcome(self._hand_over(wanted.by), wanted.by)
        except KeyboardInterrupt as signal:
            self._save_state(WindowEnd.INTERRUPTED.value)
            if type(signal) is not KeyboardInterrupt:
                # SIGTERM and SIGHUP have exit codes of their own; Ctrl-C is the normal end.
                raise
            self._listener.notify(Announced(f"interrupted; {self._rollback_hint()}"))
            return self._outcome(WindowEnd.INTERRUPTED)
        except WindowStopped:
            self._close()
            raise
        except WindowReplaced:
            self._lock.confirm()
            note_replaced(self._run.run_id, self._window, self._journal)
            raise
        except BookingMigrateError as error:
            if not isinstance(error, LeaseLost):
                # If another process has taken the lock, that is the error to report.
                self._lock.confirm()
            raise

    @property
    def ends_at(self) -> datetime:
        """Return when the window ends."""
        ends_at: datetime = self._window["ends_at"]
        return ends_at

    def _rollback_hint(self) -> str:
        hint = str(going_back(self._run.model_copy(update={"window": self._window})))
        return f"{hint[0].lower()}{hint[1:]}"

    def _keep_following(self) -> WindowEnd:
        if self._is_over():
            return self._expire()
        follower = self._opened()
        until = clock(self.ends_at)
        label = f"keeping a rollback ready until {until}"
        self._listener.notify(PhaseStarted(label, None))
        is_announced = False
        while True:
            self._last = follower.round()
            self._confirm()
            self._listener.notify(Advanced(self._last.changes))
            if not is_announced:
                is_announced = True
                self._listener.notify(
                    Announced(f"a rollback is kept ready until {until}; {self._rollback_hint()}")
                )
            if monotonic() - self._saved_at >= _SAVE_SECONDS:
                self._save_state(FOLLOWING)
            if self._is_over():
                self._listener.notify(PhaseEnded())
                return self._expire()

    def _is_over(self) -> bool:
        return self._journal.now() >= self.ends_at

    def _hand_over(self, by: Holder) -> WindowEnd:
        self._listener.notify(PhaseEnded())
        self._save_state(WindowEnd.HANDED_OVER.value)
        self._listener.notify(Announced(f"handed over to {by}"))
        return WindowEnd.HANDED_OVER

    def _expire(self) -> WindowEnd:
        self._close()
        self._listener.notify(
            Announced(
                f"the reverse window has ended at {clock(self.ends_at)}: a rollback refuses writes while it restores "
                "everything"
            )
        )
        return WindowEnd.EXPIRED

    def _close(self) -> None:
        close_window(self._run, self._parts, self._journal, self._lock.confirm)
        self._parts.places.finish()

    def _opened(self) -> Follower:
        """Return a follower from the window's position, or from its beginning."""
        begin = begin_of(self._window, self._parts)
        if begin is not None:
            feed = self._parts.feed(begin)
            try:
                feed.check()
            except HistoryLost as error:
                feed.close()
                self._listener.notify(Warned(f"{error.message}; everything is read again"))
            else:
                return self._follow(feed)
        return self._build()

    def _follow(self, feed: ChangeFeed) -> Follower:
        self._follower = follower_of(
            self._parts,
            feed,
            confirm=self._confirm,
            save=self._save_position,
            on_replaced=self._on_replaced,
        )
        return self._follower

    def _on_replaced(self, change: Change) -> None:
        # A feed that is opened again repeats the changes of its first cluster time.
        if self._sees_swap and change.role is Role.SOURCE and self._swapped in {None, change.time}:
            self._swapped = change.time
            return
        raise replaced(self._parts, change)

    def _confirm(self) -> None:
        """Check that the lock is held; it may be handed over while changes are handled: handling them again is harmless."""
        self._lock.confirm()
        wanted = self._lock.requested_by()
        if wanted is not None:
            raise _LockRequested(wanted)

    def _build(self) -> Follower:
        """Copy the kept copy, verify the copy, and apply the changes since the cut-over."""
        run, parts = self._run, self._parts
        close_window(run, parts, self._journal, self._lock.confirm)
        stays = ("began", "ends_at", "replaced")
        self._window = {name: self._window[name] for name in stays if name in self._window}
        self._save_state(BUILDING)
        feed, is_whole = self._begin()
        follower = self._follow(feed)
        self._listener.notify(PhaseStarted(f"copying {run.legacy}", None))
        restored = parts.whole.restored
        self._meanwhile(follower, lambda: restored.copy(run.legacy or "", run.live_settings or ""))
        copied = parts.places.now()
        differing = self._meanwhile(follower, lambda: sum(1 for _ in parts.places.compare()))
        if differing:
            raise WindowStopped(f"documents differ from those of {run.legacy}: {differing}")
        # The old indexes that are not unique; one on clientId serves the window, too.
        self._meanwhile(follower, lambda: restored.create_indexes(run.live_settings or "", with_unique=False))
        self._meanwhile(follower, parts.places.prepare)
        if is_whole:
            self._mark_all(follower)
        self._listener.notify(PhaseEnded())
        self._listener.notify(PhaseStarted("bringing in what has changed since the cut-over", None))
        follower.round()
        # From the comparison on, changes of other clients are still unknown. A round may end at an empty batch before that
        # time: then the rest is read again.
        position = follower.position
        begin = copied if position is None else min(copied, position.time)
        follower.watch_copy(parts.feed(begin), copied)
        position = None
        # A follower that continues here must not see earlier events of the restored collection, such as that one before it was dropped.
        while position is None or position.time < copied:
            follower.round()
            position = follower.position
        self._listener.notify(PhaseEnded())
        self._window.update(built=True, restored=restored.identity(), replaced=False)
        self._save_state(FOLLOWING)
        return follower

    def _begin(self) -> tuple[ChangeFeed, bool]:
        """Return the feed since the cut-over, and whether everything has to be read because the changes since are not all that happened."""
        fenced: Timestamp | None = self._run.fence_time
        if fenced is not None and not self._window.get("replaced"):
            feed = self._parts.live_feed(fenced)
            try:
                feed.check()
            except HistoryLost:
                feed.close()
            else:
                self._sees_swap = True
                return feed, False
        return self._parts.live_feed(self._parts.places.now()), True

    def _mark_all(self, follower: Follower) -> None:
        """Make every client dirty."""
        for values in _portions(self._parts.places.client_values()):
            clients = {sort_key(value): value for value in values if is_client_id(value)}
            others = (value for value in values if not is_client_id(value))
            documents = (each for value in others for each in self._parts.places.without_client(value))
            follower.mark(Dirty(clients=clients, bookings={sort_key(value): value for value in documents}))
            self._confirm()

    def _meanwhile(self, follower: Follower, action: Callable[[], T]) -> T:
        """Return the result of a long action; during it the feed is read, and the lock is handed over on request."""

        def beside() -> None:
            follower.keep(0.0)
            self._confirm()

        # A command that still runs on the server after a signal is ended by the next process.
        return meanwhile(action, beside)

    def _save_position(self, position: Position) -> None:
        self._position = position

    def _save_state(self, state: str) -> None:
        """Record the position, and the figures that `status` shows."""
        self._saved_at = monotonic()
        # Not the follower's position: after an interrupted round it is past changes that are not handled.
        position = self._position
        if position is not None:
            self._window.update(position.saved())
        began = self._parts.oplog_began()
        time: Timestamp | None = self._window.get("time")
        now = self._parts.places.now()
        self._window["facts"] = {
            "state": state,
            "lag_seconds": 0 if time is None else max(0, now.time - time.time),
            "backlog": self._last.changes,
            "estimated_outage_ms": round(self._last.estimated_outage * 1000),
            "oplog_seconds_left": None if began is None or time is None else time.time - began.time,
            "ready": bool(self._window.get("built")),
            "at": self._journal.now(),
        }
        self._journal.annotate(self._run.run_id, window=dict(self._window))

    def _outcome(self, end: WindowEnd, taken_by: Holder | None = None) -> WindowOutcome:
        progress = None if self._follower is None else self._follower.progress
        return WindowOutcome(
            end,
            self.ends_at,
            0 if progress is None else progress.events.total(),
            0 if progress is None else progress.clients,
            taken_by,
        )


def _portions(values: Iterator[Any]) -> Iterator[list[Any]]:
    while some := list(islice(values, _MARKED_AT_ONCE)):
        yield some


def check_window_of(run: RunRecord | None, source: str, target: str) -> RunRecord:
    """Return the run whose cut-over a window is for.

    Raises:
        WindowUnavailable: the target has none.
    """
    if run is None or run.state is not RunState.CUT_OVER or run.source != source:
        raise WindowUnavailable(source, f"the newest run into {target} is not cut over")
    return run
