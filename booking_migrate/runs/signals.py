"""Completing a batch before a signal ends the run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class SignalGuard:
    """Defers a signal during a critical section; a second signal is never deferred.

    The command line passes signals from its handlers, which run on the same thread between two steps of the interpreter,
    so a lock is not needed.
    """

    def __init__(self) -> None:
        """Begin outside of any critical section."""
        self._depth = 0
        self._pending: BaseException | None = None
        self._is_signalled = False
        self._is_announced = False
        self.on_wait: Callable[[bool], None] = lambda _is_signalled: None
        """Called when the end of the run is first delayed by a critical section; with whether a signal ends the run."""

    def receive(self, signal: BaseException) -> bool:
        """Accept a signal, and return whether it is deferred. If not, the handler raises it."""
        self._is_signalled = True
        if self._depth == 0 or self._pending is not None:
            return False
        self._pending = signal
        self.announce_wait()
        return True

    def announce_wait(self) -> None:
        """Call `on_wait`, once, because the end of the run waits for a critical section."""
        if not self._is_announced:
            self._is_announced = True
            self.on_wait(self._is_signalled)

    @contextmanager
    def critical_section(self) -> Iterator[None]:
        """Defer the first signal until the block has ended.

        Raises:
            BaseException: the deferred signal, at the end of the block, unless the block itself raised.
        """
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        if self._depth == 0 and self._pending is not None:
            pending, self._pending = self._pending, None
            raise pending
