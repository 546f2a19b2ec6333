"""Sessions of bookings that their client has no more: what others have changed does not hide them from verify."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Ended
from tests.lifecycle.test_changed_bookings import (
    _SESSION,
    CUTOVER,
    MIGRATE,
    ROLLBACK,
    VERIFY,
)
from tests.support.booking_lines import booking, client
from tests.support.changed_bookings import CLIENTS, delete, move

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]


@pytest.fixture
def platform(database: Db) -> Db:
    """Twenty-four bookings of four clients."""
    database.bookings.insert_many(
        [booking(number, clientId=client(number % CLIENTS)) for number in range(24)]
    )
    return database


@pytest.mark.each_value
@pytest.mark.parametrize(("act", "kind"), [(delete, "extra"), (move, "client")])
@pytest.mark.parametrize("others", [(), ("--on-conflict", "target")], ids=["plain", "decided"])
def test_a_stale_session_in_a_changed_document_is_never_proven(
    platform: Db, command: Run, act: Callable[[Db], None], kind: str, others: tuple[str, ...]
) -> None:
    """The session of a deleted or moved booking stays in a document that others changed, and stops the cut-over."""
    command(*MIGRATE)
    platform.clients.update_one({"clientId": client(1)}, {"$set": {"clientEmail": "other@example.com"}})
    act(platform)
    platform.bookings.insert_one(booking(61, clientId=client(1)))
    command(*MIGRATE, *others)
    verified = command(*VERIFY, *others)
    refused = command(*CUTOVER, *others, "--rejected", "carry")

    assert (4, 5) == (verified.returncode, refused.returncode), verified.stdout
    (mismatch,) = json.loads(verified.stdout)["mismatches"]
    assert (kind, str(booking(5)["_id"])) == (mismatch["kind"], mismatch["booking_id"])


def test_a_session_from_before_is_not_proven_beside_the_booking_of_another_client(
    platform: Db, command: Run
) -> None:
    """A session that was in the target before any run stops the cut-over if its booking is another client's."""
    command(*MIGRATE)
    platform.clients.update_one({"clientId": client(1)}, {"$push": {"sessions": _SESSION}})
    command(*ROLLBACK)
    move(platform)
    platform.bookings.insert_one(booking(61, clientId=client(1)))
    migrated = command(*MIGRATE)
    verified = command(*VERIFY)

    assert (0, 4) == (migrated.returncode, verified.returncode), verified.stdout
    (mismatch,) = json.loads(verified.stdout)["mismatches"]
    assert ("client", str(booking(5)["_id"])) == (mismatch["kind"], mismatch["booking_id"])
    assert 5 == command(*CUTOVER).returncode
