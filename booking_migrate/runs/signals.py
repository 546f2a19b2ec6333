"""Letting a batch come to its end before a signal ends the run."""

from collections.abc import Iterator
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

    def receive(self, signal: BaseException) -> bool:
        """Take a signal; whether it is held back. If not, the handler raises it.

        Args:
            signal: what the handler would raise.
        """
        if self._depth == 0 or self._pending is not None:
            return False
        self._pending = signal
        return True

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
