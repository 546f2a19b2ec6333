"""What the adapters here use of a pool of worker processes; `runs.workers.WorkerPool` is one."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")


class Pool(Protocol):
    """Does what is a function of bytes in other processes."""

    def each(
        self, work: Callable[[Piece], Result], chunks: Iterable[Piece]
    ) -> Iterator[tuple[Piece, Result]]:
        """Yield each piece with the result of a function for it, in order; a bounded number of them is held.

        Raises:
            WorkerLost: a worker ended before it had finished.
        """

    def submit(self, work: Callable[..., Result], *args: Any) -> Future[Result]:
        """Start some work without waiting for its result."""


StartPool = Callable[[], Pool]
"""Returns a pool, which is started when this is called first. Another one closes it."""
