"""Typed events of running work, the protocol of their listeners, and a default listener that ignores them.

Verbs and stores import no progress bar and no logger; progress bars, status lines and tests are listeners.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A phase of the work has started; the previous one, if any, has ended."""

    label: str
    """What is being done, for the screen: ``reading bookings.jsonl``."""

    total: int | None
    """The estimated number of documents; None if it is not known."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """Documents were processed since the previous event of this kind. Sent per batch, not per document."""

    documents: int


@dataclass(frozen=True, slots=True)
class PhaseEnded:
    """The phase that started last has ended."""


@dataclass(frozen=True, slots=True)
class Warned:
    """A problem that does not stop the work, for the user to know."""

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
    """Receives the events of running work."""

    def notify(self, event: Event) -> None:
        """Handle one event. Called on the working thread, so it must return at once and never raise."""


class NullListener:
    """A listener that ignores every event."""

    def notify(self, event: Event) -> None:
        """Ignore the event."""
