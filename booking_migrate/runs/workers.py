"""Work that is done in several processes at once: Python runs on one core, and a migration need not.

This process looks things up, writes and notes down. What lies before that, reading bookings and making documents of them,
is a function of places and bytes, and is given to other processes.

Each of them has a pipe of its own to this one. The standard library's pool has one for all, and when a process ends in the
middle of a result, whoever killed it, the pool waits for the rest of it for ever.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from signal import SIG_IGN, SIGHUP, SIGINT, SIGTERM, signal
from threading import Lock, Thread
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from booking_migrate.errors import WorkerLost
from booking_migrate.gc_tuning import spare_collector

WORTH_IT = 50_000
"""Of fewer documents than these one process makes an end before others have begun."""

_NEEDED = ("booking_migrate.migrate.build_documents", "booking_migrate.stores.mongo.client_ranges")
"""The modules with most of what the others do."""

_AHEAD = 3
"""How many pieces may be under way, or wait for their turn, for each process."""

Arguments = ParamSpec("Arguments")
Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


class WorkerPool:
    """Processes that work for this one, and end with it."""

    def __init__(self, workers: int = 1) -> None:
        """Start the others; they are ready a moment later.

        Args:
            workers: how many processes work; with one, this one does.
        """
        self.workers = workers
        self._hands = WorkerGroup(workers) if workers > 1 else None
        self._first = self.submit(int)

    def __enter__(self) -> Self:
        """Return the crew itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Send the others home; in the middle of their work if something went wrong."""
        if self._hands is not None:
            self._hands.shutdown(at_once=error is not None)

    def each(
        self, work: Callable[[Chunk], Result], chunks: Iterable[Chunk]
    ) -> Iterator[tuple[Chunk, Result]]:
        """Do some work on each piece; pieces come back with their results, in order.

        Args:
            work: a function of a module, or one with arguments (`functools.partial`), which other processes can be sent.
            chunks: what it is done on; a bounded number of them is held.

        Raises:
            WorkerLost: a process has ended in the middle of its work.
        """
        if self._hands is None:
            for chunk in chunks:
                yield chunk, work(chunk)
            return
        waiting: deque[tuple[Chunk, Future[Result]]] = deque()
        for chunk in chunks:
            # As long as the others are on their way, this process does what is to be done.
            waiting.append((chunk, self.submit(work, chunk) if self._first.done() else _done(work(chunk))))
            while waiting and (waiting[0][1].done() or len(waiting) >= _AHEAD * self.workers):
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()

    def submit(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """Have some work done, and go on; with one worker it is done when this returns.

        Args:
            work: a function of a module.
            args: its arguments, which other processes can be sent.
            kwargs: likewise.
        """
        if self._hands is None:
            return _done(work(*args, **kwargs))
        return self._hands.submit(work, args, kwargs)


def _done(result: Result) -> Future[Result]:
    future: Future[Result] = Future()
    future.set_result(result)
    return future


class WorkerGroup:
    """The other processes."""

    def __init__(self, count: int) -> None:
        """Start so many; this returns before they are there."""
        # Not forks of this process, which would take over the driver's threads and sqlite's open files, but of a fresh one
        # that has imported what they need.
        context = get_context("forkserver")
        context.set_forkserver_preload(["__main__", *_NEEDED])
        held, self._leash = Pipe(duplex=False)
        self._hands = [_Worker(context, held) for _ in range(count)]
        self._starter = Thread(target=self._start, args=(held,), daemon=True)
        self._starter.start()

    def _start(self, held: Connection) -> None:
        # The first waits for the fresh process, and this one has other things to do meanwhile.
        for hand in self._hands:
            hand.start()
        held.close()

    def submit(self, work: Callable[..., Result], args: Any, kwargs: Any) -> Future[Result]:
        """See `WorkerPool.submit`. Whoever has the least to do gets it."""
        return min(self._hands, key=_Worker.load).submit((work, args, kwargs))

    def shutdown(self, *, at_once: bool) -> None:
        """Let the others end: when they have done what they are at, or at once."""
        self._starter.join()
        if at_once:
            self._leash.close()
        for hand in self._hands:
            hand.shutdown()
        self._leash.close()


class _Worker:
    """One of the other processes, with two threads of this one: what is sent never waits for what is received."""

    def __init__(self, context: ForkServerContext, leash: Connection) -> None:
        self._line, self._theirs = Pipe()
        self._process = context.Process(target=_serve, args=(self._theirs, leash), daemon=True)
        self._tasks: SimpleQueue[Any] = SimpleQueue()
        self._asked: deque[Future[Any]] = deque()
        self._lost: WorkerLost | None = None
        """Why nothing can be asked any more; None: it can."""

        self._lock = Lock()
        self._threads = [Thread(target=each, daemon=True) for each in (self._send, self._receive)]

    def start(self) -> None:
        """Start the process. If the system does not let it, whoever waits for its work hears that."""
        try:
            self._process.start()
        except Exception as error:  # noqa: BLE001 - it is raised where work is waited for
            self._lose(WorkerLost(f"{type(error).__name__}: {error}"))
        else:
            for thread in self._threads:
                thread.start()
        finally:
            self._theirs.close()

    def load(self) -> int:
        """Return how much it has to do."""
        return len(self._asked)

    def submit(self, task: object) -> Future[Any]:
        """Have a task done after all others. One that cannot be sent fails here, and not on a thread that nobody asks."""
        future: Future[Any] = Future()
        block = ForkingPickler.dumps(task)
        with self._lock:
            if self._lost is not None:
                future.set_exception(self._lost)
            else:
                self._asked.append(future)
                self._tasks.put(block)
        return future

    def _send(self) -> None:
        try:
            while (task := self._tasks.get()) is not _NO_MORE:
                self._line.send_bytes(task)
            self._line.send(_NO_MORE)
        except OSError:
            # The other end is gone: whoever receives notices, too, and says so.
            return

    def _receive(self) -> None:
        while True:
            try:
                is_done, result = self._line.recv()
            except (EOFError, OSError):
                break
            except Exception as error:  # noqa: BLE001 - what cannot be unpacked is raised where the result is waited for
                is_done, result = False, error
            future = self._asked.popleft()
            if is_done:
                future.set_result(result)
            else:
                future.set_exception(result)
        self._lose(WorkerLost())

    def _lose(self, lost: WorkerLost) -> None:
        with self._lock:
            self._lost = lost
        for future in self._asked:
            future.set_exception(lost)

    def shutdown(self) -> None:
        """Let it end, and wait for that."""
        self._tasks.put(_NO_MORE)
        if self._process.pid is not None:
            for thread in self._threads:
                thread.join()
            self._process.join()
        self._line.close()


_NO_MORE = None


def _serve(line: Connection, leash: Connection) -> None:
    """Work for another process until it hangs up. Signals are for that one to hear, and nobody outlives it."""
    for number in (SIGINT, SIGTERM, SIGHUP):
        signal(number, SIG_IGN)
    Thread(target=_end_with, args=(leash,), daemon=True).start()
    spare_collector()
    while True:
        try:
            task = line.recv()
        except EOFError:
            return
        if task is _NO_MORE:
            return
        work, args, kwargs = task
        try:
            answer = True, work(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - it is raised where the result is waited for
            answer = False, error
        line.send(answer)


def _end_with(leash: Connection) -> None:
    """End when the other end of a pipe is let go of: by the process that is served, or because it has ended."""
    wait([leash])
    os._exit(1)
