"""Errors of a run's life: why it is refused, held up, stopped or not found, and what it found broken."""

from collections.abc import Sequence

from booking_migrate.errors.base import (
    GOES_ON,
    SAME_COMMAND,
    Locked,
    NothingToDo,
    Refused,
    Unexpected,
    either,
)
from booking_migrate.quantities import plural


class JournalTooNew(Refused):
    """A newer version of the program wrote the journal."""

    place: str
    version: int
    known: int
    effect = "Nothing was changed."
    message = "the journal {place} has format {version}, and this version of the program reads formats up to {known}"
    hint = "Use the version of the program that started the run, or a newer one."


class PlanDiffers(Refused):
    """What would be migrated is no longer what a saved plan says."""

    plan: str
    differences: Sequence[str]
    command: str
    """The command that makes a new plan in its place, with the options that were given."""

    as_planned: str = ""
    """The command with the options of the plan, if nothing but options has changed."""

    planned = either("as_planned", "To migrate as planned: {as_planned}\n")
    effect = "Nothing was written."
    message = "data or options have changed since {plan} was made: {differences:; }"
    hint = (
        "{planned}If data and options are right as they are now, replace the plan, and read its report: {command}\n"
        f"Then run the same command again: {SAME_COMMAND}"
    )


class OtherOptions(Refused):
    """An interrupted run cannot be continued with options that lead to a different result."""

    run_id: str
    differences: Sequence[str]
    """One line each: the option, what it was, what it is."""

    command: str = ""
    """The command that continues it with its own options."""

    effect = "Nothing was changed."
    message = "run {run_id} was started with other options: {differences:; }"
    own = either(
        "command", "Continue it with its own options: {command}", "Continue it with its own options."
    )
    hint = (
        "{own}\nOnly if the options you typed are meant: undo what this run wrote and start over with them: "
        f"{SAME_COMMAND} --restart"
    )


class UnfinishedRun(Refused):
    """A run has to be finished or undone before another one can start."""

    run_id: str
    state: str
    commands: Sequence[str]
    """What can be done about it, one line each: the purpose and the command. The first one is advised."""

    refusing: str = ""
    """Which collection refuses the application's writes for the run, and since when, as its record says."""

    writes = either("refusing", ", and {refusing}")
    effect = "Nothing was changed."
    message = "run {run_id} is not finished: {is_so}{writes}"

    @property
    def is_so(self) -> str:
        return "its cut-over is unfinished" if self.state == "cutting-over" else f"it is {self.state}"

    hint = "{commands:\n}"


class OtherMode(Refused):
    """The same bookings are already being migrated in the other mode: in place instead of side by side, or the reverse."""

    run_id: str
    source: str
    is_in_place: bool
    """Whether the existing run is in place."""

    state: str
    """The state of that run."""

    commands: Sequence[str]
    """What can be done about it, one line each: the purpose and the command. The first one continues the run."""

    mode = either("is_in_place", "in place", "side by side")
    effect = "Nothing was changed."
    message = "run {run_id} migrates {source} {mode}, and is {state}"
    hint = "{commands:\n}"


class LaterRun(Refused):
    """A run cannot be rolled back, because a later one changed its result."""

    run_id: str
    later: str
    target: str = ""
    """The target of both; empty if the later one was made in place in what the other one made live."""

    all_runs = either(
        "target",
        "\nTo undo all runs into {target} at once, which are named before anything is changed: "
        "booking-migrate rollback --target {target!q}",
    )
    effect = "Nothing was changed."
    message = "run {later} changed the result of run {run_id}"
    hint = (
        "Roll back the later one first: booking-migrate rollback --run {later}\n"
        "Then this one: booking-migrate rollback --run {run_id}{all_runs}"
    )


class NotConfirmed(Refused):
    """The user did not confirm, or could not because the program does not run in a terminal."""

    what: str
    typed: str | None = None
    """What the user typed; None if the program does not run in a terminal."""

    expected: str = ""
    """What confirms it."""

    effect = "Nothing was changed."
    message = "not confirmed: {what}"

    @property
    def hint(self) -> str:
        if self.typed is None:
            return f"Without a terminal, --yes confirms it: {SAME_COMMAND} --yes"
        typed = f"you typed {self.typed!r}" if self.typed else "nothing was typed"
        return f"Run the same command again, and type {self.expected!r} to confirm; {typed}."


class StoppedByHook(Refused):
    """The hook that runs before a step failed, so the step was not taken."""

    hook: str
    problem: str
    command: str = ""
    """What the config file says is to be run."""

    effect = "Nothing was changed."
    config: str = ""
    """The config file that names it."""

    which = either("command", " ({command})")
    named_in = either("config", " The hook is named in [hooks] in {config}.")
    message = "the hook {hook}{which} failed: {problem}"
    hint = "What it has printed, if anything, is above.{named_in} Fix what it complains about, then run the same command again."


class HookFailed(Unexpected):
    """The hook that runs after a step failed; the step itself is done."""

    command: str
    hook: str
    problem: str
    message = "{command} is done, but its hook {hook} failed: {problem}"
    hint = "The result of {command} is complete; only the hook has to be run again."


class TargetBusy(Locked):
    """Another process is writing the same target."""

    place: str
    holder: str
    effect = "Nothing was changed."
    message = "another run is writing {place}: {holder}"

    @property
    def hint(self) -> str:
        again = f"run the same command again; the lock of a killed process expires after half a minute: {SAME_COMMAND}"
        if self.holder.startswith("migrate --follow "):
            end = "It follows the application until Ctrl-C in its terminal, or until a cutover takes over."
        elif self.holder.startswith("cutover --reverse-window "):
            end = "It keeps a rollback ready until its window ends, until Ctrl-C in its terminal, or until rollback or finalize takes over."
        else:
            return f"See its progress: booking-migrate status --watch\nWhen it has ended, {again}"
        return f"{end} When it has ended, {again}"


class LeaseLost(Locked):
    """The lock of this process expired and another run took it; this process has stopped writing."""

    place: str
    message = "the lock on {place} expired, and another run has taken it"
    hint = "This run has stopped writing. To see which run holds the lock: booking-migrate status"


_DUMP_AND_URI = (
    "In the commands, DUMP is the folder that mongodump wrote, and URI the connection string without a database; for a dump made "
    "with --gzip or --archive, add the same option."
)


class NoRun(NothingToDo):
    """The run that a command refers to does not exist."""

    what: str
    """Which run was looked for, and where."""

    effect: str = "Nothing was changed."
    message = "found no {what}"
    hint = (
        "Is --db right? To see every run of the database: booking-migrate status\n"
        "Or of another one, with its name for DB: booking-migrate status --db DB"
    )


class Finalized(NothingToDo):
    """A run can no longer be rolled back, because finalize dropped its old bookings."""

    run_id: str
    archive: str
    source: str
    begin: str
    """What moved the old bookings away: ``the cut-over``, or ``the migration in place``."""

    effect = "Nothing was changed."
    message = "run {run_id} is finalized: {archive}, which kept its old bookings, was dropped"
    hint = (
        "finalize cannot be undone, and {source} stays as it is. If you need the old bookings, restore them under another name.\n"
        f"{_DUMP_AND_URI}\n"
        "Usual, if a backup was made between {begin} and finalize; it has all old bookings: "
        "mongorestore --uri 'URI' --nsInclude '*.{archive}' --nsFrom '*.{archive}' --nsTo '*.{source}_old' DUMP\n"
        "Only if no such backup exists: from one made before {begin}; bookings made or changed between it and {begin} are missing or old "
        "in it: mongorestore --uri 'URI' --nsInclude '*.{source}' --nsFrom '*.{source}' --nsTo '*.{source}_old' DUMP"
    )


class OldBookingsLost(Refused):
    """The collection that kept the old bookings of a run was dropped."""

    kept: str
    going_on: str = ""
    """The command that continues without them, if one does."""

    source: str = ""
    """The collection of which a cut-over made the copy, if one did."""

    effect = "Nothing was changed."
    message = "{kept}, which kept the old bookings, no longer exists"
    hint = either(
        "going_on",
        f"Restore {{kept}} from a backup of the database, then run the same command again: {SAME_COMMAND}\n"
        "Or, if no backup has it, migrate only the bookings that are still in the old shape: {going_on}",
        f"Restore it from a backup of the database, then roll back. {_DUMP_AND_URI}\n"
        "Usual, if a backup was made after the cut-over; nothing is lost: mongorestore --uri 'URI' --nsInclude '*.{kept}' DUMP\n"
        f"Then: {SAME_COMMAND}\n"
        "If no backup exists, or the losses below are not acceptable, do not roll back: {source} stays live as it is.\n"
        "If only an older backup exists, from before the cut-over: bookings made between it and the cut-over will then exist "
        "only as sessions in client documents, which the old application does not read; rejected ones of them that the cut-over left out "
        "are lost; bookings deleted in that time come back. In it, the old bookings are still called {source}: "
        "mongorestore --uri 'URI' --nsInclude '*.{source}' --nsFrom '*.{source}' --nsTo '*.{kept}' DUMP\n"
        f"Then: {SAME_COMMAND}",
    )


class ArchiveNotOwn(Refused):
    """The archive of a collection holds documents of other origin."""

    archive: str
    run_id: str | None
    """The run that moved old bookings to a collection of that name; None: none did."""

    message = either(
        "run_id",
        "{archive} holds none of the old bookings that run {run_id} moved there",
        "{archive} holds documents that were not moved there by a run in place",
    )
    hint = either(
        "run_id",
        "Rename the collection that has this name now, restore {archive} from where it was moved or from a backup, then run the same "
        f"command again: {SAME_COMMAND}\n"
        "Or migrate only the bookings that are still in the old shape: booking-migrate migrate --in-place --archive OTHER",
        f"Use the name of a collection that does not exist yet: {SAME_COMMAND} --archive {{archive}}_2",
    )


class NothingLater(Refused):
    """The option to drop later changes of the application does not apply to a run that was never live."""

    run_id: str
    state: str
    effect = "Nothing was changed."
    message = "--discard-later does not apply to run {run_id}, which is {state} and was not cut over"
    hint = (
        "Leave out --discard-later; documents that others have changed in the target are kept and listed: "
        f"{SAME_COMMAND} without --discard-later"
    )


class UnaccountedBookings(Unexpected):
    """Scanned is not migrated + already migrated + rejected."""

    scanned: int
    accounted: int
    message = "{scanned:booking was|bookings were} scanned, but {accounted} are accounted for"
    hint = "To list every missing booking, with the options of this command: booking-migrate verify"


class TargetChanged(Unexpected):
    """A client document of the target changed between reading and writing it."""

    place: str
    document_id: str
    message = "client document {document_id} in {place} was changed by another process"
    hint = "Run the same command again: it reads the document again."


class Contended(Unexpected):
    """Other processes wrote to the same documents at the same time; nothing was done, and the command can be repeated."""

    place: str
    clients: Sequence[str] = ()
    """The clients, where transactions were retried client by client."""

    whose = either("clients", " of client {clients}")
    message = "other processes keep writing to the same documents{whose} in {place}"
    hint = f"Run the same command again when the application writes less: {GOES_ON}."


class SlicingFault(Unexpected):
    """The fast path slices a document differently from the plain BSON reader."""

    booking_id: str
    field: str
    message = (
        "booking {booking_id}: what the fast path slices for {field} differs from the booking's BSON, "
        "so nothing is proven"
    )
    hint = (
        "This is a fault of the program, and what it migrated may be wrong: keep the old bookings, "
        "and report the names and types of this booking's fields."
    )


class BookingsLeft(Unexpected):
    """A migration in place skipped clients, so that their bookings are neither migrated nor rejected."""

    place: str
    bookings: int
    clients: int
    sample: Sequence[str]
    """The first of these clients, as text."""

    passes: int
    message = (
        "{bookings:booking|bookings} of {clients:client|clients} in {place} could not be moved in "
        "{passes:pass|passes}, because other processes keep writing to these clients: {sample:, |{clients}}"
    )
    hint = f"Run the same command again when the application writes less, or with more --passes: {GOES_ON}."


class IllegalTransition(Unexpected):
    """A run was about to enter a state that cannot follow the current one."""

    run_id: str
    before: str
    after: str
    message = "run {run_id} is {before} and cannot become {after}"
    hint = "To see the commands that are possible for this run: booking-migrate status --run {run_id}"


class NotRestored(Unexpected):
    """After a rollback the target differs from its state before the run."""

    place: str
    count: int
    sample: str
    unit: str = "client document"
    hint = "Run the same command again: it continues from what is already undone."

    @property
    def message(self) -> str:
        if self.count == 1:
            return f"{self.unit} {self.sample} in {self.place} differs from its state before the run"
        return (
            f"{plural(self.count, self.unit)} in {self.place} differ from their state before the run, "
            f"such as {self.sample}"
        )
