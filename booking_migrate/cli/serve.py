"""The command ``serve``: the booking service over HTTP."""

import os
import socket
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

import typer

from booking_migrate.cli import options, run, service_options
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.printed_commands import GivenOptions
from booking_migrate.cli.service_places import ServicePlaces, check_extra, check_server
from booking_migrate.errors import BadConfiguration
from booking_migrate.service.errors import MissingIndexes
from booking_migrate.stores.connection import Connection

if TYPE_CHECKING:
    from fastapi import FastAPI

    from booking_migrate.service.http.access import Gatekeeper
    from booking_migrate.service.http.gate import Limits
    from booking_migrate.service.plan import ServicePlan

HELP = filled("""
Serve bookings over HTTP in the new structure, whether they are migrated, half migrated or not at all.

Old bookings are shown as sessions, and changed where they are; new ones go into client documents. Who asks is known from
a bearer token (JWT) with the user's id in sub: set BOOKING_MIGRATE_JWT_KEY to the secret (HS256) or to the public key in
PEM (RS256). Requests and their fields are described at /docs. One line of JSON a request goes to standard output.

\b
[bold]Examples[/bold]
  On this machine, as one user, without tokens:
    booking-migrate serve --db shop --create-indexes --insecure-user 68b6134f8e21e1ae686349f7
  With tokens:
    export MONGODB_URI=mongodb://localhost/shop BOOKING_MIGRATE_JWT_KEY="$(cat public.pem)"
    booking-migrate serve --port 8080
""")

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
        """Whether only this machine reaches it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which it may be asked: without tokens, no page of another site may ask in somebody's browser."""
        return ("*",) if self.insecure_user is None else ("localhost", "127.0.0.1", "[::1]", self.host)


def serve(
    ctx: typer.Context,
    *,
    source: service_options.Live = "bookings",
    uri: options.Uri = None,
    db: options.Db = None,
    users: options.Users = None,
    experts: options.Experts = None,
    user_id_field: options.UserIdField = "user_id",
    user_email_field: options.UserEmailField = "email",
    expert_user_field: options.ExpertUserField = "userId",
    expert_available_field: service_options.ExpertAvailableField = "available",
    expert_types_field: service_options.ExpertTypesField = "sessionTypes",
    currency: service_options.Currency = "INR",
    accept: service_options.Accept = None,
    max_document_size: service_options.MaxDocumentSize = options.DEFAULT_DOCUMENT_SIZE,
    host: service_options.Host = "127.0.0.1",
    port: service_options.Port = 8000,
    insecure_user: service_options.InsecureUser = None,
    create_indexes: service_options.CreateIndexes = False,
    max_requests: service_options.MaxRequests = 32,
    max_waiting: service_options.MaxWaiting = 512,
    max_seconds: service_options.MaxSeconds = 10.0,
    max_body_size: service_options.MaxBodySize = 64 * 1024,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Parse, and hand over to `_serve`."""
    asked = run.Invocation(
        command="serve",
        source=source,
        target="",
        places=[str(path) for path in (config,) if path is not None],
        uri=uri,
        json=False,
        reports=(),
        quiet=quiet,
        verbose=verbose,
        given=GivenOptions.of(ctx),
    )
    places = ServicePlaces(source, users or "users", experts or "experts")
    listening = Listening(host, port, insecure_user)

    def body() -> None:
        check_extra("serve")
        # Here and not above: none of this is needed to print help, and without the extra it is not there.
        from booking_migrate.runs.plan import LookupFields  # noqa: PLC0415
        from booking_migrate.service.actions import check_contract  # noqa: PLC0415
        from booking_migrate.service.appointment import OfferFields  # noqa: PLC0415
        from booking_migrate.service.http.gate import Limits  # noqa: PLC0415
        from booking_migrate.service.plan import ServicePlan  # noqa: PLC0415

        contract = contract_of(ctx)
        check_contract(contract)
        plan = ServicePlan(
            contract=contract,
            accepted=frozenset(accept or ()),
            maximum_document_size=max_document_size,
            lookup=LookupFields(user_id_field, user_email_field, expert_user_field),
            offer=OfferFields(expert_available_field, expert_types_field, currency),
            seconds=max_seconds,
        )
        limits = Limits(max_requests, max_waiting, max_body_size, max_seconds)
        gatekeeper = _gatekeeper(listening)
        with closing(Connection(uri, db)) as connection:
            application = _application(
                connection,
                places,
                plan,
                gatekeeper=gatekeeper,
                limits=limits,
                hosts=listening.names,
                create_indexes=create_indexes,
            )
            _run(application, listening, quiet=quiet)

    run.attend(asked, body)


def _gatekeeper(listening: Listening) -> "Gatekeeper":
    """Who is let in.

    Raises:
        BadConfiguration: nobody could be, or everybody would be.
    """
    from booking_migrate.service.http.access import KEY, Gatekeeper, read_rules  # noqa: PLC0415 - see `serve`

    rules = read_rules(os.environ)
    if listening.insecure_user is None and rules is None:
        problem = "not set: a secret of at least 32 bytes, or a public key in PEM; there is no default"
        raise BadConfiguration(KEY, problem)
    if listening.insecure_user is not None and rules is not None:
        raise BadConfiguration("--insecure-user", f"tokens are checked by {KEY}; give one of the two")
    if listening.insecure_user is not None and not listening.is_local:
        raise BadConfiguration("--insecure-user", f"not with --host {listening.host}, which others can reach")
    return Gatekeeper(rules, insecure_user=listening.insecure_user)


def _application(
    connection: Connection,
    places: ServicePlaces,
    plan: "ServicePlan",
    *,
    gatekeeper: "Gatekeeper",
    limits: "Limits",
    hosts: Sequence[str],
    create_indexes: bool,
) -> "FastAPI":
    """Check what must be there, and make the application.

    Raises:
        MissingIndexes, StandaloneServer, UnusablePlace: something is not as it must be.
        ConnectionProblem, NotPermitted, WriteFailed: the server cannot be asked, or does not create an index.
    """
    # Here and not above: see `serve`.
    from booking_migrate.service.http.application import make_application  # noqa: PLC0415
    from booking_migrate.service.indexes import create_index, missing_indexes, needed_indexes  # noqa: PLC0415
    from booking_migrate.service.repository import Repository  # noqa: PLC0415

    collections = places.open(connection)
    check_server(collections)
    missing = missing_indexes(needed_indexes(collections, plan.lookup.expert_user))
    if missing and not create_indexes:
        raise MissingIndexes([str(index) for index in missing])
    for index in missing:
        create_index(index)
    return make_application(
        Repository(collections, plan),
        gatekeeper,
        contract=plan.contract,
        limits=limits,
        write_line=_write_line,
        hosts=hosts,
    )


def _write_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _run(application: "FastAPI", listening: Listening, *, quiet: bool) -> None:
    """Serve until a signal comes, which is how a service ends when all is well."""
    import uvicorn  # noqa: PLC0415 - see `serve`

    with closing(_listen(listening)) as listener:
        port = listener.getsockname()[1]
        host = f"[{listening.host}]" if ":" in listening.host else listening.host
        if not quiet:
            sys.stderr.write(f"Serving at http://{host}:{port}; requests are described at /docs.\n")
            if listening.insecure_user is not None:
                sys.stderr.write(f"Without tokens: everybody is user {listening.insecure_user}.\n")
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
    """A socket that listens.

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
