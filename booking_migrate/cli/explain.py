"""The command ``explain``: where one old booking went."""

from typing import TYPE_CHECKING, Annotated

import typer

from booking_migrate.cli import options, run
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.open_places import is_from_environment
from booking_migrate.cli.printed_commands import GivenOptions
from booking_migrate.cli.verify_inputs import ProofPlaces, Rules

if TYPE_CHECKING:
    from booking_migrate.domain.contract import Contract
    from booking_migrate.events import Listener
    from booking_migrate.reports.model import Report

HELP = filled("""
Say where one old booking went: its client document, its session and the fields side by side, or why it was rejected.

BOOKING_ID is the booking's _id: 24 hex digits, a whole number, a text, or any other value in Extended JSON. Nothing is written. A booking that is not
as it should be exits with 4.

\b
[bold]Examples[/bold]
  booking-migrate explain 68b61bd7a4c0bf9eaab38ee5 --source bookings.jsonl --target clients.jsonl
  MONGODB_URI=mongodb://localhost booking-migrate explain 68b61bd7a4c0bf9eaab38ee5 --db shop
""")

BookingId = Annotated[
    str, typer.Argument(metavar="BOOKING_ID", help="The _id of the booking.", show_default=False)
]


def explain(
    ctx: typer.Context,
    booking_id: BookingId,
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
    max_document_size: options.MaxDocumentSize = options.DEFAULT_DOCUMENT_SIZE,
    json: options.Json = False,
    report: options.Reports = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Parse, and hand over to `_explain`."""
    places = ProofPlaces(
        source=source,
        target=target,
        users=users,
        experts=experts,
        uri=uri,
        is_uri_from_environment=is_from_environment(ctx, "uri"),
        db=db,
        json_format=json_format,
        rejects=rejects,
    )
    rules = Rules(
        frozenset(accept or ()), max_document_size, user_id_field, user_email_field, expert_user_field
    )
    asked = run.Invocation(
        command="explain",
        source=source,
        target=target,
        places=[*places.named, *([] if config is None else [str(config)])],
        uri=uri,
        json=json,
        reports=tuple(report or ()),
        quiet=quiet,
        verbose=verbose,
        given=GivenOptions.of(ctx),
    )
    run.execute(
        asked,
        lambda run_id, listener: _explain(
            booking_id, places, rules, contract_of(ctx), run_id=run_id, listener=listener
        ),
    )


def _explain(
    booking_id: str,
    places: ProofPlaces,
    rules: Rules,
    contract: "Contract",
    *,
    run_id: str,
    listener: "Listener",
) -> "Report":
    """Open the places, let the engine look, and make the report of what it found."""
    # Here and not above: stores and engine are not needed to print help.
    from booking_migrate.reports.verification import report_of_explanation  # noqa: PLC0415
    from booking_migrate.verify import VerificationPlan  # noqa: PLC0415
    from booking_migrate.verify.explain import explain as look  # noqa: PLC0415

    plan = VerificationPlan(rules=rules.for_target(places.target, contract), people=rules.people)
    with places.open(listener) as evidence:
        places.contact(evidence.connection)
        explanation = look(
            booking_id,
            plan,
            evidence.source,
            evidence.target,
            evidence.rejected,
            users=evidence.users,
            experts=evidence.experts,
        )
    return report_of_explanation(explanation, run_id=run_id, source=places.source, target=places.target)
