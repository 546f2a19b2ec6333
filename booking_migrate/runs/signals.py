"""Letting a batch come to its end before a signal ends the run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class SignalGuard:
    """Holds a signal back while something must not be cut in two; a second signal is never held back.

    The command line hands signals in from its handlers, which run on the same thread between two steps of the
    interpreter, so nothing here needs a lock.
    """

    def __init__(self) -> None:
        """Begin with nothing to protect."""
        self._depth = 0
        self._pending: BaseException | None = None
        self._is_signalled = False
        self._is_announced = False
        self.on_wait: Callable[[bool], None] = lambda _is_signalled: None
        """Is called when the end begins to wait; with whether a signal is what ends the run."""

    def receive(self, signal: BaseException) -> bool:
        """Take a signal; whether it is held back. If not, the handler raises it.

        Args:
            signal: what the handler would raise.
        """
        self._is_signalled = True
        if self._depth == 0 or self._pending is not None:
            return False
        self._pending = signal
        self.announce_wait()
        return True

    def announce_wait(self) -> None:
        """Say, once, that the end waits for what must not be cut in two."""
        if not self._is_announced:
            self._is_announced = True
            self.on_wait(self._is_signalled)

    @contextmanager
    def critical_section(self) -> Iterator[None]:
        """Hold the first signal back until this is over.

        Raises:
            BaseException: the signal that came meanwhile, at the end, unless something else went wrong.
        """
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        if self._depth == 0 and self._pending is not None:
            pending, self._pending = self._pending, None
            raise pending
