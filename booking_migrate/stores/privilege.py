"""One action that a user may need to be granted, and whether it is, by what the server says of a connection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


def not_granted(status: Mapping[str, Any], database: str, wanted: Sequence[Privilege]) -> Sequence[Privilege]:
    """Return those of some privileges that a user lacks; without a login the server does not check any, and none is missing.

    ``status`` is what the command `connectionStatus` with `showPrivileges` has returned.
    """
    known = status["authInfo"]
    if not known["authenticatedUsers"]:
        return ()
    granted = known["authenticatedUserPrivileges"]
    return tuple(one for one in wanted if not any(_covers(grant, database, one) for grant in granted))


def _covers(grant: Mapping[str, Any], database: str, wanted: Privilege) -> bool:
    """Return whether a privilege that the user has includes one that is wanted.

    Source: MongoDB manual, reference/resource-document: an empty name stands for all of them.
    """
    if wanted.action not in grant["actions"]:
        return False
    resource = grant["resource"]
    if resource.get("anyResource"):
        return True
    if wanted.on_cluster:
        return bool(resource.get("cluster"))
    if "db" not in resource or resource["db"] not in ("", database):
        return False
    return resource["collection"] in ("", wanted.collection)
