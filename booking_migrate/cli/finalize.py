"""The command ``finalize``: end a migration in place, which cannot be undone."""

from dataclasses import dataclass
from typing import Annotated

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.open import Places, current_process, open_run_stores
from booking_migrate.cli.options import (
    IN_PLACE,
    ConnectionOptions,
    OutputOptions,
    PeopleOptions,
    PlaceOptions,
    RuleOptions,
    YesOption,
    archive_option,
    source_option,
)
from booking_migrate.cli.parameters import Group, only, option
from booking_migrate.cli.streams import confirm_by_name
from booking_migrate.cli.verify_inputs import RECHECK_SECONDS, open_verify_inputs, verification_plan
from booking_migrate.in_place import finalize as engine
from booking_migrate.reports.lifecycle import report_of_finalize
from booking_migrate.reports.model import Report
from booking_migrate.stores.connection import open_journal
from booking_migrate.stores.in_place import default_archive, open_in_place

HELP = """
The old bookings in the archive are dropped, so the migration in place cannot be undone after that.

If the verification finds a mismatch, nothing is dropped, and the exit code is 4. Use the same --users, --experts,
--accept, --max-document-size and \\[contract] as for the migration. With --drop-legacy-ids, legacyBookingId is removed
from all sessions too, a few client documents at a time. If it is interrupted, run it again. Rejected bookings stay where
they are.

\b
[bold]Examples[/bold]
  When the team is sure:
    MONGODB_URI=mongodb://localhost booking-migrate finalize --db shop --source bookings
  In a script:
    booking-migrate finalize --source bookings --drop-legacy-ids --yes --json
"""


@dataclass(frozen=True, slots=True)
class FinalizeOptions(Group, panel=IN_PLACE):
    """What is ended, and how thoroughly."""

    source: str = source_option()
    archive: str | None = archive_option()
    drop_legacy_ids: bool = option(
        False, "Remove legacyBookingId from all sessions, too: afterwards a session's old booking is unknown."
    )


def finalize(
    ctx: typer.Context,
    *,
    given: FinalizeOptions,
    connection: ConnectionOptions,
    people: PeopleOptions,
    rules: Annotated[RuleOptions, only("accept", "max_document_size", "on_conflict")],
    asking: YesOption,
    output: OutputOptions,
) -> None:
    """Parse, verify, drop the archive, and make the report."""
    source = given.source
    archive = given.archive or default_archive(source)
    places = Places.of(ctx, PlaceOptions(source, source), people, connection, archive=archive)

    def body(context: run.RunContext) -> Report:
        with open_verify_inputs(places, context.listener) as inputs:
            if not asking.yes:
                journal = open_journal(inputs.connection).journal
                chosen = engine.runs_to_finalize(journal, source=source, archive=archive)[0]
                what = f"finalize of run {chosen.run_id} (drops {archive}, and with it every way back)"
                confirm_by_name(what, archive)
            plan = verification_plan(
                contract_of(ctx),
                rules,
                places,
                allow_later=True,
                allow_changed=True,
                recheck_seconds=RECHECK_SECONDS,
            )
            outcome = engine.finalize(
                engine.FinalizePlan(
                    collection=open_in_place(inputs.connection, source=source, archive=archive),
                    stores=open_run_stores(inputs.connection, target=source, source=source),
                    holder=current_process("finalize", context.run_id),
                    verify=lambda: inputs.verify(plan, places, context.listener),
                    drop_legacy_ids=given.drop_legacy_ids,
                    listener=context.listener,
                )
            )
        return report_of_finalize(outcome, seconds=context.seconds)

    run.execute(run.Invocation.about(ctx, output, places), body)
