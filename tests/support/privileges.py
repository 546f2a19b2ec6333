"""Name what each command may do to a database with access control: the built-in roles that suffice, and the actions needed.

The table in README.md is made of this, and `tests/cli/test_privileges.py` runs every command with exactly these.
"""

from dataclasses import dataclass

READS = ("find", "listIndexes", "listCollections")
WRITES = (*READS, "insert", "update", "remove")
FOLLOWS = "changeStream"
"""Without it, the application cannot be followed: then a cut-over reads everything behind the fence."""

_MIGRATES = (*WRITES, "createIndex", FOLLOWS)
_DROPS = (*WRITES, "dropCollection", "dropIndex")
_CUTS_OVER = (*_DROPS, "createIndex", "collMod", "dbHash", FOLLOWS)
_BLOCKS = ("setUserWriteBlockMode", "bypassWriteBlockingMode", "serverStatus")

CLUSTER_ROLES = ("clusterMonitor", "restore")
"""Built-in roles on the cluster, which are granted on `admin`."""


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


TASKS = (
    Task(("dry-run", "status", "explain"), ("read",), READS),
    Task(("verify",), ("readWrite",), (*READS, "update", FOLLOWS)),
    Task(("migrate", "migrate --in-place"), ("readWrite",), _MIGRATES),
    Task(("migrate --max-lag",), ("readWrite", "clusterMonitor"), _MIGRATES, ("replSetGetStatus",)),
    Task(("cutover", "rollback after a cut-over"), ("readWrite", "dbAdmin"), _CUTS_OVER),
    Task(
        ("cutover --block-all-writes",),
        ("readWrite", "dbAdmin", "clusterMonitor", "restore"),
        _CUTS_OVER,
        _BLOCKS,
    ),
    Task(("rollback",), ("readWrite",), (*_DROPS, "createIndex")),
    Task(("finalize",), ("readWrite",), _DROPS),
    Task(("finalize after a cut-over",), ("readWrite", "dbAdmin"), (*_DROPS, "collMod")),
    Task(
        ("view", "service-indexes"),
        ("readWrite",),
        ("listIndexes", "listCollections", "createIndex", "createCollection", "dropCollection"),
    ),
)
"""Every command that talks to a database, except `serve`."""
