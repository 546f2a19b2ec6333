"""The command ``references verify``: references resolve, and a rewrite has changed nothing but them."""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import config_path
from booking_migrate.cli.options import PLACES, ConnectionOptions, OutputOptions
from booking_migrate.cli.parameters import Group, option
from booking_migrate.cli.references_config import check_fields, references_of
from booking_migrate.cli.references_fields import FieldOptions, named_fields
from booking_migrate.cli.references_rewrite import ChosenRun, choose_run
from booking_migrate.errors import NoReferences, NotPermitted
from booking_migrate.events import Warned
from booking_migrate.references.fields import NewId, ReferenceField, each_place_once
from booking_migrate.references.in_effect import RewriteInEffect
from booking_migrate.references.proof import Fate, Kind, Proof, VerifyPlan, fields_of_rewrites
from booking_migrate.references.verify import verify_references
from booking_migrate.reports.model import NextStep
from booking_migrate.reports.verified_references import (
    VerifiedReferencesReport,
    report_of_verified_references,
)
from booking_migrate.stores.connection import Connection, open_journal, open_legacy_index
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.open_references import open_references
from booking_migrate.stores.open_rewriting import (
    ReferringChanges,
    open_reference_journal,
    open_referring_changes,
)
from booking_migrate.stores.reference_journal import RewriteRecord, RewriteState, in_effect

HELP = """
After a cut-over or a migration in place. Every document of the fields is read: each reference has to lead to a session or to a client
document. The id of an old booking is a mismatch where the field was rewritten, or if no index finds its session. Ids of rejected
bookings and of nothing are listed. Each document that was rewritten is compared with what was noted: with the old values restored, it
has to be identical byte for byte; those that others have changed since are counted and listed.

Nothing is written: a user who may only read is enough. It shares no code with the rewrite. Documents that are written meanwhile are
looked at again, and are not reported as mismatches.

\b
[bold]Examples[/bold]
  What was rewritten:
    MONGODB_URI=mongodb://localhost booking-migrate references verify --db shop
  What the config file names, with a test case for each rule:
    booking-migrate references verify --db shop --config references.toml --report references.xml
"""


@dataclass(frozen=True, slots=True)
class VerifiedFields(Group, panel=PLACES):
    """Which fields are read as a whole."""

    field: list[str] | None = option(
        None,
        "Read this field instead of those of the config file. May be repeated.",
        metavar="COLLECTION.PATH",
        show_default="those of the config file, or else all that were rewritten",
    )
    when: list[str] | None = option(
        None,
        "With --field: only where this field has this value; one beside the reference, or of the document. May be repeated.",
        metavar="FIELD=VALUE",
    )


def verify(
    ctx: typer.Context,
    *,
    given: VerifiedFields,
    chosen: ChosenRun,
    connection: ConnectionOptions,
    output: OutputOptions,
) -> None:
    named = named_fields(FieldOptions(field=given.field, when=given.when))

    def body(context: run.RunContext) -> VerifiedReferencesReport:
        with connection.open() as opened:
            return _verify(opened, named, references_of(ctx), chosen, context)

    run.execute(run.Invocation(ctx, output, connection.uri, target=chosen.target or ""), body)


def _verify(
    connection: Connection,
    named: Sequence[ReferenceField],
    of_file: Sequence[ReferenceField],
    chosen: ChosenRun,
    context: run.RunContext,
) -> VerifiedReferencesReport:
    live = choose_run(open_journal(connection), chosen)
    # A proof of what a majority had an hour ago would prove nothing.
    connection.await_majority(live.source)
    journal = open_reference_journal(connection)
    rewrites = journal.rewrites()
    of_this = [each for each in rewrites if each.live == live.source]
    stand = in_effect(of_this)
    rewritten = fields_of_rewrites(stand) or fields_of_rewrites(of_this)
    fields = tuple(named or of_file) or each_place_once(rewritten)
    if not fields:
        raise NoReferences("references verify", config_path(context.asked.ctx) or "")
    opened = open_references(connection, source=live.source, target=live.target)
    check_fields(connection, opened, fields, fields_of_rewrites(rewrites), is_excludable=False)
    index = open_legacy_index(connection, live.source)
    kept = index.found()
    has_old_ids = kept is not None or index.has_old_ids()
    proof = verify_references(
        VerifyPlan(
            live=live.source,
            fields=fields,
            rewrites=rewrites,
            journal=journal,
            referring=opened.referring,
            old_ids=opened.ids,
            has_old_ids=has_old_ids,
            kept_index=kept,
            following=_following(connection, fields, stand, context),
            listener=context.listener,
        )
    )
    steps = _next_steps(proof, live, has_old_ids=has_old_ids, is_from_file=bool(of_file and not named))
    return report_of_verified_references(proof, live, seconds=context.seconds, next_steps=list(steps))


def _following(
    connection: Connection,
    fields: Sequence[ReferenceField],
    stand: Sequence[RewriteRecord],
    context: run.RunContext,
) -> ReferringChanges | None:
    """Return how changes of the collections are read; None if they cannot be, which is said."""
    names = dict.fromkeys(each.collection for each in (*fields, *fields_of_rewrites(stand)))
    try:
        found = open_referring_changes(connection, list(names))
        if not isinstance(found, str):
            found.open_feed(found.now()).close()
            return found
        reason = found
    except NotPermitted as error:
        reason = error.message
    context.listener.notify(
        Warned(
            f"changes cannot be followed ({reason}): a document counts as unchanged if its bytes are those that were read"
        )
    )
    return None


def _next_steps(
    proof: Proof, live: RunRecord, *, has_old_ids: bool, is_from_file: bool
) -> Iterator[NextStep]:
    undo = "booking-migrate rollback --references"
    unfinished = next((each for each in proof.rewrites if each.state is not RewriteState.DONE), None)
    if unfinished is not None:
        is_undone = unfinished.state is RewriteState.UNDOING
        what = "The undoing of a rewrite" if is_undone else "A rewrite"
        command = next(RewriteInEffect(unfinished, None).possible()).command
        yield NextStep(text=f"{what} was interrupted. To complete it:", command=command)
        if is_undone:
            return
    left = [each for each in proof.fields if each.counts[Fate.UNREWRITTEN]]
    if left and unfinished is None:
        for command in _rewrites([each.of for each in left], live, is_from_file=is_from_file):
            yield NextStep(text="Rewrite what still has old ids:", command=command)
        if proof.kept_index is None:
            yield NextStep(
                text="Or keep old ids usable, by an index:",
                command=shlex.join(["booking-migrate", "references", "keep", "--source", live.source]),
            )
    if not has_old_ids:
        # Nothing can be undone after finalize --drop-legacy-ids, which is the end of the migration, too.
        return
    if proof.mismatches[Kind.LOST] or proof.mismatches[Kind.WRONG] or proof.mismatches[Kind.COUNT]:
        yield NextStep(text="To restore the old ids:", command=undo)
    if proof.rewrites and not proof.mismatch_count and unfinished is None:
        yield NextStep(text="To undo the rewrite, as long as its journal is there:", command=undo)
        if live.state is not RunState.FINALIZED:
            yield NextStep(
                text="To end the migration:",
                command=shlex.join(["booking-migrate", "finalize", "--source", live.source]),
            )


def _rewrites(fields: Sequence[ReferenceField], live: RunRecord, *, is_from_file: bool) -> Iterator[str]:
    """Yield the commands that rewrite fields, one for those with the same options."""
    words = ["booking-migrate", "references", "rewrite", "--run", live.run_id]
    if is_from_file:
        yield shlex.join(words)
        return
    by_options: dict[tuple[str, ...], list[str]] = {}
    for each in fields:
        options = [] if each.to is NewId.SESSION else ["--to", each.to.value]
        options += [word for path, to in each.add.items() for word in ("--add", f"{path}={to.value}")]
        options += [
            word
            for path, values in each.when.items()
            for value in dict.fromkeys(json.dumps(one) if type(one) is bool else str(one) for one in values)
            for word in ("--when", f"{path}={value}")
        ]
        by_options.setdefault(tuple(options), []).append(each.full_name)
    for same, names in by_options.items():
        yield shlex.join([*words, *(word for name in names for word in ("--field", name)), *same])
