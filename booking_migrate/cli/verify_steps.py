"""What to suggest when a verification is done."""

import json
import shlex
from collections.abc import Iterator, Sequence

import typer
from bson.objectid import ObjectId

from booking_migrate.bson.format import display_id
from booking_migrate.cli.next_steps import same_command, similar_command
from booking_migrate.reports.model import NextStep
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
    if not is_live:
        yield from _deletion(found, str(ctx.params["target"]))
        yield NextStep(
            text="Then migrate again, which derives such a document, and bookings that have changed since, once more; then verify:",
            command=similar_command(ctx, "migrate"),
        )
    if not listed and (again := same_command(ctx, "--mismatches mismatches.jsonl")):
        yield NextStep(text="See every mismatch with its values:", command=again)
    ids = [each.booking_id for each in found if each.booking_id is not None]
    booking_id = shlex.quote(display_id(ids[0])) if ids else "BOOKING_ID"
    yield NextStep(
        text="Look at one booking and its session:", command=similar_command(ctx, "explain", booking_id)
    )
    yield NextStep(
        text="If much is wrong, pass the options that the migration had: --users, --experts, --accept, --config."
    )


def _deletion(mismatches: Sequence[Mismatch], target: str) -> Iterator[NextStep]:
    """Yield how to do away with what others changed in the target: `migrate` keeps such a client document."""
    client_id = next((each.client_id for each in mismatches if each.client_id is not None), None)
    if client_id is None or not isinstance(parse_place(target), CollectionPlace):
        return
    named = _in_mongosh(client_id)
    if named is None:
        return
    yield NextStep(
        text="Migrate keeps client documents that others changed in the target. To drop such a change, first delete the document, in "
        "mongosh:",
        command=f"db.getCollection({json.dumps(target)}).deleteOne({{clientId: {named}}})",
    )


def _in_mongosh(value: object) -> str | None:
    """Return an id as the server's shell writes it; None for types that are rare as ids."""
    if isinstance(value, ObjectId):
        return f'ObjectId("{value}")'
    return json.dumps(value) if type(value) in (str, int) else None


def _cutovers(outcome: VerificationOutcome, ctx: typer.Context) -> Iterator[NextStep]:
    """Yield the commands that make a proven target the live collection."""
    cutover = similar_command(ctx, "cutover")
    if not outcome.counts.rejected:
        yield NextStep(text="Make the target the live collection:", command=cutover)
        return
    text = "Make the target the live collection, and carry rejected bookings along in their old shape:"
    yield NextStep(text=text, command=f"{cutover} --rejected carry")
    yield NextStep(text="Or keep them in the copy of the source only:", command=f"{cutover} --rejected leave")
