"""What a dry-run remembers on disk."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from booking_migrate.stores.scratchpad import DiskScratchpad


@pytest.fixture
def scratchpad() -> Iterator[DiskScratchpad]:
    with closing(DiskScratchpad()) as empty:
        yield empty


def test_text_clients(scratchpad: DiskScratchpad) -> None:
    """Only what was noted down is known, however often."""
    assert not scratchpad.has_text_client(b"one")

    scratchpad.add_text_client(b"one")
    scratchpad.add_text_client(b"one")

    assert (True, False) == (scratchpad.has_text_client(b"one"), scratchpad.has_text_client(b"two"))
