"""The command ``migrate``: side by side, from any place to any place."""

from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from booking_migrate.cli import options, run
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.identity import check_distinct
from booking_migrate.domain.rejection import Reason
from booking_migrate.stores.locate import (
    CollectionPlace,
    Connection,
    FileFormat,
    FilePlace,
    JsonFormat,
    Place,
    open_reader,
    open_target,
    parse_place,
)

if TYPE_CHECKING:
    from booking_migrate.domain.contract import Contract
    from booking_migrate.events import Listener
    from booking_migrate.reports.model import Report
    from booking_migrate.stores.base import DocumentReader

HELP = filled(f"""
Write one client document per client to the target, side by side; the source is not touched.

Bookings that cannot be converted are kept whole in a place of their own, with every reason, and nothing else waits for
them. The command can be repeated: what is already there is left as it is.

A PLACE is a collection's name, a file ending in .jsonl, .ndjson, .json or .bson (each also .gz), or - for standard
input or output. A rule is waived by its REASON, one of: {", ".join(options.waivable())}.

Every option is also read from BOOKING_MIGRATE_ and its name, such as BOOKING_MIGRATE_BATCH_SIZE, and from the config
file; an option ranks before the environment, and that before the file.

\b
[bold]Examples[/bold]
  From a file to a file:
    booking-migrate migrate --source bookings.jsonl --target clients.jsonl \\
      --users users.jsonl --experts experts.jsonl
  Within a database:
    MONGODB_URI=mongodb://localhost booking-migrate migrate --db shop
  From a dump to a server, with a report to mail:
    booking-migrate migrate --source dump/shop/bookings.bson.gz --target clients \\
      --uri mongodb://localhost --db shop --report report.html
  In a script:
    booking-migrate migrate --source bookings.jsonl --target clients.jsonl --json --quiet
""")


@dataclass(frozen=True, slots=True)
class _Places:
    """Where everything is."""

    source: str
    target: str
    users: str | None
    experts: str | None
    rejects: Path | None
    uri: str | None
    is_uri_from_environment: bool
    db: str | None
    json_format: JsonFormat | None
    overwrite: bool

    @property
    def has_default_people(self) -> bool:
        """Whether users and experts are looked up in the database if nothing says where they are.

        From file to file they are not, just because a MONGODB_URI for other programs is around.
        """
        sides = (parse_place(self.source), parse_place(self.target))
        in_database = any(isinstance(side, CollectionPlace) for side in sides)
        return self.uri is not None and (in_database or not self.is_uri_from_environment)


@dataclass(frozen=True, slots=True)
class _Rules:
    """What decides what comes out."""

    accept: frozenset[Reason]
    maximum_document_size: int
    merge_client_documents: bool
    user_id_field: str
    user_email_field: str
    expert_user_field: str
    batch_size: int


def migrate(
    ctx: typer.Context,
    *,
    source: options.Source = "bookings",
    target: options.Target = "bookings_consolidated",
    rejects: options.Rejects = None,
    json_format: options.JsonFormatOption = None,
    uri: options.Uri = None,
    db: options.Db = None,
    users: options.Users = None,
    experts: options.Experts = None,
    user_id_field: options.UserIdField = "user_id",
    user_email_field: options.UserEmailField = "email",
    expert_user_field: options.ExpertUserField = "userId",
    accept: options.Accept = None,
    max_document_size: options.MaxDocumentSize = 8 * options.MEBIBYTE,
    merge_client_documents: options.MergeClientDocuments = False,
    overwrite: options.Overwrite = False,
    batch_size: options.BatchSize = 2000,
    json: options.Json = False,
    report: options.Reports = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Parse, and hand over to `_migrate`."""
    uri_source = ctx.get_parameter_source("uri")
    places = _Places(
        source=source,
        target=target,
        users=users,
        experts=experts,
        rejects=rejects,
        uri=uri,
        is_uri_from_environment=uri_source is not None and uri_source.name == "ENVIRONMENT",
        db=db,
        json_format=json_format,
        overwrite=overwrite,
    )
    rules = _Rules(
        accept=frozenset(accept or ()),
        maximum_document_size=max_document_size,
        merge_client_documents=merge_client_documents,
        user_id_field=user_id_field,
        user_email_field=user_email_field,
        expert_user_field=expert_user_field,
        batch_size=batch_size,
    )
    asked = run.Invocation(
        command="migrate",
        source=source,
        target=target,
        places=[
            str(place) for place in (source, target, users, experts, rejects, config) if place is not None
        ],
        uri=uri,
        json=json,
        reports=tuple(report or ()),
        quiet=quiet,
        verbose=verbose,
    )
    run.execute(asked, lambda run_id, listener: _migrate(places, rules, contract_of(ctx), run_id, listener))


def _migrate(
    places: _Places, rules: _Rules, contract: "Contract", run_id: str, listener: "Listener"
) -> "Report":
    """Open the places, let the engine do the work, and make the report of what came out."""
    # Here and not above: stores and engine are not needed to print help.
    from booking_migrate.cli.next_steps import steps_after_migrate  # noqa: PLC0415
    from booking_migrate.engine.plan import LookupFields, MigrationPlan  # noqa: PLC0415
    from booking_migrate.engine.stream import migrate as migrate_stream  # noqa: PLC0415
    from booking_migrate.reports.model import report_of_migration  # noqa: PLC0415

    plan = MigrationPlan(
        contract=contract,
        accepted=rules.accept,
        maximum_document_size=rules.maximum_document_size,
        merge_client_documents=rules.merge_client_documents,
        lookup=LookupFields(rules.user_id_field, rules.user_email_field, rules.expert_user_field),
        batch_bookings=rules.batch_size,
    )
    _check_distinct(places)
    target = parse_place(places.target)
    with closing(Connection(places.uri, places.db)) as connection, ExitStack() as opened:

        def read(name: str, *, required: bool = True) -> "DocumentReader":
            place = parse_place(name)
            reader = open_reader(
                place, connection, json_format=places.json_format, required=required, listener=listener
            )
            return opened.enter_context(closing(reader))

        def look_up(name: str | None, default: str) -> "DocumentReader | None":
            if name is not None:
                return read(name)
            return read(default, required=False) if places.has_default_people else None

        outcome = migrate_stream(
            plan,
            read(places.source),
            open_target(
                target,
                connection,
                source_name=places.source,
                rejects=places.rejects,
                overwrite=places.overwrite,
            ),
            users=look_up(places.users, "users"),
            experts=look_up(places.experts, "experts"),
            listener=listener,
        )
    return report_of_migration(
        outcome,
        run_id=run_id,
        source=places.source,
        target=places.target,
        next_steps=tuple(steps_after_migrate(outcome, into_file=isinstance(target, FilePlace))),
    )


def _check_distinct(places: _Places) -> None:
    """See `check_distinct`; rejects are a file whatever its suffix."""
    read = {"--source": places.source, "--users": places.users, "--experts": places.experts}
    written: dict[str, Place] = {"--target": parse_place(places.target)}
    if places.rejects is not None:
        written["--rejects"] = FilePlace(str(places.rejects), FileFormat.JSON_LINES)
    check_distinct({option: parse_place(name) for option, name in read.items() if name is not None}, written)
