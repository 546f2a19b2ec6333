"""Replication lag as the server reports it (MongoDB manual: reference/command/replSetGetStatus)."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.errors import OperationFailure
from typing_extensions import override

from booking_migrate.stores.lag import LagGauge
from booking_migrate.stores.mongo.connection import TIMES, DriverCollection
from booking_migrate.stores.mongo.failures import NOT_PERMITTED_CODES, reading, server_text
from booking_migrate.stores.mongo.retry import is_transient, with_retry
from booking_migrate.stores.mongo.servers import described, reported

_PRIMARY, _SECONDARY, _ARBITER = 1, 2, 7
"""The states of members (manual: reference/replica-states)."""


class MongoLag(LagGauge):
    """See `LagGauge` for the promises."""

    def __init__(self, anchor: DriverCollection) -> None:
        """Take any collection of the replica set."""
        self._anchor = anchor
        self._admin = anchor.database.client.get_database("admin")

    @override
    def seconds(self, *, waits: bool = True) -> float | str:
        with reading(self._anchor):
            try:
                status = with_retry(
                    lambda: self._admin.command("replSetGetStatus", codec_options=TIMES), waits=waits
                )
            except OperationFailure as error:
                if is_transient(error):
                    raise
                if error.code in NOT_PERMITTED_CODES:
                    return "this user may not run replSetGetStatus"
                return server_text(error)
        return lag_of(status["members"])


def lag_of(members: Sequence[Mapping[str, Any]]) -> float | str:
    """Return the lag in what ``replSetGetStatus`` says of the members, in seconds; or the members that keep it from being known.

    Args:
        members: each with its ``name``, its ``state`` and, if it holds data, the time of its newest entry, ``optimeDate``.
    """
    holding = [member for member in members if member["state"] != _ARBITER]
    primary = next((member for member in holding if member["state"] == _PRIMARY), None)
    if primary is None or any(member["state"] not in (_PRIMARY, _SECONDARY) for member in holding):
        return f"not all members are up: {described(map(reported, members))}"
    lags: list[float] = [(primary["optimeDate"] - member["optimeDate"]).total_seconds() for member in holding]
    return max(0.0, *lags)
