"""The outcome of a dry-run, as values: everything that its reports show, and the counters of its charts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from bson.datetime_ms import DatetimeMS

from booking_migrate.bson.document import Document
from booking_migrate.bson.format import Id, Line, Lines, shorten
from booking_migrate.domain.contract import DEFAULT_STATUS
from booking_migrate.dry_run.risk_kinds import FIRST_DAY, LAST_DAY
from booking_migrate.runs.plan import MigrationOutcome
from booking_migrate.stores.destination import Disk, ServerFacts
from booking_migrate.stores.privilege import Privilege

DAY = 86_400_000
"""A day in milliseconds."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """Something for which the migration would be refused."""

    kind: str
    """The name of the error that `migrate` would end with, or ``DiskTooSmall``."""

    message: Line
    hint: Lines
    """What helps, as the error has it; `SAME_COMMAND` stands for `migrate` with the options given."""


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
    """Whether it exceeds a limit."""


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


class SampleKind(StrEnum):
    """What a sample shows."""

    TYPICAL = "typical"
    COMPLETED = "completed"
    """Sessions have values that their bookings lack."""

    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Sample:
    """Bookings beside the client document that they become, as text without personal data."""

    kind: SampleKind
    reason: Line
    """What was added, or why the booking is rejected; empty for a typical client."""

    client_id: Id | None
    bookings: tuple[Lines, ...]
    """The first bookings of the client, in the order of its sessions, as Extended JSON."""

    document: Lines | None
    """The client document with its first sessions; None if the booking is rejected."""


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
    """How far back the oplog reaches: a run's changes have to be read within that time."""

    cutover: "CutoverNeeds | None" = None
    """How a cut-over would go; None unless source and target are collections."""


@dataclass(frozen=True, slots=True)
class CutoverNeeds:
    """How a cut-over would go, and for how long it would refuse writes."""

    is_followed: bool
    """Whether change streams are available, so that it runs beside the application."""

    reason: Line | None
    """Why they are not available."""

    changes_per_second: float | None
    """How many changes of the source the end of the oplog has a second; None if the user may not read it."""

    outage_seconds: float
    """For how long writes would be refused, about."""

    basis: Line
    """How the estimate came about, in a sentence."""


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
    samples: tuple[Sample, ...] = ()
    sampled: int | None = None
    """How many bookings were looked at; None if all of them, and nothing is estimated."""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_NAMES = 40
"""More names than these are counted as one: a waived rule lets any text through."""

_MOST_MONTHS = 48
_OTHERS = "(others)"
_NO_STRING = "(no text)"
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
_KIB = 1024


class Statistics:
    """What the charts of a dry-run show."""

    def __init__(self, maximum_document_size: int) -> None:
        """Begin at zero.

        Args:
            maximum_document_size: in bytes; larger documents are drawn as over the limit.
        """
        self.data_bytes = 0
        self._maximum = maximum_document_size
        self._days: Counter[int] = Counter()
        self._statuses: Counter[str] = Counter()
        self._payment_statuses: Counter[str] = Counter()
        self._sessions: Counter[int] = Counter()
        self._sizes: Counter[int] = Counter()

    def on_booking(self, fields: Document, size: int) -> None:
        """Count one booking, convertible or not: its decoded fields, and its size in bytes."""
        self.data_bytes += size
        _count_name(self._statuses, fields.get("status", DEFAULT_STATUS))
        _count_name(self._payment_statuses, fields.get("paymentStatus", DEFAULT_STATUS))
        scheduled = fields.get("scheduledDate")
        if type(scheduled) is DatetimeMS:
            self._count_days({int(scheduled) // DAY: 1})

    def on_bookings(
        self,
        size: int,
        statuses: Mapping[str, int],
        payment_statuses: Mapping[str, int],
        days: Mapping[int, int],
    ) -> None:
        """Count several bookings at a time.

        Args:
            size: their bytes, all together.
            statuses: how many there are of each.
            payment_statuses: likewise.
            days: how many are scheduled for each day, in days since 1970.
        """
        self.data_bytes += size
        for names, counts in ((self._statuses, statuses), (self._payment_statuses, payment_statuses)):
            for value, count in counts.items():
                _count_name(names, value, count)
        self._count_days(days)

    def _count_days(self, days: Mapping[int, int]) -> None:
        self._days.update({day: count for day, count in days.items() if FIRST_DAY <= day <= LAST_DAY})

    def on_document(self, sessions: int, size: int) -> None:
        """Count one client document: its sessions, and its size in bytes."""
        if sessions:
            self._sessions[_step(sessions)] += 1
        self._sizes[-1 if size > self._maximum else size.bit_length()] += 1

    def distributions(self) -> Distributions:
        """Return what was counted, ready to be drawn."""
        return Distributions(
            sessions_per_client=tuple(self._session_bars()),
            document_sizes=tuple(self._size_bars()),
            bookings_by_month=tuple(_months(self._days)),
            bookings_by_status=tuple(_by_count(self._statuses)),
            bookings_by_payment_status=tuple(_by_count(self._payment_statuses)),
        )

    def _session_bars(self) -> list[Bar]:
        if not self._sessions:
            return []
        uppers = [0, *_STEPS]
        last = max(index for index in self._sessions)
        return [
            Bar(_range(uppers[index - 1] + 1, uppers[index]), self._sessions[index])
            for index in range(1, min(last, len(_STEPS)) + 1)
        ] + ([Bar(f"over {_STEPS[-1]:,}", self._sessions[last])] if last > len(_STEPS) else [])

    def _size_bars(self) -> list[Bar]:
        bits = sorted(bit for bit in self._sizes if bit >= 0)
        bars = [
            Bar(f"to {_size(min(1 << bit, self._maximum))}", self._sizes[bit])
            for bit in (range(bits[0], bits[-1] + 1) if bits else ())
        ]
        return [*bars, Bar(f"over {_size(self._maximum)}", self._sizes[-1], is_over=True)] if bars else bars


def _count_name(names: Counter[str], value: Any, count: int = 1) -> None:
    if type(value) is not str:
        value = _NO_STRING
    if value not in names:
        value = shorten(value) if len(names) < _MOST_NAMES else _OTHERS
    names[value] += count


def _step(sessions: int) -> int:
    """Return the number of the step that holds this number of sessions, from 1; one more than there are steps if none does."""
    return next((index for index, upper in enumerate(_STEPS, start=1) if sessions <= upper), len(_STEPS) + 1)


def _range(first: int, last: int) -> str:
    return f"{first:,}" if first == last else f"{first:,}-{last:,}"


def _size(size: int) -> str:
    if size < _KIB:
        return f"{size} B"
    if size < _KIB * _KIB:
        return f"{size / _KIB:.3g} KiB"
    return f"{size / _KIB / _KIB:.3g} MiB"


def _by_count(names: Counter[str]) -> Sequence[Bar]:
    return [Bar(name, count) for name, count in sorted(names.items(), key=lambda item: (-item[1], item[0]))]


def _months(days: Counter[int]) -> list[Bar]:
    """Return one bar a month from the first to the last, or a year if that is many."""
    months: Counter[int] = Counter()
    for day, count in days.items():
        date = _EPOCH + timedelta(days=day)
        months[date.year * 12 + date.month - 1] += count
    if not months:
        return []
    first, last = min(months), max(months)
    if last - first < _MOST_MONTHS:
        return [Bar(f"{month // 12}-{month % 12 + 1:02}", months[month]) for month in range(first, last + 1)]
    years: Counter[int] = Counter()
    for month, count in months.items():
        years[month // 12] += count
    return [Bar(str(year), years[year]) for year in range(first // 12, last // 12 + 1)]
