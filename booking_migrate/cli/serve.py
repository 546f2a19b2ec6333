"""The command ``serve``: the booking service over HTTP."""

from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.option_values import parse_size
from booking_migrate.cli.options import (
    RULES,
    ConnectionOptions,
    OutputOptions,
    PeopleOptions,
    accept_option,
    size_option,
)
from booking_migrate.cli.parameters import only, option
from booking_migrate.cli.service import LiveSource, check_extra, open_service_collections
from booking_migrate.domain.rejection import Reason
from booking_migrate.domain.rules import DEFAULT_MAXIMUM_DOCUMENT_SIZE, Rules
from booking_migrate.service.appointment import OfferFields, check_contract
from booking_migrate.service.plan import ServicePlan
from booking_migrate.stores.connection import Connection

HELP = filled("""
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
""")

_OFFERS = "What experts offer"
_SERVING = "Serving"


@dataclass(frozen=True, slots=True)
class OfferOptions:
    """How experts keep what they offer."""

    panel: ClassVar[str] = _OFFERS

    expert_available_field: Annotated[
        str,
        option(
            metavar="FIELD",
            help="An expert's field that is false if the expert cannot be booked; without it, the expert can.",
        ),
    ] = "available"
    expert_types_field: Annotated[
        str,
        option(metavar="FIELD", help="An expert's field with what it offers: \\[{type, price, currency}]."),
    ] = "sessionTypes"
    currency: Annotated[str, option(metavar="CODE", help="The currency of a price that names none.")] = "INR"


@dataclass(frozen=True, slots=True)
class ServiceRules:
    """What the service shows and takes."""

    panel: ClassVar[str] = RULES

    accept: Annotated[
        list[Reason] | None,
        accept_option(
            "Show and take bookings that break this rule, as migrate --accept does. May be repeated."
        ),
    ] = None
    max_document_size: Annotated[
        int,
        size_option(
            default="8MiB", help="A client document that would become larger takes no more sessions."
        ),
    ] = DEFAULT_MAXIMUM_DOCUMENT_SIZE


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """Where the service listens, and how much it takes."""

    panel: ClassVar[str] = _SERVING

    host: Annotated[str, option(metavar="ADDRESS", help="The address to listen on.")] = "127.0.0.1"
    port: Annotated[
        int, option(metavar="N", min=0, max=65535, help="The port; 0 takes any that is free.")
    ] = 8000
    insecure_user: Annotated[
        str | None,
        option(
            metavar="ID",
            show_default=False,
            help="Without any token, every request is made by this user: for trials on this machine only.",
        ),
    ] = None
    create_indexes: Annotated[
        bool,
        option(
            negatable=True,
            show_default=False,
            help="Create the indexes that are missing, instead of refusing to start.",
        ),
    ] = False
    max_requests: Annotated[
        int, option(metavar="N", min=1, max=1000, help="Requests that are worked on at once.")
    ] = 32
    max_waiting: Annotated[
        int,
        option(
            metavar="N",
            min=0,
            max=100_000,
            help="Requests that may wait for their turn; one more is sent away with 503.",
        ),
    ] = 512
    max_seconds: Annotated[
        float,
        option(
            metavar="SECONDS",
            min=0.1,
            max=300,
            help="How long a body may take to arrive, and the database to read or to write.",
        ),
    ] = 10.0
    max_body_size: Annotated[
        int,
        option(
            metavar="SIZE", parser=parse_size, show_default="64KiB", help="The largest body of a request."
        ),
    ] = 64 * 1024


def serve(
    ctx: typer.Context,
    source: LiveSource = "bookings",
    *,
    connection: ConnectionOptions,
    people: PeopleOptions,
    offers: OfferOptions,
    rules: ServiceRules,
    serving: ServingOptions,
    output: Annotated[OutputOptions, only("config", "quiet", "verbose")],
) -> None:
    """Parse, and hand over to `http_server`."""

    def body() -> None:
        check_extra("serve")
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
                open_service_collections(opened, source=source, users=people.users, experts=people.experts),
                plan,
                gatekeeper=gatekeeper,
                limits=limits,
                listening=listening,
                create_indexes=serving.create_indexes,
                quiet=output.quiet,
            )

    run.attend(output.invocation(ctx, uri=connection.uri, source=source), body)
