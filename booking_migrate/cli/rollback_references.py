"""``rollback --references``: old booking ids where `references rewrite` has put new ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import typer

from booking_migrate.cli import run
from booking_migrate.cli.next_steps import same_command
from booking_migrate.cli.open import current_process
from booking_migrate.cli.options import PLACES, ConnectionOptions
from booking_migrate.cli.parameters import Group, option
from booking_migrate.cli.references_config import check_fields, references_of
from booking_migrate.cli.references_fields import field_of
from booking_migrate.cli.references_rewrite import progress_kept
from booking_migrate.cli.streams import confirm
from booking_migrate.errors import NoRewrite, OldIdsDropped, ReferencesStand, Refused
from booking_migrate.events import Listener, Warned
from booking_migrate.preflight.privileges import refuse_lacking
from booking_migrate.quantities import plural
from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.in_effect import rewrites_in_effect
from booking_migrate.references.proof import fields_of_rewrites
from booking_migrate.references.remaining import sampled_fields
from booking_migrate.references.restoring import UndoPlan
from booking_migrate.references.stranded import Stranded, stranded_references
from booking_migrate.references.undo import choose_rewrites, undo_references
from booking_migrate.references.writer import Place
from booking_migrate.reports.lifecycle import LifeReport
from booking_migrate.reports.rewriting import report_of_undo
from booking_migrate.runs.control import RESTORE
from booking_migrate.runs.regulator import Regulator
from booking_migrate.runs.states import LASTING, LIVE
from booking_migrate.stores.connection import Connection, open_inspector, open_journal, open_legacy_index
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.open_references import OpenReferences, open_references
from booking_migrate.stores.open_rewriting import open_reference_journal, open_referring_writes
from booking_migrate.stores.reference_journal import RewriteRecord


@dataclass(frozen=True, slots=True)
class ReferenceOptions(Group, panel=PLACES):
    """Whether references are restored, and where."""

    references: bool = option(
        False, "Undo references rewrite, and nothing else: restore old ids where new ones were written."
    )
    field: list[str] | None = option(
        None,
        "With --references, if the journal is lost: compute the old ids in this field. May be repeated.",
        metavar="COLLECTION.PATH",
        show_default="those of the config file",
    )


def roll_back_references(
    ctx: typer.Context,
    given: ReferenceOptions,
    connection: ConnectionOptions,
    context: run.RunContext,
    *,
    run_id: str | None,
    yes: bool,
) -> LifeReport:
    """Restore old ids; return the report.

    Raises:
        NoRewrite: nothing is known to undo.
        OldIdsDropped: the old ids would lead nowhere.
        NotConfirmed: the user did not confirm.
    """
    fields = tuple(map(field_of, given.field or ())) or references_of(ctx)
    with connection.open() as opened:
        places, journal = open_journal(opened), open_reference_journal(opened)
        where = str(context.asked.server.get("database") or "this database")
        rewrites = choose_rewrites(
            journal, where=where, run_id=run_id, has_fields=bool(fields), is_named=bool(given.field)
        )
        live, opened_references = _live(opened, rewrites, where, run_id)
        if live.state is RunState.FINALIZED and not open_legacy_index(opened, live.source).has_old_ids():
            raise OldIdsDropped(live.source)
        inspector = open_inspector(opened, live.source)
        refuse_lacking(inspector, "rollback --references", [live.source])
        if not rewrites:
            recorded = fields_of_rewrites(journal.rewrites())
            check_fields(opened, opened_references, fields, recorded, is_excludable=False)
        if not yes:
            _confirm(rewrites, fields)
        holder = current_process("rollback --references", context.run_id)

        def open_place(name: str) -> Place:
            reader = inspector.referring(name)
            return Place(reader, open_referring_writes(opened, name, journal))

        plan = UndoPlan(
            rewrites=rewrites,
            fields=fields,
            journal=journal,
            open_place=open_place,
            old_ids=opened_references.ids,
            locks=places.locks,
            holder=holder,
            listener=context.listener,
            regulator=Regulator(
                places.journal,
                context.listener,
                command=RESTORE,
                process=holder,
                run_id=lambda: live.run_id,
                gauge=places.lag,
                beats=True,
            ),
        )
        with progress_kept(context, journal), plan.regulator:
            outcome = undo_references(plan)
    return report_of_undo(outcome, live, seconds=context.seconds, again=same_command(ctx, ""))


def _live(
    connection: Connection, rewrites: Sequence[RewriteRecord], where: str, run_id: str | None
) -> tuple[RunRecord, OpenReferences]:
    """Return the migration whose new ids were written, and what knows its old bookings and collections.

    Raises:
        NoRewrite: no migration is known.
    """
    runs = open_journal(connection).journal.runs()
    wanted = [*(each.run_id for each in rewrites), *([] if rewrites or run_id is None else [run_id])]
    found = next((each for each in runs if each.run_id in wanted), None)
    for states in (_LIVE_STATES, {RunState.ROLLED_BACK}):
        if found is None:
            found = next((each for each in runs if each.state in states), None)
    if found is None:
        raise NoRewrite(where)
    return found, open_references(connection, source=found.source, target=found.target)


_LIVE_STATES = LASTING | {RunState.DONE}
"""The states of a run whose new ids may have been written elsewhere; after its rollback, they may still be there."""


def _confirm(rewrites: Sequence[RewriteRecord], fields: Sequence[ReferenceField]) -> None:
    documents = sum(each.documents for each in rewrites)
    names = ", ".join(each.rewrite_id for each in rewrites)
    what = (
        f"rollback of rewritten references ({plural(len(rewrites), 'rewrite')}: {names}; {plural(documents, 'document')})"
        if rewrites
        else f"rollback of references by computed ids, without a journal, in {', '.join(each.full_name for each in fields)}"
    )
    confirm(what)


def references_left(
    ctx: typer.Context, connection: Connection, runs: Sequence[RunRecord], listener: Listener
) -> tuple[Stranded, ...]:
    """Return the fields whose new ids lead nowhere after a rollback of live runs; what cannot be read is said.

    Those that the config file or a rewrite names, and those that samples show, are read whole.
    """
    newest = runs[0]
    may_have_been = LIVE | {RunState.CUTTING_OVER, RunState.ROLLED_BACK}
    if newest.state not in may_have_been and newest.archive is None:
        return ()
    named = {each.run_id for each in runs}
    rewritten = [each for each in open_reference_journal(connection).rewrites() if each.run_id in named]
    configured = references_of(ctx)
    known = [each for each in configured if not each.exclude]
    known += [each for each in fields_of_rewrites(rewritten) if each not in known]
    opened = open_references(connection, source=newest.source, target=newest.target)
    try:
        sampled = sampled_fields(opened.others, opened.referring, opened.ids, listener, new_ids=opened.ids)
        decided = {each.full_name for each in (*configured, *known)}
        known += [field_of(name) for name in sampled.fields if name not in decided]
        live = opened.referring(newest.source)
        found = stranded_references(known, opened.referring, live, opened.ids, listener=listener)
    except Refused as error:
        listener.notify(Warned(f"references to new ids were not looked for: {error.message}"))
        return ()
    if sampled.unreadable:
        names = ", ".join(sampled.unreadable)
        listener.notify(
            Warned(f"references to new ids were not looked for in {names}: this user may not read it")
        )
    return found


def refuse_while_rewritten(connection: Connection, runs: Sequence[RunRecord]) -> None:
    """Refuse to undo runs while other collections have references to their new ids.

    Raises:
        ReferencesStand: there are such.
    """
    found = rewrites_in_effect(open_reference_journal(connection).rewrites(), None)
    for undone in runs:
        theirs = [each for each in found if each.record.run_id == undone.run_id]
        if theirs and undone.state is not RunState.ROLLED_BACK:
            fields = dict.fromkeys(name for each in theirs for name in each.fields)
            raise ReferencesStand(undone.run_id, sum(each.values for each in theirs), tuple(fields))
