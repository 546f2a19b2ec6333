"""What a dry-run collects of flat bookings: read from their bytes, and small enough to come from a worker process."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, compress
from typing import NamedTuple, TypeVar

from booking_migrate.bson.layout import Column, LayoutGroup, whole_numbers_of
from booking_migrate.dry_run.calendar import CANCELLED, MINUTES_A_DAY, is_date_in_range, minutes_of
from booking_migrate.dry_run.statistics import DAY
from booking_migrate.fastpath.build import Collector
from booking_migrate.fastpath.flat import ColumnMap, FlatBookings
from booking_migrate.stores.appointments import AppointmentBlock, appointment_block

_DATES = ("scheduledDate", "createdAt", "updatedAt", "cancellationTime")

_Slot = tuple[bytes, bytes, int, int]
"""Client, expert, midnight and start in minutes."""

Value = TypeVar("Value")


class BatchStats(NamedTuple):
    """What a dry-run collects of the bookings of flat clients."""

    size: int
    """Their bytes."""

    statuses: Mapping[str, int]
    """How many there are of each."""

    payment_statuses: Mapping[str, int]
    days: Mapping[int, int]
    """How many are scheduled for each day, in days since 1970."""

    out_of_range: Sequence[bytes]
    """The `_id` of those with a date that many programs cannot show."""

    doubled: Sequence[bytes]
    """The `_id` of those of the same client for the same expert, date and start as another one, not cancelled."""

    appointments: AppointmentBlock
    """The appointments of those that are not cancelled."""


def collect(bookings: FlatBookings, declined: frozenset[int], size: int) -> BatchStats:
    """Collect the facts about the bookings of flat clients; see `Collector.collect`."""
    statuses: Counter[bytes] = Counter()
    payments: Counter[bytes] = Counter()
    days: Counter[int] = Counter()
    out_of_range: list[bytes] = []
    slots: list[_Slot] = []
    ids: list[bytes] = []
    appointments: list[Iterable[tuple[bytes, int, int, bytes]]] = []
    for group in bookings.groups:
        rows = _Rows(group, declined)
        statuses.update(rows.column("status"))
        payments.update(rows.column("paymentStatus"))
        days.update(rows.days)
        out_of_range += rows.out_of_range()
        slots += rows.slots
        ids += rows.busy(rows.column("_id"))
        appointments.append(rows.appointments())
    several = {slot for slot, count in Counter(slots).items() if count > 1}
    return BatchStats(
        size,
        _by_text(statuses),
        _by_text(payments),
        days,
        out_of_range,
        [booking_id for slot, booking_id in zip(slots, ids, strict=True) if slot in several],
        appointment_block(chain.from_iterable(appointments)),
    )


COLLECTOR = Collector(collect, frozenset({"expertId", "cancellationTime", "scheduledDate"}))


class _Rows:
    """Bookings of one layout."""

    def __init__(self, group: LayoutGroup[ColumnMap], declined: frozenset[int]) -> None:
        self._index = group.plan.index
        self._columns = group.columns
        if not declined.isdisjoint(group.numbers):
            fit = [number not in declined for number in group.numbers]
            self._columns = [list(compress(column, fit)) for column in group.columns]
        self.days = [date // DAY for date in self._dates("scheduledDate")]
        starts, ends = (self._minutes(name) for name in ("startTime", "endTime"))
        is_cancelled = {value: _text(value) == CANCELLED for value in {*self.column("status")}}
        self._is_busy = [
            not is_cancelled[status] and start is not None and end is not None
            for status, start, end in zip(self.column("status"), starts, ends, strict=True)
        ]
        midnights = [day * MINUTES_A_DAY for day in self.busy(self.days)]
        self._starts = [start for start in self.busy(starts) if start is not None]
        self._ends = [end for end in self.busy(ends) if end is not None]
        self.slots: list[_Slot] = list(
            zip(
                self.busy(self.column("clientId")),
                self.busy(self.column("expertId")),
                midnights,
                self._starts,
                strict=True,
            )
        )

    def column(self, name: str) -> Column:
        """Return the values of a field."""
        return self._columns[self._index[name]]

    def busy(self, column: Sequence[Value]) -> Sequence[Value]:
        """Return the values of those bookings that keep their expert busy."""
        return column if all(self._is_busy) else list(compress(column, self._is_busy))

    def out_of_range(self) -> Iterator[bytes]:
        """Yield the `_id` of those with a date that many programs cannot show."""
        found: set[int] = set()
        for name in _DATES:
            dates = self._dates(name)
            if dates and not (is_date_in_range(min(dates)) and is_date_in_range(max(dates))):
                found.update(row for row, date in enumerate(dates) if not is_date_in_range(date))
        return (self.column("_id")[row] for row in sorted(found))

    def appointments(self) -> Iterator[tuple[bytes, int, int, bytes]]:
        """Yield the appointments of those bookings that keep their expert busy: expert, start, end in minutes, `_id`."""
        for (_, expert, midnight, start), end, booking_id in zip(
            self.slots, self._ends, self.busy(self.column("_id")), strict=True
        ):
            until = end if end > start else end + MINUTES_A_DAY
            yield expert, midnight + start, midnight + until, booking_id

    def _dates(self, name: str) -> Sequence[int]:
        """Return the dates of a field; none if the bookings lack it."""
        index = self._index.get(name)
        dates = () if index is None else self._columns[index]
        # The value of null takes no bytes.
        return whole_numbers_of(dates) if dates and dates[0] else ()

    def _minutes(self, name: str) -> Sequence[int | None]:
        column = self.column(name)
        minutes = {value: minutes_of(_text(value)) for value in {*column}}
        return [minutes[value] for value in column]


def _by_text(counts: Counter[bytes]) -> Mapping[str, int]:
    return {_text(value): count for value, count in counts.items()}


@lru_cache(maxsize=4096)
def _text(value: bytes) -> str:
    return value[4:-1].decode()
