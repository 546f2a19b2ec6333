"""A signal ends a command wherever it arrives."""

import signal
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from booking_migrate.cli.signals import AGAIN, HangUp, Termination, signals_deferred, signals_raise

_PATIENCE = 60


class Signalled:
    """An object during whose finalization a signal arrives: Python prints and drops what is raised then."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def __del__(self) -> None:
        signal.raise_signal(self._number)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """What was done about signals before; processes that are started inherit that one is ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Termination), (signal.SIGHUP, HangUp)],
)
def test_while_an_object_is_finalized(
    number: signal.Signals, kind: type[KeyboardInterrupt], capfd: pytest.CaptureFixture[str]
) -> None:
    """A signal that arrives where nothing can be raised is raised right after it, and nothing is printed."""
    with pytest.raises(KeyboardInterrupt) as raised:
        _finalize(number, _PATIENCE)

    assert kind is raised.type
    assert ("", "") == capfd.readouterr()


def test_nothing_comes_later() -> None:
    """A command that ends before it is raised is not followed by it: what was done is still to be reported."""
    before = signal.getsignal(signal.SIGINT)
    with suppress(KeyboardInterrupt):
        _finalize(signal.SIGINT, 0)

    assert before is signal.getsignal(signal.SIGINT)
    assert [] == [each for each in threading.enumerate() if each.name == AGAIN]


def test_a_thread_that_starts_late_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """On a busy machine, starting the thread that sends the signal again takes longer than it then waits."""
    start = threading.Thread.start

    def start_late(thread: threading.Thread) -> None:
        start(thread)
        threading.Event().wait(0.2)

    monkeypatch.setattr(threading.Thread, "start", start_late)
    with pytest.raises(KeyboardInterrupt):
        _finalize(signal.SIGINT, 5)

    assert ("", "") == capfd.readouterr()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_lost_one_is_received(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    """Nothing can be raised there either; it is not lost, and nothing is printed."""
    start = threading.Thread.start

    def start_signalled(thread: threading.Thread) -> None:
        start(thread)
        signal.raise_signal(number)

    monkeypatch.setattr(threading.Thread, "start", start_signalled)
    with pytest.raises(KeyboardInterrupt):
        _finalize(signal.SIGINT, 5)

    assert ("", "") == capfd.readouterr()


def test_deferred_signals_arrive_after_the_block() -> None:
    """A block that defers signals is completed; the signal arrives right after it, and the handlers are as before."""
    before = signal.getsignal(signal.SIGTERM)
    steps = []

    def work() -> None:
        with signals_raise(None):
            with signals_deferred():
                signal.raise_signal(signal.SIGTERM)
                steps.append("completed")
            steps.append("not reached")

    with pytest.raises(Termination):
        work()

    assert ["completed"] == steps
    assert before is signal.getsignal(signal.SIGTERM)


def test_an_ignored_signal_stays_ignored() -> None:
    """Under nohup a hang-up is ignored while signals are deferred, too, and after that."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with signals_raise(None), signals_deferred():
        signal.raise_signal(signal.SIGHUP)

    assert signal.SIG_IGN is signal.getsignal(signal.SIGHUP)


def _finalize(number: signal.Signals, seconds: float) -> None:
    with signals_raise(None):
        Signalled(number)
        threading.Event().wait(seconds)
