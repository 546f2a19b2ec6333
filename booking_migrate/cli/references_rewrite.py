"""The command ``references rewrite``: new ids in the place of old booking ids, in other collections."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import config_path
from booking_migrate.cli.next_steps import same_command
from booking_migrate.cli.open import current_process
from booking_migrate.cli.options import (
    PLACES,
    ConnectionOptions,
    OutputOptions,
    YesOption,
    max_lag_option,
    max_rate_option,
)
from booking_migrate.cli.parameters import Group, option
from booking_migrate.cli.references_config import check_fields, references_of
from booking_migrate.cli.references_fields import FieldOptions, named_fields, words_of
from booking_migrate.cli.streams import confirm
from booking_migrate.errors import BadConfiguration, BookingMigrateError, NoReferences, NotLiveYet
from booking_migrate.events import Announced, Listener, PhaseEnded, PhaseStarted, Warned
from booking_migrate.preflight.privileges import refuse_lacking, refuse_unmeasured_lag
from booking_migrate.quantities import grouped, plural
from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.in_effect import RewriteInEffect
from booking_migrate.references.proof import fields_of_rewrites
from booking_migrate.references.rewrite import RewriteOutcome, RewritePlan
from booking_migrate.references.rewrite import rewrite as rewrite_references
from booking_migrate.references.writer import Place
from booking_migrate.reports.rewrite_status import rewrite_status
from booking_migrate.reports.rewriting import RewriteReport, report_of_rewrite
from booking_migrate.runs.commands import command_of
from booking_migrate.runs.control import REWRITE
from booking_migrate.runs.regulator import Regulator
from booking_migrate.runs.states import WITHOUT_RESULT, has_live_ids
from booking_migrate.stores.connection import Connection, JournalPlaces, open_inspector, open_journal
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.open_references import OpenReferences, open_references
from booking_migrate.stores.open_rewriting import (
    index_old_ids,
    open_reference_journal,
    open_referring_changes,
    open_referring_writes,
)
from booking_migrate.stores.reference_journal import RewriteState, in_effect

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.reference_journal import MongoReferenceJournal

HELP = """
After a cut-over or a migration in place: where the config file's tables called references say so, or --field, each id of an old
booking becomes the sessionId of its session, or the _id of its client document, in the same form: text stays text, a DBRef stays
one. Ids of rejected bookings and of no booking stay, and are counted and listed; with rejected ones the exit code is 3.

It works beside the application: each change is noted first, and written only if the reference is still what was read; documents
that others write meanwhile are looked at again until nothing is left. If it is interrupted, run it again: it continues, also without
naming fields. Run
twice, it changes nothing. To undo it: rollback --references.

\b
[bold]Examples[/bold]
  What the config file names:
    MONGODB_URI=mongodb://localhost booking-migrate references rewrite --db shop --config references.toml --yes
  A single field, and the client document beside it:
    booking-migrate references rewrite --db shop --field payments.itemId --when type=booking --add clientDocumentId=client-document
  All but money that is signed:
    booking-migrate references rewrite --config references.toml --exclude ledger --exclude payments.audit.bookingId
"""


@dataclass(frozen=True, slots=True)
class ChosenRun(Group, panel=PLACES):
    """Whose new ids are written."""

    target: str | None = option(None, "The target of the run that is meant.", metavar="NAME")
    run_id: str | None = option(
        None, "The run that is meant.", flag="--run", metavar="ID", show_default="the newest one"
    )


@dataclass(frozen=True, slots=True)
class PaceOptions(Group, panel="Writing"):
    """How fast it is written; without influence on the result."""

    batch_size: int = option(
        5000, "Documents per batch. It changes speed and memory, never the result.", min=1, max=20_000
    )
    max_rate: float | None = max_rate_option("Rewrite at most this many documents a second.")
    max_lag: float | None = max_lag_option(
        "Pause while a secondary is further behind, or its lag is unknown."
    )


def rewrite(
    ctx: typer.Context,
    *,
    given: FieldOptions,
    chosen: ChosenRun,
    connection: ConnectionOptions,
    pace: PaceOptions,
    asking: YesOption,
    output: OutputOptions,
) -> None:
    named = named_fields(given)

    def body(context: run.RunContext) -> RewriteReport:
        with connection.open() as opened:
            fields = _left_in(named or references_of(ctx), given.exclude or ())
            # What an earlier process has begun comes before the config file, which may have more fields.
            continues = not named and not given.exclude
            return _rewrite(opened, fields, chosen, pace, context, continues=continues, yes=asking.yes)

    run.execute(run.Invocation(ctx, output, connection.uri, target=chosen.target or ""), body)


def _left_in(fields: Sequence[ReferenceField], names: Sequence[str]) -> tuple[ReferenceField, ...]:
    """Return the fields that neither their table nor a name of a collection or field excludes.

    Raises:
        BadConfiguration: a name excludes nothing, which may be a slip of the pen.
    """
    for name in names:
        if not any(name in (each.collection, each.full_name) for each in fields):
            raise BadConfiguration("--exclude", f"{name!r} is neither a collection nor a field that is named")
    return tuple(
        each
        for each in fields
        if not each.exclude and each.collection not in names and each.full_name not in names
    )


def choose_run(journal: JournalPlaces, chosen: ChosenRun) -> RunRecord:
    """Return the run whose new ids are live.

    Raises:
        NotLiveYet: they are not.
    """
    runs = [
        each
        for each in journal.journal.runs(chosen.target)
        if each.state not in WITHOUT_RESULT and chosen.run_id in (None, each.run_id)
    ]
    where = chosen.target or chosen.run_id or "this database"
    if not runs:
        raise NotLiveYet(where, "", "booking-migrate status")
    newest = runs[0]
    if not has_live_ids(newest):
        command = "booking-migrate status" if newest.archive else command_of(newest, "cutover")
        raise NotLiveYet(newest.target, newest.state.value, command)
    return newest


def _unfinished_fields(
    connection: Connection, live: RunRecord, fields: Sequence[ReferenceField], listener: Listener
) -> tuple[ReferenceField, ...]:
    """Return the recorded fields of a rewrite that was interrupted, and say so if they are other ones; empty without one."""
    known = in_effect(open_reference_journal(connection).rewrites(), live=live.source)
    unfinished = fields_of_rewrites([each for each in known if each.state is RewriteState.WRITING])
    names = sorted({each.full_name for each in unfinished})
    if names and fields and names != sorted({each.full_name for each in fields}):
        then = "for the fields of the config file, run the same command again"
        listener.notify(Announced(f"the interrupted rewrite of {', '.join(names)} is continued; {then}"))
    return unfinished


def _rewrite(
    connection: Connection,
    fields: Sequence[ReferenceField],
    chosen: ChosenRun,
    pace: PaceOptions,
    context: run.RunContext,
    *,
    continues: bool,
    yes: bool,
) -> RewriteReport:
    journal = open_journal(connection)
    live = choose_run(journal, chosen)
    unfinished = _unfinished_fields(connection, live, fields, context.listener) if continues else ()
    # Once it is done, only its fields lead to it again.
    naming = "" if all(each in fields for each in unfinished) else words_of(unfinished)
    fields = unfinished or fields
    if not fields:
        raise NoReferences("references rewrite", config_path(context.asked.ctx) or "")
    inspector = open_inspector(connection, live.source)
    refuse_lacking(inspector, "references rewrite", [live.source, *(each.collection for each in fields)])
    if pace.max_lag is not None:
        refuse_unmeasured_lag(inspector)
    opened = open_references(connection, source=live.source, target=live.target)
    recorded = fields_of_rewrites(open_reference_journal(connection).rewrites())
    check_fields(connection, opened, fields, recorded, is_excludable=True)
    rewrites = open_reference_journal(connection)
    places = {each.collection: _place(connection, opened, each.collection, rewrites) for each in fields}
    changes = open_referring_changes(connection, list(places))
    if not yes:
        _confirm(live, fields, places)
    if isinstance(changes, str):
        context.listener.notify(
            Warned(
                f"changes cannot be followed ({changes}): all fields are read until nothing is found any more"
            )
        )
    holder = current_process("references rewrite", context.run_id)
    plan = RewritePlan(
        rewrite_id=context.run_id,
        run_id=live.run_id,
        live=live.source,
        fields=fields,
        places=places,
        journal=rewrites,
        old_ids=opened.ids,
        index_old_ids=lambda: _index(connection, live.source, context),
        locks=journal.locks,
        holder=holder,
        following=None if isinstance(changes, str) else changes,
        listener=context.listener,
        regulator=Regulator(
            journal.journal,
            context.listener,
            command=REWRITE,
            process=holder,
            run_id=lambda: live.run_id,
            beats=True,
            gauge=journal.lag,
            maximum_lag=pace.max_lag,
            maximum_rate=pace.max_rate,
        ),
        batch_size=pace.batch_size,
    )
    with progress_kept(context, rewrites), plan.regulator:
        outcome: RewriteOutcome = rewrite_references(plan)
    again = None if naming is None else same_command(context.asked.ctx, naming)
    return report_of_rewrite(outcome, fields, live, seconds=context.seconds, again=again)


@contextmanager
def progress_kept(context: run.RunContext, journal: "MongoReferenceJournal") -> Iterator[None]:
    """Keep for the report how far a rewrite or its undo was when an error or a signal has ended it."""
    try:
        yield
    except BaseException as error:
        record = journal.latest
        if record is not None and record.state in (RewriteState.WRITING, RewriteState.UNDOING):
            if isinstance(error, BookingMigrateError):
                # The server may not have taken it.
                record = record.model_copy(update={"problem": error.message})
            context.stopped.append(rewrite_status(RewriteInEffect(record, None)))
        raise


def _place(
    connection: Connection, opened: OpenReferences, name: str, journal: "MongoReferenceJournal"
) -> Place:
    reader = opened.referring(name)
    facts, writes = reader.facts(), open_referring_writes(connection, name, journal)
    return Place(reader, writes, None if facts is None else facts.documents)


def _index(connection: Connection, live: str, context: run.RunContext) -> None:
    """Make the index by which old ids are found, if it is not there."""
    context.listener.notify(PhaseStarted(f"index of old ids in {live}", None))
    if index_old_ids(connection, live):
        context.listener.notify(
            Announced(f"{live} has an index on sessions.legacyBookingId now; it serves old references, too")
        )
    context.listener.notify(PhaseEnded())


def _confirm(live: RunRecord, fields: Sequence[ReferenceField], places: Mapping[str, Place]) -> None:
    known = [each.documents for each in places.values() if each.documents is not None]
    # Without the action collStats their number is not known.
    documents = f" with about {grouped(sum(known))} documents" if len(known) == len(places) else ""
    names = ", ".join(dict.fromkeys(each.full_name for each in fields))
    what = (
        f"rewrite of references to the new ids of run {live.run_id} ({plural(len(fields), 'field')}: {names}; "
        f"{plural(len(places), 'collection')}{documents})"
    )
    confirm(what)
