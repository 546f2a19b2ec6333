"""The members of a replica set and the states that they are in (MongoDB manual, reference/replica-states)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pymongo
from pymongo import MongoClient, ReadPreference
from pymongo.errors import PyMongoError

_STATUS_SECONDS = 2.0
"""How long to wait for the members' states: they belong into a message about a server that does not answer well."""

_DOWN = "DOWN"
_HOLDING_DATA = frozenset({"PRIMARY", "SECONDARY"})
_ARBITER = "ARBITER"
_STATES = {
    "RSPrimary": "PRIMARY",
    "RSSecondary": "SECONDARY",
    "RSArbiter": _ARBITER,
    "RSOther": "NOT READY",
    "RSGhost": "NOT INITIATED",
    "Unknown": _DOWN,
}
"""The states by the driver's names for the types of servers."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a replica set."""

    host: str
    state: str
    """As the server calls it, such as ``PRIMARY``; ``DOWN`` if it does not answer."""

    @property
    def is_up(self) -> bool:
        """Return whether it answers."""
        return self.state != _DOWN

    def __str__(self) -> str:
        return f"{self.host} {self.state}"


def described(members: Iterable[Member]) -> str:
    """Return members and their states, for a message."""
    return ", ".join(map(str, members))


def members_of(client: MongoClient[Any]) -> Sequence[Member]:
    """Return the members as the server sees them, or as the driver does if the user may not ask the server."""
    try:
        with pymongo.timeout(_STATUS_SECONDS):
            status = client.get_database("admin").command(
                "replSetGetStatus", read_preference=ReadPreference.PRIMARY_PREFERRED
            )
    except PyMongoError:
        # Not permitted, or not reachable: what the driver has seen needs no privilege.
        return known_members(client)
    return [reported(each) for each in status["members"]]


def reported(status: Mapping[str, Any]) -> Member:
    """Return a member in the answer to ``replSetGetStatus``."""
    return Member(status["name"], status["stateStr"] if status.get("health") else _DOWN)


def known_members(client: MongoClient[Any]) -> Sequence[Member]:
    """Return the members as the driver sees them; the server is not asked."""
    servers = client.topology_description.server_descriptions()
    return [
        Member(f"{host}:{port}", _STATES.get(server.server_type_name, server.server_type_name.upper()))
        for (host, port), server in sorted(servers.items())
    ]


def can_acknowledge(members: Sequence[Member]) -> bool:
    """Return whether so many members that hold data are up that a majority can acknowledge a write.

    An arbiter has a vote and no data (manual, reference/write-concern: calculating majority). Members without a vote
    cannot be distinguished from others here.
    """
    majority = len(members) // 2 + 1
    holding = [member for member in members if member.state != _ARBITER]
    up = [member for member in holding if member.state in _HOLDING_DATA]
    return len(up) >= min(majority, len(holding))
