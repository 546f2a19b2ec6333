"""Whether a user may do what a command does: looked at by `preflight`, and by each writing command before it changes anything."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from booking_migrate.errors import NotReady
from booking_migrate.preflight.outcome import Check, State
from booking_migrate.runs.privileges import CLUSTER_ROLES, task_of
from booking_migrate.stores.destination import Privilege

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.inspection import MongoInspector


def check_privileges(inspector: "MongoInspector", row: str, names: Sequence[str]) -> Check:
    """Return what the user of a connection lacks for a command.

    Args:
        inspector: of the database.
        row: the command's row in the table of privileges.
        names: the collections that it is about: what is granted on some of them does not prevent it.
    """
    task = task_of(row)
    lacking = inspector.missing([Privilege(action, "") for action in task.actions])
    if lacking is None:
        return Check("privileges", State.UNKNOWN, "the server does not say what this user may do")
    if not lacking:
        return Check("privileges", State.FINE, "this user may do all that it takes")
    partly, none = list[str](), list[str]()
    for action in dict.fromkeys(each.action for each in lacking):
        wanted = [Privilege(action, name) for name in dict.fromkeys(names)]
        missing = inspector.missing(wanted) or ()
        (none if len(missing) == len(wanted) else partly).append(action)
    if none:
        is_needed = not set(none) <= set(task.optional)
        return Check(
            "privileges",
            State.OBSTACLE if is_needed else State.CAUTION,
            f"this user lacks on {inspector.database}: {', '.join(none)}",
            _grant(inspector, row),
        )
    found = f"granted on single collections of {inspector.database} only: {', '.join(partly)}"
    return Check("privileges", State.UNKNOWN, found, _grant(inspector, row))


def refuse_lacking(inspector: "MongoInspector", row: str, names: Sequence[str]) -> None:
    """Refuse a command that the server would not permit to its end; nothing was changed.

    Raises:
        NotReady: the user lacks a privilege for it, by the check that `preflight` makes.
        ConnectionProblem: the server cannot be asked.
    """
    check = check_privileges(inspector, row, names)
    if check.state is State.OBSTACLE:
        raise NotReady(row, check.found, f"Nothing was changed. {check.hint}")


def _grant(inspector: "MongoInspector", row: str) -> str:
    """Return the commands by which an administrator grants what a command takes."""
    user, where = inspector.user()
    roles = [
        {"role": role, "db": "admin" if role in CLUSTER_ROLES else inspector.database}
        for role in task_of(row).roles
    ]
    shell = f"db.getSiblingDB({json.dumps(where)}).grantRolesToUser({json.dumps(user)}, {json.dumps(roles)})"
    command = row.partition(" after ")[0]
    return (
        f"As an administrator, in mongosh: {shell}\n"
        f"Or a role with only what it takes: booking-migrate preflight {command} --role"
    )
