"""The commands of the booking service: ``serve``, over HTTP, and ``service-indexes``, which creates what it works with."""

import importlib.util
from dataclasses import dataclass
from typing import Annotated

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.options import (
    PLACES,
    RULES,
    ConnectionOptions,
    OutputOptions,
    PeopleOptions,
    accept_option,
    document_size_option,
    parse_size,
)
from booking_migrate.cli.parameters import Group, only, option
from booking_migrate.domain.rejection import Reason
from booking_migrate.domain.rules import Rules
from booking_migrate.errors import BadPlace, MissingExtra
from booking_migrate.reports.lifecycle import IndexesReport, ServiceIndex
from booking_migrate.reports.lifecycle_outcomes import report_of_indexes
from booking_migrate.service.appointment import OfferFields, check_contract
from booking_migrate.service.plan import (
    Limits,
    ServiceCollections,
    ServicePlan,
    check_server,
    create_index,
    missing_indexes,
    needed_indexes,
)
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.own_collections import SLOTS
from booking_migrate.stores.places import (
    DEFAULT_EXPERTS,
    DEFAULT_SOURCE,
    DEFAULT_USERS,
    CollectionPlace,
    parse_place,
)

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

INDEXES_HELP = """
Indexes that do the same already are left as they are; the report says what each is for.

They are those of the bookings, by client and by expert in both shapes and by the ids of old bookings, a unique one that keeps a
client from having two client documents, and one of the experts by their user. Reads and writes continue while they are built.

\b
[bold]Examples[/bold]
  MONGODB_URI=mongodb://localhost booking-migrate service-indexes --db shop
  booking-migrate service-indexes --json
"""


_LIMITS, _OFFER = Limits(), OfferFields()


@dataclass(frozen=True, slots=True)
class LiveOptions(Group, panel=PLACES):
    """What the service works with."""

    source: str = option(
        DEFAULT_SOURCE, "The bookings: old ones, client documents, or both.", metavar="COLLECTION"
    )


@dataclass(frozen=True, slots=True)
class OfferOptions(Group, panel="What experts offer"):
    """How experts keep what they offer."""

    expert_available_field: str = option(
        _OFFER.available,
        "An expert's field that is false if the expert cannot be booked; without it, the expert can.",
        metavar="FIELD",
    )
    expert_types_field: str = option(
        _OFFER.session_types,
        "An expert's field with what it offers: \\[{type, price, currency}].",
        metavar="FIELD",
    )
    currency: str = option(_OFFER.currency, "The currency of a price that names none.", metavar="CODE")


@dataclass(frozen=True, slots=True)
class ServiceRules(Group, panel=RULES):
    """What the service shows and takes."""

    accept: list[Reason] | None = accept_option(
        "Show and take bookings that break this rule, as migrate --accept does. May be repeated."
    )
    max_document_size: int = document_size_option(
        "A client document that would become larger takes no more sessions."
    )


@dataclass(frozen=True, slots=True)
class ServingOptions(Group, panel="Serving"):
    """Where the service listens, and how much it takes."""

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
    max_requests: int = option(
        _LIMITS.concurrent, "Requests that are worked on at once.", metavar="N", min=1, max=1000
    )
    max_waiting: int = option(
        _LIMITS.waiting,
        "Requests that may wait for their turn; one more is sent away with 503.",
        metavar="N",
        min=0,
        max=100_000,
    )
    max_seconds: float = option(
        _LIMITS.seconds,
        "How long a body may take to arrive, and the database to read or to write.",
        metavar="SECONDS",
        min=0.1,
        max=300,
    )
    max_body_size: int = option(
        _LIMITS.body,
        "The largest body of a request.",
        metavar="SIZE",
        parser=parse_size,
        show_default=f"{_LIMITS.body // 1024}KiB",
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
    def body() -> None:
        _check_extra()
        # Here and not above: the extra may not be installed, and the help is there without it.
        from booking_migrate.cli import http_server  # noqa: PLC0415

        contract = contract_of(ctx)
        check_contract(contract)
        plan = ServicePlan(
            rules=Rules(contract, frozenset(rules.accept or ()), rules.max_document_size),
            people=people.fields,
            offer=OfferFields(offers.expert_available_field, offers.expert_types_field, offers.currency),
            seconds=serving.max_seconds,
        )
        gatekeeper = http_server.make_gatekeeper(serving)
        with connection.open() as opened:
            collections = open_service_collections(opened, live, people)
            http_server.serve_http(collections, plan, serving, gatekeeper, quiet=output.quiet)

    run.attend(run.Invocation(ctx, output, connection.uri, live.source), body)


def _check_extra() -> None:
    """Make sure that the packages of the extra are installed.

    Raises:
        MissingExtra: one is not.
    """
    needed = ("cryptography", "fastapi", "fastapi_offline", "jwt", "uvicorn")
    if any(importlib.util.find_spec(package) is None for package in needed):
        raise MissingExtra("serve", "service")


def service_indexes(
    ctx: typer.Context,
    *,
    live: LiveOptions,
    connection: ConnectionOptions,
    people: Annotated[PeopleOptions, only("experts", "expert_user_field")],
    output: Annotated[OutputOptions, only("json", "config", "quiet", "verbose")],
) -> None:
    def body(context: run.RunContext) -> IndexesReport:
        with connection.open() as opened:
            collections = open_service_collections(opened, live, people)
            indexes = _create_missing(collections, people.expert_user_field)
        return report_of_indexes(indexes, run_id=context.run_id, source=live.source)

    run.execute(run.Invocation(ctx, output, connection.uri, live.source), body)


def _create_missing(collections: ServiceCollections, expert_user_field: str) -> tuple[ServiceIndex, ...]:
    """Create the indexes that are missing; return all that are needed."""
    check_server(collections)
    needed = needed_indexes(collections, expert_user_field)
    missing = missing_indexes(needed)
    for index in missing:
        create_index(index)
    return tuple(
        ServiceIndex(
            collection=index.collection.name,
            fields=index.keys,
            unique=index.unique,
            purpose=index.purpose,
            created=index in missing,
        )
        for index in needed
    )


def open_service_collections(
    connection: Connection, live: LiveOptions, people: PeopleOptions
) -> ServiceCollections:
    """Return the collections that the service works with.

    Raises:
        BadPlace: a place is not a collection.
        MissingUri, BadConfiguration: no server or no database is given, or the connection string cannot be used.
    """
    names = (live.source, people.users or DEFAULT_USERS, people.experts or DEFAULT_EXPERTS)
    for name in names:
        if not isinstance(parse_place(name), CollectionPlace):
            raise BadPlace(name, "the service works with collections only")
    return ServiceCollections(*(connection.collection(name) for name in (*names, SLOTS)))
