"""One action that a user may need to be granted."""

from dataclasses import dataclass

from booking_migrate.bson.format import Line

BLOCKING_WRITES = ("setUserWriteBlockMode", "bypassWriteBlockingMode", "serverStatus")
"""The actions on the cluster that blocking all writes of users takes."""


@dataclass(frozen=True, slots=True)
class Privilege:
    """One action on one resource (MongoDB manual, reference/privilege-actions)."""

    action: str
    collection: Line
    """A collection of the database; empty for the database as a whole."""

    on_cluster: bool = False
    """Whether it is on the cluster instead of the database."""
