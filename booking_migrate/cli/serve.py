"""The command ``serve``: the booking service over HTTP."""

import importlib.util
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.options import (
    RULES,
    ConnectionOptions,
    OutputOptions,
    PeopleOptions,
    accept_option,
    document_size_option,
    parse_size,
)
from booking_migrate.cli.parameters import only, option
from booking_migrate.cli.service_indexes import LiveOptions, open_service_collections
from booking_migrate.domain.rejection import Reason
from booking_migrate.domain.rules import Rules
from booking_migrate.errors import MissingExtra
from booking_migrate.service.appointment import OfferFields, check_contract
from booking_migrate.service.plan import ServicePlan
from booking_migrate.stores.connection import Connection

HELP = """
Bookings are served in the new structure, whether they are migrated, half migrated or not at all.

Old bookings are shown as sessions, and changed where they are; new ones go into client documents. The user is known from
a bearer token (JWT) with the user's id in sub: set BOOKING_MIGRATE_JWT_KEY to the secret (HS256) or to the public key in
PEM (RS256). Requests and their fields are described at /docs. One line of JSON a request goes to standard output.

\b
[bold]Examples[/bold]
  On this machine, as one user, without tokens:
    booking-migrate serve --db shop --create-indexes --insecure-user 68b6134f8e21e1ae686349f7
  With tokens:
    export MONGODB_URI=mongodb://localhost/shop BOOKING_MIGRATE_JWT_KEY="$(cat public.pem)"
    booking-migrate serve --port 8080
"""


@dataclass(frozen=True, slots=True)
class OfferOptions:
    """How experts keep what they offer."""

    panel: ClassVar[str] = "What experts offer"

    expert_available_field: str = option(
        "available",
        "An expert's field that is false if the expert cannot be booked; without it, the expert can.",
        metavar="FIELD",
    )
    expert_types_field: str = option(
        "sessionTypes",
        "An expert's field with what it offers: \\[{type, price, currency}].",
        metavar="FIELD",
    )
    currency: str = option("INR", "The currency of a price that names none.", metavar="CODE")


@dataclass(frozen=True, slots=True)
class ServiceRules:
    """What the service shows and takes."""

    panel: ClassVar[str] = RULES

    accept: list[Reason] | None = accept_option(
        "Show and take bookings that break this rule, as migrate --accept does. May be repeated."
    )
    max_document_size: int = document_size_option(
        "A client document that would become larger takes no more sessions."
    )


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """Where the service listens, and how much it takes."""

    panel: ClassVar[str] = "Serving"

    host: str = option("127.0.0.1", "The address to listen on.", metavar="ADDRESS")
    port: int = option(8000, "The port; 0 takes any that is free.", metavar="N", min=0, max=65535)
    insecure_user: str | None = option(
        None,
        "Without any token, every request is made by this user: for trials on this machine only.",
        metavar="ID",
    )
    create_indexes: bool = option(
        False, "Create the indexes that are missing, instead of refusing to start.", negatable=True
    )
    max_requests: int = option(32, "Requests that are worked on at once.", metavar="N", min=1, max=1000)
    max_waiting: int = option(
        512,
        "Requests that may wait for their turn; one more is sent away with 503.",
        metavar="N",
        min=0,
        max=100_000,
    )
    max_seconds: float = option(
        10.0,
        "How long a body may take to arrive, and the database to read or to write.",
        metavar="SECONDS",
        min=0.1,
        max=300,
    )
    max_body_size: int = option(
        64 * 1024, "The largest body of a request.", metavar="SIZE", parser=parse_size, show_default="64KiB"
    )


def serve(
    ctx: typer.Context,
    *,
    live: LiveOptions,
    connection: ConnectionOptions,
    people: PeopleOptions,
    offers: OfferOptions,
    rules: ServiceRules,
    serving: ServingOptions,
    output: Annotated[OutputOptions, only("config", "quiet", "verbose")],
) -> None:
    """Parse, and hand over to `http_server`."""

    def body() -> None:
        _check_extra()
        # Here and not above: the extra may not be installed, and the help is there without it.
        from booking_migrate.cli import http_server  # noqa: PLC0415
        from booking_migrate.service.http.gate import Limits  # noqa: PLC0415

        contract = contract_of(ctx)
        check_contract(contract)
        plan = ServicePlan(
            rules=Rules(contract, frozenset(rules.accept or ()), rules.max_document_size),
            people=people.fields,
            offer=OfferFields(offers.expert_available_field, offers.expert_types_field, offers.currency),
            seconds=serving.max_seconds,
        )
        limits = Limits(serving.max_requests, serving.max_waiting, serving.max_body_size, serving.max_seconds)
        listening = http_server.Listening(serving.host, serving.port, serving.insecure_user)
        gatekeeper = http_server.make_gatekeeper(listening)
        with closing(Connection(connection.uri, connection.db)) as opened:
            http_server.serve_http(
                open_service_collections(opened, live, people),
                plan,
                gatekeeper=gatekeeper,
                limits=limits,
                listening=listening,
                create_indexes=serving.create_indexes,
                quiet=output.quiet,
            )

    run.attend(run.Invocation(ctx, output, connection.uri, live.source), body)


def _check_extra() -> None:
    """Make sure that the packages of the extra are installed.

    Raises:
        MissingExtra: one is not.
    """
    needed = ("cryptography", "fastapi", "jwt", "uvicorn")
    if any(importlib.util.find_spec(package) is None for package in needed):
        raise MissingExtra("serve", "service")
