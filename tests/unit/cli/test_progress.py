"""Progress: a bar on a terminal, a line every half minute elsewhere, nothing when quiet."""

import threading
from datetime import UTC, datetime
from io import StringIO

import pytest

from booking_migrate.cli.progress import Bar, Heartbeat, progress
from booking_migrate.cli.streams import redact
from booking_migrate.events import (
    Adjusted,
    Advanced,
    NullListener,
    Paused,
    PhaseEnded,
    PhaseStarted,
    Resumed,
    WaitEnded,
    Waiting,
    Warned,
)


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_heartbeat_speaks_every_half_minute(clock: Clock) -> None:
    """A line comes when thirty seconds have passed since the last one, with rate and time left."""
    stream = StringIO()
    heartbeat = Heartbeat(stream, redact, clock)
    heartbeat.notify(PhaseStarted("migrating bookings", 3_000_000))
    for _ in range(6):
        clock.now += 10
        heartbeat.notify(Advanced(100_000))
    heartbeat.notify(PhaseEnded())

    assert stream.getvalue().splitlines() == [
        "migrating bookings: 300,000 of about 3,000,000 bookings, 10,000/s, about 4 min 30 s left",
        "migrating bookings: 600,000 of about 3,000,000 bookings, 10,000/s, about 4 min 00 s left",
    ]


def test_heartbeat_past_its_total(clock: Clock) -> None:
    """More than was expected: the total says nothing any more, as with a bar."""
    stream = StringIO()
    heartbeat = Heartbeat(stream, redact, clock)
    heartbeat.notify(PhaseStarted("verifying", 3_495))
    clock.now += 30
    heartbeat.notify(Advanced(30_000))

    assert ["verifying: 30,000 bookings, 1,000/s"] == stream.getvalue().splitlines()


def test_heartbeat_without_total(clock: Clock) -> None:
    """Without a total there is no time left to tell; what is counted is called what it is."""
    stream = StringIO()
    heartbeat = Heartbeat(stream, redact, clock)
    heartbeat.notify(PhaseStarted("reading -", None))
    clock.now += 31
    heartbeat.notify(Advanced(62))
    heartbeat.notify(PhaseStarted("rewriting payments", None, "document"))
    clock.now += 31
    heartbeat.notify(Advanced(62))

    assert stream.getvalue() == "reading -: 62 bookings, 2/s\nrewriting payments: 62 documents, 2/s\n"


def test_heartbeat_of_a_short_run_is_silent(clock: Clock) -> None:
    """A run of a few seconds prints no progress into a log."""
    stream = StringIO()
    heartbeat = Heartbeat(stream, redact, clock)
    heartbeat.notify(PhaseStarted("migrating bookings", 10))
    heartbeat.notify(Advanced(10))
    heartbeat.notify(PhaseEnded())

    assert stream.getvalue() == ""


@pytest.mark.parametrize("listener", [Heartbeat, Bar])
def test_warnings_are_told(listener: type[Heartbeat | Bar]) -> None:
    """A warning is told at once, without secrets."""
    stream = StringIO()
    listener(stream, redact).notify(Warned("cannot see mongodb://a:secret@host"))

    assert stream.getvalue() == "warning: cannot see mongodb://***@host\n"


def test_bar_shows_label_and_rate() -> None:
    """The bar shows what is done and how fast, and leaves the screen as it was."""
    stream = Terminal()
    with progress(stream, quiet=False, redact=redact) as listener:
        listener.notify(PhaseStarted("reading bookings.jsonl", 20))
        listener.notify(Advanced(10))
        listener.notify(Warned("look"))
        listener.notify(PhaseStarted("migrating bookings.jsonl", None))
        listener.notify(Advanced(3))
    shown = stream.getvalue()

    assert "reading bookings.jsonl:" in shown
    assert "bookings/s" in shown
    assert "warning: look\n" in shown
    assert "migrating bookings.jsonl:" in shown
    assert shown.endswith("\r")


def test_a_pause_is_shown_on_the_bar() -> None:
    """While another process has paused the command, it stands in place of the label; who did it, and the way on, in a line."""
    stream = Terminal()
    at = datetime(2026, 11, 23, 15, 11, tzinfo=UTC)
    paused = "paused by ann@machine since 2026-11-23 15:11:00 UTC"
    with progress(stream, quiet=False, redact=redact) as listener:
        listener.notify(PhaseStarted("reading bookings", 20))
        for seconds in (0.0, 1.0, 2.0):
            listener.notify(Paused("ann@machine", at, seconds, "booking-migrate control resume --run R"))
        listener.notify(Resumed("bob@far", 3.0))
        listener.notify(Adjusted("max-rate", 2000.0, "bob@far"))
    shown = stream.getvalue()

    assert 1 == shown.count(f"{paused}; to continue: booking-migrate control resume --run R\n")
    assert f"{paused}:" in shown
    assert (
        shown.index(f"{paused}:")
        < shown.index("resumed by bob@far after 3 s\n")
        < shown.rindex("reading bookings")
    )
    assert "max-rate is 2000 from now on, set by bob@far\n" in shown


def test_a_pause_is_said_now_and_then(clock: Clock) -> None:
    """Without a terminal it is a line at first and every minute, and no rate is said meanwhile."""
    stream = StringIO()
    heartbeat = Heartbeat(stream, redact, clock)
    at = datetime(2026, 11, 23, 15, 11, tzinfo=UTC)
    heartbeat.notify(PhaseStarted("reading -", 10))
    for seconds in range(0, 100, 10):
        clock.now += 10
        heartbeat.notify(Paused("ann@machine", at, float(seconds), "resume"))
    line = "paused by ann@machine since 2026-11-23 15:11:00 UTC; to continue: resume\n"

    assert line * 2 == stream.getvalue()


def test_listener_fits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dumb terminal gets lines, like a file; with --quiet nobody speaks."""
    monkeypatch.setenv("TERM", "dumb")
    with progress(Terminal(), quiet=False, redact=redact) as dumb:
        pass
    monkeypatch.setenv("TERM", "xterm")
    with progress(Terminal(), quiet=False, redact=redact) as terminal:
        pass
    with progress(StringIO(), quiet=False, redact=redact) as file:
        pass
    with progress(Terminal(), quiet=True, redact=redact) as quiet:
        pass

    kinds = [type(listener) for listener in (dumb, terminal, file, quiet)]
    assert [Heartbeat, Bar, Heartbeat, NullListener] == kinds


def test_the_heart_beats_without_events(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long wait without any event, such as a server's sort, has its heartbeat too."""
    monkeypatch.setattr("booking_migrate.cli.progress._LOOK_SECONDS", 0.001)
    stream, spoken = StringIO(), threading.Event()
    monkeypatch.setattr(stream, "flush", spoken.set)
    heartbeat = Heartbeat(stream, redact, clock)
    heartbeat.notify(PhaseStarted("sorting", 5000))
    clock.now += 31

    with heartbeat.beating():
        assert spoken.wait(timeout=60)

    assert "sorting: 0 of about 5,000 bookings\n" == stream.getvalue()


def test_heartbeat_says_what_is_waited_for(clock: Clock) -> None:
    """Waiting is said at first, every ten seconds and when it is over; no rate is shown meanwhile."""
    stream = StringIO()
    heartbeat = Heartbeat(stream, redact, clock)
    heartbeat.notify(PhaseStarted("migrating bookings", 1000))
    for seconds in range(2, 41):
        clock.now += 1
        heartbeat.notify(Waiting("a primary", seconds, 60))
    heartbeat.notify(WaitEnded("a primary", 41))

    assert [
        *(f"waiting for a primary since {seconds} s, at most 60 s" for seconds in (2, 12, 22, 32)),
        "waited 41 s for a primary",
        "migrating bookings: 0 of about 1,000 bookings",
    ] == stream.getvalue().splitlines()


def test_the_bar_says_what_is_waited_for() -> None:
    """The bar's label says what is waited for, and is itself again afterwards."""
    stream = Terminal()
    bar = Bar(stream, redact)
    bar.notify(PhaseStarted("migrating bookings", 1000))
    bar.notify(Waiting("a primary", 4, 60))
    waiting = stream.getvalue()
    bar.notify(WaitEnded("a primary", 5))
    bar.close()

    assert "waiting for a primary since 4 s, at most 60 s" in waiting
    assert "migrating bookings" in stream.getvalue()[len(waiting) :]
