"""The command ``finalize``: end a cut-over or a migration in place, which cannot be undone."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.finalize_question import deleted, ended_by, question_of
from booking_migrate.cli.open import Places, current_process, open_run_stores, refuse_unready
from booking_migrate.cli.options import (
    IN_PLACE,
    ConnectionOptions,
    OutputOptions,
    PeopleOptions,
    PlaceOptions,
    RuleOptions,
    YesOption,
    archive_option,
    keep_index_option,
    source_option,
)
from booking_migrate.cli.parameters import Group, only, option
from booking_migrate.cli.references_look import refuse_remaining
from booking_migrate.cli.streams import confirm_by_name, is_interactive
from booking_migrate.cli.verify_inputs import RECHECK_SECONDS, open_verify_inputs, verification_plan
from booking_migrate.cli.window import open_window
from booking_migrate.cutover.finalize import FinalizePlan as CutOverFinalizePlan
from booking_migrate.cutover.finalize import finalize as finalize_cut_over
from booking_migrate.cutover.finalize import run_to_finalize
from booking_migrate.cutover.recovery import carried_bookings
from booking_migrate.errors import NotConfirmed, PartOfCutover
from booking_migrate.events import Listener, Warned
from booking_migrate.in_place import finalize as engine
from booking_migrate.references.keep import keep_index
from booking_migrate.references.remaining import Unseen, Why
from booking_migrate.reports.lifecycle_outcomes import report_of_finalize
from booking_migrate.reports.model import Report
from booking_migrate.rollback.window_parts import close_window
from booking_migrate.runs.commands import command_of
from booking_migrate.runs.lock import WINDOW_COMMAND
from booking_migrate.runs.provenance import runs_of_live
from booking_migrate.runs.states import ENDED
from booking_migrate.stores.connection import (
    Connection,
    collection_exists,
    find_old_bookings,
    has_guard,
    open_journal,
    open_legacy_index,
    open_live,
    records_left,
)
from booking_migrate.stores.cutover import OldBookings
from booking_migrate.stores.in_place import open_in_place
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.open_follow import open_dirty
from booking_migrate.stores.own_collections import default_archive
from booking_migrate.stores.privilege import Privilege
from booking_migrate.verify import VerificationOutcome, VerificationPlan

HELP = f"""
It ends the cut-over of the source with every later run in place, or else the migration in place within it. The kept copy of the old collection, or the
archive, is dropped, and so is what a reverse window keeps ready: nothing can be undone after that.

Everything is verified once more; sessions that the application has added or changed since are counted, not reported. After
a cut-over, the validator that refuses old bookings is removed from the live collection, and a validator of your own stays;
old bookings in it stay, too: the question and the report count them, with the command that converts them. If the verification finds a mismatch, nothing is dropped, and the exit code is 4.
Sessions that are gone are mismatches: if the application deletes sessions, --allow-deleted counts them instead, and the question and the report say
how many. Wrong values and totals, and sessions that are there twice, prevent it all the same. Use the same --users, --experts,
--accept, --max-document-size and \\[contract] as for the migration. With --drop-legacy-ids, legacyBookingId is removed
from all sessions too, a few client documents at a time, unless references in other collections still lead to them. If it is interrupted, run it again;
as long as the kept collection exists, rollback is possible, too. Rejected bookings stay where
they are, and so do the records of runs, which status shows: the report names these collections, and the command that removes them.

\b
[bold]Examples[/bold]
  When the team is sure:
    MONGODB_URI=mongodb://localhost booking-migrate finalize --db shop --source bookings
  A migration in place, in a script:
    booking-migrate finalize --source bookings --archive {default_archive("bookings")} --drop-legacy-ids --yes --json
"""


_COUNTING_SECONDS = 2.0
"""How long old bookings are counted for a message that only refuses."""


@dataclass(frozen=True, slots=True)
class FinalizeOptions(Group, panel=IN_PLACE):
    """What is ended, and how thoroughly."""

    source: str = source_option()
    archive: str | None = archive_option()
    drop_legacy_ids: bool = option(
        False, "Remove legacyBookingId from all sessions, too: afterwards a session's old booking is unknown."
    )
    allow_deleted: bool = option(
        False,
        "Drop the old bookings also where the application has deleted their sessions since: they are then gone for good.",
    )
    leave_references: bool = option(
        False,
        "With --drop-legacy-ids: continue although other collections hold old ids, which lead nowhere afterwards.",
    )
    keep_index: bool = keep_index_option()


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
    """Parse, find out whether a cut-over or a run in place is ended, do so, and make the report."""
    source = given.source
    if given.drop_legacy_ids and given.keep_index:
        raise typer.BadParameter(
            "without the ids, the index finds nothing.", param_hint="--keep-index with --drop-legacy-ids"
        )
    archive = given.archive or default_archive(source)
    places = Places.of(ctx, PlaceOptions(source, source), people, connection, archive=archive)

    def body(context: run.RunContext) -> Report:
        swapped = _run_to_finalize(source, connection)
        if swapped is not None and given.archive is not None:
            raise PartOfCutover(given.archive, swapped.run_id, command_of(swapped, "finalize"))
        unseen = _unseen(ctx, connection, given, swapped, context.listener)
        is_in_place = swapped is None
        sides = (
            places
            if swapped is None
            else Places.of(ctx, PlaceOptions(source, swapped.target), people, connection)
        )
        plan = verification_plan(
            contract_of(ctx),
            rules,
            sides,
            allow_later=is_in_place,
            allow_changed=is_in_place,
            allow_deleted=given.allow_deleted,
            recheck_seconds=RECHECK_SECONDS,
        )
        if swapped is not None:
            return _finalize_cut_over(swapped, sides, plan, given, context, unseen=unseen, yes=asking.yes)
        return _finalize_in_place(places, archive, plan, given, context, unseen=unseen, yes=asking.yes)

    run.execute(run.Invocation.about(ctx, output, places), body)


def _unseen(
    ctx: typer.Context,
    connection: ConnectionOptions,
    given: FinalizeOptions,
    swapped: RunRecord | None,
    listener: Listener,
) -> tuple[Unseen, ...]:
    """Return where references to old ids were not looked for before these are removed; refuse while some are known."""
    if not given.drop_legacy_ids:
        return ()
    if given.leave_references:
        return (Unseen(Why.LEFT),)
    with connection.open() as opened:
        if swapped is None:
            archive = given.archive or default_archive(given.source)
            journal, is_named = open_journal(opened).journal, given.archive is not None
            found = engine.runs_to_finalize(journal, source=given.source, archive=archive, is_named=is_named)
            if found[0].state is RunState.FINALIZED:
                # It removes nothing any more, so no reference loses what it leads to.
                return ()
        target = given.source if swapped is None else swapped.target
        return refuse_remaining(ctx, opened, source=given.source, target=target, listener=listener)


def _finalize_in_place(
    places: Places,
    archive: str,
    plan: VerificationPlan,
    given: FinalizeOptions,
    context: run.RunContext,
    *,
    unseen: Sequence[Unseen],
    yes: bool,
) -> Report:
    source, is_named = given.source, given.archive is not None
    with places.connection.open() as opened, ExitStack() as stack:
        if not yes:
            journal = open_journal(opened).journal
            chosen = engine.runs_to_finalize(journal, source=source, archive=archive, is_named=is_named)[0]
            if chosen.state is not RunState.FINALIZED:
                what = f"finalize of run {chosen.run_id} (drops {archive}; {ended_by(unseen)})"
                confirm_by_name(what, archive)

        def verify() -> VerificationOutcome:
            # Not before: what an earlier finalize has begun is taken back first.
            inputs = stack.enter_context(open_verify_inputs(places, context.listener))
            found = inputs.verify(plan, places, context.listener)
            if not yes and not found.mismatch_count:
                for lost in deleted(found):
                    confirm_by_name(f"finalize of {source} ({lost}; drops {archive})", archive)
            return found

        outcome = engine.finalize(
            engine.FinalizePlan(
                collection=open_in_place(opened, source=source, archive=archive),
                stores=open_run_stores(opened, target=source, source=source),
                holder=current_process("finalize", context.run_id),
                exists=partial(collection_exists, opened),
                verify=verify,
                check_privileges=partial(_refuse_unready, places, opened, keeps_index=given.keep_index),
                allow_deleted=given.allow_deleted,
                drop_legacy_ids=given.drop_legacy_ids,
                is_named=is_named,
                listener=context.listener,
            )
        )
        return _report(outcome, opened, context, unseen, given)


def _report(
    outcome: engine.FinalizeOutcome,
    connection: Connection,
    context: run.RunContext,
    unseen: Sequence[Unseen],
    given: FinalizeOptions,
) -> Report:
    """Keep the index by which old ids are found, if that was asked for, and make the report with what stays in the database."""
    if given.keep_index and outcome.is_done:
        # Without a proven result nothing is made.
        outcome = replace(outcome, kept_index=keep_index(open_legacy_index(connection, given.source)).name)
    if (
        given.drop_legacy_ids
        and outcome.was_finalized
        and "drop-legacy-ids" not in outcome.run.ending_options
    ):
        context.listener.notify(
            Warned(
                f"the old ids stay in {given.source}, where they do no harm: only the finalize that drops the old bookings removes them"
            )
        )
    runs = open_journal(connection).journal.runs()
    return report_of_finalize(
        outcome,
        seconds=context.seconds,
        records=records_left(connection),
        is_last=all(each.state in ENDED for each in runs),
        unseen=() if outcome.was_finalized or not outcome.is_done else unseen,
    )


def _refuse_unready(
    places: Places, connection: Connection, dropped: Sequence[str], *, keeps_index: bool
) -> None:
    """Refuse a finalize that the server would not permit its user to complete.

    Raises:
        NotReady: the user lacks a privilege; nothing was changed.
        ConnectionProblem: the server cannot be asked.
    """
    # Only a guard takes more than dropping does.
    row = "finalize after a cut-over" if has_guard(connection, places.source) else "finalize"
    certain = [Privilege("dropCollection", name) for name in dropped]
    if keeps_index and open_legacy_index(connection, places.source).found() is None:
        certain.append(Privilege("createIndex", places.source))
    refuse_unready(row, places, connection, certain, option="--keep-index" if keeps_index else "")


def _run_to_finalize(source: str, connection: ConnectionOptions) -> RunRecord | None:
    """Return the run whose cut-over made a collection live; None without one.

    Raises:
        UnfinishedRun: a later run in that collection has to be completed first; said before anything is asked.
    """
    with connection.open() as opened:
        journal = open_journal(opened)
        found = run_to_finalize(journal.journal, source)
        held = journal.locks.look(source)
        # A run that is active is reported when its lock is asked for.
        if found is not None and not (held is not None and held.is_live):
            engine.refuse_unfinished(runs_of_live(journal.journal, found))
        return found


def _finalize_cut_over(
    swapped: RunRecord,
    places: Places,
    plan: VerificationPlan,
    given: FinalizeOptions,
    context: run.RunContext,
    *,
    unseen: Sequence[Unseen],
    yes: bool,
) -> Report:
    with places.connection.open() as opened, ExitStack() as stack:
        # What was killed behind the drop is continued without another confirmation; before it, all begins again.
        is_begun = swapped.state is RunState.FINALIZING
        is_confirmed = yes or (is_begun and not collection_exists(opened, swapped.legacy or ""))
        stores = open_run_stores(opened, target=swapped.target, source=swapped.source)

        def old_bookings(seconds: float | None = None) -> OldBookings | None:
            return find_old_bookings(
                opened, swapped, lambda: carried_bookings(swapped, stores), seconds=seconds
            )

        question = partial(question_of, swapped, ended=ended_by(unseen))
        held = stores.locks.look(swapped.target)
        is_kept = held is not None and held.is_live and held.holder.command == WINDOW_COMMAND
        if not is_confirmed and not is_interactive():
            # Before the lock is asked for: a reverse window would end for nothing.
            raise NotConfirmed(question(old_bookings(_COUNTING_SECONDS), is_kept=is_kept))
        if not is_confirmed and is_kept:
            confirm_by_name(question(old_bookings(), is_kept=True), swapped.legacy or "")
            is_confirmed = True

        def confirm(verification: VerificationOutcome, dropped: Sequence[str]) -> None:
            # How many old bookings are gone for good was not known when it was asked whether to end a window.
            if not yes and (not is_confirmed or verification.deleted_sessions):
                confirm_by_name(question(old_bookings(), dropped, verification), dropped[0])

        def verify() -> VerificationOutcome:
            inputs = stack.enter_context(open_verify_inputs(places, context.listener))
            return inputs.verify(inputs.in_use(plan), places, context.listener)

        def end_window(run: RunRecord, confirm_lock: Callable[[], None]) -> None:
            if run.window:
                close_window(run, open_window(opened, run), stores.journal, confirm_lock)

        outcome = finalize_cut_over(
            CutOverFinalizePlan(
                run=swapped,
                stores=stores,
                holder=current_process("finalize", context.run_id),
                live=open_live(opened, source=swapped.source, target=swapped.target),
                archive=lambda name: open_in_place(opened, source=swapped.source, archive=name),
                dirty=lambda run_id: open_dirty(opened, run_id),
                exists=partial(collection_exists, opened),
                check_privileges=partial(_refuse_unready, places, opened, keeps_index=given.keep_index),
                close_window=end_window,
                old_bookings=old_bookings,
                verify=verify,
                confirm=confirm,
                allow_deleted=given.allow_deleted,
                drop_legacy_ids=given.drop_legacy_ids,
                listener=context.listener,
            )
        )
        return _report(outcome, opened, context, unseen, given)
