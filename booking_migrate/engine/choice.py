"""Which engine does the next range of clients, where either could: both are tried, and the faster one does the rest.

Which one that is depends on where the cores are. The server engine sends no booking over the network, but takes the server
more work than reading and writing does; the program's processes may have cores of their own, or may have to share them with
the server. Nobody has to know: the program begins, the server does a few ranges on trial, and what took less time goes on.
"""

from collections.abc import Callable
from time import monotonic

from booking_migrate.engine.outcome import Engine

MANY = 500_000
"""Of fewer bookings the program is done before a trial would pay."""

TRIAL_OF_STREAM, TRIAL_OF_SERVER = 100_000, 30_000
"""How many bookings each of the two does on trial, at least; the server does as many ranges as it works on at a time."""

FEW = "with so few bookings no trial of the server would pay"
TRIED = "to find out how fast it is"


class EngineChoice:
    """Knows who is next, and why."""

    def __init__(
        self, bookings: int | None, *, only_server: bool, clock: Callable[[], float] = monotonic
    ) -> None:
        """Begin.

        Args:
            bookings: how many there are, about; None: nobody knows.
            only_server: whether the server does whatever it can, however fast it is.
            clock: tells the time in seconds.
        """
        self._clock = clock
        self._only_server = only_server
        is_small = bookings is None or bookings < MANY
        self._chosen = Engine.STREAM if is_small and not only_server else None
        self._began: float | None = None
        self._read = 0
        self._rate = 0.0
        self.reason = FEW if is_small else TRIED

    @property
    def next(self) -> Engine:
        """The engine for the next range."""
        if self._only_server:
            return Engine.SERVER
        if self._chosen is not None:
            return self._chosen
        return Engine.STREAM if not self._rate else Engine.SERVER

    @property
    def is_trial(self) -> bool:
        """Whether the server is on trial."""
        return self._chosen is None and not self._only_server

    def note_streamed(self, documents: int) -> None:
        """Take note of documents that the program has dealt with just now."""
        if self._rate or self._only_server or self._chosen is not None:
            return
        if self._began is None:
            # What came first took longer: processes were started for it.
            self._began = self._clock()
            return
        self._read += documents
        seconds = self._clock() - self._began
        if self._read >= TRIAL_OF_STREAM and seconds > 0:
            self._rate = self._read / seconds
            self._began, self._read = None, 0

    def begin_grouping(self) -> None:
        """Take note that the server begins with its first range."""
        if self._chosen is None and self._began is None:
            self._began = self._clock()

    def note_grouped(self, documents: int) -> None:
        """Take note of documents that the server has dealt with just now."""
        if self._chosen is not None or self._only_server or self._began is None:
            return
        self._read += documents
        seconds = self._clock() - self._began
        if self._read >= TRIAL_OF_SERVER and seconds > 0:
            rate = self._read / seconds
            self._chosen = Engine.SERVER if rate > self._rate else Engine.STREAM
            slower, faster = sorted((rate, self._rate))
            self.reason = f"it was faster on trial: {faster:,.0f} bookings a second against {slower:,.0f}"
