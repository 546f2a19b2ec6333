"""Waiting while a secondary is behind, so that a migration does not make reads stale or an election lose writes."""

from collections.abc import Callable
from time import monotonic, sleep

from booking_migrate.errors import LagNotMeasurable, LagUnknown
from booking_migrate.events import Listener, Warned
from booking_migrate.stores.lag import LagGauge

_LOOK_SECONDS = 1.0
"""How often the lag is measured."""

_PATIENCE_SECONDS = 60.0
"""How long a lag may be unknown that was known at the start: a secondary that restarts takes about as long."""


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
        self._check_blocks: float | None = None

    def check(self) -> None:
        """Make sure that the lag can be measured. Called before anything is written.

        Raises:
            LagNotMeasurable: it cannot.
            ConnectionProblem: the server does not answer.
        """
        lag = self._gauge.seconds(waits=False)
        if isinstance(lag, str):
            raise LagNotMeasurable(lag)

    def wait(self) -> None:
        """Return when the next batch may be written.

        Raises:
            LagUnknown: the lag could not be measured for too long.
            ConnectionProblem: the server does not answer.
        """
        if self._check_blocks is not None and self._clock() - self._check_blocks < _LOOK_SECONDS:
            return
        told = ""
        measured = self._clock()
        while True:
            lag = self._gauge.seconds()
            if isinstance(lag, str):
                unknown = self._clock() - measured
                if unknown >= _PATIENCE_SECONDS:
                    raise LagUnknown(unknown, lag)
                kind, reason = "unknown", f"the lag of the secondaries cannot be measured: {lag}"
            elif lag > self._limit:
                measured = self._clock()
                kind, reason = "behind", f"a secondary is behind: {lag:.0f} s, more than {self._limit:g} s"
            else:
                break
            if kind != told:
                self._listener.notify(Warned(f"pausing, {reason}"))
                told = kind
            self._pause(_LOOK_SECONDS)
        self._check_blocks = self._clock()


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
        """Return how many bookings make a batch that takes no longer than a quarter of a second's worth."""
        return max(1, int(self._rate / 4))

    def wait(self, bookings: int) -> None:
        """Return when so many more bookings may be moved."""
        now = self._clock()
        # Time in which nothing was done is not saved up: no burst follows it.
        self._free_at = max(now, self._free_at)
        if self._free_at > now:
            self._pause(self._free_at - now)
        self._free_at += bookings / self._rate


class NullThrottle:
    """Never pauses."""

    def check(self) -> None:
        """Find nothing that could be measured."""

    def wait(self) -> None:
        """Return at once."""
