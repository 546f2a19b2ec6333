"""The command ``rollback``: undo a run."""

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from booking_migrate.cli import options, run
from booking_migrate.cli.config_file import hooks_of
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.open_places import DEFAULT_TARGET
from booking_migrate.cli.printed_commands import GivenOptions
from booking_migrate.cli.streams import is_interactive
from booking_migrate.errors import NotConfirmed
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.open import CollectionPlace, Connection, FilePlace, open_reader, parse_place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from booking_migrate.events import Listener
    from booking_migrate.reports.model import Report
    from booking_migrate.rollback.restored_clients import RestorationPlaces
    from booking_migrate.runs.drift import ChangesSince
    from booking_migrate.runs.undo import UndoOutcome
    from booking_migrate.stores.in_place import InPlaceCollection
    from booking_migrate.stores.journal import RunRecord

HELP = filled("""
Undo all runs into a target, the newest first, or the one that --run names: what they wrote is removed, what they changed
is put back, and nothing else is touched.

Client documents that others have changed since are kept and listed, and the exit code is 3. The run's rejected records
go too, its unique index, and the target itself if the run created it and it is left empty. What was restored is read again
before the command says done. If it is interrupted, give it again. Of a target file, the files that the run wrote are
removed if they still are byte for byte what it wrote.

After a cut-over the old bookings take the live name again, in one atomic rename; writes are refused while they are put
together. Sessions booked since stay, in client documents of the new shape beside the old bookings, and what was changed
in migrated sessions is carried into the old bookings and listed; the exit code is 3 then. --discard-later drops both.

What was migrated in place is put back client by client, while the application runs: the old bookings come from the
archive, and what happened since is kept, carried or dropped likewise. The target of such a run is its source.

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
""")


DiscardLater = Annotated[
    bool,
    options.option(
        "--discard-later",
        panel="What may pass",
        help="After a cut-over or in place: drop what the application has booked and changed since, after naming how much that is.",
    ),
]


def rollback(
    ctx: typer.Context,
    *,
    target: options.RunTarget = None,
    run_id: options.RunId = None,
    uri: options.Uri = None,
    db: options.Db = None,
    discard_later: DiscardLater = False,
    yes: options.Yes = False,
    json: options.Json = False,
    report: options.Reports = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Parse, and hand over to `_rollback`."""
    from booking_migrate.reports.life.model import report_of_rollback  # noqa: PLC0415 - not needed to print help

    wanted = target if target is not None or run_id is not None else DEFAULT_TARGET
    asked = run.Invocation(
        command="rollback",
        source="",
        target=wanted or "",
        places=[str(path) for path in (config,) if path is not None],
        uri=uri,
        json=json,
        reports=tuple(report or ()),
        quiet=quiet,
        verbose=verbose,
        given=GivenOptions.of(ctx),
    )
    signal_guard = SignalGuard()
    began = monotonic()

    def body(own_id: str, listener: "Listener") -> "Report":
        place = None if wanted is None else parse_place(wanted)
        if isinstance(place, FilePlace):
            return report_of_rollback(
                _remove_files(place, run_id, yes=yes, listener=listener), seconds=monotonic() - began
            )
        with closing(Connection(uri, db)) as connection:
            order = _Order(wanted, run_id, yes=yes, discard_later=discard_later)
            outcome = _rollback(connection, order, own_id, listener, signal_guard)
        return report_of_rollback(outcome, seconds=monotonic() - began)

    run.execute(asked, body, signal_guard, partial(hooks_of, ctx))


@dataclass(frozen=True, slots=True)
class _Order:
    """What somebody wants undone, and how."""

    target: str | None
    run_id: str | None
    yes: bool
    discard_later: bool


def _rollback(
    connection: Connection, order: _Order, own_id: str, listener: "Listener", signal_guard: SignalGuard
) -> "UndoOutcome":
    # Here and not above: stores and engine are not needed to print help.
    from booking_migrate.cli.run_context import holder_of, stores_of  # noqa: PLC0415
    from booking_migrate.events import Warned  # noqa: PLC0415
    from booking_migrate.in_place.move_back import assess_changes_in_place  # noqa: PLC0415
    from booking_migrate.rollback.restore import assess_changes  # noqa: PLC0415
    from booking_migrate.rollback.run import choose_runs, remaining_runs, roll_back  # noqa: PLC0415
    from booking_migrate.runs.states import UNDOABLE  # noqa: PLC0415
    from booking_migrate.stores.journal import RunState  # noqa: PLC0415
    from booking_migrate.stores.open_journal import open_journal  # noqa: PLC0415

    journal = open_journal(connection).journal
    runs = choose_runs(journal, target=order.target, run_id=order.run_id)
    newest = runs[0]
    since = None
    if order.discard_later or not order.yes:
        if newest.state is RunState.CUT_OVER:
            found = assess_changes(_places(connection, newest), listener)
            since = _in_words(found, "the cut-over", will_drop=order.discard_later)
        elif newest.archive is not None and newest.state in UNDOABLE:
            alike = [run for run in runs if run.archive == newest.archive and run.state in UNDOABLE]
            found = assess_changes_in_place(alike, _in_place(connection, newest), journal)
            since = _in_words(found, "the migration", will_drop=order.discard_later)
    if not order.yes:
        _confirm(runs, since)
    elif since is not None:
        listener.notify(Warned(since))
    outcomes = [
        roll_back(
            run,
            stores_of(connection, target=run.target, source=run.source),
            holder_of("rollback", own_id),
            places=lambda run: _places(connection, run),
            in_place=lambda run: _in_place(connection, run),
            listener=listener,
            signal_guard=signal_guard,
            discard_later=order.discard_later and (run is newest or run.archive is not None),
            older=older if older is not None and older.archive is not None else None,
        )
        for run, older in zip_longest(runs, runs[1:])
    ]
    outcome = outcomes[0]
    if outcome.run.archive is not None:
        # Each run's has what had happened to those before it in it.
        outcome.since = outcomes[-1].since or outcome.since
    outcome.earlier, outcome.remaining = outcomes[1:], remaining_runs(journal, newest.target)
    outcome.index_removed = any(each.index_removed for each in outcomes)
    outcome.target_dropped = any(each.target_dropped for each in outcomes)
    return outcome


def _in_place(connection: Connection, chosen: "RunRecord") -> "InPlaceCollection":
    """The collection that a run was made in."""
    from booking_migrate.stores.open_in_place import open_in_place  # noqa: PLC0415 - as above

    return open_in_place(
        connection,
        source=chosen.source,
        archive=chosen.archive or "",
        has_transactions=chosen.options.get("without-transactions") != str(True),
    )


def _places(connection: Connection, chosen: "RunRecord") -> "RestorationPlaces":
    """The collections of a run's cut-over."""
    from booking_migrate.cutover.readiness import RejectedPolicy  # noqa: PLC0415 - as above
    from booking_migrate.rollback.restored_clients import RestorationPlaces  # noqa: PLC0415 - as above
    from booking_migrate.stores.open_journal import open_live, open_restored  # noqa: PLC0415
    from booking_migrate.stores.rejects_reader import open_rejected_records  # noqa: PLC0415

    restored = open_restored(connection, source=chosen.source, run_id=chosen.run_id)
    rejects = chosen.options.get("rejects")
    return RestorationPlaces(
        live=open_live(connection, source=chosen.source, target=chosen.target),
        restored=restored,
        kept=open_reader(CollectionPlace(chosen.legacy or ""), connection),
        current=open_reader(CollectionPlace(chosen.source), connection),
        result=open_reader(CollectionPlace(restored.name), connection),
        rejected=open_rejected_records(
            CollectionPlace(chosen.target),
            connection,
            source_name=chosen.source,
            rejects=None if rejects is None else Path(rejects),
        ),
        has_carried=chosen.cutover_options.get("rejected") == RejectedPolicy.CARRY.value,
    )


def _remove_files(place: FilePlace, run_id: str | None, *, yes: bool, listener: "Listener") -> "UndoOutcome":
    # Here and not above, as in `_rollback`.
    from booking_migrate.migrate.to_file import roll_back_file  # noqa: PLC0415
    from booking_migrate.stores.files.sidecar import Sidecar  # noqa: PLC0415

    sidecar = Sidecar(place.path)
    record = sidecar.read()
    if record is not None and not yes:
        _confirm([record.run])
    return roll_back_file(sidecar, run_id=run_id, listener=listener)


def _in_words(since: "ChangesSince", moment: str, *, will_drop: bool) -> str:
    from booking_migrate.reports.numbers import plural  # noqa: PLC0415 - not needed to print help

    counts = {
        "session": since.later,
        "change": since.changed + since.lost,
        "deleted session": since.missing,
    }
    named = ", ".join(plural(count, noun) for noun, count in counts.items() if count)
    fate = "will be dropped" if will_drop else "will be kept"
    return f"since {moment}: {named}; this {fate}" if named else f"since {moment}: nothing"


def _confirm(runs: "Sequence[RunRecord]", since: str | None = None) -> None:
    """Ask at the terminal.

    Raises:
        NotConfirmed: standard input is not a terminal, or the answer is no.
    """
    from booking_migrate.stores.journal import RunState  # noqa: PLC0415 - not needed to print help

    newest, *earlier = runs
    if newest.state is RunState.ROLLED_BACK:
        return
    what = f"rollback of run {newest.run_id} ({newest.source} -> {newest.target}, {newest.state.value})"
    if earlier:
        named = ", ".join(run.run_id for run in earlier)
        what = f"{what} and of the earlier {'run' if len(earlier) == 1 else 'runs'} {named}"
    question = what if since is None else f"{what}; {since}"
    if not is_interactive():
        raise NotConfirmed(what)
    if not typer.confirm(f"{question}. Go on?", err=True):
        raise NotConfirmed(what, "n", "y")
