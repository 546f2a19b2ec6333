"""The server cannot be reached or does not let us in."""

from dataclasses import dataclass

from booking_migrate.errors.base import ConnectionProblem


@dataclass(eq=False)
class ServerUnreachable(ConnectionProblem):
    """No server answers."""

    hosts: str
    problem: str
    advice: str = "Check that the server runs, and the host and port in the connection string."

    @property
    def message(self) -> str:
        return f"no MongoDB server answers at {self.hosts}: {self.problem}"

    @property
    def hint(self) -> str:
        return self.advice


@dataclass(eq=False)
class NoMajority(ConnectionProblem):
    """Too few members of the replica set acknowledge writes."""

    members: str
    """Each with its state."""

    @property
    def message(self) -> str:
        return f"no majority of the replica set acknowledges writes: {self.members}"

    @property
    def hint(self) -> str:
        return "Start the members that are down, or wait until they have caught up, and run the same command again."


@dataclass(eq=False)
class NoPrimary(ConnectionProblem):
    """The replica set has no primary that can be reached."""

    members: str
    """Each with its state."""

    @property
    def message(self) -> str:
        return f"the replica set has no primary that can be reached: {self.members}"

    @property
    def hint(self) -> str:
        return "Start the members that are down, or make the primary reachable from here, and run the same command again."


@dataclass(eq=False)
class NotThePrimary(ConnectionProblem):
    """The connection string reaches one member only, and that is not the primary."""

    host: str
    state: str
    replica_set: str
    hosts: str
    """Those of the members that hold data, as the set names them."""

    @property
    def message(self) -> str:
        return f"the connection string reaches only {self.host}, which is {self.state} in the replica set {self.replica_set}"

    @property
    def hint(self) -> str:
        return f"Leave out directConnection=true and name the set: mongodb://{self.hosts}/?replicaSet={self.replica_set}"


@dataclass(eq=False)
class LagUnknown(ConnectionProblem):
    """The replication lag, which limits the run, can no longer be measured."""

    seconds: float
    problem: str

    @property
    def message(self) -> str:
        return f"the lag of the secondaries could not be measured for {self.seconds:.0f} s: {self.problem}"

    @property
    def hint(self) -> str:
        return (
            "Run the same command again when all secondaries are up: it goes on from what is already there."
        )


@dataclass(eq=False)
class AuthenticationFailed(ConnectionProblem):
    """The server does not accept the user or the password."""

    hosts: str

    @property
    def message(self) -> str:
        return f"the MongoDB server at {self.hosts} does not accept this user and password"

    @property
    def hint(self) -> str:
        return (
            "Check both, add authSource=DATABASE if the user was created in another database (often admin), "
            "and percent-encode special characters (@ as %40)."
        )


@dataclass(eq=False)
class CredentialsMissing(ConnectionProblem):
    """The server has access control, and the connection string has no user."""

    hosts: str
    database: str

    @property
    def message(self) -> str:
        where = f" for the database {self.database}" if self.database else ""
        return f"the MongoDB server at {self.hosts} requires authentication{where}, and the connection string has no user"

    @property
    def hint(self) -> str:
        return "Put user and password into MONGODB_URI, percent-encoded."


@dataclass(eq=False)
class AuthenticationModuleMissing(ConnectionProblem):
    """An authentication mechanism needs a module that is not installed."""

    mechanism: str
    module: str
    extra: str

    @property
    def message(self) -> str:
        return f"cannot authenticate with {self.mechanism}: the Python module {self.module} is not installed"

    @property
    def hint(self) -> str:
        return f"Install it: pip install 'pymongo[{self.extra}]'"


@dataclass(eq=False)
class ConnectionStringUnresolved(ConnectionProblem):
    """The driver finds out only when it connects that it cannot use a connection string, such as one with an SRV name."""

    problem: str

    @property
    def message(self) -> str:
        return f"cannot connect: {self.problem}"

    @property
    def hint(self) -> str:
        return "Check the host name after mongodb+srv:// and the name server, or list the members after mongodb://."
