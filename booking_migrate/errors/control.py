"""Errors of asking something of a command that works on a run, from another terminal."""

from collections.abc import Sequence

from booking_migrate.errors.base import NothingToDo, RefusedUnchanged, either
from booking_migrate.errors.places import BadConfiguration


class BadSetting(BadConfiguration):
    """A setting cannot be used; none of those named together was changed."""

    sound: Sequence[str] = ()
    """Those that were right, as typed."""

    effect = either("sound", "Nothing was changed, and {sound} was not set either.", "Nothing was changed.")


class NothingAtWork(NothingToDo):
    """No command works on a run."""

    where: str
    """The database or the target that was looked at."""

    has_runs: bool = True
    """Whether any run is recorded there."""

    effect = "Nothing was changed."
    message = either("has_runs", "no command is working on a run in {where}", "no run is recorded in {where}")
    hint = either(
        "has_runs",
        "A pause or a setting needs a migrate, verify, rollback or references rewrite that is running, or a run that was interrupted. To "
        "see every run: booking-migrate status",
        "Is it the right database and host (--db, or the connection string)? To see the runs of another one, "
        "with its name for DB: booking-migrate status --db DB",
    )


class SeveralAtWork(RefusedUnchanged):
    """Commands work on several runs, and none is chosen."""

    runs: Sequence[str]
    asked: str
    """The command that was given, without the program's name."""

    message = "commands are working on several runs: {runs}"
    hint = "Choose one: booking-migrate {asked} --run {first}"

    @property
    def first(self) -> str:
        """Return the newest of them."""
        return self.runs[0]


class RunEnded(RefusedUnchanged):
    """No command works on the run, and none continues it."""

    run_id: str
    state: str
    message = "run {run_id} is {state}, and no command is working on it"
    hint = "A pause or a setting needs a command that is running. What is possible now: booking-migrate status --run {run_id}"


class NotControllable(RefusedUnchanged):
    """A command cannot be paused or changed while it works."""

    run_id: str
    command: str
    advice: str
    message = "{command} of run {run_id} cannot be paused or changed while it is running"


class SettingNotTaken(RefusedUnchanged):
    """A setting has no meaning for the command that works."""

    run_id: str
    command: str
    setting: str
    taken: Sequence[str]
    """What can be asked of it."""

    continuation: str = ""
    """How to continue the run with the setting; empty if an option of the command does not do that."""

    change = either("continuation", "\n{continuation}", "")
    message = "{setting} does not apply to {command} of run {run_id}"
    hint = "What applies to it: {taken}.{change}"
