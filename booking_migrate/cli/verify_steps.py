"""What to suggest when a verification is done."""

import json
import shlex
from collections.abc import Iterator, Sequence

import typer
from bson.objectid import ObjectId

from booking_migrate.bson.format import display_id
from booking_migrate.cli.next_steps import same_command, similar_command
from booking_migrate.reports.model import NextStep
from booking_migrate.runs.commands import CARRYING, LEAVING
from booking_migrate.runs.status import UNFINISHED
from booking_migrate.stores.open import CollectionPlace, parse_place
from booking_migrate.verify import VerificationOutcome
from booking_migrate.verify.outcome import Mismatch


def steps_after_verify(
    outcome: VerificationOutcome, ctx: typer.Context, *, listed: bool, is_live: bool, can_cut_over: bool
) -> Iterator[NextStep]:
    """Yield the steps after a verification.

    Args:
        outcome: what the verification found.
        ctx: has the options for the commands to name.
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
        return
    found = [each for result in outcome.results for each in result.examples]
    ids = [each.booking_id for each in found if each.booking_id is not None]
    booking_id = shlex.quote(display_id(ids[0])) if ids else "BOOKING_ID"
    yield NextStep(
        text="First look at one booking and its session, which changes nothing:",
        command=similar_command(ctx, "explain", booking_id),
    )
    if not listed and (again := same_command(ctx, "--mismatches mismatches.jsonl")):
        yield NextStep(text="See every mismatch with its values:", command=again)
    if not is_live:
        migrate = similar_command(ctx, "migrate")
        yield NextStep(
            text="If bookings have changed since, migrate again, which brings the changes in and keeps client documents that others "
            "changed; then verify:",
            command=migrate,
        )
        if "--on-conflict" not in migrate:
            yield NextStep(
                text="If others changed sessions, and the bookings are right, migrate with the content of the bookings; then verify:",
                command=f"{migrate} --on-conflict source",
            )
        yield from _look(found, str(ctx.params["target"]))
    yield NextStep(
        text="If much is wrong, pass the options that the migration had: --users, --experts, --accept, --config."
    )


def _look(mismatches: Sequence[Mismatch], target: str) -> Iterator[NextStep]:
    """Yield how to see a client document that others changed, and what it takes to do away with that.

    `migrate` keeps such a document. No command deletes it here: whether others put anything there that is needed is not known.
    """
    client_id = next((each.client_id for each in mismatches if each.client_id is not None), None)
    if client_id is None or not isinstance(parse_place(target), CollectionPlace):
        return
    named = _in_mongosh(client_id)
    if named is None:
        return
    yield NextStep(
        text="If it still differs, see what else others put into the client document, in mongosh:",
        command=f"db.getCollection({json.dumps(target)}).find({{clientId: {named}}})",
    )
    yield NextStep(
        text="If nothing of theirs is needed, delete that document (deleteOne in place of find), then migrate: it is derived from "
        "the bookings again, without sessions and fields that others put there."
    )


def _in_mongosh(value: object) -> str | None:
    """Return an id as the server's shell writes it; None for types that are rare as ids."""
    if isinstance(value, ObjectId):
        return f'ObjectId("{value}")'
    return json.dumps(value) if type(value) in (str, int) else None


def _cutovers(outcome: VerificationOutcome, ctx: typer.Context) -> Iterator[NextStep]:
    """Yield the commands that make a proven target the live collection."""
    cutover = similar_command(ctx, "cutover")
    brought_in = "; it brings in what has changed since" if outcome.behind else ""
    if not outcome.counts.rejected:
        yield NextStep(text=f"Make the target the live collection{brought_in}:", command=cutover)
        return
    text = f"Make the target the live collection, and {CARRYING}{brought_in}:"
    yield NextStep(text=text, command=f"{cutover} --rejected carry")
    yield NextStep(text=f"{LEAVING}:", command=f"{cutover} --rejected leave")
