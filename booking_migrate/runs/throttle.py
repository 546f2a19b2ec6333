"""Pausing while a secondary is behind, so that a migration does not cause stale reads or writes lost in an election."""

from collections.abc import Callable
from time import monotonic

from booking_migrate.errors import LagNotMeasurable, LagUnknown
from booking_migrate.events import Listener, WaitEnded, Waiting, Warned
from booking_migrate.stores.ports import LagGauge

_LOOK_SECONDS = 1.0
"""How often the lag is measured."""

_UNKNOWN_SECONDS = 60.0
"""How long the lag may be unknown after the start; the restart of a secondary takes about as long."""

_SAID_AFTER_SECONDS = 2.0
"""How long only the warning at the begin of a pause says it."""


class Throttle:
    """Holds the next batch back while the slowest secondary is too far behind, or while its lag cannot be measured."""

    def __init__(
        self,
        gauge: LagGauge,
        limit: float,
        listener: Listener,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Take the gauge, and how many seconds the slowest secondary may be behind."""
        self._gauge = gauge
        self.limit = limit
        self._listener = listener
        self._clock = clock
        self._looked_at: float | None = None
        self._measured_at = clock()
        self._held = ""
        """Why the next batch is held back; empty: it is not."""

        self._held_since = 0.0

    def check(self) -> None:
        """Check that the lag can be measured. Called before anything is written.

        Raises:
            LagNotMeasurable: the lag cannot be measured.
            ConnectionProblem: the server does not answer.
        """
        lag = self._gauge.seconds(waits=False)
        if isinstance(lag, str):
            raise LagNotMeasurable(lag)

    def is_held(self) -> bool:
        """Return whether the next batch has to wait, by a measurement that is at most a second old.

        Raises:
            LagUnknown: the lag could not be measured for too long.
            ConnectionProblem: the server does not answer.
        """
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at < _LOOK_SECONDS:
            return bool(self._held)
        if not self._held:
            self._measured_at = now
        self._looked_at = now
        lag = self._gauge.seconds()
        if isinstance(lag, str):
            unknown = now - self._measured_at
            if unknown >= _UNKNOWN_SECONDS:
                raise LagUnknown(unknown, lag)
            reason = f"the lag of the secondaries cannot be measured: {lag}"
            self._hold("a lag that can be measured", reason, _UNKNOWN_SECONDS)
        elif lag > self.limit:
            self._measured_at = now
            self._hold(
                f"secondaries to be at most {self.limit:g} s behind",
                f"a secondary is behind: {lag:.0f} s, more than {self.limit:g} s",
                None,
            )
        else:
            self._end()
        return bool(self._held)

    def _hold(self, what: str, reason: str, limit: float | None) -> None:
        now = self._clock()
        if what != self._held:
            self._end()
            self._held, self._held_since = what, now
            self._listener.notify(Warned(f"pausing, {reason}"))
        seconds = now - self._held_since
        if seconds >= _SAID_AFTER_SECONDS:
            self._listener.notify(Waiting(what, seconds, limit))

    def _end(self) -> None:
        if self._held:
            self._listener.notify(WaitEnded(self._held, self._clock() - self._held_since))
            self._held = ""


class Pace:
    """Limits the average number of bookings per second, independent of the size of the batches."""

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Take how many bookings may be moved in a second."""
        self.rate = rate
        self._clock = clock
        self._free_at = clock()

    @property
    def batch(self) -> int:
        """Return the size of a batch: the bookings of a quarter of a second, at least one."""
        return max(1, int(self.rate / 4))

    @property
    def delay(self) -> float:
        """Return for how many seconds no further booking may be moved."""
        return max(0.0, self._free_at - self._clock())

    def take(self, bookings: int) -> None:
        """Count this number of bookings as moved now."""
        # Idle time is not saved up, so that a burst does not follow it.
        self._free_at = max(self._clock(), self._free_at) + bookings / self.rate

    def change(self, rate: float) -> None:
        """Continue at another rate; what was moved too early by the old one is still waited for, at the new one."""
        self._free_at = self._clock() + self.delay * self.rate / rate
        self.rate = rate
