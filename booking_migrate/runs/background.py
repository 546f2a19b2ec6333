"""Work beside the main thread that must not keep the process from ending."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import TypeVar

_BESIDE_SECONDS = 0.2
"""How often something is done beside what takes long."""

T = TypeVar("T")


def in_background(work: Callable[[], T], *, name: str) -> Future[T]:
    """Start some work on a daemon thread: a signal ends the program without waiting for it.

    Args:
        work: what to do. What it returns or raises is the future's.
        name: the thread's name.
    """
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


def meanwhile(action: Callable[[], T], beside: Callable[[], None]) -> T:
    """Return what a long action comes to, or raise its error; it runs on a thread.

    Args:
        action: what takes long.
        beside: called again and again on the calling thread until then. What it raises ends the waiting.
    """
    future = in_background(action, name="meanwhile")
    while wait([future], _BESIDE_SECONDS).not_done:
        beside()
    return future.result()
