"""Whether a user may do what a command does: looked at by `preflight`, and by each writing command before it changes anything."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from booking_migrate.errors import SAME_COMMAND, LagNotMeasurable, NotReady, before_start
from booking_migrate.preflight.outcome import Check, State
from booking_migrate.runs.privileges import CLUSTER_ROLES, role_name, task_of
from booking_migrate.stores.privilege import Privilege

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.inspection import MongoInspector


_LIMITED = "migrate --max-lag"
_LIKE_MIGRATE = frozenset({"references rewrite", "rollback --references"})


def check_privileges(
    inspector: "MongoInspector",
    row: str,
    names: Sequence[str],
    certain: Sequence[Privilege] = (),
    *,
    option: str = "",
) -> Check:
    """Return what the user of a connection lacks for a command.

    Args:
        inspector: of the database.
        row: the command's row in the table of privileges.
        names: the collections that it is about: what is granted on some of them does not prevent it.
        certain: what it is certain to do on single collections.
        option: the option with which it is that certain, for the command that prints the role; empty: it always is.
    """
    task = task_of(row)
    on_cluster = [Privilege(action, "", on_cluster=True) for action in task.cluster_actions]
    lacking = inspector.missing([*(Privilege(action, "") for action in task.actions), *on_cluster])
    if lacking is None:
        return Check("privileges", State.UNKNOWN, "the server does not say what this user may do")
    surely = {each.action for each in inspector.missing(certain) or ()} if certain else set[str]()
    if not lacking and not surely:
        return Check("privileges", State.FINE, "this user may do all that it needs")
    partly, none = list[str](), list[str]()
    on_database = [each.action for each in lacking if not each.on_cluster]
    for action in dict.fromkeys([*on_database, *sorted(surely)]):
        wanted = [Privilege(action, name) for name in dict.fromkeys(names)]
        missing = inspector.missing(wanted) or ()
        (none if action in surely or len(missing) == len(wanted) else partly).append(action)
    cluster = [each.action for each in lacking if each.on_cluster]
    if none or cluster:
        is_needed = cluster or not set(none) <= set(task.optional)
        places = ((inspector.database, none), ("the cluster", cluster))
        named = (f"on {place}: {', '.join(actions)}" for place, actions in places if actions)
        return Check(
            "privileges",
            State.OBSTACLE if is_needed else State.CAUTION,
            f"this user lacks {'; '.join(named)}",
            _grant(inspector, row, option),
        )
    found = f"granted on single collections of {inspector.database} only: {', '.join(partly)}"
    return Check("privileges", State.UNKNOWN, found, _grant(inspector, row, option))


def refuse_lacking(
    inspector: "MongoInspector",
    row: str,
    names: Sequence[str],
    certain: Sequence[Privilege] = (),
    *,
    option: str = "",
) -> None:
    """Refuse a command that the server would not permit to its end; nothing was changed. Arguments as of `check_privileges`.

    Raises:
        NotReady: the user lacks a privilege for it, by the check that `preflight` makes.
        ConnectionProblem: the server cannot be asked.
    """
    with before_start():
        check = check_privileges(inspector, row, names, certain, option=option)
    if check.state is State.OBSTACLE:
        raise NotReady(
            row, check.found, f"{check.hint}\nAfter either, run the same command again: {SAME_COMMAND}"
        )


def refuse_unmeasured_lag(inspector: "MongoInspector") -> None:
    """Refuse a limit of the lag if the user of a connection may not measure it.

    Raises:
        LagNotMeasurable: the user lacks the privilege; nothing was changed.
        ConnectionProblem: the server cannot be asked.
    """
    (action,) = task_of(_LIMITED).cluster_actions
    if inspector.missing([Privilege(action, "", on_cluster=True)]):
        raise LagNotMeasurable(f"this user may not run {action}", _grant(inspector, _LIMITED))


def shown_with(inspector: "MongoInspector", role: str, database: str) -> str:
    """Return how an administrator lets the user of a connection know what a role shows; empty without a login."""
    if not inspector.user()[0]:
        return ""
    return f"To see it, as an administrator, in mongosh: {_granting(inspector, [(role, database)])}"


def _granting(inspector: "MongoInspector", roles: Sequence[tuple[str, str]]) -> str:
    """Return the command of the shell that grants roles, each with its database, to the user of a connection."""
    user, where = inspector.user()
    granted = [{"role": role, "db": database} for role, database in roles]
    return f"db.getSiblingDB({json.dumps(where)}).grantRolesToUser({json.dumps(user)}, {json.dumps(granted)})"


def _grant(inspector: "MongoInspector", row: str, option: str = "") -> str:
    """Return the commands by which an administrator grants what a command takes."""
    roles = [(role, "admin" if role in CLUSTER_ROLES else inspector.database) for role in task_of(row).roles]
    # It is asked by the name of a command that takes the same.
    name = (
        "migrate"
        if row in _LIKE_MIGRATE
        else row.partition(" after ")[0].replace("--max-lag", "--max-lag 10")
    )
    command = f"{name} {option}".strip()
    role = role_name([row], option)
    own = [(role, "admin" if task_of(row).cluster_actions else inspector.database)]
    return (
        f"Quickest, as an administrator, in mongosh: {_granting(inspector, roles)}\n"
        f"Or least privilege: this prints the command that creates the role {role}, with only what it needs; run that in mongosh: "
        f"booking-migrate preflight {command} --role\n"
        f"Then grant that role, in mongosh: {_granting(inspector, own)}"
    )
