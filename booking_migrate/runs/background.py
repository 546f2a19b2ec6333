"""Background threads that do not keep the process from ending."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from threading import Event, Thread
from typing import TypeVar

from booking_migrate.stores.journal import RunRecord

_BESIDE_SECONDS = 0.2
"""The interval of the periodic action during a long action."""

T = TypeVar("T")
Item = TypeVar("Item")
Worker = TypeVar("Worker")


class Companion:
    """Works in the background of a run, from its record to its end. This one does nothing."""

    def begin(self, run: RunRecord, confirm: Callable[[], None]) -> None:
        """Begin.

        Args:
            run: the run.
            confirm: raises LeaseLost if another process has taken over the run's lock; called before each write.
        """

    def end(self) -> None:
        """Write nothing more. May be called twice, and without `begin`."""


ALONE = Companion()


def in_background(work: Callable[[], T], *, name: str) -> Future[T]:
    """Start some work on a daemon thread, whose result or error is the future's: a signal ends the program without waiting for it."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised again where the result is taken
            future.set_exception(error)
        else:
            future.set_result(result)

    Thread(target=run, name=name, daemon=True).start()
    return future


def overlapped(
    items: Iterable[Item],
    workers: Sequence[Worker],
    work: Callable[[Worker, Item], T],
    *,
    on_wait: Callable[[], None] = lambda: None,
) -> Generator[tuple[Item, Future[T]]]:
    """Yield items with the result of each, in their order; as many are worked on at the same time as there are workers.

    When the caller stops, or on an error, the items in progress are awaited.

    Args:
        items: the next one is asked for when a worker is idle.
        workers: each of them works on one item at a time, on a thread.
        work: what a worker does with an item.
        on_wait: called if anything has to be awaited in the end.
    """
    idle, working = deque(workers), deque[tuple[Item, Worker, Future[T]]]()
    try:
        for item in items:
            if not idle:
                first, worker, done = working[0]
                yield first, done
                working.popleft()
                idle.append(worker)
            worker = idle.popleft()
            working.append((item, worker, in_background(partial(work, worker, item), name="worker")))
        while working:
            yield working[0][0], working[0][2]
            working.popleft()
    finally:
        left = [done for _item, _worker, done in working]
        if not all(done.done() for done in left):
            on_wait()
        wait(left)


def meanwhile(action: Callable[[], T], beside: Callable[[], None]) -> T:
    """Return the result of a long action, or raise its error; it runs on a thread.

    Args:
        action: what takes long.
        beside: called periodically on the calling thread until then. An error of it ends the waiting.
    """
    future = in_background(action, name="meanwhile")
    while wait([future], _BESIDE_SECONDS).not_done:
        beside()
    return future.result()


@contextmanager
def repeated(action: Callable[[], object], seconds: float, *, name: str) -> Iterator[None]:
    """Call something on a thread of this name, each time after this interval, while the context lasts."""
    over = Event()

    def work() -> None:
        while not over.wait(seconds):
            action()

    thread = Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
