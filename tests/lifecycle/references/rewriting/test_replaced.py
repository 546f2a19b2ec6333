"""A collection with references that others drop, rename or replace as a whole while they are rewritten."""

from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.references import rewrite
from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.rewriting.conftest import COUNT, REWRITE
from tests.support.references import old

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

pytestmark = pytest.mark.usefixtures("cut_over")

FIELD = ("--field", "orders.bookingId")
ORDERS = [{"_id": number, "bookingId": old(number)} for number in range(2, COUNT)]


def dropped(database: Db) -> None:
    """Drop the orders, and store them again, as a restore does."""
    database.orders.drop()
    database.orders.insert_many(ORDERS)


def replaced(database: Db) -> None:
    """Replace the orders on the server."""
    database.before.insert_many(ORDERS)
    database.before.aggregate([{"$out": "orders"}])


def renamed(database: Db) -> None:
    """Take the orders away, and put another collection in their place."""
    database.before.insert_many(ORDERS)
    database.orders.rename("orders_of_before")
    database.before.rename("orders")


@pytest.mark.parametrize("replace", [dropped, replaced, renamed])
def test_it_is_read_again(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch, replace: Callable[[Db], None]
) -> None:
    """The rewrite ends and says so; the same command reads it as a whole and rewrites it."""
    database.orders.drop()
    database.orders.insert_many(ORDERS)
    scan = rewrite._Rewriting._scan
    with monkeypatch.context() as beside:

        def scanned(self: Any, collection: str, **how: Any) -> int:
            changed = scan(self, collection, **how)
            replace(database)
            return changed

        beside.setattr(rewrite._Rewriting, "_scan", scanned)
        ended = command(*REWRITE, *FIELD)
    again = command(*REWRITE, *FIELD)

    assert 5 == ended.returncode, ended.stdout
    assert "orders was changed as a whole" in " ".join(ended.stderr.split())
    assert "references rewrite" in " ".join(ended.stderr.split())
    assert 0 == again.returncode, again.stderr
    written = {each["_id"]: each["bookingId"] for each in database.orders.find()}
    assert [order["_id"] for order in ORDERS] == list(written)
    assert not {order["bookingId"] for order in ORDERS} & set(written.values())
