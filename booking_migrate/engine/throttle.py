"""Waiting while a secondary is behind, so that a migration does not make reads stale or an election lose writes."""

from collections.abc import Callable
from time import monotonic, sleep

from booking_migrate.events import Listener, Warned
from booking_migrate.stores.lag import LagGauge

_LOOK_SECONDS = 1.0
"""How often the lag is measured."""


class Throttle:
    """Pauses before a batch as long as the slowest secondary is too far behind; what cannot be measured is too far."""

    def __init__(
        self,
        gauge: LagGauge,
        limit: float,
        listener: Listener,
        *,
        pause: Callable[[float], None] = sleep,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Take the parts.

        Args:
            gauge: measures how far the slowest secondary is behind.
            limit: how far it may be behind, in seconds.
            listener: told once a pause why it is made.
            pause: waits for so many seconds.
            clock: tells the time in seconds.
        """
        self._gauge = gauge
        self._limit = limit
        self._listener = listener
        self._pause = pause
        self._clock = clock
        self._looked: float | None = None

    def wait(self) -> None:
        """Return when the next batch may be written."""
        if self._looked is not None and self._clock() - self._looked < _LOOK_SECONDS:
            return
        told = ""
        while (reason := self._reason()) is not None:
            kind = reason.partition(":")[0]
            if kind != told:
                self._listener.notify(Warned(f"pausing, {reason}"))
                told = kind
            self._pause(_LOOK_SECONDS)
        self._looked = self._clock()

    def _reason(self) -> str | None:
        """Why not to write now; None if there is no reason."""
        lag = self._gauge.seconds()
        if lag is None:
            return "the lag of the secondaries cannot be measured: the user needs replSetGetStatus (role clusterMonitor)"
        if lag > self._limit:
            return f"a secondary is behind: {lag:.0f} s, more than {self._limit:g} s"
        return None


class Pace:
    """Keeps the average at so many bookings a second, however large the batches are."""

    def __init__(
        self,
        rate: float,
        *,
        pause: Callable[[float], None] = sleep,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Take the rate.

        Args:
            rate: how many bookings a second.
            pause: waits for so many seconds.
            clock: tells the time in seconds.
        """
        self._rate = rate
        self._pause = pause
        self._clock = clock
        self._free_at = clock()

    @property
    def batch(self) -> int:
        """How many bookings make a batch that takes no longer than a quarter of a second's worth."""
        return max(1, int(self._rate / 4))

    def wait(self, bookings: int) -> None:
        """Return when so many more bookings may be moved."""
        now = self._clock()
        # Time in which nothing was done is not saved up: no burst follows it.
        self._free_at = max(now, self._free_at)
        if self._free_at > now:
            self._pause(self._free_at - now)
        self._free_at += bookings / self._rate


class NoThrottle:
    """Never pauses."""

    def wait(self) -> None:
        """Return at once."""
