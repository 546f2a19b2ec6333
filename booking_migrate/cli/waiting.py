"""Says aloud what a command waits for, from a thread of its own, because the waiting thread is blocked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from booking_migrate.events import Listener, WaitEnded, Waiting
from booking_migrate.stores.waits import WAITS, Wait

SAID_AFTER_SECONDS = 2.0
"""How long nothing is said: most waits are over by then."""

_LOOK_SECONDS = 0.5


@contextmanager
def waits_said(listener: Listener) -> Iterator[None]:
    """Notify a listener of what is waited for and of what is tried again, while the context lasts."""
    began = monotonic()
    # Those of an earlier command in this process, such as a test's.
    list(WAITS.take_retries())
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(listener, began, over), name="waits", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(listener: Listener, began: float, over: threading.Event) -> None:
    said: Wait | None = None
    while True:
        is_over = over.wait(_LOOK_SECONDS)
        for retried in WAITS.take_retries():
            listener.notify(retried)
        wait = WAITS.current(since=began)
        if said is not None and (wait is not said or is_over):
            listener.notify(WaitEnded(said.what, said.seconds))
            said = None
        if is_over:
            return
        if wait is not None and wait.seconds >= SAID_AFTER_SECONDS:
            said = wait
            listener.notify(Waiting(wait.what, wait.seconds, wait.limit))
