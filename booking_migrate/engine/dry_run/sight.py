"""What a dry-run wants to know of a usual client's bookings: taken from their bytes, and small enough to go to another process."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from bson.objectid import ObjectId

from booking_migrate.domain.bson_layout import Values, values_at, whole_number
from booking_migrate.domain.ordering import sort_key
from booking_migrate.domain.usual_booking import Plan, UsualBooking
from booking_migrate.engine.dry_run.calendar import CANCELLED, MINUTES_A_DAY, is_date_in_range, minutes_of
from booking_migrate.engine.dry_run.statistics import DAY

_FACTS = (
    "_id",
    "expertId",
    "status",
    "paymentStatus",
    "scheduledDate",
    "startTime",
    "endTime",
    "createdAt",
    "updatedAt",
)
_KEY_OF_OBJECT_ID = sort_key(ObjectId(bytes(12)))[:-12]
_CANCELLATION_TIME = "cancellationTime"


class Sight(NamedTuple):
    """A usual client's bookings as a dry-run sees them."""

    size: int
    """Their bytes."""

    statuses: list[str]
    payment_statuses: list[str]
    days: list[int]
    """When they are scheduled, in days since 1970."""

    out_of_range: list[bytes]
    """The `_id` of those with a date that many programs cannot show."""

    doubled: list[bytes]
    """The `_id` of those for the same expert, date and start as another one, not cancelled."""

    appointments: list[tuple[bytes, int, int, str]]
    """See `scratchpad.Appointment`."""


def look(bookings: Sequence[UsualBooking]) -> Sight:
    """Look at the bookings of one client."""
    sight = Sight(sum(len(raw) for raw, _, _ in bookings), [], [], [], [], [], [])
    slots: dict[tuple[bytes, int, int], bytes] = {}
    doubled: dict[bytes, None] = {}
    for _, plan, values in bookings:
        booking_id, expert, status, payment, *others = _facts_of(plan)(values)
        scheduled, start, end, created, updated = others
        date = whole_number(scheduled)
        state = _text(status)
        sight.statuses.append(state)
        sight.payment_statuses.append(_text(payment))
        sight.days.append(date // DAY)
        cancelled = plan.place.get(_CANCELLATION_TIME)
        dates = [date, whole_number(created), whole_number(updated)]
        if cancelled is not None and values[cancelled]:
            dates.append(whole_number(values[cancelled]))
        if not all(map(is_date_in_range, dates)):
            sight.out_of_range.append(booking_id)
        first, last = _minutes(start), _minutes(end)
        if state == CANCELLED or first is None or last is None:
            continue
        midnight = date // DAY * MINUTES_A_DAY
        before = slots.setdefault((expert, midnight, first), booking_id)
        if before is not booking_id:
            doubled[before] = doubled[booking_id] = None
        until = last if last > first else last + MINUTES_A_DAY
        appointment = (_KEY_OF_OBJECT_ID + expert, midnight + first, midnight + until, booking_id.hex())
        sight.appointments.append(appointment)
    sight.doubled.extend(doubled)
    return sight


@lru_cache(maxsize=64)
def _facts_of(plan: Plan) -> Callable[[Values], tuple[bytes, ...]]:
    return values_at([plan.place[name] for name in _FACTS])


@lru_cache(maxsize=4096)
def _minutes(value: bytes) -> int | None:
    return minutes_of(_text(value))


@lru_cache(maxsize=4096)
def _text(value: bytes) -> str:
    return value[4:-1].decode()
