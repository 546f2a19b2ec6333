"""What is possible beside a run: the commands for it, complete with its options, and what is refused because of it.

A migration is side by side or in place; a run of one mode is not continued in the other.
"""

import shlex
from collections.abc import Sequence

from booking_migrate.errors import CutOverAlready, OtherMode, TargetBusy
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.states import LIVE, RESUMABLE, STANDING, UNDOABLE, options_as_text
from booking_migrate.stores.journal import LockStore, RunJournal, RunRecord, RunState

_PEOPLE = {"users": "users", "experts": "experts"}
"""Options of every command that converts, with their defaults."""

_RULES = (
    "accept",
    "max-document-size",
    "on-conflict",
    "user-id-field",
    "user-email-field",
    "expert-user-field",
)
_FLAGS = ("merge-client-documents", "without-transactions", "block-all-writes")
_PLACES = ("rejects", "json-format")
CONFIG_PLACEHOLDER = "CONFIG.toml"
"""Stands for a config file whose name is not known."""

_TAKEN = {
    "migrate": {*_PEOPLE, *_RULES, *_FLAGS, *_PLACES},
    "verify": {*_PEOPLE, *_RULES, *_PLACES},
    "cutover": {*_PEOPLE, *_RULES, "merge-client-documents"},
    "finalize": {*_PEOPLE, *_RULES},
}
"""The options of a run that each command takes as well."""

_IN_THE_WAY = STANDING | {RunState.FINALIZING}
"""The states in which a run forbids one of the other mode."""


def possible_commands(run: RunRecord, *, is_newest: bool) -> Sequence[str]:
    """Return the commands that are possible for a run without a process; those that continue it come first.

    Args:
        run: the run.
        is_newest: whether it is the newest run into its target that has not been undone.
    """
    if run.archive is not None:
        return _possible_in_place(run, is_newest=is_newest)
    back, migrate, cutover = rollback_of(run), command_of(run, "migrate"), command_of(run, "cutover")
    if run.state in RESUMABLE:
        return [migrate, f"{migrate} --restart", back]
    if run.state is RunState.DONE:
        ready = is_newest and run.verified_clean and run.legacy is None
        return [
            command_of(run, "verify"),
            *([cutover] if ready else []),
            *([back] if is_newest else []),
        ]
    if run.state is RunState.CUTTING_OVER:
        return [cutover, abort_of(run), *([back] if is_newest else [])]
    if run.state in LIVE:
        return [back] if is_newest else []
    return [back] if run.state in UNDOABLE else [migrate]


def _possible_in_place(run: RunRecord, *, is_newest: bool) -> Sequence[str]:
    back, migrate = rollback_of(run), command_of(run, "migrate")
    match run.state:
        case RunState.RUNNING | RunState.INTERRUPTED | RunState.FAILED:
            return [migrate, f"{migrate} --restart", back]
        case RunState.DONE:
            return [command_of(run, "verify"), *([back, command_of(run, "finalize")] if is_newest else [])]
        case RunState.ROLLING_BACK:
            return [back]
        case RunState.FINALIZING:
            return [command_of(run, "finalize")]
        case _:
            return [migrate]


def abort_of(run: RunRecord) -> str:
    """Return the command that aborts an unfinished cut-over and keeps the target."""
    places = shlex.join(["--source", run.source, "--target", run.target])
    return f"booking-migrate cutover {places} --abort"


def rollback_of(run: RunRecord) -> str:
    """Return the command that undoes a run."""
    return f"booking-migrate rollback --run {run.run_id}"


def command_of(run: RunRecord, name: str) -> str:
    """Return a command for a run: its places, and those of its options that differ from the defaults.

    A contract that the config file changed cannot be written as an option, so the file has to be named. For a cut-over that
    has begun, its own options are included too.

    Args:
        run: the run.
        name: ``migrate``, ``verify``, ``cutover`` or ``finalize``.
    """
    words = [name]
    if run.archive is None:
        words += ["--source", run.source, "--target", run.target]
    else:
        words += [] if name == "finalize" else ["--in-place"]
        words += ["--source", run.source, "--archive", run.archive]
    defaults = {**_PEOPLE, **options_as_text(MigrationPlan())}
    for option, value in run.options.items():
        if option in _TAKEN[name] and value not in ("", defaults.get(option)):
            words += _words(option, value)
    contract = {option: value for option, value in run.options.items() if option.startswith("contract.")}
    if run.config is not None:
        words += ["--config", run.config]
    elif any(value != defaults.get(option, value) for option, value in contract.items()):
        words += ["--config", CONFIG_PLACEHOLDER]
    if name == "cutover":
        words += [word for option, value in run.cutover_options.items() for word in _words(option, value)]
    return f"booking-migrate {shlex.join(words)}"


def _words(option: str, value: str) -> list[str]:
    if option in _FLAGS:
        return [f"--{option}"] if value == str(True) else []
    values = value.split(", ") if option == "accept" else [value]
    return [word for each in values for word in (f"--{option}", each)]


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


def other_mode(run: RunRecord) -> OtherMode:
    """Return the refusal that names a run of the other mode and the commands that are possible for it."""
    commands = possible_commands(run, is_newest=True)
    if run.state is RunState.DONE and run.archive is not None:
        commands = [command_of(run, "migrate"), *commands]
    elif run.state is RunState.DONE:
        commands = [*commands, *([] if rollback_of(run) in commands else [rollback_of(run)])]
    return OtherMode(run.run_id, run.source, run.archive is not None, commands)


def refuse_readers(collection: str, journal: RunJournal, locks: LockStore) -> None:
    """Refuse to move bookings away under a run that reads them into another collection.

    Args:
        collection: the collection that is to be migrated in place.
        journal: knows all runs of the database.
        locks: knows which of them are active; they hold the locks of their targets.

    Raises:
        TargetBusy: such a run is active.
    """
    targets = {run.target for run in journal.runs() if run.source == collection and run.archive is None}
    for target in sorted(targets - {collection}):
        held = locks.look(target)
        if held is not None and held.is_live:
            raise TargetBusy(collection, f"{held.holder}, which reads it into {target}")
