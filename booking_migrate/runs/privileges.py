"""What each command may do to a database with access control: the built-in roles that suffice, and the actions needed.

`preflight` and the table in README.md are made of this; every command was run with exactly these, and with fewer.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from booking_migrate.stores.privilege import BLOCKING_WRITES

READS = ("find", "listIndexes", "listCollections")
WRITES = (*READS, "insert", "update", "remove")
FOLLOWS = "changeStream"
"""Without it, the application cannot be followed: then a cut-over reads everything behind the fence."""

_MIGRATES = (*WRITES, "createIndex", FOLLOWS)
_DROPS = (*WRITES, "dropCollection", "dropIndex")
_CUTS_OVER = (*_DROPS, "createIndex", "collMod", "dbHash", FOLLOWS)
_AT_TIMES = (FOLLOWS, "dbHash")
"""Following is replaced by reading everything again; only a cut-over at rest compares hashes."""

CLUSTER_ROLES = ("clusterMonitor", "restore")
"""Built-in roles on the cluster, which are granted on `admin`."""

BEHIND_GUARD = "rollback after a cut-over, of a run in place"
"""The row of a rollback that stores old bookings past the guard of a cut-over."""

_ROLE = "booking_migrate"


@dataclass(frozen=True, slots=True)
class Task:
    """Commands, perhaps with an option, and what their user needs."""

    names: tuple[str, ...]
    roles: tuple[str, ...]
    """Built-in roles on the database, or on the cluster if they are in `CLUSTER_ROLES`."""

    actions: tuple[str, ...]
    """Actions on the database (MongoDB manual, reference/privilege-actions)."""

    cluster_actions: tuple[str, ...] = ()
    """Actions on the cluster."""

    optional: tuple[str, ...] = ()
    """Those of the actions without which the command does less, as it says then, or needs longer."""


TASKS = (
    Task(("init", "dry-run", "status", "explain", "references find", "references map"), ("read",), READS),
    Task(("control",), ("readWrite",), (*READS, "update")),
    Task(("references verify",), ("read",), (*READS, FOLLOWS), optional=(FOLLOWS,)),
    Task(("verify",), ("readWrite",), (*READS, "update", FOLLOWS), optional=("update", FOLLOWS)),
    Task(
        ("migrate", "migrate --in-place", "references rewrite", "rollback --references"),
        ("readWrite",),
        _MIGRATES,
        optional=(FOLLOWS,),
    ),
    Task(
        ("migrate --max-lag",),
        ("readWrite", "clusterMonitor"),
        _MIGRATES,
        ("replSetGetStatus",),
        optional=(FOLLOWS,),
    ),
    Task(("cutover", "rollback after a cut-over"), ("readWrite", "dbAdmin"), _CUTS_OVER, optional=_AT_TIMES),
    Task(
        ("cutover --block-all-writes",),
        ("readWrite", "dbAdmin", "clusterMonitor", "restore"),
        _CUTS_OVER,
        BLOCKING_WRITES,
        optional=_AT_TIMES,
    ),
    Task(("rollback",), ("readWrite",), (*_DROPS, "createIndex")),
    Task((BEHIND_GUARD,), ("readWrite", "dbAdmin"), (*_DROPS, "createIndex", "bypassDocumentValidation")),
    Task(("finalize",), ("readWrite",), _DROPS),
    Task(("finalize after a cut-over",), ("readWrite", "dbAdmin"), (*_DROPS, "collMod")),
    Task(
        ("references keep", "references map --out COLLECTION"),
        ("readWrite",),
        (*WRITES, "createIndex", "dropCollection"),
    ),
    Task(
        ("view", "service-indexes"),
        ("readWrite",),
        ("listIndexes", "listCollections", "createIndex", "createCollection", "dropCollection"),
    ),
)
"""Every command that talks to a database, except `serve`."""


OPTION_ACTIONS: Mapping[str, tuple[str, ...]] = {"--keep-index": ("createIndex",)}
"""The actions that an option takes beside those of its command."""


def task_of(command: str) -> Task:
    """Return what a command needs.

    Raises:
        KeyError: the table does not have it.
    """
    for task in TASKS:
        if command in task.names:
            return task
    raise KeyError(command)


def role_name(commands: Sequence[str], option: str = "") -> str:
    """Return the name of the role that `create_role` creates: different privileges on one database have different names."""
    names = [task_of(command).names[0] for command in commands]
    # The role for all of them needs the options only.
    parts = names if len(names) == 1 else [name.partition(" --")[2] for name in names]
    return "_".join([_ROLE, *re.findall(r"\w+", " ".join([*parts, option]))])


def create_role(database: str, commands: Sequence[str], option: str = "") -> str:
    """Return the command of the shell that creates a role with what some commands need, and nothing else.

    Args:
        database: where they work.
        commands: the commands, as the table has them.
        option: one that takes more than the table says; empty: none.
    """
    tasks = [task_of(command) for command in commands]
    more = OPTION_ACTIONS[option] if option else ()
    actions = dict.fromkeys([*(action for task in tasks for action in task.actions), *more])
    cluster = dict.fromkeys(action for task in tasks for action in task.cluster_actions)
    privileges = [
        {"resource": {"db": database, "collection": ""}, "actions": list(actions)},
        *([{"resource": {"cluster": True}, "actions": list(cluster)}] if cluster else []),
    ]
    # Privileges on the cluster are allowed in a role of `admin` only.
    place = "admin" if cluster else database
    role = {"createRole": role_name(commands, option), "privileges": privileges, "roles": []}
    return f"db.getSiblingDB({json.dumps(place)}).runCommand({json.dumps(role)})"
