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

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end a command."""

AGAIN = "signal-again"
"""The name of the threads that send a signal again."""


class Termination(KeyboardInterrupt):
    """SIGTERM arrived. Like Ctrl-C, it is not an `Exception`, so code on the way does not handle it as an error of its own."""


class HangUp(KeyboardInterrupt):
    """SIGHUP arrived; see `Termination`."""


class _Lost:
    """The signals that arrived where nothing can be raised; a thread sends them again until they can be.

    Fields are changed without a lock: handlers run on the main thread between two steps of the interpreter.
    """

    def __init__(self) -> None:
        self._errors: list[KeyboardInterrupt] = []
        self.is_held = False
        """Whether the main thread is where a signal must not be raised: it receives a lost one, or ends all this."""

        self.is_due = False
        """Whether one has to be sent again."""

    def add(self, error: KeyboardInterrupt) -> None:
        self._errors.append(error)
        self.is_due = True

    def take(self) -> KeyboardInterrupt | None:
        """Return the first one, and forget it; None without one."""
        error = self._errors.pop(0) if self._errors else None
        self.is_due = bool(self._errors)
        return error

    def __bool__(self) -> bool:
        return bool(self._errors)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Defer the signals that end a command until the block has ended; those that are ignored stay so.

    What the block starts is then known to the code around it, which can end it. A process that it starts has the usual handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        # No handler runs on another thread.
        yield
        return
    arrived: list[int] = []
    before = {number: signal.getsignal(number) for number in _ENDING}
    deferred = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in deferred:
        signal.signal(number, lambda number, _frame: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in deferred.items():
            signal.signal(number, handler)
        for each in arrived:
            signal.raise_signal(each)


@contextmanager
def signals_raise(signal_guard: SignalGuard | None) -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind a command like Ctrl-C; by default no ``finally`` would run."""
    before: dict[signal.Signals, Any] = {}
    lost = _Lost()

    def end(error: KeyboardInterrupt) -> None:
        if lost.is_held:
            lost.add(error)
        elif signal_guard is None or not signal_guard.receive(error):
            raise error

    if signal_guard is not None:
        signal_guard.on_wait = _say_that_it_waits

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        end(lost.take() or KeyboardInterrupt())

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
def _sent_again(lost: _Lost) -> Iterator[None]:
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
        lost.is_held = True
        try:
            # Another one, since this one refers to the object by its traceback.
            lost.add(type(unraisable.exc_value)())
            threads.append(again := threading.Thread(target=send, name=AGAIN, daemon=True))
            again.start()
        finally:
            # Last, since no handler runs between this and the return: what arrives before, on a busy machine also what
            # the thread sends, is sent once more.
            lost.is_held = False

    def send() -> None:
        # To the main thread, which may wait for something.
        main = threading.main_thread().ident
        while not ended.wait(_AGAIN_SECONDS) and lost and main is not None:
            if lost.is_due:
                lost.is_due = False
                signal.pthread_kill(main, signal.SIGINT)

    sys.unraisablehook = keep
    try:
        yield
    finally:
        # Nothing is sent when the handlers are gone.
        lost.is_held = True
        sys.unraisablehook = original
        ended.set()
        for thread in threads:
            thread.join()


def _say_that_it_waits(is_signalled: bool) -> None:
    again = "once more" if is_signalled else "Ctrl-C"
    sys.stderr.write(f"Finishing the current batch; {again} ends at once.\n")
    sys.stderr.flush()
