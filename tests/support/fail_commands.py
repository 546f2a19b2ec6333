"""Commands of the program that a real server makes fail."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.server import Server


@contextmanager
def failing(server: Server, times: int, commands: list[str], failure: dict[str, Any]) -> Iterator[None]:
    """While the context lasts, the next few of these commands of the program fail."""
    admin = server.client().admin
    data = {"failCommands": commands, "appName": "booking-migrate", **failure}
    admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)
    try:
        yield
    finally:
        admin.command("configureFailPoint", "failCommand", mode="off")
