"""What to do where sessions are gone since a collection is live: the application deletes them, or they are lost."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from booking_migrate.quantities import agreed, plural
from booking_migrate.reports.model import NextStep
from booking_migrate.runs.advice import NEEDS_REST
from booking_migrate.runs.commands import command_of, going_back, needs_rest, rollback_of
from booking_migrate.stores.journal import RunRecord

if TYPE_CHECKING:
    # The caller that has an outcome has loaded its module; other commands do not need it.
    from booking_migrate.verify.outcome import VerificationOutcome

_LOST = "does not delete sessions, so that these are lost"


def steps_about_missing(run: RunRecord, found: "VerificationOutcome") -> Iterator[NextStep]:
    """Yield whom to ask about sessions that are gone, and what follows from either answer."""
    number = found.missing_sessions
    if not number:
        return
    others = found.mismatch_count - number
    first = agreed("; correct the {other mismatch|other mismatches} first", others) if others else ""
    yield NextStep(
        text=f"{plural(number, 'session')} {agreed('{is|are}', number)} gone: ask the developers whether the new application deletes sessions. "
        f"If it does, end the migration all the same: {agreed('{its old booking is|their old bookings are}', number)} then gone for good{first}:",
        command=f"{command_of(run, 'finalize')} --allow-deleted",
    )
    if run.archive is None:
        back = going_back(run, _LOST).purpose
    else:
        rest = f"; {NEEDS_REST}" if needs_rest(run) else ""
        back = (
            f"If the new application {_LOST}: undo the migration, which brings their old bookings back{rest}"
        )
    yield NextStep(text=f"{back}:", command=rollback_of(run))
