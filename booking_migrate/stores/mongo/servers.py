"""The servers behind a client: the states that they are in, and why none of them can be reached.

States: MongoDB manual, reference/replica-states. While a primary is lacking, the driver waits inside of its calls and says nothing, so its
state is looked at now and then. Its events would say it at once, but with a listener for them a client takes half a second to close.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import ref

import pymongo
from bson.errors import BSONError
from pymongo import MongoClient, ReadPreference
from pymongo.collection import Collection
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    InvalidName,
    NetworkTimeout,
    NotPrimaryError,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from booking_migrate.errors import (
    AuthenticationFailed,
    BadConfiguration,
    BookingMigrateError,
    ConnectionStringUnresolved,
    NoPrimary,
    ServerUnreachable,
)
from booking_migrate.stores.mongo import retry
from booking_migrate.stores.mongo.codes import Trouble
from booking_migrate.stores.waits import WAITS, Gone

_WITHOUT_PRIMARY = "ReplicaSetNoPrimary"
_STATUS_SECONDS = 2.0
"""How long to wait for the members' states: they belong into a message about a server that does not answer well."""

_LONGEST_TEXT = 200

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
    """Return whether enough members that hold data are up for a majority to acknowledge a write.

    An arbiter has a vote and no data (manual, reference/write-concern: calculating majority). Members without a vote
    cannot be distinguished from others here.
    """
    majority = len(members) // 2 + 1
    holding = [member for member in members if member.state != _ARBITER]
    up = [member for member in holding if member.state in _HOLDING_DATA]
    return len(up) >= min(majority, len(holding))


def hosts_of(collection: Collection[Any]) -> str:
    """Return the servers that a collection's client knows of, as ``host:port``."""
    servers = collection.database.client.topology_description.server_descriptions()
    # The driver drops the members of another replica set than the one that it was asked for.
    known = list(servers) or _seeds_of(collection.database.client)
    return ", ".join(sorted(f"{host}:{port}" for host, port in known))


def _seeds_of(client: Any) -> list[tuple[str, int]]:
    settings = getattr(client, "_topology_settings", None)
    return list(settings.seeds) if settings is not None else []


def refused_login(collection: Collection[Any]) -> AuthenticationFailed:
    """Return our error for a login that the server refuses: with the user and where it was looked for, never the password."""
    options = getattr(collection.database.client, "options", None)
    # The driver's public options do not have the database that counts without authSource.
    credentials = getattr(getattr(options, "pool_options", None), "_credentials", None)
    return AuthenticationFailed(
        hosts_of(collection),
        collection.database.name,
        getattr(credentials, "username", None) or "",
        getattr(credentials, "source", None) or "",
        "authsource" in getattr(options, "_options", {}),
    )


def connection_problem(
    error: PyMongoError | BSONError, collection: Collection[Any]
) -> BookingMigrateError | None:
    """Return our error for a server that cannot be found, reached or understood; None for an error of another kind."""
    if isinstance(error, ServerSelectionTimeoutError | NotPrimaryError) and (
        problem := without_primary(collection)
    ):
        return problem
    if isinstance(error, ServerSelectionTimeoutError):
        return _unreachable(collection, error)
    if isinstance(error, NetworkTimeout):
        return ServerUnreachable(hosts_of(collection), "it took too long to answer")
    if isinstance(error, ConnectionFailure):
        return ServerUnreachable(hosts_of(collection), "the connection was lost")
    if isinstance(error, InvalidName):
        return BadConfiguration("--db", "no valid database name")
    return _unusable_when_connecting(error) if isinstance(error, ConfigurationError) else None


def without_primary(collection: Collection[Any]) -> NoPrimary | None:
    """Return our error for a replica set of which members answer and none of them is a primary; None if that is not so."""
    topology = collection.database.client.topology_description
    members = known_members(collection.database.client)
    if topology.topology_type_name != _WITHOUT_PRIMARY or not any(each.is_up for each in members):
        return None
    return NoPrimary(described(members))


def _unusable_when_connecting(error: ConfigurationError) -> BookingMigrateError:
    """Return our error for a connection string whose host is looked up only when the driver connects."""
    name = re.search(r"_mongodb\._tcp\.[\w.-]*\w", str(error))
    if name or "DNS" in str(error):
        what = name.group() if name else "the SRV record"
        return ConnectionStringUnresolved(f"the name server does not know {what}")
    return ConnectionStringUnresolved("the driver cannot use this connection string")


def _unreachable(collection: Collection[Any], error: Exception) -> BookingMigrateError:
    hosts, text = hosts_of(collection), _selection_text(error)
    # The driver takes a server for unknown after a refused login, and then knows it as the reason only.
    if "'codeName': 'AuthenticationFailed'" in str(error):
        return refused_login(collection)
    if "replica set name" in text or "replica set member" in text.lower():
        return ServerUnreachable(
            hosts, text, "Check the replica set's name in replicaSet= of the connection string."
        )
    if "SSL" in text or "connection closed" in text:
        return ServerUnreachable(hosts, text, "Check tls= and the TLS files in the connection string.")
    return ServerUnreachable(hosts, text)


def _selection_text(error: Exception) -> str:
    """Return the driver's reason without addresses, timeouts and its picture of the deployment."""
    text = str(error).partition(", Timeout:")[0].partition(", full error:")[0]
    text = re.sub(r" \(configured timeouts:[^)]*\)|\s*\(_ssl\.c:\d+\)|\[Errno -?\d+\] ", "", text)
    reasons = re.split(r",?\s*(?<![\w.])[\w.\-\[\]:]+:\d+: ", text)
    return ", ".join(dict.fromkeys(filter(None, reasons)))[:_LONGEST_TEXT]


def watch_primary(client: MongoClient[Any]) -> None:
    """Have it entered in `WAITS` that a primary is waited for, as long as the driver knows of none."""
    client_of = ref(client)
    is_found = False

    def waited_for() -> tuple[str, float] | None:
        nonlocal is_found
        watched = client_of()
        if watched is None or getattr(watched, "_closed", False):
            raise Gone
        there = watched.topology_description
        if there.has_writable_server():
            is_found = True
            return None
        if there.topology_type_name == _WITHOUT_PRIMARY:
            return Trouble.PRIMARY, retry.RETRY_TIMEOUT
        if is_found:
            return Trouble.SERVER, retry.RETRY_TIMEOUT
        # At the first contact the driver's own limit counts. A client that was not used yet waits for nothing.
        has_failed = any(each.error for each in there.server_descriptions().values())
        return (Trouble.SERVER, watched.options.server_selection_timeout) if has_failed else None

    WAITS.watch(waited_for)
