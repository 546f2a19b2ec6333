"""The commands ``verify``, which proves a migration's result or lists every mismatch, and ``explain``, for one booking."""

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from booking_migrate.cli import run
from booking_migrate.cli.behind import read_in_use
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.next_steps import similar_command
from booking_migrate.cli.open import Places, current_process, is_same_file
from booking_migrate.cli.options import (
    IN_PLACE,
    OUTPUT,
    ConnectionOptions,
    OutputOptions,
    PeopleOptions,
    PlaceOptions,
    RuleOptions,
    archive_option,
    check_mode,
    workers_option,
)
from booking_migrate.cli.parameters import Group, only, option
from booking_migrate.cli.verify_inputs import (
    RECHECK_SECONDS,
    VerifyInputs,
    check_own_archive,
    newest_run,
    nothing_migrated,
    open_verify_inputs,
    regulator_of,
    unfinished_findings,
    verification_plan,
)
from booking_migrate.cli.verify_steps import booking_to_explain, steps_after_verify
from booking_migrate.domain.contract import Contract
from booking_migrate.errors import BadConfiguration, OutputFailed
from booking_migrate.events import Announced, Warned
from booking_migrate.reports.model import Report
from booking_migrate.reports.verification import MismatchFile, report_of_explanation, report_of_verification
from booking_migrate.runs.states import VerifiedRun
from booking_migrate.stores.connection import Connection, may_write_journal, open_journal
from booking_migrate.stores.open_follow import cluster_time_of
from booking_migrate.stores.own_collections import default_archive
from booking_migrate.stores.places import CollectionPlace, parse_place, written_beside
from booking_migrate.verify import VerificationOutcome, VerificationPlan
from booking_migrate.verify.explain import explain as explain_booking
from booking_migrate.verify.run import ignore

HELP = """
Both sides are read once, and nothing is written to either. Each client document is taken apart into the bookings that
it claims to hold, and these are compared byte for byte with the source; ids, order, totals, dates and rejected bookings
are worked out again, by code that the migration does not use. Use the same --users, --experts, --accept,
--max-document-size and \\[contract] as for the migration: they decide what the result should be.

Rejected bookings that are kept whole and have a cause are not mismatches.

With --in-place, the old bookings are those of the archive and those that are still in the source, and the client
documents are the source's. Sessions that the application has added or changed since are counted, not reported: changed is
one whose own updatedAt, or that of its client document, says so.

After a cut-over, the same names are verified as before it: the kept copy is compared with the live collection, and sessions
added or changed since are counted as with --in-place.

\b
[bold]Examples[/bold]
  Files:
    booking-migrate verify --source bookings.jsonl --target clients.jsonl \\
      --users users.jsonl --experts experts.jsonl
  Within a database, by a user who may only read:
    MONGODB_URI=mongodb://reader:PASSWORD@localhost booking-migrate verify --db shop
  In CI, with a test case for each rule:
    booking-migrate verify --source bookings.jsonl --target clients.jsonl \\
      --report verify.xml --report verify.md --mismatches mismatches.jsonl
  After migrate --in-place, while the application runs:
    booking-migrate verify --in-place --source bookings --db shop
  A quick look at a large collection that is in use already:
    booking-migrate verify --db shop --sample 1000 --allow-later
"""

EXPLAIN_HELP = """
It shows the booking's client document, and its session and the fields side by side, or the reasons why it was rejected.

BOOKING_ID is the booking's _id: 24 hex digits, a whole number, a text, or any other value in Extended JSON. Nothing is
written. A booking that is not as it should be exits with 4. After a cut-over, the same names are looked up in the kept copy
and in the live collection.

\b
[bold]Examples[/bold]
  booking-migrate explain 68b61bd7a4c0bf9eaab38ee5 --source bookings.jsonl --target clients.jsonl
  MONGODB_URI=mongodb://localhost booking-migrate explain 68b61bd7a4c0bf9eaab38ee5 --db shop
"""

ONLY_SIDE_BY_SIDE = ("target", "rejects")
ONLY_IN_PLACE = ("archive",)


@dataclass(frozen=True, slots=True)
class CheckOptions(Group, panel="Checking"):
    """How the sides are compared."""

    workers: int = workers_option(
        "Read and check in this many processes. It changes speed, never the result."
    )
    sample: int | None = option(
        None, "Check only N clients, chosen at random, for a quick look.", metavar="N", min=1
    )
    recheck: float | None = option(
        None,
        "Read a client with a difference again after this time, before it is reported.",
        metavar="SECONDS",
        min=0,
        max=3600,
        show_default="1 for collections, 0 for files",
    )
    allow_later: bool | None = option(
        None,
        "Count sessions that the new application added since, instead of reporting them.",
        negatable=True,
        show_default="only with --in-place and after a cut-over",
    )


@dataclass(frozen=True, slots=True)
class InPlaceVerifyOptions(Group, panel=IN_PLACE):
    """Whether the migration was made in place."""

    in_place: bool = option(
        False, "The source was migrated within itself: the archive is read with it.", negatable=True
    )
    archive: str | None = archive_option()


@dataclass(frozen=True, slots=True)
class MismatchOptions(Group, panel=OUTPUT):
    """Where mismatches are listed."""

    mismatches: Path | None = option(
        None,
        "Write every mismatch to a file of Extended JSON lines, with the values expected and found.",
        metavar="FILE",
    )


def verify(
    ctx: typer.Context,
    *,
    given: PlaceOptions,
    connection: ConnectionOptions,
    people: PeopleOptions,
    rules: Annotated[RuleOptions, only("accept", "max_document_size", "on_conflict")],
    checking: CheckOptions,
    moved: InPlaceVerifyOptions,
    listing: MismatchOptions,
    output: OutputOptions,
) -> None:
    in_place, archive = moved.in_place, None
    if in_place:
        archive = moved.archive or default_archive(given.source)
        given = replace(given, target=given.source)
    places = Places.of(ctx, given, people, connection, archive=archive)

    def body(context: run.RunContext) -> Report | run.Incomplete:
        check_mode(ctx, ONLY_SIDE_BY_SIDE if in_place else ONLY_IN_PLACE, in_place=in_place)
        plan = _plan(places, rules, checking, contract_of(ctx))
        return _verify(places, plan, checking, listing.mismatches, context)

    run.execute(run.Invocation.about(ctx, output, places, listing.mismatches), body)


def _plan(places: Places, rules: RuleOptions, checking: CheckOptions, contract: Contract) -> VerificationPlan:
    default_recheck = RECHECK_SECONDS if places.in_database else 0.0
    is_in_place = places.archive is not None
    return verification_plan(
        contract,
        rules,
        places,
        allow_later=is_in_place if checking.allow_later is None else checking.allow_later,
        allow_changed=is_in_place and checking.allow_later is not False,
        sample=checking.sample,
        workers=checking.workers,
        recheck_seconds=default_recheck if checking.recheck is None else checking.recheck,
    )


def _verify(
    places: Places,
    plan: VerificationPlan,
    checking: CheckOptions,
    mismatches: Path | None,
    context: run.RunContext,
) -> Report | run.Incomplete:
    """Compare the places, and make the report."""
    with open_verify_inputs(places, context.listener, workers=plan.workers) as inputs, ExitStack() as stack:
        check_own_archive(places, inputs.connection)
        listed: MismatchFile | None = None
        if mismatches is not None:
            _check_no_clash(mismatches, places)
            listed = stack.enter_context(MismatchFile(mismatches))
        outcome = _compare(places, inputs.in_use(plan, checking.allow_later), inputs, listed, context)
        failure = listed.failure if listed else None
        source, target = inputs.names(places)
        made_by = newest_run(places, inputs.connection) if outcome.mismatch_count else None
        booking_id = booking_to_explain(places, inputs, outcome) if outcome.mismatch_count else None
    report = report_of_verification(
        outcome,
        run_id=context.run_id,
        source=source,
        target=target,
        next_steps=tuple(
            steps_after_verify(
                outcome,
                context.asked.ctx,
                made_by,
                booking_id,
                archive=places.archive,
                listed=listed is not None and failure is None,
                is_live=inputs.cut_over is not None,
                can_cut_over=places.archive is None and inputs.cut_over is None and _is_whole(places, plan),
            )
        ),
        mismatches_file=None if listed is None or failure is not None else str(mismatches),
    ).model_copy(update={"archive": places.archive})
    if failure is None:
        if listed is not None:
            context.listener.notify(Announced(f"mismatches written to {mismatches}"))
        return report
    return run.Incomplete(
        report, [OutputFailed("verify", "list of mismatches", failure.place, failure.problem)]
    )


def _compare(
    places: Places,
    plan: VerificationPlan,
    inputs: VerifyInputs,
    listed: MismatchFile | None,
    context: run.RunContext,
) -> VerificationOutcome:
    """Compare both sides, list the mismatches, and note the result in the run's record."""
    connection, listener = inputs.connection, context.listener
    for side in inputs.names(places):
        # A proof of what a majority had an hour ago would prove nothing.
        if isinstance(parse_place(side), CollectionPlace):
            connection.await_majority(side)
    as_of = _cluster_time(places, connection)
    verified_run = _verified_run(places, connection, plan, is_live=inputs.cut_over is not None)
    process = current_process("verify", context.run_id)
    regulator = regulator_of(connection, verified_run, process, listener)
    follows = not plan.rules.allow_later and places.archive is None and inputs.cut_over is None
    used = read_in_use(plan, places, connection, listener) if follows else nullcontext(plan)
    sink = listed.write if listed else ignore
    with used as complete, regulator:
        outcome = inputs.verify(complete, places, listener, sink, regulator=regulator)
    if listed:
        listed.finish()
    unfinished = unfinished_findings(places, connection)
    if outcome.mismatch_count and not unfinished:
        unfinished = nothing_migrated(places, inputs, similar_command(context.asked.ctx, "migrate"))
    outcome = replace(outcome, findings=(*outcome.findings, *unfinished), as_of=as_of)
    if verified_run is not None:
        verified_run.note(is_clean=not outcome.mismatch_count)
        if verified_run.problem is not None:
            listener.notify(
                Warned(
                    f"the result is not kept, so cutover will not know of this verification: {verified_run.problem}"
                )
            )
    return outcome


def _cluster_time(places: Places, connection: Connection) -> datetime | None:
    """Return the cluster time before the source is read; None if it is not a collection of a replica set."""
    if not isinstance(parse_place(places.source), CollectionPlace):
        return None
    time = cluster_time_of(connection, places.source)
    return None if time is None else time.as_datetime()


def _is_whole(places: Places, plan: VerificationPlan, *, is_live: bool = False) -> bool:
    """Return whether a verification is whole, between two collections, and strict, which it is not of a live result."""
    is_partial = plan.sample is not None or (
        plan.rules.allow_later and places.archive is None and not is_live
    )
    return not is_partial and places.are_collections


def _verified_run(
    places: Places, connection: Connection, plan: VerificationPlan, *, is_live: bool
) -> VerifiedRun | None:
    """Return the run whose record takes the result: of a whole and strict verification between two collections.

    A cut-over proves strictly, so what only `--allow-later` lets pass must not count as proven for it.
    """
    if not _is_whole(places, plan, is_live=is_live):
        return None
    return VerifiedRun(
        open_journal(connection).journal,
        source=places.source,
        target=places.target,
        may_write=lambda: may_write_journal(connection),
        cluster_time=lambda: cluster_time_of(connection, places.source),
    )


def _check_no_clash(mismatches: Path, places: Places) -> None:
    """Refuse a file of mismatches that would overwrite what is read."""
    for place in [*places.named, *map(str, written_beside(parse_place(places.target)).values())]:
        if is_same_file(mismatches, place):
            raise BadConfiguration("--mismatches", f"{str(mismatches)!r} is also read as {place!r}")


def explain(
    ctx: typer.Context,
    *,
    booking_id: Annotated[
        str, typer.Argument(metavar="BOOKING_ID", help="The _id of the booking.", show_default=False)
    ],
    given: PlaceOptions,
    connection: ConnectionOptions,
    people: PeopleOptions,
    rules: Annotated[RuleOptions, only("accept", "max_document_size")],
    output: OutputOptions,
) -> None:
    places = Places.of(ctx, given, people, connection)

    def body(context: run.RunContext) -> Report:
        plan = verification_plan(contract_of(ctx), rules, places)
        with open_verify_inputs(places, context.listener) as inputs:
            places.contact(inputs.connection)
            source, target = inputs.names(places)
            explanation = explain_booking(
                booking_id,
                inputs.in_use(plan),
                inputs.source,
                inputs.target,
                inputs.rejected,
                users=inputs.users,
                experts=inputs.experts,
            )
        return report_of_explanation(explanation, run_id=context.run_id, source=source, target=target)

    run.execute(run.Invocation.about(ctx, output, places), body)
