"""What engines tell whoever listens: typed events, a protocol, and a silent default.

Engines and stores import no progress bar and no logger; bars, heartbeat lines and tests are listeners.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A stretch of work began; the one before it, if any, is over."""

    label: str
    """What is being done, for people: ``reading bookings.jsonl``."""

    total: int | None
    """How many documents are expected; an estimate. None if nobody can know."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """Documents were dealt with since the last event of this kind. Sent per batch, not per document."""

    documents: int


@dataclass(frozen=True, slots=True)
class PhaseEnded:
    """The stretch of work that began last is over."""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the user should know while the run goes on."""

    message: str


Event = PhaseStarted | Advanced | PhaseEnded | Warned


class Listener(Protocol):
    """Whoever wants to know how the work goes on."""

    def notify(self, event: Event) -> None:
        """Take note of one event. Called on the working thread, so it returns at once and raises nothing."""


class NullListener:
    """The default listener: it hears nothing."""

    def notify(self, event: Event) -> None:
        """Ignore the event."""
