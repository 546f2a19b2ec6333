"""What engines tell whoever listens: typed events, a protocol, and a silent default.

Engines and stores import no progress bar and no logger; bars, heartbeat lines and tests are listeners.
"""

from dataclasses import dataclass
from enum import Enum
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


class Step(Enum):
    """The named steps of a run's life: what is said here is durable, and what comes next is not."""

    LOCKED = "locked"
    RUN_NOTED = "run-noted"
    TARGET_PREPARED = "target-prepared"
    RANGE_NOTED = "range-noted"
    BATCH_WRITTEN = "batch-written"
    CHECKPOINTED = "checkpointed"
    MOVE_PREPARED = "move-prepared"
    ARCHIVED = "archived"
    DOCUMENTS_WRITTEN = "documents-written"
    TARGET_FINISHED = "target-finished"
    RUN_FINISHED = "run-finished"
    UNLOCKED = "unlocked"
    CUTOVER_NOTED = "cutover-noted"
    FENCED = "fenced"
    CAUGHT_UP = "caught-up"
    LEGACY_COPIED = "legacy-copied"
    PROVEN_AGAIN = "proven-again"
    CARRIED = "carried"
    SWAPPED = "swapped"
    CUT_OVER = "cut-over"
    FENCE_LIFTED = "fence-lifted"
    RESTORATION_NOTED = "restoration-noted"
    RESTORATION_BUILT = "restoration-built"
    RESTORATION_PROVEN = "restoration-proven"
    RESTORED = "restored"
    FINALIZE_NOTED = "finalize-noted"
    LEGACY_IDS_DROPPED = "legacy-ids-dropped"
    ARCHIVE_DROPPED = "archive-dropped"
    UNDO_BEGUN = "undo-begun"
    INDEX_REMOVED = "index-removed"
    RANGE_UNDONE = "range-undone"
    REJECTS_UNDONE = "rejects-undone"
    UNDO_PROVEN = "undo-proven"
    NOTES_DROPPED = "notes-dropped"


@dataclass(frozen=True, slots=True)
class Reached:
    """A run has taken a step of its life; tests kill it there."""

    step: Step


Event = PhaseStarted | Advanced | PhaseEnded | Warned | Reached


class Listener(Protocol):
    """Whoever wants to know how the work goes on."""

    def notify(self, event: Event) -> None:
        """Take note of one event. Called on the working thread, so it returns at once and raises nothing."""


class NullListener:
    """The default listener: it hears nothing."""

    def notify(self, event: Event) -> None:
        """Ignore the event."""
