"""The HTTP server of the command ``serve``; it needs the packages of the extra ``service``."""

import os
import socket
import sys
from contextlib import closing
from ipaddress import ip_address

import uvicorn
from fastapi import FastAPI

from booking_migrate.cli.serve import ServingOptions
from booking_migrate.errors import BadConfiguration
from booking_migrate.service.errors import MissingIndexes
from booking_migrate.service.http.application import make_application
from booking_migrate.service.http.gate import KEY, Gatekeeper, read_rules
from booking_migrate.service.plan import (
    Limits,
    ServiceCollections,
    ServicePlan,
    check_server,
    create_index,
    missing_indexes,
    needed_indexes,
)
from booking_migrate.service.repository import Repository

_BACKLOG = 1024
_GRACE = 10
"""Seconds that requests get to end when the service is stopped."""


def make_gatekeeper(serving: ServingOptions) -> Gatekeeper:
    """Return what decides which requests are let in.

    Raises:
        BadConfiguration: the settings would let in none, or all.
    """
    rules = read_rules(os.environ)
    if serving.insecure_user is None and rules is None:
        problem = "not set: a secret of at least 32 bytes, or a public key in PEM; it has no default"
        raise BadConfiguration(KEY, problem)
    if serving.insecure_user is not None and rules is not None:
        raise BadConfiguration("--insecure-user", f"tokens are checked by {KEY}; pass one of the two")
    if serving.insecure_user is not None and not _is_local(serving.host):
        raise BadConfiguration("--insecure-user", f"not with --host {serving.host}, which others can reach")
    return Gatekeeper(rules, insecure_user=serving.insecure_user)


def serve_http(
    collections: ServiceCollections,
    plan: ServicePlan,
    serving: ServingOptions,
    gatekeeper: Gatekeeper,
    *,
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
    if missing and not serving.create_indexes:
        raise MissingIndexes([str(index) for index in missing])
    for index in missing:
        create_index(index)
    # Without tokens, a page of another site must not send any requests through a browser.
    own_names = ("localhost", "127.0.0.1", "[::1]", serving.host)
    application = make_application(
        Repository(collections, plan),
        gatekeeper,
        limits=Limits(serving.max_requests, serving.max_waiting, serving.max_body_size, serving.max_seconds),
        write_line=_write_line,
        hosts=("*",) if serving.insecure_user is None else own_names,
    )
    _serve_until_signal(application, serving, quiet=quiet)


def _is_local(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _write_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _serve_until_signal(application: FastAPI, serving: ServingOptions, *, quiet: bool) -> None:
    """Serve until a signal comes, which is how a service ends when all is well."""
    with closing(_listen(serving)) as listener:
        port = listener.getsockname()[1]
        host = f"[{serving.host}]" if ":" in serving.host else serving.host
        if not quiet:
            sys.stderr.write(f"Serving at http://{host}:{port}; requests are described at /docs.\n")
            if serving.insecure_user is not None:
                sys.stderr.write(f"Without tokens: every request is made by user {serving.insecure_user}.\n")
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


def _listen(serving: ServingOptions) -> socket.socket:
    """Return a socket that listens.

    Raises:
        BadConfiguration: it cannot.
    """
    where = f"{serving.host} port {serving.port}"
    try:
        found = socket.getaddrinfo(
            serving.host, serving.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
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
