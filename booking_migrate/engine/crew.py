"""Work that is done in several processes at once: Python runs on one core, and a migration need not.

This process looks things up, writes and notes down. What lies before that, reading bookings and making documents of them,
is a function of places and bytes, and is given to other processes.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection, wait
from signal import SIG_IGN, SIGINT, SIGTERM, signal
from threading import Thread
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from booking_migrate.errors import WorkerLost

WORTH_IT = 50_000
"""Of fewer documents than these one process makes an end before others have begun."""

_NEEDED = ("booking_migrate.engine.composing", "booking_migrate.stores.mongo.client_ranges")
"""The modules with most of what the others do."""

_AHEAD = 3
"""How many pieces may be under way, or wait for their turn, for each process."""

Arguments = ParamSpec("Arguments")
Piece = TypeVar("Piece")
Result = TypeVar("Result")


class Crew:
    """Processes that work for this one, and end with it."""

    def __init__(self, workers: int = 1) -> None:
        """Start the others; they are ready a moment later.

        Args:
            workers: how many processes work; with one, this one does.
        """
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None
        if workers > 1:
            # Not forks of this process, which would take over the driver's threads and sqlite's open files, but of a fresh
            # one that has imported what they need.
            context = get_context("forkserver")
            context.set_forkserver_preload(["__main__", *_NEEDED])
            held, self._leash = Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(workers, context, _serve, (held,))
            self._first = self._pool.submit(int)

    def __enter__(self) -> Self:
        """The crew itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Send the others home; at once if something went wrong."""
        if self._pool is None:
            return
        if error is not None:
            self._leash.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._leash.close()

    def each(
        self, work: Callable[[Piece], Result], pieces: Iterable[Piece]
    ) -> Iterator[tuple[Piece, Result]]:
        """Do some work on each piece; pieces come back with their results, in order.

        Args:
            work: a function of a module, or one with arguments (`functools.partial`), which other processes can be sent.
            pieces: what it is done on; a bounded number of them is held.

        Raises:
            WorkerLost: a process has ended in the middle of its work.
        """
        if self._pool is None:
            for piece in pieces:
                yield piece, work(piece)
            return
        waiting: deque[tuple[Piece, Future[Result]]] = deque()
        for piece in pieces:
            # As long as the others are on their way, this process does what is to be done.
            waiting.append((piece, self.submit(work, piece) if self._first.done() else _done(work(piece))))
            while waiting and (waiting[0][1].done() or len(waiting) >= _AHEAD * self.workers):
                yield _taken(*waiting.popleft())
        while waiting:
            yield _taken(*waiting.popleft())

    def submit(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """Have some work done, and go on; with one worker it is done when this returns.

        Args:
            work: a function of a module.
            args: its arguments, which other processes can be sent.
            kwargs: likewise.
        """
        if self._pool is None:
            return _done(work(*args, **kwargs))
        try:
            return self._pool.submit(work, *args, **kwargs)
        except BrokenProcessPool:
            raise WorkerLost from None


def result_of(future: Future[Result]) -> Result:
    """Wait for work that was submitted.

    Raises:
        WorkerLost: the process that was to do it has ended.
    """
    try:
        return future.result()
    except BrokenProcessPool:
        raise WorkerLost from None


def _taken(piece: Piece, future: Future[Result]) -> tuple[Piece, Result]:
    return piece, result_of(future)


def _done(result: Result) -> Future[Result]:
    future: Future[Result] = Future()
    future.set_result(result)
    return future


def _serve(leash: Connection) -> None:
    """Make this process one that serves another: signals are for that one to hear, and none outlives it."""
    for number in (SIGINT, SIGTERM):
        signal(number, SIG_IGN)
    Thread(target=_end_with, args=(leash,), daemon=True).start()


def _end_with(leash: Connection) -> None:
    """End when the other end of a pipe is let go of: by the process that is served, or because it has ended."""
    wait([leash])
    os._exit(1)
