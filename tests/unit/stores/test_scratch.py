"""What a dry-run remembers on disk: who is kept busy by two sessions at once, and whose id is text."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from booking_migrate.stores import scratch as module
from booking_migrate.stores.scratch import Appointment, Scratchpad, appointment_block, mark_of

Row = tuple[bytes, int, int, str]


@pytest.fixture
def scratchpad() -> Iterator[Scratchpad]:
    with closing(Scratchpad()) as empty:
        yield empty


@pytest.mark.parametrize(
    ("appointments", "overlapping"),
    [
        ([], []),
        ([(b"x", 0, 30, "a")], []),
        ([(b"x", 0, 30, "a"), (b"x", 30, 60, "b")], []),
        ([(b"x", 0, 30, "a"), (b"x", 29, 60, "b")], ["a", "b"]),
        ([(b"x", 0, 30, "a"), (b"y", 10, 20, "b")], []),
        (
            [(b"x", 0, 90, "a"), (b"x", 10, 20, "b"), (b"x", 60, 70, "c"), (b"x", 90, 95, "d")],
            ["a", "b", "c"],
        ),
        ([(b"x", 0, 30, "a"), (b"x", 20, 60, "b"), (b"x", 50, 80, "c")], ["a", "b", "c"]),
        (
            [(b"x", 0, 30, "a"), (b"x", 20, 25, "b"), (b"x", 40, 60, "c"), (b"x", 50, 55, "d")],
            ["a", "b", "c", "d"],
        ),
        ([(b"x", 0, 30, "a"), (b"x", 0, 30, "b"), (b"x", 0, 30, "c")], ["a", "b", "c"]),
    ],
)
def test_overlapping(scratchpad: Scratchpad, appointments: list[Row], overlapping: list[str]) -> None:
    """Every appointment that overlaps another one of its expert is named once; touching is no overlap."""
    scratchpad.add_appointments(
        Appointment(mark_of(who), start, end, name) for who, start, end, name in appointments[::-1]
    )

    assert (len(overlapping), tuple(overlapping[:2])) == scratchpad.overlapping(2)


def test_packed_and_other_appointments_meet(scratchpad: Scratchpad) -> None:
    """Bookings with and without ObjectIds of their own keep the same expert busy, before 1970, too."""
    expert, other, booking = ObjectId(), ObjectId(), ObjectId()
    block = [(expert.binary, -30, 0, booking.binary), (other.binary, -30, 0, ObjectId().binary)]
    scratchpad.add_appointment_block(appointment_block(block))
    scratchpad.add_appointments([Appointment(mark_of(expert), -1, 30, "text")])

    assert (2, (str(booking), "text")) == scratchpad.overlapping(5)


@pytest.mark.parametrize("in_memory", [10**6, 10, 0])
def test_very_many_appointments(
    scratchpad: Scratchpad, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    """However many one expert has, and wherever they are sorted, each is found once."""
    monkeypatch.setattr(module, "_HELD", 100_000)
    monkeypatch.setattr(module, "_IN_MEMORY", in_memory)
    count = 25_001
    rows = [(bytes(12), number, number + 2, number.to_bytes(12, "big")) for number in range(count)]
    for start in range(0, count, 700):
        scratchpad.add_appointment_block(appointment_block(rows[::-1][start : start + 700]))

    assert (count, tuple(f"{number:024x}" for number in range(3))) == scratchpad.overlapping(3)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"\0" * 12, b"\1" * 12, b"\2" + b"\1" * 11]),
            st.integers(-20, 20),
            st.integers(1, 9),
        ),
        max_size=30,
    )
)
def test_overlapping_as_compared_one_by_one(times: list[tuple[bytes, int, int]]) -> None:
    """Those are found that comparing each appointment with each other finds."""
    rows = [
        (expert, start, start + length, number.to_bytes(12, "big"))
        for number, (expert, start, length) in enumerate(times)
    ]
    expected = [
        one[3].hex()
        for one in rows
        if any(
            one is not other and one[0] == other[0] and one[1] < other[2] and other[1] < one[2]
            for other in rows
        )
    ]
    with closing(Scratchpad()) as scratchpad:
        scratchpad.add_appointment_block(appointment_block(rows))
        assert (len(expected), tuple(expected)) == scratchpad.overlapping(len(rows))


def test_text_clients(scratchpad: Scratchpad) -> None:
    """Only what was noted down is known, however often."""
    assert not scratchpad.has_text_client(b"one")

    scratchpad.add_text_client(b"one")
    scratchpad.add_text_client(b"one")

    assert (True, False) == (scratchpad.has_text_client(b"one"), scratchpad.has_text_client(b"two"))


def test_rows_are_abandoned_after_the_database_was_closed() -> None:
    """A reading that an error has interrupted may be given up at any time: it fails neither before nor after closing."""
    database = module.Scratch("CREATE TABLE number (number INTEGER)")
    database.insert("INSERT INTO number VALUES (?)", [(1,), (2,)])
    rows = database.rows("SELECT number FROM number")

    assert (1,) == next(rows)
    database.close()
    rows.close()  # type: ignore[attr-defined]
