"""What a dry-run wants to know of usual bookings: taken from their bytes, and small enough to come from another process."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, compress
from typing import NamedTuple, TypeVar

from booking_migrate.bson.layout import Column, LayoutGroup, whole_numbers_of
from booking_migrate.dry_run.calendar import CANCELLED, MINUTES_A_DAY, is_date_in_range, minutes_of
from booking_migrate.dry_run.statistics import DAY
from booking_migrate.fastpath.build import Look, Shown
from booking_migrate.fastpath.flat import Plan
from booking_migrate.stores.appointments import AppointmentBlock, appointment_block

_DATES = ("scheduledDate", "createdAt", "updatedAt", "cancellationTime")

_Slot = tuple[bytes, bytes, int, int]
"""Client, expert, midnight and start in minutes."""

Value = TypeVar("Value")


class BatchStats(NamedTuple):
    """Bookings of usual clients as a dry-run sees them."""

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
    """See `Scratchpad.add_appointment_block`."""


def see(shown: Shown) -> BatchStats:
    """Look at the bookings of some clients."""
    statuses: Counter[bytes] = Counter()
    payments: Counter[bytes] = Counter()
    days: Counter[int] = Counter()
    out_of_range: list[bytes] = []
    slots: list[_Slot] = []
    ids: list[bytes] = []
    appointments: list[Iterable[tuple[bytes, int, int, bytes]]] = []
    for alike in shown.bookings.alike:
        seen = _Collected(alike, shown.left)
        statuses.update(seen.column("status"))
        payments.update(seen.column("paymentStatus"))
        days.update(seen.days)
        out_of_range += seen.out_of_range()
        slots += seen.slots
        ids += seen.busy(seen.column("_id"))
        appointments.append(seen.appointments())
    several = {slot for slot, count in Counter(slots).items() if count > 1}
    return BatchStats(
        shown.size,
        _by_text(statuses),
        _by_text(payments),
        days,
        out_of_range,
        [booking_id for slot, booking_id in zip(slots, ids, strict=True) if slot in several],
        appointment_block(chain.from_iterable(appointments)),
    )


LOOK = Look(see, frozenset({"expertId", "cancellationTime", "scheduledDate"}))


class _Collected:
    """Bookings of one layout."""

    def __init__(self, alike: LayoutGroup[Plan], left: frozenset[int]) -> None:
        self._place = alike.plan.place
        self._columns = alike.columns
        if not left.isdisjoint(alike.numbers):
            fit = [number not in left for number in alike.numbers]
            self._columns = [list(compress(column, fit)) for column in alike.columns]
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
        """The values of a field."""
        return self._columns[self._place[name]]

    def busy(self, column: Sequence[Value]) -> Sequence[Value]:
        """The values of those bookings that keep their expert busy."""
        return column if all(self._is_busy) else list(compress(column, self._is_busy))

    def out_of_range(self) -> Iterator[bytes]:
        """See `BatchStats.out_of_range`."""
        odd: set[int] = set()
        for name in _DATES:
            dates = self._dates(name)
            if dates and not (is_date_in_range(min(dates)) and is_date_in_range(max(dates))):
                odd.update(row for row, date in enumerate(dates) if not is_date_in_range(date))
        return (self.column("_id")[row] for row in sorted(odd))

    def appointments(self) -> Iterator[tuple[bytes, int, int, bytes]]:
        """The appointments of those bookings that keep their expert busy."""
        for (_, expert, midnight, start), end, booking_id in zip(
            self.slots, self._ends, self.busy(self.column("_id")), strict=True
        ):
            until = end if end > start else end + MINUTES_A_DAY
            yield expert, midnight + start, midnight + until, booking_id

    def _dates(self, name: str) -> Sequence[int]:
        """The dates in a field; none if the bookings do not have it."""
        place = self._place.get(name)
        dates = () if place is None else self._columns[place]
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
