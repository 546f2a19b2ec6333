"""The risks of bookings that can be converted: dates out of range, bookings booked twice, overlaps of one expert.

They are found here and nowhere else, column by column. Flat bookings come as columns of bytes, in worker processes too
(`collect`); all others are decoded one by one, and `risks.RiskWatch` lines up the rows of the same columns (`row_of`).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, compress
from typing import Any, NamedTuple

from bson.datetime_ms import DatetimeMS

from booking_migrate.bson.document import Document
from booking_migrate.bson.layout import Column, LayoutGroup, whole_numbers_of
from booking_migrate.domain.contract import DEFAULT_STATUS
from booking_migrate.domain.session import Session
from booking_migrate.dry_run.outcome import DAY
from booking_migrate.dry_run.risk_kinds import FIRST_DAY, LAST_DAY
from booking_migrate.fastpath.flat import Collector, FlatBookings
from booking_migrate.stores.scratch import AppointmentBlock, appointment_block, mark_of

_MINUTES_A_DAY = 24 * 60
_CANCELLED = "cancelled"
"""The status of a booking that does not occupy its expert."""

_LONGEST = len("23:59")
_EARLIEST, _END = FIRST_DAY * DAY, (LAST_DAY + 1) * DAY


class BookingColumns(NamedTuple):
    """What the risks of bookings depend on: one value of each booking in every column; of ids what `mark_of` makes of them."""

    ids: Sequence[bytes]
    clients: Sequence[bytes]
    experts: Sequence[bytes]
    statuses: Sequence[str]
    starts: Sequence[str]
    ends: Sequence[str]
    scheduled: Sequence[int]
    """In milliseconds since 1970, like the other dates."""

    created: Sequence[int]
    updated: Sequence[int]
    cancelled: Sequence[int]
    """`cancellationTime`; `scheduledDate` of a booking without one."""


class BookingRisks(NamedTuple):
    """The risks of some bookings, by the numbers of their rows."""

    found: Mapping[str, Sequence[int]]
    """Those that have a risk, by its kind in `risk_kinds.RISKS`; counted without being named anywhere else."""

    appointments: Sequence[tuple[bytes, int, int, int]]
    """Expert, start and end in minutes since 1970, and row, of all that are not cancelled."""


def find_risks(bookings: BookingColumns) -> BookingRisks:
    """Find the risks of bookings that include all of their clients' bookings."""
    minutes = {time: _minutes_of(time) for time in {*bookings.starts, *bookings.ends}}
    appointments: list[tuple[bytes, int, int, int]] = []
    slots: list[tuple[bytes, bytes, int, int]] = []
    rows = zip(
        bookings.clients,
        bookings.experts,
        bookings.statuses,
        map(minutes.__getitem__, bookings.starts),
        map(minutes.__getitem__, bookings.ends),
        bookings.scheduled,
        strict=True,
    )
    for row, (client, expert, status, start, end, date) in enumerate(rows):
        if start is None or end is None or status == _CANCELLED:
            continue
        midnight = date // DAY * _MINUTES_A_DAY
        until = end if end > start else end + _MINUTES_A_DAY
        slots.append((client, expert, midnight, start))
        appointments.append((expert, midnight + start, midnight + until, row))
    several = {slot for slot, count in Counter(slots).items() if count > 1}
    doubled: defaultdict[tuple[bytes, bytes, int, int], dict[bytes, int]] = defaultdict(dict)
    for slot, (*_, row) in zip(slots, appointments, strict=True) if several else ():
        if slot in several:
            # The same document twice is one booking.
            doubled[slot].setdefault(bookings.ids[row], row)
    twice = [row for same in doubled.values() if len(same) > 1 for row in same.values()]
    found = {"dates-out-of-range": sorted(_out_of_range(bookings)), "booked-twice": twice}
    return BookingRisks(found, appointments)


def _out_of_range(bookings: BookingColumns) -> set[int]:
    found: set[int] = set()
    for dates in (bookings.scheduled, bookings.created, bookings.updated, bookings.cancelled):
        if dates and not (is_date_in_range(min(dates)) and is_date_in_range(max(dates))):
            found.update(row for row, date in enumerate(dates) if not is_date_in_range(date))
    return found


def is_date_in_range(milliseconds: int) -> bool:
    """Return whether a date is one that every program can show."""
    return _EARLIEST <= milliseconds < _END


@lru_cache(maxsize=4096)
def _minutes_of(time: str) -> int | None:
    """Return a time of day as minutes; None for another value, which a waived rule may have let through."""
    if len(time) > _LONGEST:
        return None
    hours, colon, minutes = time.partition(":")
    if not colon or not (hours.isdecimal() and minutes.isdecimal()):
        return None
    return int(hours) * 60 + int(minutes)


class BatchStats(NamedTuple):
    """What a dry-run collects of the bookings of flat clients; small enough to come from a worker process."""

    size: int
    """Their bytes."""

    statuses: Mapping[str, int]
    """How many there are of each."""

    payment_statuses: Mapping[str, int]
    days: Mapping[int, int]
    """How many are scheduled for each day, in days since 1970."""

    found: Mapping[str, Sequence[bytes]]
    """The `_id` of those that have a risk, by its kind."""

    appointments: AppointmentBlock


def collect(bookings: FlatBookings, declined: frozenset[int], size: int) -> BatchStats:
    """Collect the facts about the bookings of flat clients; see `Collector.collect`."""
    payments: Counter[str] = Counter()
    tables: list[BookingColumns] = []
    for group in bookings.groups:
        column = column_reader(group, declined)
        payments.update(_texts(column("paymentStatus")))
        tables.append(columns_of(column))
    columns = tables[0] if len(tables) == 1 else _joined(tables or [_NOTHING])
    risks = find_risks(columns)
    ids = columns.ids
    return BatchStats(
        size,
        Counter(columns.statuses),
        payments,
        Counter([date // DAY for date in columns.scheduled]),
        {kind: [ids[row] for row in rows] for kind, rows in risks.found.items()},
        appointment_block((expert, start, end, ids[row]) for expert, start, end, row in risks.appointments),
    )


def _joined(tables: Sequence[BookingColumns]) -> BookingColumns:
    return BookingColumns._make(list(chain.from_iterable(each)) for each in zip(*tables, strict=True))


_NOTHING = BookingColumns(*((),) * len(BookingColumns._fields))
COLLECTOR = Collector(collect, frozenset({"expertId", "cancellationTime", "scheduledDate"}))


def column_reader(group: LayoutGroup, declined: frozenset[int]) -> Callable[[str], Column]:
    """Return what reads a field of the flat clients' bookings; of a field that the layout lacks no values."""
    fit = None if declined.isdisjoint(group.numbers) else [each not in declined for each in group.numbers]

    def column(name: str) -> Column:
        index = group.layout.place.get(name)
        values = () if index is None else group.columns[index]
        return values if fit is None else list(compress(values, fit))

    return column


def columns_of(column: Callable[[str], Column]) -> BookingColumns:
    """Return the columns of bookings of one layout."""
    scheduled, cancelled = column("scheduledDate"), column("cancellationTime")
    # The value of null takes no bytes.
    cancelled = cancelled if cancelled and cancelled[0] else scheduled
    return BookingColumns(
        column("_id"),
        column("clientId"),
        column("expertId"),
        _texts(column("status")),
        _texts(column("startTime")),
        _texts(column("endTime")),
        *map(whole_numbers_of, (scheduled, column("createdAt"), column("updatedAt"), cancelled)),
    )


def row_of(session: Session, fields: Document) -> tuple[Any, ...]:
    """Return the values of `BookingColumns` for one booking.

    Args:
        session: what it becomes.
        fields: its fields, decoded.
    """
    scheduled, cancelled = int(fields["scheduledDate"]), fields.get("cancellationTime")
    return (
        mark_of(session.legacy_id),
        mark_of(session.client_id),
        mark_of(fields["expertId"]),
        fields.get("status", DEFAULT_STATUS),
        fields["startTime"],
        fields["endTime"],
        scheduled,
        session.created_at,
        session.updated_at,
        int(cancelled) if type(cancelled) is DatetimeMS else scheduled,
    )


def _texts(column: Column) -> Sequence[str]:
    texts = {value: value[4:-1].decode() for value in {*column}}
    return [texts[value] for value in column]
