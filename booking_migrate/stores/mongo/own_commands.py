"""Commands that continue in the server after the process that sent them was killed: they are ended before anything is read.

A command is known by its comment. Every user may see and end their own commands (manual, reference/operator/aggregation/currentOp,
reference/command/killOp).
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from pymongo import ReadPreference
from pymongo.errors import OperationFailure

from booking_migrate.errors import StillRunning
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import read, reading

_WAIT_SECONDS, _LOOK_SECONDS = 30.0, 0.1
_UNAUTHORIZED = 13


def comment_for(collection: DriverCollection) -> str:
    """Return the comment of all commands that change a collection as a whole."""
    return f"booking-migrate {collection.full_name}"


def end_own_commands(collection: DriverCollection) -> None:
    """End what an earlier process has sent about a collection as a whole, and wait until it has ended.

    Raises:
        StillRunning: a command does not end in time.
        ConnectionProblem, NotPermitted: the server cannot be asked.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while running := list(_running(collection)):
        if time.monotonic() > deadline:
            raise StillRunning(collection.name, str(running[0]["opid"]))
        for operation in running:
            _kill(collection, operation["opid"])
        time.sleep(_LOOK_SECONDS)


def _running(collection: DriverCollection) -> Iterator[Mapping[str, Any]]:
    admin = collection.database.client.get_database("admin", read_preference=ReadPreference.PRIMARY)
    stages: list[Mapping[str, Any]] = [
        {"$currentOp": {"allUsers": False, "idleCursors": False}},
        {"$match": {"command.comment": comment_for(collection)}},
        {"$project": {"opid": 1}},
    ]
    yield from read(collection, lambda: list(admin.aggregate(stages)))


def _kill(collection: DriverCollection, operation: Any) -> None:
    with reading(collection):
        try:
            collection.database.client.admin.command({"killOp": 1, "op": operation})
        except OperationFailure as error:
            # Then it is only waited for.
            if error.code != _UNAUTHORIZED:
                raise
