"""A pool of worker processes, since a Python process uses only one core.

Workers do what is a function of places and bytes: read bookings and build documents from them, or handle a chunk completely.

Each worker has its own pipe to the main process, and another one takes the place of a worker that has ended. The pool of the
standard library, and `loky`, which is made after it, have one pipe for all workers: if a worker is killed while it sends a result,
they wait for the rest of the result for ever (`test_the_standard_pool_waits_for_ever`).
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from signal import SIG_IGN, SIGHUP, SIGINT, SIGTERM, signal
from threading import Lock, Thread
from time import monotonic
from typing import Any, ParamSpec, Protocol, Self, TypeVar

from typing_extensions import override

from booking_migrate.errors import WorkerLost
from booking_migrate.gc_tuning import spare_collector
from booking_migrate.stores.waits import WAITS, Gone

WORTH_IT = 50_000
"""With fewer documents than this, one process finishes before workers have started."""

_NEEDED = ("booking_migrate.migrate.chunk_worker", "booking_migrate.stores.mongo.target")
"""The modules with most of the code that workers run."""

_SILENT_SECONDS = 60.0
"""After what time without an answer a worker with a task is said to be waited for: a chunk takes seconds, and the worker may be suspended."""

_AHEAD = 3
"""How many chunks per worker may be queued or in progress."""

Arguments = ParamSpec("Arguments")
Chunk = TypeVar("Chunk")
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Preparation:
    """What workers are prepared with for all tasks of one kind; picklable."""

    name: str
    """What to call it where others see it."""

    work: Callable[[], object]
    undo: Callable[[], object]
    """Takes it back on a worker that outlives the pool."""


class Awaited(Protocol[Result_co]):
    """The result of a task that may not have ended; a `Future` is one."""

    def done(self) -> bool:
        """Return whether the task has ended."""

    def result(self) -> Result_co:
        """Wait for the result, or raise the task's error."""

    def exception(self) -> BaseException | None:
        """Wait until the task has ended; return its error, if any."""


class Pool(Protocol):
    """Workers, wherever they are."""

    workers: int
    """How many tasks they do at a time."""

    @property
    def is_ready(self) -> bool:
        """Return whether a worker has started; until then this process does better to work itself."""

    def prepare(self, preparation: Preparation) -> None:
        """Prepare each worker before its next task, those that come later, too."""

    def submit(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Awaited[Result]:
        """Start some work without waiting for its result.

        Args:
            work: a function of a module. If it returns a future, the worker begins the next task meanwhile.
            args: its arguments, which must be picklable.
            kwargs: likewise.
        """


class WorkerPool(Pool):
    """Worker processes that end with the process that started them."""

    def __init__(self, workers: int = 1) -> None:
        """Start the workers, without waiting until they are ready; with one, the work is done in the calling process."""
        self.workers = workers
        self._group = WorkerGroup(workers) if workers > 1 else None
        self._first = self.submit(int)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Shut the workers down; if the block raised, without waiting for their current work."""
        if self._group is not None:
            self._group.shutdown(at_once=error is not None)

    @property
    @override
    def is_ready(self) -> bool:
        return self._first.done()

    def prepare(self, preparation: Preparation) -> None:
        if self._group is not None:
            self._group.prepare(preparation.work)

    def resize(self, workers: int) -> None:
        """Work with another number of processes from the next task on; those that are too many get no further task.

        A pool that was made without processes stays so.
        """
        if self._group is not None:
            self._group.resize(workers)
            self.workers = workers

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
        if self._group is None:
            for chunk in chunks:
                yield chunk, work(chunk)
            return
        waiting: deque[tuple[Chunk, Future[Result]]] = deque()
        for chunk in chunks:
            # Until the first worker is ready, the work is done in this process.
            waiting.append((chunk, self.submit(work, chunk) if self.is_ready else done(work(chunk))))
            while waiting and (waiting[0][1].done() or len(waiting) >= _AHEAD * self.workers):
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()

    def submit(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """Start some work without waiting for its result; with one worker it is done when this returns."""
        if self._group is None:
            return done(work(*args, **kwargs))
        return self._group.submit(work, args, kwargs)


def done(result: Result) -> Future[Result]:
    """Return a future that has its result."""
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
        held, self._watchdog = Pipe(duplex=False)
        self._new = partial(_Worker, context, held)
        self._held = held
        self._workers = [self._new() for _ in range(count)]
        self._active = count
        self._preparations: list[tuple[Callable[..., object], Any, Any]] = []
        self._starter = Thread(target=self._start, args=(tuple(self._workers),), daemon=True)
        self._starter.start()

    @staticmethod
    def _start(workers: "Sequence[_Worker]") -> None:
        # On a thread, because the first start waits for the fresh process.
        for worker in workers:
            worker.start()

    def resize(self, count: int) -> None:
        """Assign tasks to this number of workers from now on; those that are lacking are started."""
        for _ in range(len(self._workers), count):
            self._workers.append(self._started())
        self._active = count

    def _started(self) -> "_Worker":
        """Return a new worker that is prepared as the others are."""
        worker = self._new()
        worker.start()
        for preparation in self._preparations:
            worker.submit(preparation)
        return worker

    def prepare(self, work: Callable[[], object]) -> None:
        """Have each worker do something before its next task."""
        self._preparations.append((work, (), {}))
        for worker in self._workers:
            worker.submit(self._preparations[-1])

    def submit(self, work: Callable[..., Result], args: Any, kwargs: Any) -> Future[Result]:
        """Start some work on the worker with the fewest pending tasks. In the place of one that has ended, another one is started."""
        for number, worker in enumerate(self._workers):
            if worker.has_ended:
                worker.shutdown()
                self._workers[number] = self._started()
        return min(self._workers[: self._active], key=_Worker.load).submit((work, args, kwargs))

    def shutdown(self, *, at_once: bool) -> None:
        """Shut the workers down, after their pending tasks or at once."""
        self._starter.join()
        if at_once:
            self._watchdog.close()
        for worker in self._workers:
            worker.shutdown()
        self._watchdog.close()
        self._held.close()


class _Worker:
    """One worker process, with two threads in this process, so that sending never waits for receiving."""

    def __init__(self, context: ForkServerContext, watchdog: Connection) -> None:
        self._channel, self._theirs = Pipe()
        self._process = context.Process(target=_serve, args=(self._theirs, watchdog), daemon=True)
        self._tasks: SimpleQueue[Any] = SimpleQueue()
        self._asked: deque[Future[Any]] = deque()
        self._lost: WorkerLost | None = None
        """Why the worker cannot accept tasks any more; None: it can."""

        self._owing_since = 0.0
        """When it was given its first task, or sent its last answer."""

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
            WAITS.watch(self._waited_for)
        finally:
            self._theirs.close()

    def _waited_for(self) -> tuple[str, None] | None:
        """Return that an answer has been owed for long, as `waits.WaitedFor`."""
        if self._lost is not None:
            raise Gone
        is_silent = self._asked and monotonic() - self._owing_since >= _SILENT_SECONDS
        return (f"worker process {self._process.pid}, which does not answer", None) if is_silent else None

    @property
    def has_ended(self) -> bool:
        """Return whether the process was started and has ended."""
        return self._lost is not None and self._lost.unsupported_reason is None

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
                self._owing_since = self._owing_since if self._asked else monotonic()
                self._asked.append(future)
                self._tasks.put(block)
        return future

    def _send(self) -> None:
        try:
            while (task := self._tasks.get()) is not _NO_MORE:
                self._channel.send_bytes(task)
            self._channel.send(_NO_MORE)
        except OSError:
            # The worker has ended: the receiving thread notices it, too, and fails the futures.
            return

    def _receive(self) -> None:
        while True:
            try:
                is_done, result, events = self._channel.recv()
            except (EOFError, OSError):
                break
            except Exception as error:  # noqa: BLE001 - a result that cannot be unpickled is raised by its future
                is_done, result, events = False, error, ()
            for event in events:
                WAITS.note(event)
            self._owing_since = monotonic()
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
        self._channel.close()


_NO_MORE = None


def _serve(channel: Connection, watchdog: Connection) -> None:
    """Run tasks in a worker until the main process closes the pipe or ends. Signals are left to the main process."""
    for number in (SIGINT, SIGTERM, SIGHUP):
        signal(number, SIG_IGN)
    Thread(target=_end_with, args=(watchdog,), daemon=True).start()
    spare_collector()
    answers: SimpleQueue[Future[Any] | None] = SimpleQueue()
    answerer = Thread(target=_answer, args=(channel, answers), daemon=True)
    answerer.start()
    while (task := _next_task(channel)) is not _NO_MORE:
        work, args, kwargs = task
        answer: Future[Any] = Future()
        try:
            result = work(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - it is raised by the future of the task
            answer.set_exception(error)
        else:
            if isinstance(result, Future):
                answer = result
            else:
                answer.set_result(result)
        answers.put(answer)
    answers.put(None)
    answerer.join()


def _next_task(channel: Connection) -> Any:
    try:
        return channel.recv()
    except EOFError:
        return _NO_MORE


def _answer(channel: Connection, answers: "SimpleQueue[Future[Any] | None]") -> None:
    """Send the results of the tasks, in their order."""
    while (answer := answers.get()) is not None:
        error = answer.exception()
        try:
            result = answer.result() if error is None else error
            # What stores have noted belongs into the log of the main process.
            channel.send((error is None, result, tuple(WAITS.take_events())))
        except Exception:  # noqa: BLE001 - the main process has ended, or learns by the end of this one that no answer comes
            os._exit(1)


def _end_with(watchdog: Connection) -> None:
    """End this worker when the main process closes the other end of a pipe, or has ended."""
    wait([watchdog])
    os._exit(1)
