"""What to suggest when a verification is done."""

import json
import shlex
from collections.abc import Iterator, Sequence

import typer

from booking_migrate.bson.format import display_id, in_mongosh
from booking_migrate.cli.next_steps import same_command, similar_command
from booking_migrate.cli.parameters import is_from
from booking_migrate.domain.rejection import ConflictPolicy
from booking_migrate.domain.rules import DEFAULT_RULES
from booking_migrate.reports.model import NextStep
from booking_migrate.runs.commands import CARRYING, LEAVING, STOP_THE_OLD, command_of
from booking_migrate.runs.status import RUN_IS_WRITING, UNFINISHED
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.open import CollectionPlace, parse_place
from booking_migrate.verify import VerificationOutcome
from booking_migrate.verify.mismatch import Kind, Mismatch

TOTALS_ARE_THE_APPLICATIONS = (
    "If the new application has written to a client document, it must keep totalSessions, totalSpent and updatedAt there in step with "
    "the sessions: correct that in the application, and in the documents."
)
"""The cause of most mismatches in totals."""


def steps_after_verify(
    outcome: VerificationOutcome,
    ctx: typer.Context,
    run: RunRecord | None,
    *,
    listed: bool,
    is_live: bool,
    can_cut_over: bool,
) -> Iterator[NextStep]:
    """Yield the steps after a verification.

    Args:
        outcome: what the verification found.
        ctx: has the options for the commands to name.
        run: the run that wrote the target, whose options the commands take then; None: not known.
        listed: whether every mismatch is in a file already.
        is_live: whether the target is the live collection since a cut-over.
        can_cut_over: whether a cut-over may take this verification as a proof.
    """
    if not outcome.mismatch_count:
        if can_cut_over:
            yield from _cutovers(outcome, ctx)
        return
    unfinished = next((each for each in outcome.findings if each.kind in UNFINISHED), None)
    if unfinished is not None:
        # The command is the last part of its advice.
        advice, _, command = unfinished.advice.rpartition(": ")
        yield NextStep(text=f"{advice}:", command=command)
        then = "When it is done," if unfinished.kind == RUN_IS_WRITING else "Then"
        yield NextStep(text=f"{then} verify again:", command=_again(ctx, run))
        return
    if run is not None and (lacking := _lacking(ctx, run)):
        yield NextStep(
            text=f"This verification lacks {' and '.join(lacking)} of the run, which may be all that is wrong. Verify with the run's options:",
            command=command_of(run, "verify"),
        )
    found = [each for result in outcome.results for each in result.examples]
    ids = [each.booking_id for each in found if each.booking_id is not None]
    booking_id = shlex.quote(display_id(ids[0])) if ids else "BOOKING_ID"
    yield NextStep(
        text="First look at one booking and its session, which changes nothing:",
        command=similar_command(ctx, "explain", booking_id),
    )
    in_collection = isinstance(parse_place(str(ctx.params["target"])), CollectionPlace)
    if in_collection and not is_live and any(each.kind is Kind.CONTENT for each in found):
        yield NextStep(
            text="If the session is right, and not the booking: overwrite nothing, but correct the booking. Then delete the client document as the "
            "last command below does, and migrate, which derives it again:",
            command=_migrate(ctx, run),
        )
    if not listed and (again := same_command(ctx, "--mismatches mismatches.jsonl")):
        yield NextStep(text="See every mismatch with its values:", command=again)
    if any(each.kind is Kind.TOTALS for each in found):
        yield NextStep(text=TOTALS_ARE_THE_APPLICATIONS)
    if is_live:
        yield NextStep(text="After a correction, verify again:", command=_again(ctx, run))
    else:
        yield from _repairs(found, ctx, run, knows_behind=outcome.knows_behind)


def _repairs(
    found: Sequence[Mismatch], ctx: typer.Context, run: RunRecord | None, *, knows_behind: bool
) -> Iterator[NextStep]:
    """Yield the ways to make the target right again, the mildest first."""
    migrate, verify = _migrate(ctx, run), _again(ctx, run)
    differs = any(each.kind is Kind.CONTENT for each in found)
    match _policy(ctx, run):
        case ConflictPolicy.REJECT:
            # It would only keep these sessions again.
            plain = migrate if run else similar_command(ctx, "migrate", without={"--on-conflict"})
            taking = f"{plain} --on-conflict source" if differs else None
        case ConflictPolicy.SOURCE:
            taking = migrate
        case ConflictPolicy.TARGET:
            taking = None
    overwriting = "overwrite these sessions from the bookings; what others changed in these sessions is lost:"
    if taking is not None and (knows_behind or taking == migrate):
        condition = f"{_NOT_BEHIND} If" if knows_behind else "Only if"
        again = f"migrate again, {_TAKING if taking == migrate else f'and {overwriting}'}"
        yield NextStep(text=f"{condition} the bookings are right: {again}", command=taking)
        yield NextStep(text="Then verify again:", command=verify)
    elif knows_behind:
        text = f"{_NOT_BEHIND} {_KEEPING[0].upper()}{_KEEPING[1:]}"
        yield NextStep(text=text, command=migrate)
        yield NextStep(text="Then verify again:", command=verify)
    else:
        yield NextStep(
            text=f"Safe in any case, and enough if only bookings have changed since the run: {_KEEPING}",
            command=migrate,
        )
        yield NextStep(text="Then verify again:", command=verify)
        if taking is not None:
            text = f"Only if it still differs, and the bookings are right: {overwriting}"
            yield NextStep(text=text, command=taking)
            yield NextStep(text="Then verify once more:", command=verify)
    yield from _look(found, str(ctx.params["target"]))


def _policy(ctx: typer.Context, run: RunRecord | None) -> ConflictPolicy:
    """Return what the command that migrates again does about conflicts: as the run, or as the verification was asked."""
    if run is None:
        return ConflictPolicy(ctx.params["on_conflict"])
    recorded = run.options.get("on-conflict")
    return ConflictPolicy(recorded) if recorded in set(ConflictPolicy) else DEFAULT_RULES.on_conflict


_KEEPING = (
    "migrate again, which brings in what the target lacks, and keeps client documents that others changed:"
)

_TAKING = (
    "which brings in what the target lacks, and overwrites sessions that differ from their bookings; what others changed in these sessions "
    "is lost:"
)
"""What the same does where conflicts are decided for the source."""

_NOT_BEHIND = "Bookings that have changed since the run are not the cause: their clients would count as behind. The target itself was changed."
"""What is known of a mismatch where the changes since the run are."""


def _migrate(ctx: typer.Context, run: RunRecord | None) -> str:
    return similar_command(ctx, "migrate") if run is None else command_of(run, "migrate")


def _again(ctx: typer.Context, run: RunRecord | None) -> str:
    """Return the command that verifies again: the one that was typed, or with the options of the run if it lacked some."""
    typed = same_command(ctx, "")
    if typed is not None and (run is None or not _lacking(ctx, run)):
        return typed
    return similar_command(ctx, "verify") if run is None else command_of(run, "verify")


def _lacking(ctx: typer.Context, run: RunRecord) -> Sequence[str]:
    """Return the options of a run that a verification was not given, although they decide what is right."""
    named = shlex.split(command_of(run, "verify"))
    unset = {
        parameter.opts[0] for parameter in ctx.command.params if is_from(ctx, parameter.name or "", "DEFAULT")
    }
    return [each for each in dict.fromkeys(named) if each in unset - _PLACES]


_PLACES = frozenset({"--source", "--target"})
"""What a verification has compared, as its user wanted it."""


def _look(mismatches: Sequence[Mismatch], target: str) -> Iterator[NextStep]:
    """Yield how to see a client document that others changed, and how to do away with it.

    `migrate` keeps such a document.
    """
    client_id = next((each.client_id for each in mismatches if each.client_id is not None), None)
    if client_id is None or not isinstance(parse_place(target), CollectionPlace):
        return
    named = in_mongosh(client_id)
    if named is None:
        return
    collection = f"db.getCollection({json.dumps(target)})"
    yield NextStep(
        text="Only if it still differs after that: see what is in the client document, in mongosh:",
        command=f"{collection}.find({{clientId: {named}}})",
    )
    yield NextStep(
        text="Only if nothing that others put there is needed, or, where a session was right, once its booking is corrected: copy that output "
        "first, then delete the document, which loses what only it has; then migrate, which derives it again, and verify as above. In mongosh:",
        command=f"{collection}.deleteOne({{clientId: {named}}})",
    )


_WHEN_READY = "When the new application is ready, make the target the live collection"


def _cutovers(outcome: VerificationOutcome, ctx: typer.Context) -> Iterator[NextStep]:
    """Yield the commands that make a proven target the live collection."""
    cutover = similar_command(ctx, "cutover")
    brought_in = "; it brings in what has changed since" if outcome.behind else ""
    refused = f"Writes are refused {'briefly' if outcome.knows_behind else 'meanwhile'}; {STOP_THE_OLD}"
    if not outcome.counts.rejected:
        yield NextStep(text=f"{_WHEN_READY}{brought_in}. {refused}:", command=cutover)
        return
    text = f"{_WHEN_READY}{brought_in}. {refused}. With it, {CARRYING}:"
    yield NextStep(text=text, command=f"{cutover} --rejected carry")
    yield NextStep(text=f"{LEAVING}:", command=f"{cutover} --rejected leave")
