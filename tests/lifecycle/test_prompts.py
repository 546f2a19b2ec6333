"""Questions at a terminal that are not answered."""

from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.cli import streams
from tests.lifecycle.conftest import Ended
from tests.support.booking_lines import booking

PLACES = ("--target", "clients", "--quiet")


def test_an_interrupted_question_changes_nothing(
    database: Database[dict[str, Any]], command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt that ends without an answer, as by Ctrl-C, ends the command as an interruption; nothing is changed."""
    database.bookings.insert_many(map(booking, range(3)))
    assert [0, 0] == [command(name, *PLACES).returncode for name in ("migrate", "verify")]
    monkeypatch.setattr(streams, "is_interactive", lambda: True)
    ended = command("cutover", *PLACES)

    assert 130 == ended.returncode, ended.stderr
    assert "unexpected" not in ended.stderr
    assert "validator" not in database.bookings.options()
    assert 3 == database.bookings.count_documents({"sessions": {"$exists": False}})
    assert 0 == command("cutover", *PLACES, "--yes").returncode
