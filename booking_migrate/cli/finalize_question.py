"""What ``finalize`` asks before it drops anything."""

from collections.abc import Iterator, Sequence

from booking_migrate.cli.references_look import unseen_in_words
from booking_migrate.quantities import clock, grouped, plural
from booking_migrate.references.remaining import Unseen
from booking_migrate.runs.commands import conversion_of
from booking_migrate.stores.cutover import OldBookings
from booking_migrate.stores.journal import RunRecord
from booking_migrate.verify import VerificationOutcome


def ended_by(unseen: Sequence[Unseen]) -> str:
    """Return what is not possible after a finalize; if old ids are removed, with where they were not looked for."""
    if unseen:
        return (
            "removes legacyBookingId from all sessions; no rollback is possible after that, nor can references be rewritten or "
            f"restored; not looked at for old ids: {unseen_in_words(unseen)}"
        )
    return "no rollback is possible after that"


def question_of(
    run: RunRecord,
    found: OldBookings | None,
    dropped: Sequence[str] = (),
    verification: VerificationOutcome | None = None,
    *,
    is_kept: bool = False,
    ended: str,
) -> str:
    """Return what a finalize of a cut-over does and ends, as it is to be confirmed.

    Args:
        run: the run that was cut over.
        found: the old bookings in the live collection; None: they were not counted in time.
        dropped: the names of what is dropped; none: the kept copy, as far as is known.
        verification: what the verification has shown; None: nothing yet.
        is_kept: whether a process keeps the reverse window.
        ended: what is not possible after that.
    """
    names = " and ".join(dropped) or run.legacy
    said = [] if verification is None else list(_proven(verification))
    said += [f"drops {names}", ended]
    if is_kept:
        said.append(f"its reverse window, open until {clock(run.window['ends_at'])}, ends")
    elif run.window:
        said.append("its reverse window, which can be continued by cutover, ends")
    if found is not None and (found.carried or found.later):
        said.append(
            f"old bookings that stay in {run.source}: carried along by the cut-over {grouped(found.carried)}, written by an "
            f"old application since {grouped(found.later)}; to convert them, once that is stopped: {conversion_of(run)}"
        )
    return f"finalize of run {run.run_id} ({'; '.join(said)})"


def _proven(verification: VerificationOutcome) -> Iterator[str]:
    yield "proven"
    yield f"booked since: {plural(verification.later_sessions, 'session')}"
    yield from deleted(verification)


def deleted(verification: VerificationOutcome) -> Iterator[str]:
    """Yield what is lost with the old bookings whose sessions the application has deleted; nothing without any."""
    number = verification.deleted_sessions
    if number:
        yield f"old bookings that are gone for good, since the application has deleted their sessions: {grouped(number)}"
