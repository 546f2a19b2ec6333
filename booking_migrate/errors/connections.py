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
class AuthenticationFailed(ConnectionProblem):
    """The server does not accept the user or the password."""

    hosts: str

    @property
    def message(self) -> str:
        return f"the MongoDB server at {self.hosts} does not accept this user and password"
