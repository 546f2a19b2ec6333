"""What a dry-run remembers on disk."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from bson.objectid import ObjectId

from booking_migrate.stores.scratchpad import Appointment, DiskScratchpad, mark_of, pack_appointment

Row = tuple[bytes, int, int, str]


@pytest.fixture
def scratchpad() -> Iterator[DiskScratchpad]:
    with closing(DiskScratchpad()) as empty:
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
def test_overlapping(scratchpad: DiskScratchpad, appointments: list[Row], overlapping: list[str]) -> None:
    """Every appointment that overlaps another one of its expert is named once; touching is no overlap."""
    scratchpad.add_appointments(
        Appointment(mark_of(who), start, end, name) for who, start, end, name in appointments[::-1]
    )

    assert (len(overlapping), tuple(overlapping[:2])) == scratchpad.overlapping(2)


def test_packed_and_other_appointments_meet(scratchpad: DiskScratchpad) -> None:
    """Bookings with and without ObjectIds of their own keep the same expert busy, before 1970, too."""
    expert, other, booking = ObjectId(), ObjectId(), ObjectId()
    scratchpad.add_packed_appointments(
        pack_appointment(expert.binary, -30, 0, booking.binary)
        + pack_appointment(other.binary, -30, 0, ObjectId().binary)
    )
    scratchpad.add_appointments([Appointment(mark_of(expert), -1, 30, "text")])

    assert (2, (str(booking), "text")) == scratchpad.overlapping(5)


def test_very_many_packed_appointments(scratchpad: DiskScratchpad) -> None:
    """However many come at a time, each is noted down once."""
    count = 25_001
    packed = (
        pack_appointment(bytes(12), number, number + 2, number.to_bytes(12, "big")) for number in range(count)
    )
    scratchpad.add_packed_appointments(b"".join(packed))

    found = scratchpad.overlapping(3)

    assert (count, tuple(f"{number:024x}" for number in range(3))) == found


def test_text_clients(scratchpad: DiskScratchpad) -> None:
    """Only what was noted down is known, however often."""
    assert not scratchpad.has_text_client(b"one")

    scratchpad.add_text_client(b"one")
    scratchpad.add_text_client(b"one")

    assert (True, False) == (scratchpad.has_text_client(b"one"), scratchpad.has_text_client(b"two"))
