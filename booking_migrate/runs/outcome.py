"""The outcome of a run, as values. Reports and exit codes are derived from these alone.

A field that is a `Line` or an `Id` may have any text; a report, of which the values are parts, makes it harmless.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from booking_migrate.bson.format import Id, Line
from booking_migrate.domain.rejection import Reason


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of bookings; scanned = migrated + already migrated + rejected."""

    scanned: int = 0
    """Documents in the old shape, and client documents that had to be rejected."""

    migrated: int = 0
    already_migrated: int = 0
    rejected: int = 0
    conflicts: int = 0
    """Of the rejected: bookings whose session has other content in a client document that others wrote or changed."""

    clients: int = 0
    """Clients with at least one booking migrated or already migrated."""

    sessions: int = 0
    """The sessions in those clients' documents."""

    client_documents: int = 0
    """Client documents that were already in the source."""


@dataclass(frozen=True, slots=True)
class RejectionGroup:
    """The bookings rejected for one reason."""

    reason: Reason
    count: int
    sample_ids: tuple[Id, ...]
    """The first few of their ids in MongoDB's order, as text."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the user should know although nothing is rejected for it, with a count and examples."""

    kind: str
    """A stable name: ``client-fields-disagree``."""

    title: Line
    """What was found, as text for the user."""

    count: int
    sample_ids: tuple[Id, ...]
    advice: Line
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class MigrationOutcome:
    """What `migrate.pipeline.migrate` did."""

    counts: Counts
    rejections: tuple[RejectionGroup, ...]
    """By falling count, then by reason."""

    spent: Mapping[str, Decimal] = field(default_factory=dict)
    """The prices of the sessions migrated or already migrated, summed per currency."""

    findings: tuple[Finding, ...] = ()
    documents_written: int = 0
    """Client documents new in the target."""

    documents_changed: int = 0
    """Client documents of the target that were changed: further sessions, or sessions derived again."""

    documents_removed: int = 0
    """Client documents of earlier runs that were removed, because their clients have no bookings any more."""

    changed: bool = True
    """Whether the run changed anything in the target."""

    seconds: float = 0.0
    rejects_name: str | None = None
    """Where the rejected bookings are kept; None if none was rejected."""
