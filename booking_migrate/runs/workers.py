"""A pool of worker processes, since a Python process uses only one core.

The main process looks people up, writes, and keeps the journal. What comes before, reading bookings and building documents
from them, is a function of places and bytes, and is done by the workers.

Each worker has its own pipe to the main process. The pool of the standard library has one pipe for all workers, and if a
worker is killed while it sends a result, that pool waits for the rest of the result for ever.
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
"""With fewer documents than this, one process finishes before workers have started."""

_NEEDED = ("booking_migrate.migrate.batches", "booking_migrate.stores.mongo.reader")
"""The modules with most of the code that workers run."""

_AHEAD = 3
"""How many chunks per worker may be queued or in progress."""

Arguments = ParamSpec("Arguments")
Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


class WorkerPool:
    """Worker processes that end with the process that started them."""

    def __init__(self, workers: int = 1) -> None:
        """Start the workers, without waiting until they are ready.

        Args:
            workers: the number of processes; with one, the work is done in the calling process.
        """
        self.workers = workers
        self._hands = WorkerGroup(workers) if workers > 1 else None
        self._first = self.submit(int)

    def __enter__(self) -> Self:
        """Return the pool itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Shut the workers down; if the block raised, without waiting for their current work."""
        if self._hands is not None:
            self._hands.shutdown(at_once=error is not None)

    def each(
        self, work: Callable[[Chunk], Result], chunks: Iterable[Chunk]
    ) -> Iterator[tuple[Chunk, Result]]:
        """Yield each chunk with the result of a function for it, in order.

        Args:
            work: a function of a module, or a `functools.partial` of one; it must be picklable.
            chunks: the arguments of the function; a bounded number of them is held.

        Raises:
            WorkerLost: a worker ended before it had finished.
        """
        if self._hands is None:
            for chunk in chunks:
                yield chunk, work(chunk)
            return
        waiting: deque[tuple[Chunk, Future[Result]]] = deque()
        for chunk in chunks:
            # Until the first worker is ready, the work is done in this process.
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
        """Start some work without waiting for its result; with one worker it is done when this returns.

        Args:
            work: a function of a module.
            args: its arguments, which must be picklable.
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
    """The worker processes of a pool."""

    def __init__(self, count: int) -> None:
        """Start this number of workers, without waiting until they are ready."""
        # Workers are not forked from this process, which would copy the driver's locks and sqlite's open files, but from a
        # fresh one that has imported what they need.
        context = get_context("forkserver")
        context.set_forkserver_preload(["__main__", *_NEEDED])
        held, self._leash = Pipe(duplex=False)
        self._hands = [_Worker(context, held) for _ in range(count)]
        self._starter = Thread(target=self._start, args=(held,), daemon=True)
        self._starter.start()

    def _start(self, held: Connection) -> None:
        # On a thread, because the first start waits for the fresh process.
        for hand in self._hands:
            hand.start()
        held.close()

    def submit(self, work: Callable[..., Result], args: Any, kwargs: Any) -> Future[Result]:
        """Start some work on the worker with the fewest pending tasks."""
        return min(self._hands, key=_Worker.load).submit((work, args, kwargs))

    def shutdown(self, *, at_once: bool) -> None:
        """Shut the workers down, after their pending tasks or at once."""
        self._starter.join()
        if at_once:
            self._leash.close()
        for hand in self._hands:
            hand.shutdown()
        self._leash.close()


class _Worker:
    """One worker process, with two threads in this process, so that sending never waits for receiving."""

    def __init__(self, context: ForkServerContext, leash: Connection) -> None:
        self._line, self._theirs = Pipe()
        self._process = context.Process(target=_serve, args=(self._theirs, leash), daemon=True)
        self._tasks: SimpleQueue[Any] = SimpleQueue()
        self._asked: deque[Future[Any]] = deque()
        self._lost: WorkerLost | None = None
        """Why the worker cannot accept tasks any more; None: it can."""

        self._lock = Lock()
        self._threads = [Thread(target=each, daemon=True) for each in (self._send, self._receive)]

    def start(self) -> None:
        """Start the process. If the system refuses, the futures of its tasks raise the error."""
        try:
            self._process.start()
        except Exception as error:  # noqa: BLE001 - it is raised by the futures of its tasks
            self._lose(WorkerLost(f"{type(error).__name__}: {error}"))
        else:
            for thread in self._threads:
                thread.start()
        finally:
            self._theirs.close()

    def load(self) -> int:
        """Return the number of its pending tasks."""
        return len(self._asked)

    def submit(self, task: object) -> Future[Any]:
        """Add a task to the queue. A task that cannot be pickled raises here, not on the sending thread."""
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
            # The worker has ended: the receiving thread notices it, too, and fails the futures.
            return

    def _receive(self) -> None:
        while True:
            try:
                is_done, result = self._line.recv()
            except (EOFError, OSError):
                break
            except Exception as error:  # noqa: BLE001 - a result that cannot be unpickled is raised by its future
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
        """Shut the worker down, and wait until it has ended."""
        self._tasks.put(_NO_MORE)
        if self._process.pid is not None:
            for thread in self._threads:
                thread.join()
            self._process.join()
        self._line.close()


_NO_MORE = None


def _serve(line: Connection, leash: Connection) -> None:
    """Run tasks in a worker until the main process closes the pipe or ends. Signals are left to the main process."""
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
        except Exception as error:  # noqa: BLE001 - it is raised by the future of the task
            answer = False, error
        line.send(answer)


def _end_with(leash: Connection) -> None:
    """End this worker when the main process closes the other end of a pipe, or has ended."""
    wait([leash])
    os._exit(1)
