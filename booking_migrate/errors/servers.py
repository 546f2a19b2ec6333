"""Errors of servers that cannot be reached, cannot be used, lack a privilege or do not do in time what they are asked for.

The processes that a run's work is assigned to are among them: local ones and the workers of a Dask cluster.
"""

from booking_migrate.errors.base import ConnectionProblem, Refused, Unexpected, either


class NotReady(Refused):
    """A check that `preflight` makes, too, prevents the command; nothing was changed."""

    command: str
    found: str
    advice: str
    message = "{command} is not ready: {found}"
    again = ""


class ServerUnreachable(ConnectionProblem):
    """No server answers."""

    hosts: str
    problem: str
    advice: str = (
        "Check that the server runs, and the host and port in the connection string; then run the same command again, which "
        "continues from what is already there."
    )
    message = "no MongoDB server answers at {hosts}: {problem}"


class NoMajority(ConnectionProblem):
    """Too few members of the replica set acknowledge writes."""

    members: str
    """Each with its state."""

    message = "no majority of the replica set acknowledges writes: {members}"
    hint = (
        "Start the members that are down, or wait until they have caught up, and run the same command again."
    )


class NoPrimary(ConnectionProblem):
    """The replica set has no primary that can be reached."""

    members: str
    """Each with its state."""

    message = "the replica set has no primary that can be reached: {members}"
    hint = "Start the members that are down, or make the primary reachable from here, and run the same command again."


class StillFailing(ConnectionProblem):
    """The server has refused something with a passing cause until the time limit."""

    place: str
    """Database and collection."""

    hosts: str
    seconds: float
    problem: str
    message = "the MongoDB server at {hosts} could not work on {place} for {seconds:.0f} s: {problem}"
    hint = (
        "Run the same command again when the server has less to do: it continues from what is already there."
    )


class NotThePrimary(ConnectionProblem):
    """The connection string reaches one member only, and that is not the primary."""

    host: str
    state: str
    replica_set: str
    hosts: str
    """Those of the members that hold data, as the set names them."""

    message = "the connection string reaches only {host}, which is {state} in the replica set {replica_set}"
    hint = "Leave out directConnection=true and name the set: mongodb://{hosts}/?replicaSet={replica_set}"


class LagUnknown(ConnectionProblem):
    """The replication lag, which limits the run, can no longer be measured."""

    seconds: float
    problem: str
    message = "the lag of the secondaries could not be measured for {seconds:.0f} s: {problem}"
    hint = "Run the same command again when all secondaries are up: it continues from what is already there."


class AuthenticationFailed(ConnectionProblem):
    """The server does not accept the user or the password."""

    hosts: str
    database: str = ""
    """Which one is worked on, if the connection string has to name it."""

    message = "the MongoDB server at {hosts} does not accept this user and password"
    again = ""
    hint = (
        "Check both, and percent-encode special characters (@ as %40). A user that was created in the database admin needs "
        "authSource: export MONGODB_URI='mongodb://USER:PASSWORD@{hosts}/{database}?authSource=admin'"
    )


class CredentialsMissing(ConnectionProblem):
    """The server requires authentication, and the connection string names no user."""

    hosts: str
    database: str
    where = either("database", " for the database {database}")
    message = (
        "the MongoDB server at {hosts} requires authentication{where}, and the connection string has no user"
    )
    again = ""
    hint = (
        "Put user and password into the connection string, percent-encoded: "
        "export MONGODB_URI='mongodb://USER:PASSWORD@{hosts}/{database}?authSource=admin'"
    )


class AuthenticationModuleMissing(ConnectionProblem):
    """An authentication mechanism needs a module that is not installed."""

    mechanism: str
    module: str
    extra: str
    message = "cannot authenticate with {mechanism}: the Python module {module} is not installed"
    hint = "Install it: pip install 'pymongo[{extra}]'"


class SrvModuleMissing(ConnectionProblem):
    """A connection string with an SRV name needs a module that is not installed."""

    message = "cannot resolve a mongodb+srv:// name: the Python module dnspython is not installed"
    hint = "Install it: pip install dnspython"


class ConnectionStringUnresolved(ConnectionProblem):
    """The driver finds out only when it connects that it cannot use a connection string, such as one with an SRV name."""

    problem: str
    message = "cannot connect: {problem}"
    hint = (
        "Check the host name after mongodb+srv:// and the name server, or list the members after mongodb://."
    )


class NotPermitted(Refused):
    """The server's user lacks a privilege."""

    place: str
    problem: str
    database: str
    command: str = "this"
    """The server's command that it refused, as it names it."""

    user: str = ""
    """Who is logged in."""

    user_database: str = ""
    """Where that user was created."""

    whom = either("user", " to user {user}")
    message = "the server does not permit {command} on {database}.{place}{whom}: {problem}"

    @property
    def hint(self) -> str:
        role = _ROLES.get(self.command, "readWrite")
        where = "admin" if role in _CLUSTER_ROLES else self.database
        needed = f"It needs {role} on {where}; all commands together need readWrite and dbAdmin on {self.database}."
        if not self.user:
            return needed
        # One that lacks a role for one step would lack the other for the next.
        roles = dict.fromkeys([(role, where), ("readWrite", self.database), ("dbAdmin", self.database)])
        granted = ", ".join(f'{{role: "{name}", db: "{place}"}}' for name, place in roles if name != "read")
        shell = f'db.getSiblingDB("{self.user_database}")'
        return (
            f'{needed} As an administrator, in mongosh: {shell}.grantRolesToUser("{self.user}", [{granted}])'
        )

    @property
    def again(self) -> str:
        return ""


_ROLES = {
    **dict.fromkeys(
        ("find", "aggregate", "count", "listCollections", "listIndexes", "getMore", "collStats"), "read"
    ),
    **dict.fromkeys(("collMod", "dbHash", "validate"), "dbAdmin"),
    **dict.fromkeys(("serverStatus", "replSetGetStatus"), "clusterMonitor"),
}
"""The built-in role that allows a command; readWrite if it is not here."""

_CLUSTER_ROLES = frozenset({"clusterMonitor"})


class WorkerLost(Unexpected):
    """A worker process ended unexpectedly or could not be started, mostly for lack of memory or processes."""

    unsupported_reason: str | None = None
    """Why it could not be started; None if it was started and has ended."""

    ending = either("unsupported_reason", "could not be started: {unsupported_reason}", "ended unexpectedly")
    message = "a worker process {ending}"
    hint = (
        "Run the same command again: what is already there is kept. If memory was short, use fewer --workers."
    )


class ClusterUnreachable(ConnectionProblem):
    """The scheduler of a Dask cluster does not answer."""

    address: str
    problem: str
    message = "the Dask scheduler at {address} does not answer: {problem}"
    hint = "Check that it runs, and its host and port in --executor; without --executor, local processes do the work."


class ClusterUnfit(Refused):
    """The workers of a Dask cluster cannot do a run's work."""

    address: str
    problem: str
    message = "the workers of the Dask scheduler at {address} cannot be used: {problem}"
    hint = "Install the same version of this program for the same Python on each worker, and restart the workers."


class ClusterLost(Unexpected):
    """The connection to the scheduler of a Dask cluster broke off."""

    address: str
    problem: str
    message = "the connection to the Dask scheduler at {address} broke off: {problem}"
    hint = "Run the same command again, with or without --executor: what is already there is kept."
