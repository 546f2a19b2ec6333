"""Errors of a run's life: why it is refused, held up, stopped or not found, and what it found broken."""

from collections.abc import Sequence

from booking_migrate.errors.base import (
    GOES_ON,
    SAME_COMMAND,
    Locked,
    Refused,
    RefusedUnchanged,
    Unexpected,
    either,
)
from booking_migrate.quantities import plural, span


class JournalTooNew(RefusedUnchanged):
    """A newer version of the program wrote the journal."""

    place: str
    version: int
    known: int
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

    planned = either(
        "as_planned", "Unless you changed an option on purpose, migrate as planned: {as_planned}\n"
    )
    effect = "Nothing was written."
    message = "data or options have changed since {plan} was made: {differences:; }"
    hint = (
        "{planned}If data and options are right as they are now, let dry-run replace the plan, and read its report: {command}\n"
        f"Then run the same command again, which reads the new plan: {SAME_COMMAND}"
    )


class OtherOptions(RefusedUnchanged):
    """An interrupted run cannot be continued with options that lead to a different result."""

    run_id: str
    differences: Sequence[str]
    """One line each: the option, what it was, what it is."""

    command: str = ""
    """The command that continues it with its own options."""

    message = "run {run_id} was started with other options: {differences:; }"
    own = either(
        "command", "Continue it with its own options: {command}", "Continue it with its own options."
    )
    hint = (
        "{own}\nOnly if the options you typed are meant: undo what this run wrote and start over with them: "
        f"{SAME_COMMAND} --restart"
    )


class UnfinishedRun(RefusedUnchanged):
    """A run has to be finished or undone before another one can start."""

    run_id: str
    state: str
    commands: Sequence[str]
    """What can be done about it, one line each: the purpose and the command. The first one is advised."""

    refusing: str = ""
    """Which collection refuses the application's writes for the run, and since when, as its record says."""

    writes = either("refusing", ", and {refusing}")
    message = "run {run_id} is not finished: {is_so}{writes}"

    @property
    def is_so(self) -> str:
        return "its cut-over is unfinished" if self.state == "cutting-over" else f"it is {self.state}"

    hint = "{commands:\n}"


class OtherMode(RefusedUnchanged):
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
    message = "run {run_id} migrates {source} {mode}, and is {state}"
    hint = "{commands:\n}"


class LaterRun(RefusedUnchanged):
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
    stopping = either(
        "target",
        "",
        "Stop the new application first, if it still runs, and start the old one when both are undone. ",
    )
    message = "run {later} changed the result of run {run_id}"
    hint = (
        "It cannot be undone without the later one. {stopping}Roll that back first: booking-migrate rollback --run {later}\n"
        "Then this one: booking-migrate rollback --run {run_id}{all_runs}"
    )


class NotConfirmed(RefusedUnchanged):
    """The user did not confirm, or could not because the program does not run in a terminal."""

    what: str
    typed: str | None = None
    """What the user typed; None if the program does not run in a terminal."""

    expected: str = ""
    """What confirms it."""

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

    effect = "Nothing was changed, but for what the hook itself has done."
    config: str = ""
    """The config file that names it."""

    which = either("command", " (command: {command})")
    named_in = either("config", " in {config}")
    message = "the hook {hook}{which} failed: {problem}"
    hint = (
        "Nothing is urgent, unless the hook has already stopped something, such as the application. What it printed is above: fix what it "
        "complains about. If it printed nothing, ask who wrote it what it checks, and whether it may run twice; take it out of "
        "[hooks]{named_in} only if they say that it is not needed. Then run the same command again."
    )


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
    lease_seconds: float = 0.0
    """After how long the lock of a killed process expires; 0: at once."""

    effect = "Nothing was changed."
    message = "another run is writing {place}: {holder}"

    @property
    def hint(self) -> str:
        expired = f"; the lock of a killed process expires after {span(self.lease_seconds)}"
        expiry = expired if self.lease_seconds else ""
        again = f"run the same command again{expiry}: {SAME_COMMAND}"
        if self.holder.startswith("migrate --follow "):
            end = "It follows the application until Ctrl-C in its terminal, or until a cutover takes over."
        elif self.holder.startswith("cutover --reverse-window "):
            end = "It keeps a rollback ready until its window ends, until Ctrl-C in its terminal, or until rollback or finalize takes over."
        else:
            ended = "When it has ended"
            if self.holder.startswith("migrate "):
                # While it still reads, one that will follow is like any other.
                ended = (
                    "If it was started with --follow, it ends only at Ctrl-C in its terminal, or when a cutover takes over.\n"
                    "If it ends well, verify is next, and status prints it: booking-migrate status\nIf it ends otherwise"
                )
            return f"See its progress: booking-migrate status --watch\n{ended}, {again}"
        return f"{end} When it has ended, {again}"


class LeaseLost(Locked):
    """The lock of this process expired and another run took it; this process has stopped writing."""

    place: str
    message = "the lock on {place} expired, and another run has taken it"
    hint = "This run has stopped writing. To see which run holds the lock: booking-migrate status"


class NothingLater(RefusedUnchanged):
    """The option to drop later changes of the application does not apply to a run that was never live."""

    run_id: str
    state: str
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
