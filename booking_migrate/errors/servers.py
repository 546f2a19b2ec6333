"""Errors of servers that cannot be reached, cannot be used, lack a privilege or do not do in time what they are asked for.

The processes that a run's work is assigned to are among them: local ones and the workers of a Dask cluster.
"""

from collections.abc import Sequence
from shlex import quote
from urllib.parse import quote_plus

from booking_migrate.errors.base import (
    GOES_ON,
    SAME_COMMAND,
    ConnectionProblem,
    Refused,
    RefusedUnchanged,
    Unexpected,
    either,
)
from booking_migrate.errors.places import listed


class NotReady(RefusedUnchanged):
    """A check that `preflight` makes, too, prevents the command; nothing was changed."""

    command: str
    found: str
    advice: str
    message = "{command} is not ready: {found}"


class ServerUnreachable(ConnectionProblem):
    """No server answers."""

    hosts: str
    problem: str
    advice: str = ""
    """What helps, if that is known."""

    message = "no MongoDB server answers at {hosts}: {problem}"

    @property
    def hint(self) -> str:
        if self.is_before_start:
            checked = (
                self.advice or "Check that the server runs, and the host and port in the connection string"
            )
            return f"{checked}; then run the same command again."
        return f"{self.advice or 'Check that the server and the network are up'}; then run the same command again: {GOES_ON}."


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
    hint = f"Run the same command again when the server has less to do: {GOES_ON}."


class NotThePrimary(ConnectionProblem):
    """The connection string reaches one member only, and that is not the primary."""

    host: str
    state: str
    replica_set: str
    hosts: str
    """Those of the members that hold data, as the set names them."""

    message = "the connection string reaches only {host}, which is {state} in the replica set {replica_set}"
    hint = "Leave out directConnection=true, and name the set and its members: mongodb://{hosts}/?replicaSet={replica_set}"


class LagUnknown(ConnectionProblem):
    """The replication lag, which limits the run, can no longer be measured."""

    seconds: float
    problem: str
    message = "the lag of the secondaries could not be measured for {seconds:.0f} s: {problem}"
    hint = f"Run the same command again when all secondaries are up: {GOES_ON}."


_USERS_AT = "admin"
"""The database in which most users are created."""


_ENCODED = "with special characters percent-encoded (@ as %40, : as %3A, / as %2F, % as %25)"

_KEPT = "Keep the other options of your connection string, such as replicaSet"


def _export(hosts: str, database: str, source: str, user: str = "") -> str:
    """Return the line for a shell that sets a connection string, with a placeholder for the password."""
    seeds = hosts.replace(", ", ",")
    return f"export MONGODB_URI='mongodb://{quote_plus(user) or 'USER'}:PASSWORD@{seeds}/{database}?authSource={source}'"


class AuthenticationFailed(ConnectionProblem):
    """The server does not accept the user or the password."""

    hosts: str
    database: str = ""
    """Which one is worked on, if the connection string has to name it."""

    user: str = ""
    """Who was to log in; empty: by a certificate or another way without a name."""

    source: str = ""
    """The database in which that user was looked for."""

    is_source_named: bool = True
    """Whether the connection string has authSource; otherwise the database in its path counts."""

    tried = either("user", ": user {user}, looked for in the database {source}, {reason}")
    reason = either(
        "is_source_named", "as authSource says", "because the connection string has no authSource"
    )
    message = "the MongoDB server at {hosts} does not accept this user and password{tried}"

    @property
    def hint(self) -> str:
        export = _export(self.hosts, self.database, self.source or _USERS_AT, self.user)
        first = f"Check the password, {_ENCODED}, and that authSource is the database in which the user was created"
        other = ""
        if not (self.is_source_named or self.source == _USERS_AT):
            export = _export(self.hosts, self.database, _USERS_AT, self.user)
            first = f"Usual: the user was created in the database {_USERS_AT}, and authSource is missing"
            other = f"Or, if it was created in {self.source}, check the password, {_ENCODED}.\n"
        return f"{first}. {_KEPT}: {export}\n{other}Then run the same command again: {SAME_COMMAND}"


class CredentialsMissing(ConnectionProblem):
    """The server requires authentication, and the connection string names no user."""

    is_before_start = True
    hosts: str
    database: str
    where = either("database", " for the database {database}")
    message = (
        "the MongoDB server at {hosts} requires authentication{where}, and the connection string has no user"
    )

    @property
    def hint(self) -> str:
        return (
            f"Add a user, the password, {_ENCODED}, and authSource, the database in which the user was created, usually {_USERS_AT}. "
            f"{_KEPT}: {_export(self.hosts, self.database, _USERS_AT)}\n"
            f"Then run the same command again: {SAME_COMMAND}"
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


class NoTransactions(Refused):
    """A migration in place beside an application needs transactions, which a standalone server does not have."""

    hosts: str
    effect = "Nothing was written."
    message = "a migration in place needs transactions, and {hosts} is not a replica set"
    hint = (
        "Usual, if the application reads only the old shape, or if you do not know: migrate side by side, which works on a standalone "
        f"server, and leaves the collection as it is: {SAME_COMMAND} without --in-place\n"
        "Only if the application reads both shapes and writes the new one, and the server may be restarted: make it a replica set. Set "
        "replication.replSetName to rs0 in mongod.conf, and with access control security.keyFile, too, or mongod does not start; then "
        "restart mongod. It takes no writes until you type, in mongosh: rs.initiate()\n"
        f"Then run the same command again; the application may write meanwhile: {SAME_COMMAND}\n"
        "Only if the application reads both shapes and writes the new one, and the server may not be restarted: migrate without "
        "transactions. Before you type this, stop every application that writes to the collection, and start it again when the command has "
        f"ended, or what it writes meanwhile can be lost: {SAME_COMMAND} --without-transactions"
    )


class LagNotMeasurable(RefusedUnchanged):
    """The run is to wait for secondaries, and how far they are behind cannot be measured."""

    problem: str
    grant: str = ""
    """How an administrator grants what it takes, each way on a line; empty: that is not what is lacking."""

    message = "the lag of the secondaries, which --max-lag limits, cannot be measured: {problem}"
    needs = either(
        "grant",
        "It needs the role clusterMonitor. {grant}",
        "It needs a replica set whose members are all up, and the role clusterMonitor on the database admin.",
    )
    after = either("grant", "After either,", "Then")
    hint = (
        "{needs}\n"
        f"{{after}} run the same command again: {SAME_COMMAND}\n"
        f"Or, if secondaries may fall behind, leave out --max-lag: {SAME_COMMAND} without --max-lag"
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

    databases: Sequence[str] = ()
    """Those that the user sees, the nearest name first; empty if that in use is one of them."""

    whom = either("user", " to user {user}")
    message = "the server does not permit {command} on {database}.{place}{whom}: {problem}"

    @property
    def hint(self) -> str:
        if not self.databases:
            return self._granting()
        first = self.databases[0]
        return (
            f"This user sees no database {self.database}, but {listed(self.databases)}. If {first} is meant: {SAME_COMMAND} --db {quote(first)}\n"
            f"Or, only if the name {self.database} is right: {self._granting()}"
        )

    def _granting(self) -> str:
        """Return which roles are needed, and how they are granted."""
        role = _ROLES.get(self.command, "readWrite")
        where = "admin" if role in _CLUSTER_ROLES else self.database
        needed = f"It needs {role} on {where}; all commands together need readWrite and dbAdmin on {self.database}."
        if not self.user:
            return f"{needed} Then run the same command again: {SAME_COMMAND}"
        # One that lacks a role for one step would lack the other for the next.
        roles = dict.fromkeys([(role, where), ("readWrite", self.database), ("dbAdmin", self.database)])
        granted = ", ".join(f'{{role: "{name}", db: "{place}"}}' for name, place in roles if name != "read")
        shell = f'db.getSiblingDB("{self.user_database}")'
        return (
            f'{needed} As an administrator, in mongosh: {shell}.grantRolesToUser("{self.user}", [{granted}])\n'
            f"Then run the same command again: {SAME_COMMAND}"
        )


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
    hint = f"Run the same command again: {GOES_ON}. If memory was short, use fewer --workers."


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
    hint = f"Run the same command again, with or without --executor: {GOES_ON}."
