"""What to suggest when a command is done."""

import shlex
from collections.abc import Iterator, Sequence

from booking_migrate.domain.rejection import WAIVABLE, Reason
from booking_migrate.dry_run.outcome import DryRunOutcome
from booking_migrate.reports.model import NextStep
from booking_migrate.runs.outcome import MigrationOutcome, RejectionGroup
from booking_migrate.stores.people import Absence
from booking_migrate.verify.outcome import VerificationOutcome

_NOT_FOUND = frozenset({Reason.CLIENT_USER_NOT_FOUND, Reason.EXPERT_NOT_FOUND, Reason.EXPERT_USER_NOT_FOUND})


def steps_about_people(absences: Sequence[Absence]) -> Iterator[NextStep]:
    """What to do about users or experts who were needed and whose place does not exist."""
    for absence in absences:
        yield NextStep(text=f"{absence.problem[0].upper()}{absence.problem[1:]}. {absence.advice}")


def _is_for_source(rejections: Sequence[RejectionGroup], absences: Sequence[Absence]) -> bool:
    """Whether some bookings were rejected for a reason that is to be removed in the source."""
    not_there = _NOT_FOUND if absences else frozenset()
    return any(group.reason not in {*not_there, Reason.CONFLICT} for group in rejections)


def steps_after_migrate(
    outcome: MigrationOutcome, *, into_file: bool, absences: Sequence[Absence] = ()
) -> Iterator[NextStep]:
    """What to do after a migration; commands name no server, so that no report holds a connection string.

    Args:
        outcome: what the migration came to.
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
        if _is_for_source(outcome.rejections, absences):
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


def steps_after_in_place(outcome: MigrationOutcome, absences: Sequence[Absence] = ()) -> Iterator[NextStep]:
    """What to do after a migration in place; for ``absences`` see `steps_about_people`."""
    yield from steps_about_people(absences)
    if outcome.counts.rejected:
        yield NextStep(
            text=f"Look at the rejected bookings, each whole and with all its reasons: {outcome.rejects_name}"
        )
        if _is_for_source(outcome.rejections, absences):
            yield NextStep(text="They are where they were. Mend them there and run the same command again.")
    if outcome.changed:
        yield NextStep(
            text="Prove the result, also while the application runs:",
            command="booking-migrate verify --in-place",
        )


def steps_after_verify(outcome: VerificationOutcome, *, listed: bool) -> Iterator[NextStep]:
    """What to do after a verification.

    Args:
        outcome: what the verification found.
        listed: whether every mismatch is in a file already.
    """
    if not outcome.mismatch_count:
        return
    yield NextStep(
        text="If bookings have changed since the migration, migrate again, which derives their sessions again; then verify:",
        command="booking-migrate migrate",
    )
    if not listed:
        yield NextStep(text="See every mismatch with its values:", command="--mismatches mismatches.jsonl")
    yield NextStep(text="Look at one booking and its session:", command="booking-migrate explain BOOKING_ID")
    yield NextStep(
        text="If much is wrong, give the options that the migration had: --users, --experts, --accept, --config."
    )


def steps_after_dry_run(outcome: DryRunOutcome, absences: Sequence[Absence] = ()) -> Iterator[NextStep]:
    """What to do after a dry-run: away with blockers first, then with rejections, then migrate.

    Args:
        outcome: what the dry-run saw.
        absences: see `steps_about_people`.
    """
    yield from steps_about_people(absences)
    for blocker in outcome.blockers:
        if blocker.hint:
            yield NextStep(text=blocker.hint)
    counts = outcome.migration.counts
    if counts.rejected:
        if _is_for_source(outcome.migration.rejections, absences):
            text = "Mend what would be rejected; --reject-file FILE has it whole, with all reasons."
            yield NextStep(text=text)
        waivable = [group.reason.value for group in outcome.migration.rejections if group.reason in WAIVABLE]
        if waivable:
            accepted = [part for reason in waivable for part in ("--accept", reason)]
            yield NextStep(
                text="Or, if the new application may hold such values, add", command=shlex.join(accepted)
            )
    if not outcome.blockers and counts.scanned:
        yield NextStep(text="To migrate exactly this: dry-run --plan FILE, then migrate --plan FILE.")
