"""The time of sessions: dates, times of day, and overlaps.

The data has no time zones: `scheduledDate` is a day, `startTime` and `endTime` are times on the
platform's clock. A day is the UTC day of `scheduledDate`, whatever its time of day. Times compare as minutes, so 9:30 is
before 12:30; an end that is not after its start is on the next day.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from re import fullmatch
from typing import Any

from bson.datetime_ms import DatetimeMS

from booking_migrate.domain.contract import TIME

DAY = 86_400_000
"""A day in milliseconds."""

MINUTES_A_DAY = 1440


@dataclass(frozen=True, slots=True)
class Slot:
    """A half-open interval of time, in minutes since 1970: the end is excluded."""

    start: int
    end: int

    def overlaps(self, other: "Slot") -> bool:
        """Return whether both have a minute in common."""
        return self.start < other.end and other.start < self.end


def minutes_of(time: str) -> int:
    """Return the minutes of a time of day (``H:MM`` or ``HH:MM``) since midnight."""
    hours, _, minutes = time.partition(":")
    return int(hours) * 60 + int(minutes)


def time_at(minutes: int) -> str:
    """Return the time of day (``HH:MM``) at a number of minutes after midnight."""
    return f"{minutes % MINUTES_A_DAY // 60:02}:{minutes % 60:02}"


def slot_of(scheduled_date: int, start_time: str, end_time: str) -> Slot:
    """Return the time that a session occupies.

    Args:
        scheduled_date: milliseconds since 1970; the UTC day counts.
        start_time: ``H:MM`` or ``HH:MM``.
        end_time: the same; not after ``start_time`` means on the next day.
    """
    midnight = scheduled_date // DAY * MINUTES_A_DAY
    start, end = minutes_of(start_time), minutes_of(end_time)
    return Slot(midnight + start, midnight + end + (MINUTES_A_DAY if end <= start else 0))


def read_slot(fields: Mapping[str, Any]) -> Slot | None:
    """Return the time that a stored session or old booking occupies; None if its fields are not valid."""
    date, start, end = (fields.get(name) for name in ("scheduledDate", "startTime", "endTime"))
    if type(date) is not DatetimeMS or not all(
        type(time) is str and fullmatch(TIME, time) for time in (start, end)
    ):
        return None
    return slot_of(int(date), str(start), str(end))


def dates_near(scheduled_date: int) -> tuple[int, int]:
    """Return the range of dates, in milliseconds, of sessions that may overlap one on this date.

    A session takes at most a day, so those of the day before and of the day after may overlap. The range includes its
    first date and excludes its last one.
    """
    midnight = scheduled_date // DAY * DAY
    return midnight - DAY, midnight + 2 * DAY
