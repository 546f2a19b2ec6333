"""What the process is waiting for at this moment, so that a screen can say so while the waiting thread is blocked.

Stores enter what they wait for; the command line asks `current` from another thread. No listener is called from
here: a store does not know its command's listener, and the driver waits in threads of its own.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic

from booking_migrate.events import Retried

_KEPT_RETRIES = 1000
"""How many retries are kept until they are taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Wait:
    """One thing that is waited for."""

    what: str
    """As an object of "waiting for": ``a primary``."""

    limit: float
    """After how many seconds it is aborted."""

    began: float = field(default_factory=monotonic)

    @property
    def seconds(self) -> float:
        """Return how long it has taken so far."""
        return monotonic() - self.began


class Waits:
    """All that is waited for, in any thread."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = Lock()
        self._open: list[Wait] = []
        self._retries: deque[Retried] = deque(maxlen=_KEPT_RETRIES)

    def begin(self, what: str, limit: float) -> Wait:
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

    def current(self, *, since: float = 0.0) -> Wait | None:
        """Return what has been waited for longest; None if nothing is waited for.

        Args:
            since: by the monotonic clock; what began before is left out.
        """
        with self._lock:
            waits = [wait for wait in self._open if wait.began >= since]
        return min(waits, key=lambda wait: wait.began, default=None)

    def note_retry(self, retried: Retried) -> None:
        """Note that something failed for a passing reason and is tried again."""
        self._retries.append(retried)

    def take_retries(self) -> Iterator[Retried]:
        """Yield the retries since the last call."""
        while True:
            try:
                yield self._retries.popleft()
            except IndexError:
                return


WAITS = Waits()
"""Those of this process."""
