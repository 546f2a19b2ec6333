"""Replication lag as the server reports it (MongoDB manual: reference/command/replSetGetStatus)."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.errors import PyMongoError

from booking_migrate.stores.mongo.connection import TIMES, DriverCollection

_PRIMARY, _SECONDARY, _ARBITER = 1, 2, 7
"""The states of members (manual: reference/replica-states)."""


class MongoLag:
    """See `LagGauge` for the promises."""

    def __init__(self, anchor: DriverCollection) -> None:
        """Take any collection of the replica set."""
        self._admin = anchor.database.client.get_database("admin")

    def seconds(self) -> float | None:
        """See `LagGauge.seconds`."""
        try:
            status = self._admin.command("replSetGetStatus", codec_options=TIMES)
        except PyMongoError:
            # Not permitted, no replica set, or nobody answers: whatever it is, the lag is not known.
            return None
        return lag_of(status["members"])


def lag_of(members: Sequence[Mapping[str, Any]]) -> float | None:
    """The lag in what ``replSetGetStatus`` says of the members, in seconds; None if it does not tell.

    Args:
        members: each with its ``state`` and, if it holds data, the time of its newest entry, ``optimeDate``.
    """
    holding = [member for member in members if member["state"] != _ARBITER]
    primary = next((member for member in holding if member["state"] == _PRIMARY), None)
    if primary is None or any(member["state"] not in (_PRIMARY, _SECONDARY) for member in holding):
        return None
    lags: list[float] = [(primary["optimeDate"] - member["optimeDate"]).total_seconds() for member in holding]
    return max(0.0, *lags)
