"""Dates and times of day for the risks of a dry-run."""

from functools import lru_cache

from booking_migrate.dry_run.statistics import DAY, FIRST_DAY, LAST_DAY

MINUTES_A_DAY = 24 * 60
CANCELLED = "cancelled"
"""The status of a booking that does not occupy its expert."""

_LONGEST = len("23:59")
_EARLIEST, _END = FIRST_DAY * DAY, (LAST_DAY + 1) * DAY


def is_date_in_range(milliseconds: int) -> bool:
    """Return whether a date is one that every program can show."""
    return _EARLIEST <= milliseconds < _END


@lru_cache(maxsize=4096)
def minutes_of(time: str) -> int | None:
    """Return a time of day as minutes; None for another value, which a waived rule may have let through."""
    if len(time) > _LONGEST:
        return None
    hours, colon, minutes = time.partition(":")
    if not colon or not (hours.isdecimal() and minutes.isdecimal()):
        return None
    return int(hours) * 60 + int(minutes)
