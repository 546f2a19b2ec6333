"""Progress on standard error: a bar on a terminal, a line now and then elsewhere, nothing when asked for quiet.

What a command waits for is said from a thread of its own, because the waiting thread is blocked.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, Self, TextIO

from booking_migrate.events import (
    Adjusted,
    Advanced,
    Announced,
    Checkpointed,
    Event,
    Listener,
    NullListener,
    Paused,
    PhaseEnded,
    PhaseStarted,
    ReadingChosen,
    Resumed,
    Retried,
    RunOpened,
    WaitEnded,
    Waiting,
    Warned,
)
from booking_migrate.quantities import grouped, plural
from booking_migrate.reports.text import duration
from booking_migrate.runs.background import repeated
from booking_migrate.stores.waits import WAITS, Wait

if TYPE_CHECKING:
    from tqdm import tqdm

HEARTBEAT_SECONDS = 30.0
_WAITING_SECONDS = 10.0
"""How often a line says that something is still waited for."""

_PAUSED_SECONDS = 60.0
"""How often a line says that another process has paused this one."""

_LOOK_SECONDS = 1.0

Holdup = Waiting | WaitEnded | Paused | Resumed
"""What says that the work is held up, and that this is over."""


class Bar:
    """A tqdm bar with rate and time left; warnings go above it."""

    def __init__(self, stream: TextIO, redact: Callable[[str], str]) -> None:
        self._stream = stream
        self._redact = redact
        self._bar: tqdm[NoReturn] | None = None
        self._label = ""
        self._holdups = Holdups()

    def notify(self, event: Event) -> None:
        """Draw what the event says."""
        match event:
            case PhaseStarted(label, total, unit):
                self.close()
                self._label = self._redact(label)
                self._bar = self._start(self._label, total, unit)
            case Advanced(documents):
                if self._bar is not None:
                    self._bar.update(documents)
            case PhaseEnded():
                self.close()
            case Warned(message):
                self._warn(f"warning: {self._redact(message)}")
            case Announced(text) | Adjusted(text=text):
                self._warn(self._redact(text))
            case Waiting() | WaitEnded() | Paused() | Resumed():
                self._hold_up(event)
            case ReadingChosen() | Retried() | RunOpened() | Checkpointed():
                pass

    def _hold_up(self, event: Holdup) -> None:
        """Show it in place of the label while it lasts; a pause is said in a line, too, and without a bar all else."""
        line = self._holdups.line(event)
        if line and (self._bar is None or isinstance(event, Paused | Resumed)):
            self._warn(self._redact(line))
        if self._bar is not None:
            text = event.text if isinstance(event, Waiting | Paused) else self._label
            self._bar.set_description_str(self._redact(text))

    def close(self) -> None:
        """Remove the bar from the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _start(
        self, label: str, total: int | None, unit: str
    ) -> "tqdm[NoReturn]":  # tqdm is generic for type checkers only
        # It is slow to import, and most runs have no terminal.
        from tqdm import tqdm  # noqa: PLC0415

        return tqdm(
            desc=label,
            total=total,
            file=self._stream,
            unit=f" {unit}s",
            unit_scale=True,
            dynamic_ncols=True,
            leave=False,
        )

    def _warn(self, line: str) -> None:
        if self._bar is None:
            _write_line(self._stream, line)
        else:
            self._bar.write(line, file=self._stream)


class Holdups:
    """Chooses the moments at which a line says what holds the work up: at first, now and then, and when it is over.

    That is something that is waited for, or a pause that another process has asked for; both may last at the same time.
    """

    def __init__(self) -> None:
        self._said: dict[type[Holdup], tuple[str, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._said)

    def line(self, event: Holdup) -> str:
        """Return the line that is due; empty if none is."""
        match event:
            case WaitEnded():
                self._said.pop(Waiting, None)
                return event.text
            case Resumed():
                self._said.pop(Paused, None)
                return event.text
            case Waiting(what):
                text, interval = event.text, _WAITING_SECONDS
            case Paused():
                what, interval = "", _PAUSED_SECONDS
                text = f"{event.text}; to continue: {event.resume}"
        before, at = self._said.get(type(event), (None, 0.0))
        if what == before and event.seconds - at < interval:
            return ""
        self._said[type(event)] = what, event.seconds
        return text


class Heartbeat:
    """A line when work began more than `HEARTBEAT_SECONDS` ago and none came since; for logs and CI."""

    def __init__(
        self,
        stream: TextIO,
        redact: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._redact = redact
        self._clock = clock
        self._turn = threading.Lock()
        self._spoke = clock()
        self._phase = PhaseStarted("working", None)
        self._began = self._spoke
        self._done = 0
        self._holdups = Holdups()

    def notify(self, event: Event) -> None:
        """Count what is done, and write a line if one is due."""
        match event:
            case PhaseStarted():
                self._phase, self._began, self._done = event, self._clock(), 0
            case Advanced(documents):
                self._done += documents
            case Warned(message):
                self._say(f"warning: {message}")
            case Announced(text) | Adjusted(text=text):
                self._say(text)
            case Waiting() | WaitEnded() | Paused() | Resumed():
                if line := self._holdups.line(event):
                    self._say(line)
            case PhaseEnded() | ReadingChosen() | Retried() | RunOpened() | Checkpointed():
                pass
        self.beat()

    def beat(self) -> None:
        """Write a line if none was written for `HEARTBEAT_SECONDS`. Any thread may call it."""
        with self._turn:
            now = self._clock()
            # A rate and a time left would be wrong while nothing proceeds.
            if now - self._spoke >= HEARTBEAT_SECONDS and not self._holdups:
                self._spoke = now
                self._say(self._line(now - self._began))

    @contextmanager
    def beating(self) -> Iterator[Self]:
        """Check every second whether a line is due: a server may sort for minutes without an event."""
        with repeated(self.beat, _LOOK_SECONDS, name="heartbeat"):
            yield self

    def _line(self, seconds: float) -> str:
        total, unit = self._phase.total, self._phase.unit
        if total is not None and self._done > total:
            # It was less than there is, so that it says nothing any more.
            total = None
        done = plural(self._done, unit) if total is None else grouped(self._done)
        line = f"{self._phase.label}: {done}"
        line += "" if total is None else f" of about {plural(total, unit)}"
        rate = self._done / seconds if seconds > 0 else 0
        if rate >= 1:
            line += f", {grouped(round(rate))}/s"
            if total is not None and total > self._done:
                line += f", about {duration((total - self._done) / rate)} left"
        return line

    def _say(self, line: str) -> None:
        _write_line(self._stream, self._redact(line))


def _write_line(stream: TextIO, line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()


@contextmanager
def progress(stream: TextIO, *, quiet: bool, redact: Callable[[str], str]) -> Iterator[Listener]:
    """Yield a listener that fits the stream, for as long as a command runs."""
    if quiet:
        yield NullListener()
    elif stream.isatty() and os.environ.get("TERM") != "dumb":
        bar = Bar(stream, redact)
        try:
            yield bar
        finally:
            bar.close()
    else:
        with Heartbeat(stream, redact).beating() as heartbeat:
            yield heartbeat


SAID_AFTER_SECONDS = 2.0
"""How long nothing is said: most waits are over by then."""

_POLL_SECONDS = 0.5


@contextmanager
def waits_said(listener: Listener) -> Iterator[None]:
    """Notify a listener of what is waited for and of what stores have noted, while the context lasts."""
    began = time.monotonic()
    # Those of an earlier command in this process, such as a test's.
    list(WAITS.take_events())
    said: Wait | None = None

    def look(*, is_over: bool = False) -> None:
        nonlocal said
        for event in WAITS.take_events():
            listener.notify(event)
        wait = None if is_over else WAITS.current(since=began)
        if said is not None and wait is not said:
            listener.notify(WaitEnded(said.what, said.seconds))
            said = None
        if wait is not None and wait.seconds >= SAID_AFTER_SECONDS:
            said = wait
            listener.notify(Waiting(wait.what, wait.seconds, wait.limit))

    try:
        with repeated(look, _POLL_SECONDS, name="waits"):
            yield
    finally:
        look(is_over=True)
