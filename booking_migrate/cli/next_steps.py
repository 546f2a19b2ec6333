"""What to suggest when a command is done."""

import shlex
from collections.abc import Iterator, Sequence

from booking_migrate.domain.rejection import WAIVABLE, Reason
from booking_migrate.reports.model import NextStep
from booking_migrate.runs.outcome import MigrationOutcome, RejectionGroup
from booking_migrate.stores.readers import Absence

_NOT_FOUND = frozenset({Reason.CLIENT_USER_NOT_FOUND, Reason.EXPERT_NOT_FOUND, Reason.EXPERT_USER_NOT_FOUND})


def steps_about_people(absences: Sequence[Absence]) -> Iterator[NextStep]:
    """Yield the steps about users or experts who were needed and whose place does not exist."""
    for absence in absences:
        yield NextStep(text=f"{absence.problem[0].upper()}{absence.problem[1:]}. {absence.advice}")


def is_for_source(rejections: Sequence[RejectionGroup], absences: Sequence[Absence]) -> bool:
    """Return whether some bookings were rejected for a reason that is to be removed in the source."""
    not_there = _NOT_FOUND if absences else frozenset()
    return any(group.reason not in {*not_there, Reason.CONFLICT} for group in rejections)


def steps_after_migrate(
    outcome: MigrationOutcome, *, into_file: bool, absences: Sequence[Absence] = ()
) -> Iterator[NextStep]:
    """Yield the steps after a migration; commands name no server, so that no report holds a connection string.

    Args:
        outcome: the migration's result.
        into_file: whether the target is a file, which is replaced whole and only with ``--overwrite``.
        absences: see `steps_about_people`.
    """
    again = ["--overwrite"] if into_file else []
    yield from steps_about_people(absences)
    if outcome.counts.rejected:
        yield NextStep(
            text=f"Look at the rejected bookings, each whole and with all its reasons: {outcome.rejects_name}"
        )
        flags = f" with {again[0]}" if again else ""
        if is_for_source(outcome.rejections, absences):
            yield NextStep(text=f"Fix them in the source, then run the same command again{flags}.")
        yield from _about_conflicts(outcome)
        waivable = [group.reason.value for group in outcome.rejections if group.reason in WAIVABLE]
        if waivable:
            accepted = [part for reason in waivable for part in ("--accept", reason)]
            yield NextStep(
                text="Or, if the new application may hold such values, run the same command again with",
                command=shlex.join(accepted + again),
            )
    elif outcome.changed:
        yield NextStep(
            text="Prove the result. Run the same command again at any time: it writes only what has changed."
        )


def _about_conflicts(outcome: MigrationOutcome) -> Iterator[NextStep]:
    if outcome.counts.conflicts:
        yield NextStep(
            text="Conflicts: others changed the client documents. Take the bookings' content, or keep the sessions with target:",
            command="--on-conflict source",
        )


def steps_after_in_place(
    outcome: MigrationOutcome, verify: str, absences: Sequence[Absence] = ()
) -> Iterator[NextStep]:
    """Yield the steps after a migration in place.

    Args:
        outcome: the migration's result.
        verify: the command that proves the run.
        absences: see `steps_about_people`.
    """
    yield from steps_about_people(absences)
    if outcome.counts.rejected:
        yield NextStep(
            text=f"Look at the rejected bookings, each whole and with all its reasons: {outcome.rejects_name}"
        )
        if is_for_source(outcome.rejections, absences):
            yield NextStep(text="They are where they were. Fix them there and run the same command again.")
    if outcome.changed:
        yield NextStep(
            text="Prove the result, also while the application runs:",
            command=verify,
        )
