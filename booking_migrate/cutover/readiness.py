"""Whether a run may be cut over: decided from the journal and the live collection, before anything is changed."""

from collections.abc import Mapping
from enum import StrEnum

from booking_migrate.errors import CutoverRefused
from booking_migrate.runs.commands import command_of
from booking_migrate.runs.session import RunRequest
from booking_migrate.runs.states import differences, in_words
from booking_migrate.stores.cutover import LiveCollections
from booking_migrate.stores.journal import RunRecord, RunState


class RejectedPolicy(StrEnum):
    """What becomes of rejected bookings at a cut-over. The values are an API."""

    CARRY = "carry"
    """They go along in their old shape, beside the client documents."""

    LEAVE = "leave"
    """They stay in the kept copy of the old collection only."""


RESOLVE_CONFLICTS = "Decide with migrate --on-conflict source or --on-conflict target, then verify."
_FINISH_FIRST = "Bring it to its end: run migrate again."
_ADVICE = {
    RunState.CUT_OVER: "booking-migrate status shows every run.",
    RunState.RESTORING: "It is being rolled back: run rollback again, which goes on with that.",
}
"""What to do about a run that is in a state other than the one that a cut-over begins with."""


def check_ready(
    run: RunRecord | None, request: RunRequest, policy: RejectedPolicy | None, live: LiveCollections
) -> RunRecord:
    """Make sure that a run may be cut over; nothing is changed.

    Raises:
        CutoverRefused: it may not; also if it was made under other options, by which the bookings that came since would
            be converted otherwise.
    """
    target = request.target

    def refuse(problem: str, advice: str) -> CutoverRefused:
        return CutoverRefused(target, problem, advice)

    if run is None:
        raise refuse("no run has written to it", "Run migrate and verify first.")
    if run.state is not RunState.DONE:
        raise refuse(f"run {run.run_id} is {in_words(run.state)}", _ADVICE.get(run.state, _FINISH_FIRST))
    unfit = live.unfit()
    if unfit is not None:
        raise refuse(
            f"the source {run.source} cannot be replaced: {unfit}", "Only a plain collection can be."
        )
    conflicts = run.counts.get("conflicts", 0)
    if conflicts:
        raise refuse(f"bookings conflict with their sessions: {conflicts}", RESOLVE_CONFLICTS)
    if run.verified_at is None or run.written_at is None or run.verified_at <= run.written_at:
        raise refuse(f"run {run.run_id} was not verified since it wrote last", "Run verify first.")
    if not run.verified_clean:
        raise refuse(
            "the last verification found mismatches",
            "Run migrate again, which brings in what the source has changed; then verify. A client document that others "
            "changed in the target stays as it is: delete it there, and migrate derives it again.",
        )
    unlike = differences(run.options, _without_idle_policy(run, request.options))
    if unlike:
        problem = f"run {run.run_id} was made under other options: {'; '.join(unlike)}"
        raise refuse(problem, f"Use the options that it had: {command_of(run, 'cutover')}")
    rejected = run.counts.get("rejected", 0)
    if rejected and policy is None:
        advice = "--rejected carry takes them along in their old shape; --rejected leave keeps them in the copy only."
        raise refuse(f"bookings were rejected: {rejected}", advice)
    return run


def _without_idle_policy(run: RunRecord, options: Mapping[str, str]) -> Mapping[str, str]:
    """Return the options with the run's own policy for conflicts: a clean verification found nothing that it decides.

    A migration under another policy that finds nothing to decide writes no run, so the newest run has the older policy.
    """
    name = "on-conflict"
    return {**options, name: run.options[name]} if name in run.options else options
