"""The server cannot be reached or does not let us in: exit code 10."""

from dataclasses import dataclass

from booking_migrate.errors.tree import ConnectionProblem


@dataclass(eq=False)
class ServerUnreachable(ConnectionProblem):
    """No server answers."""

    hosts: str
    problem: str

    @property
    def message(self) -> str:
        return f"no MongoDB server answers at {self.hosts}: {self.problem}"


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
