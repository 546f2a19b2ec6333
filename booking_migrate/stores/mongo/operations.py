"""Aggregations that go on in the server when the process that sent them is gone."""

import re
import time
from collections.abc import Mapping
from typing import Any

from booking_migrate.errors import UnusablePlace
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import reading
from booking_migrate.stores.mongo.retry import PATIENCE, attempts

_LOOK_SECONDS = 0.05


def mark(run_id: str, part: object = "") -> str:
    """The comment by which the operations of a run, or one of them, are known (manual: reference/command/aggregate)."""
    return f"booking-migrate {run_id}/{part}"


def stop(collection: DriverCollection, marked: str) -> None:
    """End the operations whose comment begins with a mark, and wait until they are gone.

    Everybody may see and end operations of his own (manual: reference/command/killOp).

    Raises:
        UnusablePlace: one does not end.
        ConnectionProblem, NotPermitted: the server cannot be asked.
    """
    stages: list[Mapping[str, Any]] = [
        {"$currentOp": {"allUsers": False}},
        {"$match": {"command.comment": {"$regex": f"^{re.escape(marked)}"}}},
    ]
    admin = collection.database.client.admin
    deadline = time.monotonic() + PATIENCE
    with reading(collection):
        for attempt in attempts():
            with attempt:
                while found := list(admin.aggregate(stages)):
                    if time.monotonic() > deadline:
                        raise UnusablePlace(collection.name, "an aggregation of a killed run does not end")
                    for operation in found:
                        admin.command("killOp", op=operation["opid"])
                    time.sleep(_LOOK_SECONDS)
