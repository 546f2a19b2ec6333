"""Signals end a command as Ctrl-C does, and none is lost."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from booking_migrate.runs.signals import SignalGuard

_AGAIN_SECONDS = 0.01
"""After how long a signal is sent again that arrived where nothing can be raised."""

AGAIN = "signal-again"
"""The name of the threads that send a signal again."""


class Termination(KeyboardInterrupt):
    """SIGTERM arrived. Like Ctrl-C, it is not an `Exception`, so code on the way does not handle it as an error of its own."""


class HangUp(KeyboardInterrupt):
    """SIGHUP arrived; see `Termination`."""


@contextmanager
def signals_raise(signal_guard: SignalGuard | None) -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind a command like Ctrl-C; by default no ``finally`` would run."""
    before: dict[signal.Signals, Any] = {}
    lost: list[KeyboardInterrupt] = []

    def end(error: KeyboardInterrupt) -> None:
        if signal_guard is None or not signal_guard.receive(error):
            raise error

    if signal_guard is not None:
        signal_guard.on_wait = _say_that_it_waits

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        end(lost.pop() if lost else KeyboardInterrupt())

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        end(Termination())

    def hang_up(_signal: int, _frame: FrameType | None) -> None:
        # Shell and kernel both send one when a terminal closes, so another one does not mean that the user insists. It
        # stays ignored until the process ends: what is done is still to be reported.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        before.pop(signal.SIGHUP, None)
        end(HangUp())

    handlers = {signal.SIGINT: interrupt, signal.SIGTERM: terminate}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        # Under nohup a command outlives its terminal.
        handlers[signal.SIGHUP] = hang_up
    before.update({number: signal.signal(number, handler) for number, handler in handlers.items()})
    try:
        with _sent_again(lost):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _sent_again(lost: list[KeyboardInterrupt]) -> Iterator[None]:
    """Send a signal again that arrived while Python finalized an object: what is raised there, Python prints and drops.

    Args:
        lost: gets what was raised; the handler of SIGINT is to raise it.
    """
    original = sys.unraisablehook
    threads: list[threading.Thread] = []
    ended = threading.Event()

    def keep(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            original(unraisable)
            return
        # Another one, since this one refers to the object by its traceback.
        lost.append(type(unraisable.exc_value)())
        # Not from here, where nothing can be raised either, nor before this returns, however long starting a thread takes.
        returned = threading.Event()
        again = threading.Thread(target=send, args=(returned,), name=AGAIN, daemon=True)
        threads.append(again)
        again.start()
        returned.set()

    def send(returned: threading.Event) -> None:
        returned.wait()
        # To the main thread, which may wait for something.
        main = threading.main_thread().ident
        if not ended.wait(_AGAIN_SECONDS) and main is not None:
            signal.pthread_kill(main, signal.SIGINT)

    sys.unraisablehook = keep
    try:
        yield
    finally:
        sys.unraisablehook = original
        # Nothing is sent when the handlers are gone.
        ended.set()
        for thread in threads:
            thread.join()


def _say_that_it_waits(is_signalled: bool) -> None:
    again = "once more" if is_signalled else "Ctrl-C"
    sys.stderr.write(f"Finishing the current batch; {again} ends at once.\n")
    sys.stderr.flush()
