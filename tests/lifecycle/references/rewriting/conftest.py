"""What tests of references share: bookings that are cut over, and other collections that refer to them."""

from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Command
from tests.support.booking_lines import booking
from tests.support.references import config, fill

Db = Database[dict[str, Any]]
COUNT = 30
REWRITE = ("references", "rewrite", "--yes", "--json")
UNDO = ("rollback", "--references", "--yes", "--json")


@pytest.fixture
def cut_over(database: Db, command: Command) -> None:
    """Bookings that became client documents, two of them rejected; four collections refer to them."""
    database.bookings.insert_many(
        [*map(booking, range(COUNT + 5)), booking(100, currency="usd"), booking(101, duration=5)]
    )
    fill(database, COUNT)
    places = ("--source", "bookings", "--target", "clients", "--quiet")
    # No limit that a busy machine could pass.
    cutover = ("cutover", *places, "--yes", "--rejected", "leave", "--max-outage", "60s")
    assert [3, 0, 0] == command.once(("migrate", *places), ("verify", *places), cutover)


@pytest.fixture
def tables(tmp_path: Path) -> str:
    """The path of a config file with all fields."""
    path = tmp_path / "references.toml"
    path.write_text(config())
    return str(path)
