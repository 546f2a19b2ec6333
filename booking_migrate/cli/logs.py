"""The log: what a command does, as lines of text or JSON, for as long as it runs. A listener of its events."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from time import monotonic
from typing import Any, TextIO

from booking_migrate.cli.options import LogFormat, LogLevel
from booking_migrate.cli.progress import Holdups
from booking_migrate.events import (
    Adjusted,
    Advanced,
    Announced,
    Checkpointed,
    Event,
    Listener,
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
from booking_migrate.quantities import plural

_PROGRESS_SECONDS = 30.0


_RANKS = {level: rank for rank, level in enumerate(LogLevel)}


class Log(Listener):
    """Writes events to a stream. Any thread may notify it; a stream that fails ends no command."""

    def __init__(
        self,
        stream: TextIO,
        form: LogFormat,
        level: LogLevel,
        redact: Callable[[str], str],
        common: Mapping[str, str],
    ) -> None:
        self._stream = stream
        self._form = form
        self._rank = _RANKS[level]
        self._redact = redact
        self._common = common
        self._turn = threading.Lock()
        self._holdups = Holdups()
        self._done = 0
        self._progress_at = monotonic()
        self.problem: OSError | None = None
        """Why lines are lost; None: none are."""

    def write(self, level: LogLevel, event: str, message: str, /, **fields: Any) -> None:
        if _RANKS[level] < self._rank:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = self._redact(message)
        match self._form:
            case LogFormat.TEXT:
                line = f"{now} {level.upper():<7} {' '.join(message.split())}"
            case LogFormat.JSON:
                known = {"time": now, "level": level.value, "event": event, **self._common}
                line = json.dumps({**fields, **known, "message": message}, ensure_ascii=False, default=str)
                line = self._redact(line)
        with self._turn:
            try:
                self._stream.write(f"{line}\n")
                self._stream.flush()
            except OSError as error:
                self.problem = self.problem or error

    def notify(self, event: Event) -> None:
        """Write what an event says, if it is due."""
        match event:
            case Advanced(documents):
                self._advance(documents)
            case Waiting() | WaitEnded() | Paused() | Resumed():
                if line := self._holdups.line(event):
                    level = LogLevel.WARNING if isinstance(event, Waiting | Paused) else LogLevel.INFO
                    self.write(level, _name(event), line, **asdict(event))
            case _:
                if isinstance(event, PhaseStarted):
                    self._done = 0
                level, message = _described(event)
                self.write(level, _name(event), message, **asdict(event))

    def _advance(self, documents: int) -> None:
        self._done += documents
        self.write(LogLevel.DEBUG, "chunk", f"{plural(documents, 'booking')} done", documents=documents)
        # A run that follows is often idle, and nothing new is to be said then.
        if documents and monotonic() - self._progress_at >= _PROGRESS_SECONDS:
            self._progress_at = monotonic()
            message = f"{plural(self._done, 'booking')} so far"
            self.write(LogLevel.INFO, "progress", message, documents=self._done)


def _name(event: Event) -> str:
    """Return the name of an event in a log: ``wait-ended`` for `WaitEnded`."""
    name = type(event).__name__
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")


def _described(event: Event) -> tuple[LogLevel, str]:  # noqa: PLR0911 - one line for each kind
    """Return how important an event is, and what it says."""
    match event:
        case Warned(message):
            return LogLevel.WARNING, message
        case Announced(message) | PhaseStarted(message):
            return LogLevel.INFO, message
        case ReadingChosen(place, way, reason):
            return LogLevel.INFO, f"{place} is read by {way.value}: {reason}"
        case Retried(problem, attempt):
            return LogLevel.INFO, f"attempt {attempt} failed and is repeated: {problem}"
        case Adjusted():
            return LogLevel.INFO, event.text
        case RunOpened(run_id, None):
            return LogLevel.INFO, f"run {run_id} began"
        case RunOpened(run_id, before):
            return LogLevel.WARNING, f"run {run_id} is continued, taken over from {before}"
        case Checkpointed(documents):
            return LogLevel.DEBUG, f"checkpoint after {plural(documents, 'booking')}"
        case PhaseEnded() | Advanced() | Waiting() | WaitEnded() | Paused() | Resumed():
            return LogLevel.DEBUG, _name(event).replace("-", " ")
