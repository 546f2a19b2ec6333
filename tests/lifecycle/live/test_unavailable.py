"""Where the application cannot be followed: known causes are named and lead to the way at rest, anything else is an error."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Command
from tests.support.booking_lines import booking
from tests.support.fail_commands import failing
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Command

PLACES = ("--source", "bookings", "--target", "clients")
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--max-outage", "60s")
_BAD_VALUE, _NO_SUCH_STAGE, _NO_SUCH_COMMAND, _NOT_SUPPORTED = 2, 40324, 59, 115
_UNKNOWN_FIELD = 40415


@contextmanager
def streams_fail(server: Server, database: Db, code: int) -> Iterator[None]:
    """Let the server answer every change stream of a database with an error."""
    with failing(server, ["aggregate"], {"namespace": f"{database.name}.$cmd.aggregate", "errorCode": code}):
        yield


@pytest.fixture
def migrated(database: Db, command: Run) -> None:
    """A few bookings, migrated and verified."""
    database.bookings.insert_many(map(booking, range(20)))
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize("asked", [CUTOVER, ("verify", *PLACES, "--json")])
def test_an_unexpected_error_is_an_error(
    server: Server, database: Db, command: Run, asked: tuple[str, ...]
) -> None:
    """An error that is not a known cause ends the command before anything is refused: writes are never refused for minutes by it."""
    with streams_fail(server, database, _BAD_VALUE):
        failed = command(*asked)

    assert 5 == failed.returncode, failed.stdout
    assert 20 == database.bookings.count_documents({})
    assert {} == database.bookings.options().get("validator", {})
    assert "refused until" not in failed.stderr


@pytest.mark.usefixtures("migrated")
def test_at_rest_does_not_ask(server: Server, database: Db, command: Run) -> None:
    """What is to be read at rest is not followed, so whatever is wrong with change streams does not keep it from its end."""
    with streams_fail(server, database, _BAD_VALUE):
        done = command(*CUTOVER, "--at-rest")

    assert 0 == done.returncode, done.stderr


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize("code", [_NO_SUCH_STAGE, _NO_SUCH_COMMAND, _NOT_SUPPORTED, _UNKNOWN_FIELD])
def test_a_server_without_change_streams(server: Server, database: Db, command: Run, code: int) -> None:
    """A server that does not know change streams, or an older form of them only, is cut over at rest, and that is said."""
    with streams_fail(server, database, code):
        done = command(*CUTOVER)

    assert 0 == done.returncode, done.stderr
    assert "cannot be followed" in done.stderr
    assert json.loads(done.stdout)["cutover"]["followed"] is None
