"""The command ``finalize``: end a migration in place, which cannot be undone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Annotated, ClassVar

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.open import Places, current_process, open_run_stores
from booking_migrate.cli.options import (
    IN_PLACE,
    Archive,
    ConnectionOptions,
    OutputOptions,
    PeopleOptions,
    RuleOptions,
    Source,
    Yes,
)
from booking_migrate.cli.parameters import only, option
from booking_migrate.cli.streams import is_interactive
from booking_migrate.cli.verify_inputs import (
    VerifyInputs,
    baselines,
    open_verify_inputs,
    verification_rules,
)
from booking_migrate.domain.contract import Contract
from booking_migrate.errors import NotConfirmed
from booking_migrate.events import Listener
from booking_migrate.in_place import finalize as engine
from booking_migrate.reports.lifecycle import report_of_finalize
from booking_migrate.reports.model import Report
from booking_migrate.stores.connection import open_journal
from booking_migrate.stores.in_place import default_archive, open_in_place
from booking_migrate.verify import VerificationOutcome, VerificationPlan, verify

HELP = filled("""
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
""")

_RECHECK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class FinalizeOptions:
    """What is ended, and how thoroughly."""

    panel: ClassVar[str] = IN_PLACE

    source: Source = "bookings"
    archive: Archive = None
    drop_legacy_ids: Annotated[
        bool,
        option(
            help="Remove legacyBookingId from all sessions, too: afterwards a session's old booking is unknown."
        ),
    ] = False


def finalize(
    ctx: typer.Context,
    *,
    given: FinalizeOptions,
    connection: ConnectionOptions,
    people: PeopleOptions,
    rules: Annotated[RuleOptions, only("accept", "max_document_size", "on_conflict")],
    yes: Yes = False,
    output: OutputOptions,
) -> None:
    """Parse, verify, drop the archive, and make the report."""
    source = given.source
    archive = given.archive or default_archive(source)
    places = Places(source, source, people, connection, archive=archive)

    def body(run_id: str, listener: Listener) -> Report:
        began = monotonic()
        with open_verify_inputs(places, listener) as inputs:
            if not yes:
                _confirm(source, archive, inputs)
            outcome = engine.finalize(
                engine.FinalizePlan(
                    collection=open_in_place(inputs.connection, source=source, archive=archive),
                    stores=open_run_stores(inputs.connection, target=source, source=source),
                    holder=current_process("finalize", run_id),
                    verify=_verification(places, rules, contract_of(ctx), inputs, listener),
                    drop_legacy_ids=given.drop_legacy_ids,
                    listener=listener,
                )
            )
        return report_of_finalize(outcome, seconds=monotonic() - began)

    asked = output.invocation(ctx, uri=connection.uri, source=source, target=source, places=places.named)
    run.execute(asked, body)


def _verification(
    places: Places, rules: RuleOptions, contract: Contract, inputs: VerifyInputs, listener: Listener
) -> Callable[[], VerificationOutcome]:
    """Return the verification that ``verify --in-place`` does, to be called when the lock is held."""
    plan = VerificationPlan(
        rules=verification_rules(contract, rules, places.target, allow_later=True, allow_changed=True),
        people=places.people.fields,
        recheck_seconds=_RECHECK_SECONDS,
    )

    def check() -> VerificationOutcome:
        return verify(
            replace(plan, baselines=baselines(places, inputs.connection, listener)),
            inputs.source,
            inputs.target,
            inputs.rejected,
            users=inputs.users,
            experts=inputs.experts,
            has_client_index=inputs.has_client_index,
            listener=listener,
        )

    return check


def _confirm(source: str, archive: str, inputs: VerifyInputs) -> None:
    """Ask the user at the terminal to type the archive's name.

    Raises:
        NotConfirmed: standard input is not a terminal, or it is another name.
    """
    journal = open_journal(inputs.connection).journal
    chosen = engine.runs_to_finalize(journal, source=source, archive=archive)[0]
    what = f"finalize of run {chosen.run_id} (drops {archive}, and with it every way back)"
    if not is_interactive():
        raise NotConfirmed(what)
    typed = typer.prompt(f"{what}. Type {archive} to continue", err=True, default="", show_default=False)
    if typed != archive:
        raise NotConfirmed(what, typed, archive)
