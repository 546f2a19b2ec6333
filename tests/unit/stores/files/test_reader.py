"""Reading a file: what listeners hear, and where the sorted copy lives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bson import encode

from booking_migrate.errors import WriteFailed
from booking_migrate.events import Advanced, Event, PhaseEnded, PhaseStarted
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.places import parse_place
from booking_migrate.stores.scratch import Scratch


class Notes:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        """Keep one event."""
        self.events.append(event)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 12 001 documents, some 36 MB."""
    path = tmp_path / "bookings.bson"
    with path.open("wb") as file:
        for number in range(12_001):
            file.write(encode({"_id": number, "clientId": -number, "text": f"{number:3000}"}))
    return path


def test_reading_is_reported_once_and_in_batches(path: Path) -> None:
    """The first use reads the file and says so; later ones are silent."""
    notes = Notes()
    reader = open_reader(parse_place(str(path)), Connection(), listener=notes)

    reader.check()
    first = list(notes.events)
    assert 12_001 == len(list(reader.scan_by_client()))
    reader.close()

    assert PhaseStarted(f"reading {path}", None) == first[0]
    assert PhaseEnded() == first[-1]
    assert [5000, 5000, 2001] == [event.documents for event in first if isinstance(event, Advanced)]
    assert first == notes.events


def test_the_sorted_copy_is_a_nameless_temporary_file(path: Path, tmp_path: Path) -> None:
    """It lies in the temporary directory without a name there, so that a killed process leaves nothing behind."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code = (
        "import sys; from pathlib import Path\n"
        "from booking_migrate.stores.open import Connection, open_reader, parse_place\n"
        "reader = open_reader(parse_place(sys.argv[1]), Connection()); reader.check()\n"
        "print(*(link.readlink() for link in Path('/proc/self/fd').iterdir() if link.is_symlink()), sep='\\n')\n"
    )

    # A process of its own: sqlite3 asks for the temporary directory once, when it is first used.
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=Path(__file__).parents[4],
        env={**os.environ, "TMPDIR": str(scratch)},
        check=True,
        capture_output=True,
        text=True,
    )

    open_files = [line for line in done.stdout.splitlines() if line.startswith(str(scratch))]
    assert open_files
    assert all(line.endswith("(deleted)") for line in open_files)
    assert [] == list(scratch.iterdir())


def test_a_scratch_file_that_cannot_grow_is_a_failed_write() -> None:
    """When the sorted copy finds no room, the temporary directory is named."""
    with pytest.raises(WriteFailed, match="TMPDIR"):
        Scratch("CREATE TABLE a (b); CREATE TABLE a (b);")
