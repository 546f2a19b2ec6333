"""Times compare as times, past midnight too."""

import pytest
from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st

from booking_migrate.service.appointment import (
    DAY,
    MINUTES_A_DAY,
    Slot,
    dates_near,
    minutes_of,
    read_slot,
    slot_of,
    time_at,
)

MONDAY = 20_000 * DAY

slots = st.builds(
    lambda start, length: Slot(start, start + length),
    st.integers(-5000, 5000),
    st.integers(1, MINUTES_A_DAY),
)
times = st.integers(0, MINUTES_A_DAY - 1)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(("9:30", "10:00"), ("12:30", "13:00"), False, id="one digit is before two"),
        pytest.param(("9:30", "10:00"), ("09:45", "10:15"), True, id="the same hour in two writings"),
        pytest.param(("9:30", "10:00"), ("10:00", "10:30"), False, id="an end is no part of it"),
        pytest.param(("9:30", "10:00"), ("9:00", "12:00"), True, id="inside"),
        pytest.param(("23:30", "0:30"), ("23:45", "23:50"), True, id="past midnight"),
        pytest.param(("23:30", "0:30"), ("0:00", "0:15"), False, id="the night before is another night"),
    ],
)
def test_two_sessions_of_a_day(first: tuple[str, str], second: tuple[str, str], expected: bool) -> None:
    """Two sessions of one day overlap when they have a minute in common."""
    assert expected == slot_of(MONDAY, *first).overlaps(slot_of(MONDAY, *second))


def test_a_session_reaches_into_the_next_day() -> None:
    """A session past midnight overlaps one of the next morning, and not one of the day after."""
    night = slot_of(MONDAY, "23:30", "0:30")

    assert night.overlaps(slot_of(MONDAY + DAY, "0:15", "1:00"))
    assert not night.overlaps(slot_of(MONDAY + 2 * DAY, "0:15", "1:00"))


def test_a_date_counts_as_its_day() -> None:
    """A date with a time of day counts as the UTC day that it lies in, also before 1970."""
    assert slot_of(MONDAY, "9:30", "10:00") == slot_of(MONDAY + DAY - 1, "9:30", "10:00")
    assert Slot(-MINUTES_A_DAY, -MINUTES_A_DAY + 60) == slot_of(-1, "0:00", "1:00")


@given(slots, slots)
def test_overlap_is_mutual(one: Slot, other: Slot) -> None:
    """Two slots overlap each other or not at all, and exactly when one minute is in both."""
    shared = set(range(one.start, one.end)) & set(range(other.start, other.end))

    assert bool(shared) == one.overlaps(other) == other.overlaps(one)


@given(times, st.integers(1, MINUTES_A_DAY))
def test_an_end_time_keeps_the_duration(start: int, duration: int) -> None:
    """From start and computed end follows the duration, up to a whole day."""
    slot = slot_of(MONDAY, time_at(start), time_at(start + duration))

    assert duration == slot.end - slot.start


dates = st.integers(-3 * DAY, 3 * DAY)


@given(dates, dates, st.tuples(times, times), st.tuples(times, times))
def test_what_overlaps_is_near(here: int, there: int, ours: tuple[int, int], theirs: tuple[int, int]) -> None:
    """Whatever overlaps a session has a date in the range that is searched."""
    first, last = dates_near(here)
    slot, other = slot_of(here, *map(time_at, ours)), slot_of(there, *map(time_at, theirs))

    if slot.overlaps(other):
        assert first <= there < last


@given(times)
def test_a_time_survives_its_text(minutes: int) -> None:
    """Minutes written as a time and read again are the same."""
    assert minutes == minutes_of(time_at(minutes))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"startTime": "24:00"}, id="no time"),
        pytest.param({"endTime": None}, id="null"),
        pytest.param({"scheduledDate": "2025-08-29"}, id="a text for a date"),
        pytest.param({"startTime": 930}, id="a number for a time"),
    ],
)
def test_a_session_without_a_time(change: dict[str, object]) -> None:
    """What a stored session does not say as it should takes no slot."""
    sound = {"scheduledDate": DatetimeMS(MONDAY), "startTime": "9:30", "endTime": "10:00"}

    assert read_slot(sound) == slot_of(MONDAY, "9:30", "10:00")
    assert read_slot({**sound, **change}) is None
