"""What the process is waiting for at this moment, so that a screen can say so while the waiting thread is blocked.

Stores enter what they wait for; the command line asks `current` from another thread. No listener is called from
here: a store does not know its command's listener, and the driver waits in threads of its own. So what a store has to report
besides is noted here, too, and sent from there; also what a worker process has noted.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic

from booking_migrate.events import Event

_KEPT_EVENTS = 1000
"""How many events are kept until they are taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Wait:
    """One thing that is waited for."""

    what: str
    """As an object of "waiting for": ``a primary``."""

    limit: float | None
    """After how many seconds it is aborted; None: it is not."""

    began: float = field(default_factory=monotonic)

    @property
    def seconds(self) -> float:
        """Return how long it has taken so far."""
        return monotonic() - self.began


class Gone(Exception):
    """What was watched does not exist any more."""


WaitedFor = Callable[[], tuple[str, float | None] | None]
"""Returns what is waited for at this moment, and for how many seconds at most; raises `Gone` when that cannot happen any more."""


class Waits:
    """All that is waited for, in any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: list[Wait] = []
        self._watched: dict[WaitedFor, Wait | None] = {}
        self._events: deque[Event] = deque(maxlen=_KEPT_EVENTS)

    def begin(self, what: str, limit: float | None) -> Wait:
        """Enter what is waited for from now on."""
        wait = Wait(what, limit)
        with self._lock:
            self._open.append(wait)
        return wait

    def end(self, wait: Wait) -> None:
        """Take out what is no longer waited for."""
        with self._lock:
            if wait in self._open:
                self._open.remove(wait)

    @contextmanager
    def during(self, what: str, limit: float) -> Iterator[Wait]:
        """Enter what is waited for while a context lasts."""
        wait = self.begin(what, limit)
        try:
            yield wait
        finally:
            self.end(wait)

    def watch(self, waited_for: WaitedFor) -> None:
        """Ask from now on, whenever `current` is called, whether something is waited for."""
        with self._lock:
            self._watched[waited_for] = None

    def _look(self) -> None:
        with self._lock:
            watched = list(self._watched.items())
        for waited_for, wait in watched:
            try:
                found = waited_for()
            except Gone:
                with self._lock:
                    del self._watched[waited_for]
                found = None
            else:
                begun = None if found is None else (wait or self.begin(*found))
                with self._lock:
                    self._watched[waited_for] = begun
            if found is None and wait is not None:
                self.end(wait)

    def current(self, *, since: float = 0.0) -> Wait | None:
        """Return what has been waited for longest; None if nothing is waited for.

        Args:
            since: by the monotonic clock; what began before is left out.
        """
        self._look()
        with self._lock:
            waits = [wait for wait in self._open if wait.began >= since]
        return min(waits, key=lambda wait: wait.began, default=None)

    def note(self, event: Event) -> None:
        """Note an event of a store, for the listener of its command."""
        self._events.append(event)

    def take_events(self) -> Iterator[Event]:
        """Yield the events since the last call."""
        while True:
            try:
                yield self._events.popleft()
            except IndexError:
                return


WAITS = Waits()
"""Those of this process."""
