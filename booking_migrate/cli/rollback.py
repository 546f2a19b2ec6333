"""The command ``rollback``: undo a run."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING

import typer

from booking_migrate.cli import run
from booking_migrate.cli.open import current_process, open_run_stores
from booking_migrate.cli.options import RULES, ConnectionOptions, OutputOptions, RunOptions, YesOption
from booking_migrate.cli.parameters import option
from booking_migrate.cli.recorded import recorded_tail
from booking_migrate.cli.rollback_references import (
    ReferenceOptions,
    references_left,
    refuse_while_rewritten,
    roll_back_references,
)
from booking_migrate.cli.streams import confirm
from booking_migrate.cli.window import OutageOptions, open_window, restoration_places
from booking_migrate.domain.carried_changes import ChangesSince
from booking_migrate.events import Listener, Warned
from booking_migrate.in_place.rollback import assess_changes_in_place
from booking_migrate.migrate.to_file import roll_back_file
from booking_migrate.preflight.privileges import refuse_lacking
from booking_migrate.quantities import plural
from booking_migrate.reports.lifecycle_outcomes import report_of_rollback
from booking_migrate.reports.model import Report
from booking_migrate.reports.text import outage
from booking_migrate.rollback.restore import RollbackPlan
from booking_migrate.rollback.restored_clients import assess_changes
from booking_migrate.rollback.run import choose_runs, remaining_runs, roll_back
from booking_migrate.rollback.window_parts import changes_in
from booking_migrate.runs.advice import NEEDS_REST, STOP_THE_NEW_AFTER
from booking_migrate.runs.commands import needs_rest
from booking_migrate.runs.privileges import BEHIND_GUARD
from booking_migrate.runs.states import LIVE, UNDOABLE, in_words
from booking_migrate.runs.undo import UndoOutcome
from booking_migrate.stores.connection import Connection, collection_exists, open_inspector, open_journal
from booking_migrate.stores.files.atomic import Sidecar
from booking_migrate.stores.in_place import open_in_place
from booking_migrate.stores.journal import RunJournal, RunRecord, RunState
from booking_migrate.stores.places import DEFAULT_TARGET, FilePlace, parse_place

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.in_place import MongoInPlace

HELP = """
All runs into a target are undone, the newest first, or the one that --run names: what they wrote is removed, what they
changed is restored, and nothing else is touched.

Client documents that others have changed since are kept and listed, and the exit code is 3. The run's rejected records
go too, its unique index, and the target itself if the run created it and it is left empty. What was restored is read again
before the command says done. If it is interrupted, run it again. Of a target file, the files that the run wrote are
removed if they still are byte for byte what it wrote.

After a cut-over the old bookings take the live name again, in one atomic rename; writes are refused while they are put
together. Sessions booked since stay, in client documents of the new shape beside the old bookings, and what was changed
in migrated sessions is carried into the old bookings and listed; the exit code is 3 then. --discard-later drops both.
In a reverse window (cutover --reverse-window) that is kept ready: the command takes over, brings the last changes in, and
refuses writes for these only; sessions booked since become old bookings.

What was migrated in place is restored client by client, while the application runs: the old bookings come from the
archive, and later changes are kept, carried or dropped likewise. The target of such a run is its source. Before a run
--without-transactions is undone, stop the application: what it writes meanwhile can be lost.

References that references rewrite has written have to be undone first, with --references: old ids are restored from its journal,
wherever arrays have them now; what others have changed since stays and is listed, and the exit code is 3.

\b
[bold]Examples[/bold]
  All runs into the default target:
    MONGODB_URI=mongodb://localhost booking-migrate rollback --db shop
  The files of a run into a file:
    booking-migrate rollback --target clients.jsonl
  In a script, one run:
    booking-migrate rollback --run 20261123T151100Z-ab12cd --yes --json
  What was migrated in place:
    booking-migrate rollback --db shop --target bookings
  After a cut-over, as if it had never been:
    booking-migrate rollback --db shop --discard-later
  References in other collections, before the cut-over itself:
    booking-migrate rollback --db shop --references
"""


_SWAPPING = LIVE | {RunState.CUTTING_OVER}
"""The states in which a rollback changes the live collection."""


@dataclass(frozen=True, slots=True)
class DiscardOptions(OutageOptions, panel=RULES):
    """What happens to changes since, and for how long writes may be refused."""

    discard_later: bool = option(
        False,
        "After a cut-over or in place: drop what the application has booked and changed since, after naming how much that is.",
    )
    convert_later: bool | None = option(
        None,
        "After a cut-over: make old bookings of sessions booked since, where their fields allow it; by default in a reverse window.",
        negatable=True,
    )


def rollback(
    ctx: typer.Context,
    *,
    chosen: RunOptions,
    connection: ConnectionOptions,
    discard: DiscardOptions,
    references: ReferenceOptions,
    asking: YesOption,
    output: OutputOptions,
) -> None:
    # A wrong limit is a usage error, which is raised before anything else.
    _ = discard.limits
    if discard.discard_later and discard.convert_later:
        raise typer.BadParameter(
            "what is dropped cannot be converted, too.", param_hint="--convert-later with --discard-later"
        )
    run_id = chosen.run_id
    if references.references:
        run.execute(
            run.Invocation(ctx, output, connection.uri),
            lambda context: roll_back_references(
                ctx, references, connection, context, run_id=run_id, yes=asking.yes
            ),
        )
    if references.field:
        raise typer.BadParameter("it is about --references.", param_hint="--field")
    target = chosen.target if chosen.target is not None or run_id is not None else DEFAULT_TARGET

    def body(context: run.RunContext) -> Report:
        place = None if target is None else parse_place(target)
        if isinstance(place, FilePlace):
            outcome = _remove_files(place, run_id, yes=asking.yes, listener=context.listener)
            return report_of_rollback(outcome, seconds=context.seconds)
        with connection.open() as opened:
            runs = choose_runs(
                open_journal(opened).journal,
                partial(collection_exists, opened),
                target=target,
                run_id=run_id,
            )
            refuse_while_rewritten(opened, runs)
            outcome = _rollback(connection, opened, runs, context, yes=asking.yes, discard=discard)
            stranded = references_left(ctx, opened, runs, context.listener)
        return report_of_rollback(outcome, seconds=context.seconds, stranded=stranded)

    run.execute(run.Invocation(ctx, output, connection.uri, target=target or ""), body)


def _rollback(
    options: ConnectionOptions,
    connection: Connection,
    runs: Sequence[RunRecord],
    context: run.RunContext,
    *,
    yes: bool,
    discard: DiscardOptions,
) -> UndoOutcome:
    """Undo runs, the newest first; return the outcome of the newest, with those of the others in it."""
    journal = open_journal(connection).journal
    newest, discard_later = runs[0], discard.discard_later
    if newest.state is not RunState.ROLLED_BACK:
        row = _row_of(connection, newest)
        refuse_lacking(open_inspector(connection, newest.target), row, [newest.source, newest.target])
    changes = None
    if discard.convert_later and newest.state not in LIVE:
        said = (
            f"--convert-later is for a rollback after a cut-over; run {newest.run_id} is {newest.state.value}"
        )
        context.listener.notify(Warned(said))
    if discard_later or not yes:
        changes = _describe_changes(connection, runs, journal, context.listener, will_drop=discard_later)
    if not yes:
        _confirm(runs, changes, _refusal(newest, discard))
    else:
        for said in filter(None, (NEEDS_REST if needs_rest(newest) else None, changes)):
            context.listener.notify(Warned(said))
    outcomes = []
    for each, older in zip_longest(runs, runs[1:]):
        stores = open_run_stores(connection, target=each.target, source=each.source)
        with ExitStack() as stack:
            plan = RollbackPlan(
                each,
                stores,
                current_process("rollback", context.run_id),
                exists=partial(collection_exists, connection),
                places=lambda run: restoration_places(
                    connection,
                    run,
                    converts_later=bool(run.window)
                    if discard.convert_later is None
                    else discard.convert_later,
                ),
                in_place=lambda run: _in_place(connection, run),
                listener=context.listener,
                signal_guard=context.signal_guard,
                window=lambda run: open_window(connection, run),
                limits=discard.limits,
                converts_later=discard.convert_later,
                discard_later=discard_later and (each is newest or each.archive is not None),
                older=older if older is not None and older.archive is not None else None,
                tail=recorded_tail(
                    options, stores, stack, listener=context.listener, signal_guard=context.signal_guard
                ),
            )
            outcomes.append(roll_back(plan))
    outcome = outcomes[0]
    if outcome.run.archive is not None:
        # Each includes the changes to the runs undone before it.
        outcome.since = outcomes[-1].since or outcome.since
    outcome.earlier, outcome.remaining = outcomes[1:], remaining_runs(journal, newest.target)
    outcome.index_removed = any(done.index_removed for done in outcomes)
    outcome.target_dropped = any(done.target_dropped for done in outcomes)
    return outcome


def _describe_changes(
    connection: Connection,
    runs: Sequence[RunRecord],
    journal: RunJournal,
    listener: Listener,
    *,
    will_drop: bool,
) -> str | None:
    """Return what has changed since runs, of which the newest is first, went live, in words; None if they did not."""
    newest = runs[0]
    if newest.state is RunState.CUT_OVER and newest.window.get("built"):
        return _in_words(changes_in(open_window(connection, newest)), "the cut-over", will_drop=will_drop)
    if newest.state is RunState.CUT_OVER:
        found = assess_changes(restoration_places(connection, newest), listener)
        return _in_words(found, "the cut-over", will_drop=will_drop)
    if newest.archive is not None and newest.state in UNDOABLE:
        alike = [run for run in runs if run.archive == newest.archive and run.state in UNDOABLE]
        found = assess_changes_in_place(alike, _in_place(connection, newest), journal)
        return _in_words(found, "the migration", will_drop=will_drop)
    return None


def _row_of(connection: Connection, newest: RunRecord) -> str:
    """Return the row of the table of privileges that a rollback takes."""
    if newest.archive is not None and _in_place(connection, newest).is_guarded():
        return BEHIND_GUARD
    return "rollback after a cut-over" if newest.state in _SWAPPING else "rollback"


def _in_place(connection: Connection, chosen: RunRecord) -> "MongoInPlace":
    """Return the collection that a run was made in."""
    return open_in_place(
        connection,
        source=chosen.source,
        archive=chosen.archive or "",
        has_transactions=chosen.options.get("without-transactions") != str(True),
    )


def _remove_files(place: FilePlace, run_id: str | None, *, yes: bool, listener: Listener) -> UndoOutcome:
    sidecar = Sidecar(place.path)
    record = sidecar.read()
    if record is not None and not yes:
        _confirm([record.run])
    return roll_back_file(sidecar, run_id=run_id, listener=listener)


def _in_words(since: ChangesSince, moment: str, *, will_drop: bool) -> str:
    counts = {"session": since.later, "change": since.changed + since.lost, "deleted session": since.missing}
    named = ", ".join(plural(count, noun) for noun, count in counts.items() if count)
    fate = "will be dropped" if will_drop else "will be kept"
    return f"since {moment}: {named}; this {fate}" if named else f"since {moment}: no change"


def _refusal(newest: RunRecord, discard: DiscardOptions) -> str:
    """Return what a rollback means for the application's writes, as it is to be confirmed; empty: nothing."""
    if needs_rest(newest):
        return NEEDS_REST
    if newest.state is not RunState.CUT_OVER:
        return ""
    if newest.window.get("built"):
        limit = outage(discard.limits.outage)
        return f"writes are refused for at most {limit} an attempt (--max-outage); {STOP_THE_NEW_AFTER}"
    return "stop the new application first; writes are refused until all old bookings are restored and verified; then start the old application"


def _confirm(runs: Sequence[RunRecord], since: str | None = None, refusal: str = "") -> None:
    newest, *earlier = runs
    if newest.state is RunState.ROLLED_BACK:
        return
    what = f"rollback of run {newest.run_id} ({newest.source} -> {newest.target}, {in_words(newest.state)})"
    if earlier:
        named = ", ".join(run.run_id for run in earlier)
        what = f"{what} and of the earlier {'run' if len(earlier) == 1 else 'runs'} {named}"
    confirm(what, "; ".join(filter(None, (refusal, since))))
