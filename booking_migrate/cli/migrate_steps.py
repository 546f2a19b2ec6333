"""What to suggest when a migration is done, and when every document of its source was rejected."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from booking_migrate.cli.next_steps import (
    accepting,
    is_for_source,
    same_command,
    similar_command,
    steps_about_people,
)
from booking_migrate.domain.rejection import ConflictPolicy
from booking_migrate.reports.model import NextStep
from booking_migrate.runs.advice import (
    ANY_SOURCE,
    KEEPING_SESSIONS,
    OVERWRITING_SESSIONS,
    RIGHT_NAME,
    WRONG_SOURCE,
    look_at,
    usually_right,
)
from booking_migrate.runs.plan import MigrationOutcome
from booking_migrate.stores.places import CollectionPlace, StreamPlace, parse_place
from booking_migrate.stores.readers import Absence
from booking_migrate.stores.rejects import find_rejected

if TYPE_CHECKING:
    from booking_migrate.verify import VerificationOutcome


def steps_about_source(
    outcome: "MigrationOutcome | VerificationOutcome",
    ctx: typer.Context,
    name: str,
    absences: Sequence[Absence] = (),
) -> Iterator[NextStep]:
    """Yield the steps after every document of a source was rejected, unless absences explain it: most likely it is another collection."""
    if not (outcome.counts.are_all_rejected and is_for_source(outcome.rejections, absences)):
        return
    source = ctx.params["source"]
    is_collection = isinstance(parse_place(source), CollectionPlace)
    look = f"{WRONG_SOURCE}. Look at one of its documents"
    yield NextStep(
        text=f"{look}, in mongosh:" if is_collection else f"{look}: {source}",
        command=look_at(source) if is_collection else None,
    )
    yield NextStep(
        text=f"If they are not bookings, {RIGHT_NAME}:",
        command=similar_command(ctx, name, f"--source {ANY_SOURCE}"),
    )


def steps_after_migrate(
    outcome: MigrationOutcome, ctx: typer.Context, *, into_file: bool, absences: Sequence[Absence] = ()
) -> Iterator[NextStep]:
    """Yield the steps after a migration; commands name no server, so that no report holds a connection string."""
    again = ["--overwrite"] if into_file else []
    verify = similar_command(ctx, "verify")

    def repeated(*more: str) -> str:
        added = shlex.join([*more, *again])
        return same_command(ctx, added) or similar_command(ctx, "migrate", added)

    yield from steps_about_people(absences)
    if outcome.counts.rejected:
        yield from steps_about_source(outcome, ctx, "migrate", absences)
        yield _look_at_rejected(outcome, ctx)
        flags = f" with {again[0]}" if again else ""
        if is_for_source(outcome.rejections, absences):
            yield NextStep(text=f"Fix them in the source, then run the same command again{flags}.")
        if outcome.counts.conflicts:
            yield from _steps_about_conflicts(ctx, repeated, verify)
        if accepted := accepting(outcome.rejections, ctx):
            yield NextStep(
                text="Or, if the new application may hold such values, accept them:",
                command=repeated(*accepted),
            )
        if not (outcome.counts.conflicts or outcome.counts.are_all_rejected):
            proving = "Prove what was migrated, and that the others were correctly rejected:"
            yield NextStep(text=proving, command=verify)
    elif outcome.changed:
        yield NextStep(
            text="Now prove the result, from the file that keeps it:"
            if ctx.params["target"] == StreamPlace().name
            else "Running migrate again is safe at any time: it writes only what has changed. Now prove the result:",
            command=verify,
        )


def _steps_about_conflicts(
    ctx: typer.Context, repeated: Callable[..., str], verify: str
) -> Iterator[NextStep]:
    """Yield what can be decided about bookings that conflict with sessions that others changed, the loss last."""
    yield NextStep(
        text="Conflicts: others changed the client documents. See each one with its values, which changes nothing:",
        command=verify,
    )
    yield NextStep(text=usually_right(ctx.params["source"], ctx.params["target"]))
    ways = {KEEPING_SESSIONS: ConflictPolicy.TARGET, OVERWRITING_SESSIONS: ConflictPolicy.SOURCE}
    for purpose, policy in ways.items():
        decided = ("--on-conflict", policy.value)
        yield NextStep(text=f"{purpose}:", command=repeated(*decided))
        yield NextStep(text="Then verify:", command=similar_command(ctx, "verify", shlex.join(decided)))


def _look_at_rejected(outcome: MigrationOutcome, ctx: typer.Context) -> NextStep:
    look = "Look at the rejected bookings, each whole and with all its reasons"
    if outcome.counts.are_all_rejected:
        look = "If they are bookings: look at each of them, whole and with all its reasons"
    source = ctx.params["source"]
    target = source if ctx.params["in_place"] else ctx.params["target"]
    if ctx.params["rejects"] is not None or not isinstance(parse_place(target), CollectionPlace):
        return NextStep(text=f"{look}: {outcome.rejects_name}")
    return NextStep(
        text=f"{look}, in mongosh:", command=find_rejected(outcome.rejects_name or "", source, target)
    )


def steps_after_in_place(
    outcome: MigrationOutcome, ctx: typer.Context, verify: str, absences: Sequence[Absence] = ()
) -> Iterator[NextStep]:
    yield from steps_about_people(absences)
    if outcome.counts.rejected:
        yield from steps_about_source(outcome, ctx, "migrate", absences)
        yield _look_at_rejected(outcome, ctx)
        if is_for_source(outcome.rejections, absences):
            yield NextStep(text="They are where they were. Fix them there and run the same command again.")
    if outcome.changed:
        yield NextStep(
            text="Prove the result, also while the application runs:",
            command=verify,
        )
