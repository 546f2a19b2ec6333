"""A source whose name is so long that the kept copy could not have its name."""

from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Command
from tests.support.booking_lines import booking

Db = Database[dict[str, Any]]

_LIMIT = 255
_ENDING = len("_legacy_20261123T151100Z-ab12cd")


@pytest.mark.parametrize("ways", [(), ("--at-rest",)], ids=["live", "at rest"])
@pytest.mark.parametrize("excess", [0, 1])
def test_a_cutover(database: Db, command: Command, ways: tuple[str, ...], excess: int) -> None:
    """It is refused before anything is changed, and preflight says so; the longest name that is possible is not."""
    source = "b" * (_LIMIT - _ENDING - len(database.name) - 1 + excess)
    places = ("--source", source, "--target", "clients")
    database[source].insert_many(map(booking, range(8)))
    for arguments in (("migrate",), ("verify",)):
        assert 0 == command(*arguments, *places, "--quiet").returncode
    before = database[source].options()
    preflight = command("preflight", *places)
    ended = command("cutover", *places, "--yes", "--json", *ways)

    assert (5 if excess else 0) == ended.returncode, ended.stderr
    if excess:
        assert "by 1 byte" in " ".join(ended.stderr.split())
        assert "--archive" in ended.stderr
        assert "longer than a server allows" in " ".join((preflight.stdout + preflight.stderr).split())
        assert before == database[source].options()
        (run,) = database.booking_migrate_runs.find()
        assert "done" == run["state"]
