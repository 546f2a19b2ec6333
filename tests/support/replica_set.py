"""Replica sets of three for the tests: with elections, with members that are killed, and with an arbiter."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

from tests.support.server import (
    STARTUP_SECONDS,
    Server,
    end_of_log,
    free_port,
    start_mongod,
    temporary_folder,
)

T = TypeVar("T")
_MEMBERS = 3
_PAUSE = 0.05
_INITIATED_ALREADY = 23
_READY = (1, 2, 7)
"""The states of a primary, a secondary and an arbiter (MongoDB manual, reference/replica-states)."""

_DOWN = 8


class ReplicaSet(Server):
    """Three running servers; the client follows whoever is primary."""

    def __init__(self, members: dict[int, "subprocess.Popen[bytes]"], folders: dict[int, Path]) -> None:
        """Take the members' processes and their folders by their ports."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in members)
        super().__init__(f"mongodb://{hosts}/?replicaSet=tests")
        self._members = members
        self._folders = folders

    def step_down(self) -> None:
        """Make the primary step down, if there is one just now; nobody waits for the election that follows."""
        with _alone(self._primary()) as client:
            try:
                client.admin.command("replSetStepDown", 1, secondaryCatchUpPeriodSecs=1, force=True)
            except OperationFailure:
                # An election is on its way already.
                return

    def kill_primary(self) -> int:
        """Kill the primary's process, and return its port; the two others can still elect one."""
        port = self._primary()
        self.kill(port)
        return port

    def replicate(self, *, on: bool) -> None:
        """Let the members that run fetch what the primary writes, or keep them from it."""
        for port, process in self._members.items():
            if process.poll() is None:
                with _alone(port) as client:
                    mode = "off" if on else "alwaysOn"
                    client.admin.command("configureFailPoint", "stopReplProducer", mode=mode)

    def kill(self, port: int) -> None:
        """Kill the process of one member."""
        process = self._members[port]
        process.send_signal(signal.SIGKILL)
        process.wait()

    def lose(self, port: int) -> None:
        """Kill the process of a member that is not the primary, and wait until the primary has noticed.

        Raises:
            RuntimeError: it has not within a minute.
        """
        self.kill(port)
        self._await_member(port, _DOWN)

    def await_all(self) -> None:
        """Wait until every member is ready; one that has just started copies data first.

        Raises:
            RuntimeError: one is not within a minute.
        """
        for port in self.ports:
            self._await_member(port, *_READY)

    def _await_member(self, port: int, *states: int) -> None:
        name = f"127.0.0.1:{port}"
        deadline = time.monotonic() + STARTUP_SECONDS
        with _alone(self._primary()) as client:
            while time.monotonic() < deadline:
                members = client.admin.command("replSetGetStatus")["members"]
                if any(each["name"] == name and each["state"] in states for each in members):
                    return
                time.sleep(_PAUSE)
        raise RuntimeError(f"the primary did not see {name} in one of the states {states}")

    def restart(self, port: int) -> None:
        """Start a member again, with its data, and wait until all are ready."""
        self.kill(port)
        self._members[port] = start_mongod(self._folders[port], port)
        self.await_all()

    @property
    def ports(self) -> tuple[int, ...]:
        """The members' ports, in the order of the configuration."""
        return tuple(self._members)

    def unmoved(self, act: Callable[[], T]) -> T:
        """Return the result of an action, which is begun again as long as an election interrupts it.

        Raises:
            PyMongoError: it has another cause, or it goes on for a minute.
        """
        deadline = time.monotonic() + STARTUP_SECONDS
        while True:
            try:
                return act()
            except ConnectionFailure:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)

    def await_primary(self) -> None:
        """Wait until there is a primary that takes writes.

        Raises:
            RuntimeError: there is none within a minute.
        """
        self._primary()

    def _primary(self) -> int:
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            for port, process in self._members.items():
                if process.poll() is None and _is_primary(port):
                    return port
            time.sleep(_PAUSE)
        raise RuntimeError("no member became primary")


@contextmanager
def replica_set(*, has_arbiter: bool = False, election_milliseconds: int = 2000) -> Iterator[ReplicaSet]:
    """Three servers of their own for as long as the context lasts.

    Args:
        has_arbiter: whether the third is an arbiter; then the first becomes primary and the second stays secondary.
        election_milliseconds: after how long without a primary the others elect one; the default of a server is 10,000. If it
            is short, a machine that is busy may have elections at any time.
    """
    # The servers are children of this thread, which must live as long as they do (see prctl(2)).
    assert threading.current_thread() is threading.main_thread()
    with ExitStack() as stack:
        folders: dict[int, Path] = {}
        members: dict[int, subprocess.Popen[bytes]] = {}
        for _ in range(_MEMBERS):
            port = free_port()
            folders[port] = Path(stack.enter_context(temporary_folder()))
        # One that is restarted replaces the one that is stopped here.
        stack.callback(_stop, members)
        for port, folder in folders.items():
            members[port] = start_mongod(folder, port)
        servers = ReplicaSet(members, folders)
        stack.callback(servers.close)
        _initiate(folders, election_milliseconds, has_arbiter=has_arbiter)
        # A member that is still copying data may miss the primary.
        servers.await_all()
        yield servers


def _stop(members: dict[int, "subprocess.Popen[bytes]"]) -> None:
    for process in members.values():
        process.kill()
        process.wait()


def _alone(port: int) -> MongoClient[dict[str, Any]]:
    return MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=500)


def _is_primary(port: int) -> bool:
    with _alone(port) as client:
        try:
            return bool(client.admin.command("hello")["isWritablePrimary"])
        except PyMongoError:
            return False


def _initiate(folders: dict[int, Path], election_milliseconds: int, *, has_arbiter: bool) -> None:
    """Make them a replica set."""
    first, *_ = folders
    members: list[dict[str, Any]] = [
        {"_id": number, "host": f"127.0.0.1:{port}"} for number, port in enumerate(folders)
    ]
    if has_arbiter:
        members[1]["priority"] = 0
        members[2]["arbiterOnly"] = True
    configuration = {
        "_id": "tests",
        "members": members,
        "settings": {"electionTimeoutMillis": election_milliseconds},
    }
    deadline = time.monotonic() + STARTUP_SECONDS
    with _alone(first) as client:
        while True:
            if time.monotonic() > deadline:
                raise RuntimeError(f"no replica set came about:\n{end_of_log(folders[first])}")
            try:
                client.admin.command("replSetInitiate", configuration)
            except OperationFailure as error:
                if error.code == _INITIATED_ALREADY:
                    return
                # The other members may not be listening yet.
                time.sleep(_PAUSE)
            except PyMongoError:
                # Nor this one.
                time.sleep(_PAUSE)
            else:
                return
