"""Pausing while a secondary is behind, so that a migration does not cause stale reads or writes lost in an election."""

from collections.abc import Callable
from time import monotonic, sleep

from booking_migrate.errors import LagNotMeasurable, LagUnknown
from booking_migrate.events import Listener, Warned
from booking_migrate.stores.ports import LagGauge

_LOOK_SECONDS = 1.0
"""How often the lag is measured."""

_PATIENCE_SECONDS = 60.0
"""How long the lag may be unknown after the start; the restart of a secondary takes about as long."""


class Throttle:
    """Pauses before a batch while the slowest secondary is too far behind, or while its lag cannot be measured."""

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
            listener: notified of the reason, once per pause.
            pause: waits for a number of seconds.
            clock: returns the time in seconds.
        """
        self._gauge = gauge
        self._limit = limit
        self._listener = listener
        self._pause = pause
        self._clock = clock
        self._check_blocks: float | None = None

    def check(self) -> None:
        """Check that the lag can be measured. Called before anything is written.

        Raises:
            LagNotMeasurable: the lag cannot be measured.
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
    """Limits the average number of bookings per second, independent of the size of the batches."""

    def __init__(
        self,
        rate: float,
        *,
        pause: Callable[[float], None] = sleep,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Take the rate.

        Args:
            rate: bookings per second.
            pause: waits for a number of seconds.
            clock: returns the time in seconds.
        """
        self._rate = rate
        self._pause = pause
        self._clock = clock
        self._free_at = clock()

    @property
    def batch(self) -> int:
        """Return the size of a batch: the bookings of a quarter of a second, at least one."""
        return max(1, int(self._rate / 4))

    def wait(self, bookings: int) -> None:
        """Return when this number of further bookings may be moved."""
        now = self._clock()
        # Idle time is not saved up, so that a burst does not follow it.
        self._free_at = max(now, self._free_at)
        if self._free_at > now:
            self._pause(self._free_at - now)
        self._free_at += bookings / self._rate


class NullThrottle:
    """Never pauses."""

    def check(self) -> None:
        """Do nothing, because nothing is measured."""

    def wait(self) -> None:
        """Return at once."""
