"""What a dry-run remembers on disk."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from booking_migrate.stores.scratchpad import DiskScratchpad

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
    scratchpad.add_appointments(appointments[::-1])

    assert overlapping == sorted(scratchpad.overlapping())


def test_text_clients(scratchpad: DiskScratchpad) -> None:
    """Only what was noted down is known, however often."""
    assert not scratchpad.has_text_client(b"one")

    scratchpad.add_text_client(b"one")
    scratchpad.add_text_client(b"one")

    assert (True, False) == (scratchpad.has_text_client(b"one"), scratchpad.has_text_client(b"two"))
