"""The command ``explain``: where one old booking went."""

from typing import Annotated

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.open import Places
from booking_migrate.cli.options import (
    ConnectionOptions,
    OutputOptions,
    PeopleOptions,
    PlaceOptions,
    RuleOptions,
)
from booking_migrate.cli.parameters import only
from booking_migrate.cli.verify_inputs import open_verify_inputs, verification_plan
from booking_migrate.reports.model import Report
from booking_migrate.reports.verification import report_of_explanation
from booking_migrate.verify.explain import explain as explain_booking

HELP = """
It shows the booking's client document, and its session and the fields side by side, or the reasons why it was rejected.

BOOKING_ID is the booking's _id: 24 hex digits, a whole number, a text, or any other value in Extended JSON. Nothing is
written. A booking that is not as it should be exits with 4.

\b
[bold]Examples[/bold]
  booking-migrate explain 68b61bd7a4c0bf9eaab38ee5 --source bookings.jsonl --target clients.jsonl
  MONGODB_URI=mongodb://localhost booking-migrate explain 68b61bd7a4c0bf9eaab38ee5 --db shop
"""

BookingId = Annotated[
    str, typer.Argument(metavar="BOOKING_ID", help="The _id of the booking.", show_default=False)
]


def explain(
    ctx: typer.Context,
    *,
    booking_id: BookingId,
    given: PlaceOptions,
    connection: ConnectionOptions,
    people: PeopleOptions,
    rules: Annotated[RuleOptions, only("accept", "max_document_size")],
    output: OutputOptions,
) -> None:
    """Parse, look the booking up, and make the report."""
    places = Places.of(ctx, given, people, connection)

    def body(context: run.RunContext) -> Report:
        plan = verification_plan(contract_of(ctx), rules, places)
        with open_verify_inputs(places, context.listener) as inputs:
            places.contact(inputs.connection)
            explanation = explain_booking(
                booking_id,
                plan,
                inputs.source,
                inputs.target,
                inputs.rejected,
                users=inputs.users,
                experts=inputs.experts,
            )
        return report_of_explanation(
            explanation, run_id=context.run_id, source=places.source, target=places.target
        )

    run.execute(run.Invocation.about(ctx, output, places), body)
