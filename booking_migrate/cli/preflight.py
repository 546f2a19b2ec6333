"""The command ``preflight``: what prevents each command, in seconds, and nothing written."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.next_steps import written_out_for
from booking_migrate.cli.open import Places, migration_plan, open_places, open_run_stores, run_request
from booking_migrate.cli.options import (
    OUTPUT,
    PLACES,
    ConnectionOptions,
    OutputOptions,
    PeopleOptions,
    PlaceOptions,
    RuleOptions,
    WritingOptions,
    source_option,
)
from booking_migrate.cli.parameters import Group, option
from booking_migrate.cutover.readiness import RejectedPolicy
from booking_migrate.dry_run.needs import inspect_surroundings
from booking_migrate.errors import UnusablePlace
from booking_migrate.migrate.lookup import Directory
from booking_migrate.preflight.outcome import Check, PreflightOutcome
from booking_migrate.preflight.run import COMMANDS, COMMANDS_IN_PLACE, IN_PLACE, PreflightPlan
from booking_migrate.preflight.run import preflight as look
from booking_migrate.reports.model import Report
from booking_migrate.reports.preflight import report_of_preflight
from booking_migrate.runs.privileges import create_role
from booking_migrate.stores.connection import open_inspector, open_live
from booking_migrate.stores.in_place import open_in_place
from booking_migrate.stores.places import DEFAULT_TARGET, CollectionPlace, parse_place

HELP = """
It takes seconds, whatever the size of the data: the server, the privileges of this user, validators and unique indexes of the
place that will be written to (tried out with client documents made of the oldest and newest bookings), disk, oplog, locks,
unfinished runs, and other programs that are connected.

With a COMMAND the exit code is 5 if something prevents it. Without one, each command of a migration side by side has its verdict, with
--in-place each of one in place, and the exit code is 0.
What the server does not say is named, with the role that shows it, and prevents nothing. Use --max-lag, --block-all-writes
and --keep-index if migrate, cutover or finalize will have them.

\b
[bold]Examples[/bold]
  Before anything else:
    MONGODB_URI=mongodb://localhost booking-migrate preflight --db shop
  In a script, before a cut-over:
    booking-migrate preflight cutover --rejected leave --quiet && booking-migrate cutover --rejected leave --yes
  For the administrator, a role with what a migration takes and nothing else:
    booking-migrate preflight migrate --role
"""


class Asked(StrEnum):
    """The commands that can be checked one at a time."""

    MIGRATE = "migrate"
    VERIFY = "verify"
    CUTOVER = "cutover"
    ROLLBACK = "rollback"
    FINALIZE = "finalize"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class PreflightPlaces(Group, panel=PLACES):
    """Which collections are meant."""

    source: str = source_option()
    target: str = option(DEFAULT_TARGET, "Where client documents go.", metavar="PLACE")


@dataclass(frozen=True, slots=True)
class Intention(Group, panel=OUTPUT):
    """How the commands will be used, and what is shown."""

    in_place: bool = option(False, "Look at a migration in place, instead of one side by side.")
    max_lag: float | None = option(
        None, "What migrate will have: --max-lag takes a privilege more.", metavar="SECONDS", min=0
    )
    block_all_writes: bool = option(
        False, "What cutover will have: --block-all-writes takes privileges more.", show_default=False
    )
    keep_index: bool = option(
        False, "What finalize will have: --keep-index takes a privilege more.", show_default=False
    )
    rejected: RejectedPolicy | None = option(None, "What cutover will do with rejected bookings.")
    role: bool = option(False, "Show the command that creates a role with what it takes, and nothing else.")


def preflight(
    ctx: typer.Context,
    command: Annotated[
        Asked | None,
        typer.Argument(help="The command to look at; all of them without one.", show_default=False),
    ] = None,
    *,
    given: PreflightPlaces,
    connection: ConnectionOptions,
    people: PeopleOptions,
    rules: RuleOptions,
    intention: Intention,
    output: OutputOptions,
) -> None:
    places = Places.of(ctx, PlaceOptions(given.source, given.target), people, connection)
    run.execute(
        run.Invocation.about(ctx, output, places),
        lambda context: _preflight(places, rules, command, intention, context),
    )


def _preflight(
    places: Places, rules: RuleOptions, command: Asked | None, intention: Intention, context: run.RunContext
) -> Report:
    plan = migration_plan(contract_of(context.asked.ctx), rules, places.people, WritingOptions(workers=1))
    for place in (places.source, places.target):
        if not isinstance(parse_place(place), CollectionPlace):
            raise UnusablePlace(place, "preflight looks at collections", "A file has no server to ask.")
    commands = _commands(command, in_place=intention.in_place)
    with open_places(places, context.listener) as sides:
        inspector = open_inspector(sides.connection, places.source)
        outcome = look(
            PreflightPlan(
                migration=plan,
                around=inspect_surroundings(
                    inspector, places.source, places.target, places.people_collections
                ),
                inspector=inspector,
                directory=Directory(sides.users, sides.experts, plan.people),
                stores=open_run_stores(sides.connection, target=places.target, source=places.source),
                live=open_live(sides.connection, source=places.source, target=places.target),
                request=run_request("preflight", context.run_id, places, plan),
                policy=intention.rejected,
                archive=lambda name: open_in_place(sides.connection, source=places.source, archive=name),
                limits_lag=intention.max_lag is not None,
                blocks_all_writes=intention.block_all_writes,
                keeps_index=intention.keep_index,
            ),
            commands,
        )
        database = inspector.database
        outcome = _written_out(outcome, context)
    return report_of_preflight(
        outcome,
        run_id=context.run_id,
        source=places.source,
        target=places.target,
        seconds=context.seconds,
        is_asked=command is not None,
        role=_role(database, outcome, keeps_index=intention.keep_index) if intention.role else None,
    )


def _written_out(outcome: PreflightOutcome, context: run.RunContext) -> PreflightOutcome:
    """Return what was found with the commands in its hints complete."""
    asked = context.asked

    def complete(check: Check, command: str) -> Check:
        return replace(check, hint=asked.printable(written_out_for(asked.ctx, command, check.hint)))

    verdicts = (
        replace(each, checks=tuple(complete(check, each.command) for check in each.checks))
        for each in outcome.verdicts
    )
    return replace(outcome, verdicts=tuple(verdicts))


def _role(database: str, outcome: PreflightOutcome, *, keeps_index: bool) -> str:
    """Return the command that creates a role with what the commands that were looked at take."""
    makes_index = keeps_index and any(each.command == "finalize" for each in outcome.verdicts)
    return create_role(
        database, [each.row for each in outcome.verdicts], "--keep-index" if makes_index else ""
    )


def _commands(command: Asked | None, *, in_place: bool) -> tuple[str, ...]:
    if command is None:
        return COMMANDS_IN_PLACE if in_place else COMMANDS
    return (IN_PLACE,) if in_place and command is Asked.MIGRATE else (command.value,)
