"""The HTTP server of the command ``serve``; it needs the packages of the extra ``service``."""

import os
import socket
import sys
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_address

import uvicorn
from fastapi import FastAPI

from booking_migrate.cli.service_indexes import check_server
from booking_migrate.errors import BadConfiguration
from booking_migrate.service.errors import MissingIndexes
from booking_migrate.service.http.application import make_application
from booking_migrate.service.http.gate import KEY, Gatekeeper, Limits, read_rules
from booking_migrate.service.plan import (
    ServiceCollections,
    ServicePlan,
    create_index,
    missing_indexes,
    needed_indexes,
)
from booking_migrate.service.repository import Repository

_BACKLOG = 1024
_GRACE = 10
"""Seconds that requests get to end when the service is stopped."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the service listens and whom it lets in."""

    host: str
    port: int
    insecure_user: str | None

    @property
    def is_local(self) -> bool:
        """Return whether only this machine reaches it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def names(self) -> tuple[str, ...]:
        """Return the host names that requests may use: without tokens, a page of another site must not send any through a browser."""
        return ("*",) if self.insecure_user is None else ("localhost", "127.0.0.1", "[::1]", self.host)


def make_gatekeeper(listening: Listening) -> Gatekeeper:
    """Return what decides which requests are let in.

    Raises:
        BadConfiguration: the settings would let in none, or all.
    """
    rules = read_rules(os.environ)
    if listening.insecure_user is None and rules is None:
        problem = "not set: a secret of at least 32 bytes, or a public key in PEM; it has no default"
        raise BadConfiguration(KEY, problem)
    if listening.insecure_user is not None and rules is not None:
        raise BadConfiguration("--insecure-user", f"tokens are checked by {KEY}; give one of the two")
    if listening.insecure_user is not None and not listening.is_local:
        raise BadConfiguration("--insecure-user", f"not with --host {listening.host}, which others can reach")
    return Gatekeeper(rules, insecure_user=listening.insecure_user)


def serve_http(
    collections: ServiceCollections,
    plan: ServicePlan,
    *,
    gatekeeper: Gatekeeper,
    limits: Limits,
    listening: Listening,
    create_indexes: bool,
    quiet: bool,
) -> None:
    """Check what must exist, and serve until a signal arrives.

    Raises:
        MissingIndexes, StandaloneServer, UnusablePlace: something is not as it must be.
        ConnectionProblem, NotPermitted, WriteFailed: the server cannot be asked, or does not create an index.
        BadConfiguration: the address cannot be listened on.
    """
    check_server(collections)
    missing = missing_indexes(needed_indexes(collections, plan.people.expert_user))
    if missing and not create_indexes:
        raise MissingIndexes([str(index) for index in missing])
    for index in missing:
        create_index(index)
    application = make_application(
        Repository(collections, plan),
        gatekeeper,
        limits=limits,
        write_line=_write_line,
        hosts=listening.names,
    )
    _serve_until_signal(application, listening, quiet=quiet)


def _write_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _serve_until_signal(application: FastAPI, listening: Listening, *, quiet: bool) -> None:
    """Serve until a signal comes, which is how a service ends when all is well."""
    with closing(_listen(listening)) as listener:
        port = listener.getsockname()[1]
        host = f"[{listening.host}]" if ":" in listening.host else listening.host
        if not quiet:
            sys.stderr.write(f"Serving at http://{host}:{port}; requests are described at /docs.\n")
            if listening.insecure_user is not None:
                sys.stderr.write(
                    f"Without tokens: every request is made by user {listening.insecure_user}.\n"
                )
            sys.stderr.flush()
        server = uvicorn.Server(
            uvicorn.Config(
                application,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_GRACE,
            )
        )
        try:
            server.run([listener])
        except KeyboardInterrupt:
            # The signal comes again once every request has been answered.
            return


def _listen(listening: Listening) -> socket.socket:
    """Return a socket that listens.

    Raises:
        BadConfiguration: it cannot.
    """
    where = f"{listening.host} port {listening.port}"
    try:
        found = socket.getaddrinfo(
            listening.host, listening.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        # With the protocol named, and not 0: else answers wait for the other side's delayed acknowledgements.
        listener = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
    except OSError as error:
        raise BadConfiguration("--host", f"cannot listen on {where}: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise BadConfiguration("--port", f"cannot listen on {where}: {error.strerror}") from None
    return listener
