"""Commands that a real server makes fail, by MongoDB's fail point `failCommand`.

A fail point outlives the test that sets it and breaks another one on the same server: here alone it is set, and it is
always taken off.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo import MongoClient

from tests.support.server import Server

# The name by which the program connects: its commands fail, not the test's own.
PROGRAM = "booking-migrate"


class FailCommands:
    """The fail point of a server."""

    def __init__(self, server: Server | MongoClient[Any]) -> None:
        self._admin = (server if isinstance(server, MongoClient) else server.client()).admin

    def set(
        self,
        commands: list[str],
        failure: dict[str, Any],
        *,
        times: int | None = None,
        skip: int | None = None,
        of: str | None = PROGRAM,
    ) -> None:
        """Let commands fail from now on.

        Args:
            commands: their names.
            failure: how they fail, and of which namespace, as the fail point's `data` has it.
            times: how many of them fail, those that come first; all of them if None.
            skip: how many succeed before all others fail; not together with ``times``.
            of: the application whose commands fail; every application's if None.
        """
        mode = "alwaysOn" if times is skip is None else {"times": times} if skip is None else {"skip": skip}
        data = {"failCommands": commands, **failure} | ({} if of is None else {"appName": of})
        self._admin.command("configureFailPoint", "failCommand", mode=mode, data=data)

    def clear(self) -> None:
        """Let all commands succeed again."""
        self._admin.command("configureFailPoint", "failCommand", mode="off")


@contextmanager
def fail_point(server: Server | MongoClient[Any]) -> Iterator[FailCommands]:
    """Yield the fail point of a server, for a failure that begins in the middle; it is taken off in the end."""
    point = FailCommands(server)
    try:
        yield point
    finally:
        point.clear()


@contextmanager
def failing(
    server: Server | MongoClient[Any], commands: list[str], failure: dict[str, Any], **how: Any
) -> Iterator[None]:
    """Let commands fail while the context lasts; see `FailCommands.set` for what is passed on."""
    with fail_point(server) as point:
        point.set(commands, failure, **how)
        yield
