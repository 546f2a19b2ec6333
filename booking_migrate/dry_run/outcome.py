"""What a dry-run came to, as values: everything that its reports show."""

from dataclasses import dataclass, field

from booking_migrate.bson.format import Id, Line
from booking_migrate.runs.plan import MigrationOutcome
from booking_migrate.stores.destination import Disk, Privilege, ServerFacts


@dataclass(frozen=True, slots=True)
class Blocker:
    """Something for which the migration would be refused."""

    kind: str
    """The name of the error that `migrate` would end with, or ``DiskTooSmall``."""

    message: Line
    hint: Line


@dataclass(frozen=True, slots=True)
class LargeClient:
    """A client with one of the largest documents."""

    client_id: Id
    sessions: int
    size: int
    """The bytes of its document with all its convertible bookings, also if it is over the limit."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart."""

    label: Id
    count: int
    is_over: bool = False
    """Whether it stands beyond a limit."""


@dataclass(frozen=True, slots=True)
class Distributions:
    """What the charts show; each a sequence of bars in its natural order."""

    sessions_per_client: tuple[Bar, ...] = ()
    document_sizes: tuple[Bar, ...] = ()
    bookings_by_month: tuple[Bar, ...] = ()
    """By `scheduledDate`; by year if they are many months. Dates out of range are left out."""

    bookings_by_status: tuple[Bar, ...] = ()
    bookings_by_payment_status: tuple[Bar, ...] = ()


@dataclass(frozen=True, slots=True)
class Reference:
    """A field of another collection that holds ids of bookings."""

    collection: Line
    field: Line
    """The field's path, array indexes left out."""

    sampled: int
    """How many values of that field were looked up."""

    hits: int
    """How many of them are ids of bookings in the source."""


@dataclass(frozen=True, slots=True)
class Gains:
    """Before and after."""

    documents_before: int = 0
    """Bookings in the source."""

    documents_after: int = 0
    """Client documents that the target has then for the clients of the source."""

    data_bytes_before: int = 0
    """The BSON of the bookings."""

    data_bytes_after: int = 0
    index_bytes_before: int | None = None
    """None if the source is not a collection."""

    index_bytes_after: int | None = None
    """Estimated for the indexes on `_id` and `clientId`, from what the source's index on `_id` takes."""

    storage_bytes_after: int | None = None
    """Estimated from how the source is compressed; None if the source is not a collection."""

    largest_document: int = 0
    limit: int = 0
    """The largest document allowed, in bytes."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A way to migrate."""

    name: str
    possible: bool
    note: Line
    """Why it is not possible, or on what it depends."""


@dataclass(frozen=True, slots=True)
class MissingPrivilege:
    """Something that a later command needs and the user of this dry-run may not do."""

    command: str
    privilege: Privilege


@dataclass(frozen=True, slots=True)
class Needs:
    """What a migration needs and whether it is available. A part that the user may not read stays None."""

    database: Line | None = None
    server: ServerFacts | None = None
    """None if only files are involved."""

    modes: tuple[Mode, ...] = ()
    missing_privileges: tuple[MissingPrivilege, ...] | None = None
    has_source_index: bool | None = None
    """Whether the source has an index on `clientId`; without one the server sorts on its disk."""

    has_unique_index: bool | None = None
    """Whether the target has its unique index on `clientId` already; if not, `migrate` makes it."""

    disk: Disk | None = None
    target_bytes: int | None = None
    """What the target will take on disk with its indexes, estimated."""

    archive_bytes: int | None = None
    """What a copy of the source takes on disk, which in-place migration and cut-over keep."""

    oplog_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """How long a migration will take."""

    seconds: float
    rate: float
    """Bookings a second that this dry-run read and converted."""

    basis: Line
    """How the estimate came about, in a sentence."""


@dataclass(frozen=True, slots=True)
class DryRunOutcome:
    """What `dry_run.dry_run` found."""

    migration: MigrationOutcome
    """What `migrate` would report; its findings are all risks found."""

    estimate: TimeEstimate
    gains: Gains
    needs: Needs = field(default_factory=Needs)
    blockers: tuple[Blocker, ...] = ()
    largest_clients: tuple[LargeClient, ...] = ()
    references: tuple[Reference, ...] = ()
    distributions: Distributions = field(default_factory=Distributions)
    sampled: int | None = None
    """How many bookings were looked at; None if all of them, and nothing is estimated."""
