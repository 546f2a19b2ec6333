"""A migration is side by side or in place; a run of one mode is not continued in the other."""

from booking_migrate.errors import CutOverAlready, OtherMode, TargetBusy
from booking_migrate.runs.commands import command_of, possible_commands, rollback_of
from booking_migrate.runs.states import LIVE, STANDING
from booking_migrate.stores.journal import LockStore, RunJournal, RunRecord, RunState


def refuse_other_mode(journal: RunJournal, locks: LockStore, source: str, *, in_place: bool) -> None:
    """Refuse to begin or continue a run while one of the other mode exists for the same bookings.

    After a cut-over the source holds client documents and cannot be migrated side by side again; the bookings that an old
    application writes into it can be migrated in place.

    Args:
        journal: has all runs of the database.
        locks: which show the runs that a process works on.
        source: the source as the user wrote it.
        in_place: whether the migration is to be in place.

    Raises:
        OtherMode: a run of the other mode exists and has not been undone.
        TargetBusy: a process works on it.
        CutOverAlready: the source was cut over.
    """
    for run in journal.runs():
        if run.source != source or run.state not in _IN_THE_WAY:
            continue
        if run.archive is None and run.state is RunState.CUT_OVER:
            if in_place:
                return
            raise CutOverAlready(run.run_id, source, run.legacy or "")
        if (run.archive is not None) != in_place:
            held = locks.look(run.target)
            if held is not None and held.is_live:
                does = "migrates it in place" if run.archive is not None else f"reads it into {run.target}"
                raise TargetBusy(source, f"{held.holder}, which {does}")
            raise other_mode(run)


def cut_over_run(journal: RunJournal, source: str, target: str) -> RunRecord | None:
    """Return the run by whose cut-over a target became the live collection under its source's name; None if none did."""
    return next((run for run in journal.runs(target) if run.source == source and run.state in LIVE), None)


_IN_THE_WAY = STANDING | {RunState.FINALIZING}


def other_mode(run: RunRecord) -> OtherMode:
    """Return the refusal that names a run of the other mode and the commands that are possible for it."""
    commands = possible_commands(run, is_newest=True)
    if run.state is RunState.DONE and run.archive is not None:
        commands = [command_of(run, "migrate"), *commands]
    elif run.state is RunState.DONE:
        commands = [*commands, *([] if rollback_of(run) in commands else [rollback_of(run)])]
    return OtherMode(run.run_id, run.source, run.archive is not None, commands)
