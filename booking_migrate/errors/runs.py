"""Errors of a run's life: why it is refused, held up, stopped or not found, and what it found broken."""

from collections.abc import Sequence

from booking_migrate.errors.base import Locked, NothingToDo, Refused, Unexpected, first_of


class JournalTooNew(Refused):
    """A newer version of the program wrote the journal."""

    place: str
    version: int
    known: int
    message = "the journal {place} has format {version}; this program knows {known} at most"
    hint = "Use the version of the program that began the run, or a newer one."


class PlanDiffers(Refused):
    """What would be migrated is no longer what a saved plan says."""

    plan: str
    differences: Sequence[str]
    message = "this is not what {plan} planned: {differences:; }"
    hint = "Run dry-run again with --plan, read its report, then migrate with the new plan."


class OtherOptions(Refused):
    """An interrupted run cannot be continued, because something that decides the result is different now."""

    run_id: str
    differences: Sequence[str]
    """One line each: the option, what it was, what it is."""

    message = "run {run_id} was interrupted under other options: {differences:; }"
    hint = "Continue it with the options it had, or give --restart to undo it and start over."


class UnfinishedRun(Refused):
    """A run has to be brought to its end before another one can begin."""

    run_id: str
    state: str
    commands: Sequence[str]
    """What can be done about it; the first one goes on with it."""

    message = "run {run_id} is not finished: it is {state}"

    @property
    def hint(self) -> str:
        onward, *others = self.commands
        back = [command for command in others if " rollback " in command]
        return f"Continue it: {onward}" + (f"\nOr undo it: {back[0]}" if back else "")


class OtherMode(Refused):
    """A run of the other mode stands on the same bookings: in place where side by side is asked for, or the reverse."""

    run_id: str
    source: str
    is_in_place: bool
    """Whether the run that stands is in place."""

    commands: Sequence[str]
    """What can be done about it; the first one goes on with it."""

    message = "{source} is being migrated {mode} by run {run_id}"
    hint = "Nothing was written. Continue with: {commands:\nOr: }"

    @property
    def mode(self) -> str:
        """The mode of the run that stands."""
        return "in place" if self.is_in_place else "side by side"


class CutOverAlready(Refused):
    """The source of a migration is the result of an earlier one: it was cut over."""

    run_id: str
    source: str
    legacy: str
    """The collection that keeps the old bookings."""

    message = (
        "{source} holds client documents since the cut-over of run {run_id}; the old bookings are in {legacy}"
    )
    hint = (
        "Nothing is left to migrate. Bookings that an old application has written since: "
        "booking-migrate migrate --in-place --source {source}\n"
        "Or go back: booking-migrate rollback --run {run_id}"
    )


class LaterRun(Refused):
    """A run cannot be rolled back, because a later one wrote on top of it."""

    run_id: str
    later: str
    message = "run {later} wrote on top of run {run_id}"
    hint = "Roll back the later one first: booking-migrate rollback --run {later}"


class NotConfirmed(Refused):
    """Nobody is at the terminal, and ``--yes`` is not given."""

    what: str
    message = "{what} was not confirmed"
    hint = "Give --yes where nobody is at the terminal."


class StoppedByHook(Refused):
    """The hook that runs before a step failed, so the step was not taken."""

    hook: str
    problem: str
    message = "the hook {hook} failed: {problem}"
    hint = "Nothing was changed. See to what the hook asks for, and run the same command again."


class HookFailed(Unexpected):
    """The hook that runs after a step failed; the step itself is done."""

    command: str
    hook: str
    problem: str
    message = "{command} is done, but its hook {hook} failed: {problem}"
    hint = "What {command} did stands; only what the hook does is missing."


class TargetBusy(Locked):
    """Another process is writing the same target."""

    place: str
    holder: str
    message = "another run is writing {place}: {holder}"


class LeaseLost(Locked):
    """This process was taken for dead, and its lock was taken over; it has stopped writing."""

    place: str
    message = "the lock on {place} was taken over by another run while this one was not heard of"
    hint = "Nothing more was written. booking-migrate status shows who is at work now."


class NoRun(NothingToDo):
    """No run is there that could be rolled back."""

    what: str
    """Which run was looked for, and where."""

    message = "there is no {what}"
    hint = "booking-migrate status shows every run."


class Finalized(NothingToDo):
    """A run cannot be rolled back any more, because its old bookings were dropped as asked."""

    run_id: str
    archive: str
    message = "run {run_id} is finalized: {archive}, which kept its old bookings, was dropped"
    hint = "There is no way back from finalize, except a backup of the database."


class OldBookingsLost(Refused):
    """The collection that kept the old bookings of a run was dropped."""

    kept: str
    going_on: str = ""
    """The command that goes on without them, if one does."""

    message = "{kept}, which kept the old bookings, does not exist any more"

    @property
    def hint(self) -> str:
        back = "No way back remains except a backup of the database: "
        back += f"restore {self.kept} from it, then run the same command again."
        return f"{back} Bookings that are still in the old shape: {self.going_on}." if self.going_on else back


class ArchiveNotOwn(Refused):
    """The archive of a collection is one that somebody else uses."""

    archive: str
    run_id: str | None
    """The run that moved old bookings to a collection of that name; None: none did."""

    @property
    def message(self) -> str:
        if self.run_id is None:
            return f"{self.archive} holds documents that no run in place has moved there"
        return f"{self.archive} holds none of the old bookings that run {self.run_id} moved there"

    @property
    def hint(self) -> str:
        if self.run_id is None:
            return "Use --archive with a name that no collection has."
        return (
            f"Another collection has taken its name: rename that one, and restore {self.archive} from where it "
            "was moved or from a backup. Bookings that are still in the old shape: migrate --in-place --archive OTHER."
        )


class CutoverRefused(Refused):
    """A precondition of a cut-over does not hold; nothing was changed."""

    target: str
    problem: str
    advice: str
    message = "no cut-over to {target}: {problem}"
    hint = "{advice}"


class WritesNotBlockable(Refused):
    """All users' writes are to be refused during a cut-over, and that cannot be done; nothing was changed."""

    problem: str
    advice: str
    message = "all writes cannot be blocked: {problem}"
    hint = "{advice}"


class CutoverFailed(Refused):
    """A cut-over that had begun was given up; the source is live as it was and takes writes again."""

    target: str
    problem: str
    advice: str
    refused_seconds: float
    """For how long writes to the source were refused."""

    examples: tuple[str, ...] = ()
    """The first mismatches, where mismatches are the problem."""

    message = (
        "the cut-over to {target} was given up: {problem}; the source is live as it was "
        "(it refused writes for {refused_seconds:.1f} s)"
    )

    @property
    def hint(self) -> str:
        return "\n".join([*(f"  {each}" for each in self.examples), self.advice])


class RestorationFailed(Refused):
    """A rollback after a cut-over was given up; the client documents are live as they were and take writes again."""

    run_id: str
    live: str
    problem: str
    refused_seconds: float
    """For how long writes were refused."""

    message = (
        "the rollback of run {run_id} was given up: {problem}; {live} is live as it was "
        "(it refused writes for {refused_seconds:.1f} s)"
    )
    hint = "Run rollback again; nothing of the old bookings is lost."


class NothingLater(Refused):
    """There is no work of the application to be dropped, because its result was never live."""

    run_id: str
    state: str
    message = "run {run_id} is {state}, not cut over: there is nothing that --discard-later could drop"
    hint = "Leave --discard-later out. What others have changed in the target is kept and listed."


class UnaccountedBookings(Unexpected):
    """Scanned is not migrated + already migrated + rejected."""

    scanned: int
    accounted: int
    message = "{scanned} bookings were scanned but {accounted} are accounted for"


class TargetChanged(Unexpected):
    """A client document of the target changed between reading and writing it."""

    place: str
    document_id: str
    message = "client document {document_id} in {place} was changed by somebody else just now"
    hint = "Run again: it is read anew."


class Contended(Unexpected):
    """Other processes wrote to the same documents at the same time; nothing was done, and it can be tried again."""

    place: str
    clients: Sequence[str] = ()
    """The clients, where one was tried again and again."""

    hint = "Run the same command again when fewer writes come: what was done is kept."

    @property
    def message(self) -> str:
        whose = f" of client {', '.join(self.clients)}" if self.clients else ""
        return f"other processes write to the same documents{whose} in {self.place} all the time"


class BookingsLeft(Unexpected):
    """A migration in place gave up on clients, so that their bookings are neither migrated nor rejected."""

    place: str
    bookings: int
    clients: int
    sample: Sequence[str]
    """The first of these clients, as text."""

    passes: int
    message = (
        "{bookings:booking|bookings} of {clients:client|clients} in {place} could not be moved in "
        "{passes:pass|passes}, because other processes write to these clients all the time: {listed}"
    )
    hint = "Run the same command again when fewer writes come, or with more --passes: what was moved is kept."

    @property
    def listed(self) -> str:
        """The first of these clients, and how many more there are."""
        return first_of(self.sample, self.clients)


class IllegalTransition(Unexpected):
    """A run was to go from a state to one that cannot follow it."""

    run_id: str
    before: str
    after: str
    message = "run {run_id} is {before} and cannot become {after}"


class NotRestored(Unexpected):
    """After a rollback the target is not as it was before the run."""

    place: str
    count: int
    sample: str
    unit: str = "client document"
    hint = "Run the rollback again: it goes on from what is already undone."

    @property
    def message(self) -> str:
        noun = f"{self.unit} is" if self.count == 1 else f"{self.unit}s are"
        return f"{self.count} {noun} not as before the run in {self.place}, such as {self.sample}"


class WorkerLost(Unexpected):
    """A process that worked for this one has ended, or could not be started: the system was short of memory or processes."""

    unsupported_reason: str | None = None
    """Why it could not be started; None: it was, and has ended."""

    hint = "Run again: what is already there is kept. If memory was short, fewer --workers take less of it."

    @property
    def message(self) -> str:
        if self.unsupported_reason is not None:
            return f"a process that is to read and convert could not be started: {self.unsupported_reason}"
        return "a process that read and converted has ended in the middle of it"
