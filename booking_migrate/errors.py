"""Every error that a user may meet: one tree, fields on the leaves, text built once, one table of exit codes.

A leaf is a dataclass: its fields say what happened and ``message`` says it in words. ``hint`` is what to do
next, in one sentence, or empty. Nothing here ever holds a connection string.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended (DESIGN.md, section 4). An API: codes are only ever added."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    REJECTED = 3
    MISMATCHES = 4
    REFUSED = 5
    CANNOT_CONNECT = 10
    LOCKED = 11
    NOTHING_TO_DO = 12
    INTERRUPTED = 130
    TERMINATED = 143


EXIT_CODE_MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "done, nothing wrong",
    ExitCode.UNEXPECTED: "unexpected error",
    ExitCode.USAGE: "usage or configuration",
    ExitCode.REJECTED: "done, but some bookings were rejected (dry-run: would be)",
    ExitCode.MISMATCHES: "verify found mismatches",
    ExitCode.REFUSED: "refused, a precondition does not hold",
    ExitCode.CANNOT_CONNECT: "cannot connect or authenticate",
    ExitCode.LOCKED: "another run holds the lock",
    ExitCode.NOTHING_TO_DO: "nothing to resume or roll back",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C); can be run again",
    ExitCode.TERMINATED: "terminated (SIGTERM); can be run again",
}


class BookingMigrateError(Exception):
    """Root of the tree."""

    @property
    def message(self) -> str:
        """What happened, in one sentence without a full stop."""
        return "something went wrong"

    @property
    def hint(self) -> str:
        """What to do next, in one sentence, or an empty string."""
        return ""

    def __str__(self) -> str:
        return self.message


class UsageProblem(BookingMigrateError):
    """The command line, the environment or the config file asks for something that makes no sense."""


class Refused(BookingMigrateError):
    """A precondition does not hold; nothing was written."""


class ConnectionProblem(BookingMigrateError):
    """The server cannot be reached or does not let us in."""


class Locked(BookingMigrateError):
    """Another run is at work on the same target."""


class NothingToDo(BookingMigrateError):
    """There is nothing to resume or to roll back."""


class Interrupted(BookingMigrateError):
    """The user pressed Ctrl-C."""

    @property
    def message(self) -> str:
        return "interrupted"

    @property
    def hint(self) -> str:
        return "Run the same command again: it goes on from what is already there."


class Terminated(BookingMigrateError):
    """The process was asked to end (SIGTERM)."""

    @property
    def message(self) -> str:
        return "terminated"

    @property
    def hint(self) -> str:
        return "Run the same command again: it goes on from what is already there."


class Unexpected(BookingMigrateError):
    """An invariant of the tool does not hold: a fault of the tool, or data changed under it."""


EXIT_CODES: dict[type[BookingMigrateError], ExitCode] = {
    UsageProblem: ExitCode.USAGE,
    Refused: ExitCode.REFUSED,
    ConnectionProblem: ExitCode.CANNOT_CONNECT,
    Locked: ExitCode.LOCKED,
    NothingToDo: ExitCode.NOTHING_TO_DO,
    Interrupted: ExitCode.INTERRUPTED,
    Terminated: ExitCode.TERMINATED,
    Unexpected: ExitCode.UNEXPECTED,
}


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code for an error: that of its nearest base in `EXIT_CODES`, or 1."""
    for kind in type(error).__mro__:
        if kind in EXIT_CODES:
            return EXIT_CODES[kind]
    return ExitCode.UNEXPECTED


# --- usage and configuration (2) ---------------------------------------------------------------------------


@dataclass(eq=False)
class BadPlace(UsageProblem):
    """A place that is neither a file of a known kind nor a collection name."""

    text: str
    problem: str

    @property
    def message(self) -> str:
        return f"{self.text!r} is no place: {self.problem}"

    @property
    def hint(self) -> str:
        return "A place is a collection name, a .jsonl, .ndjson, .json or .bson file (each also .gz), or -."


@dataclass(eq=False)
class SamePlace(UsageProblem):
    """Source and target are one and the same."""

    place: str

    @property
    def message(self) -> str:
        return f"source and target are both {self.place}"

    @property
    def hint(self) -> str:
        return "Give --target another name: a side-by-side migration never touches its source."


@dataclass(eq=False)
class MissingUri(UsageProblem):
    """A place is a collection, but nothing says on which server or in which database."""

    place: str
    lacking: str
    """``uri`` or ``db``."""

    @property
    def message(self) -> str:
        what = "server" if self.lacking == "uri" else "database"
        return f"{self.place!r} is a collection, but no {what} is given"

    @property
    def hint(self) -> str:
        if self.lacking == "uri":
            return "Give --uri or set MONGODB_URI; for a file, write a path such as ./bookings.jsonl."
        return "Give --db, or put the database's name into the connection string."


@dataclass(eq=False)
class BadConfiguration(UsageProblem):
    """An option, an environment variable or the config file has a value that cannot be used."""

    where: str
    """The config file, the variable or the option."""

    problem: str

    @property
    def message(self) -> str:
        return f"{self.where}: {self.problem}"


# --- refusals (5) ------------------------------------------------------------------------------------------


@dataclass(eq=False)
class PlaceNotFound(Refused):
    """A source file or collection does not exist."""

    place: str

    @property
    def message(self) -> str:
        return f"{self.place} does not exist"


@dataclass(eq=False)
class UnusablePlace(Refused):
    """A place exists but cannot be used: a directory, no permission, a view, a capped collection."""

    place: str
    problem: str

    @property
    def message(self) -> str:
        return f"{self.place} cannot be used: {self.problem}"


@dataclass(eq=False)
class BrokenDocument(Refused):
    """A file holds something that is no document."""

    place: str
    position: str
    """``line 12`` or ``byte 4711``."""

    problem: str

    @property
    def message(self) -> str:
        return f"{self.place}, {self.position}: {self.problem}"

    @property
    def hint(self) -> str:
        return "Nothing was written. Mend the file, or export it again."


@dataclass(eq=False)
class TargetHoldsOther(Refused):
    """A target file exists and is not what this run would write."""

    place: str

    @property
    def message(self) -> str:
        return f"{self.place} exists and holds something else than this run's result"

    @property
    def hint(self) -> str:
        return "Give another --target, or --overwrite to replace it."


@dataclass(eq=False)
class TargetInOldShape(Refused):
    """A target collection holds documents that are no client documents."""

    place: str
    sample_id: str

    @property
    def message(self) -> str:
        return f"{self.place} holds a document that is no client document: {self.sample_id}"

    @property
    def hint(self) -> str:
        return "Are --source and --target swapped?"


@dataclass(eq=False)
class DuplicateClientDocuments(Refused):
    """Clients that have more than one client document."""

    clients: Sequence[str]
    """One line a client: its id and the ids of its documents. Only the first few."""

    count: int

    @property
    def message(self) -> str:
        listed = "; ".join(self.clients)
        more = f"; and {self.count - len(self.clients)} more" if self.count > len(self.clients) else ""
        noun = "client has" if self.count == 1 else "clients have"
        return f"{self.count} {noun} more than one client document: {listed}{more}"

    @property
    def hint(self) -> str:
        return "Give --merge-client-documents to join them into the older one."


@dataclass(eq=False)
class NotPermitted(Refused):
    """The server's user lacks a privilege."""

    place: str
    problem: str

    @property
    def message(self) -> str:
        return f"the server does not permit this on {self.place}: {self.problem}"


@dataclass(eq=False)
class RecordTooLarge(Refused):
    """A rejected booking together with its reason is larger than any document may be."""

    place: str
    booking_id: str

    @property
    def message(self) -> str:
        return (
            f"the rejected booking {self.booking_id} with its reason is too large a document for {self.place}"
        )

    @property
    def hint(self) -> str:
        return "Give --rejects FILE: a file has no such limit."


@dataclass(eq=False)
class BookingNotFound(Refused):
    """A booking that is asked for is not in the source."""

    booking_id: str
    place: str

    @property
    def message(self) -> str:
        return f"{self.place} holds no booking {self.booking_id!r}"

    @property
    def hint(self) -> str:
        return "An id is 24 hex digits, a whole number or a text, as it stands in the booking's _id."


@dataclass(eq=False)
class PlanDiffers(Refused):
    """What would be migrated is no longer what a saved plan says."""

    plan: str
    differences: Sequence[str]

    @property
    def message(self) -> str:
        return f"this is not what {self.plan} planned: {'; '.join(self.differences)}"

    @property
    def hint(self) -> str:
        return "Run dry-run again with --plan, read its report, then migrate with the new plan."


@dataclass(eq=False)
class WriteFailed(Refused):
    """The target cannot take the result: a full disk, a validator."""

    place: str
    problem: str

    @property
    def message(self) -> str:
        return f"cannot write to {self.place}: {self.problem}"


@dataclass(eq=False)
class JournalTooNew(Refused):
    """A newer version of the program wrote the journal."""

    place: str
    version: int
    known: int

    @property
    def message(self) -> str:
        return f"the journal {self.place} has format {self.version}; this program knows {self.known} at most"

    @property
    def hint(self) -> str:
        return "Use the version of the program that began the run, or a newer one."


@dataclass(eq=False)
class OtherOptions(Refused):
    """An interrupted run cannot be continued, because something that decides the result is different now."""

    run_id: str
    differences: Sequence[str]
    """One line each: the option, what it was, what it is."""

    @property
    def message(self) -> str:
        return f"run {self.run_id} was interrupted under other options: {'; '.join(self.differences)}"

    @property
    def hint(self) -> str:
        return "Continue it with the options it had, or give --restart to undo it and start over."


@dataclass(eq=False)
class UnfinishedRun(Refused):
    """A run has to be brought to its end before another one can begin."""

    run_id: str
    state: str

    @property
    def message(self) -> str:
        return f"run {self.run_id} into the same target is {self.state}"

    @property
    def hint(self) -> str:
        return f"Bring it to its end first: booking-migrate rollback --run {self.run_id}"


@dataclass(eq=False)
class LaterRun(Refused):
    """A run cannot be rolled back, because a later one wrote on top of it."""

    run_id: str
    later: str

    @property
    def message(self) -> str:
        return f"run {self.later} wrote into the same target after run {self.run_id}"

    @property
    def hint(self) -> str:
        return f"Roll back the later one first: booking-migrate rollback --run {self.later}"


@dataclass(eq=False)
class NotConfirmed(Refused):
    """Nobody is at the terminal, and ``--yes`` is not given."""

    what: str

    @property
    def message(self) -> str:
        return f"{self.what} was not confirmed"

    @property
    def hint(self) -> str:
        return "Give --yes where nobody is at the terminal."


# --- connection (10), lock (11) ----------------------------------------------------------------------------


@dataclass(eq=False)
class ServerUnreachable(ConnectionProblem):
    """No server answers."""

    hosts: str
    problem: str

    @property
    def message(self) -> str:
        return f"no MongoDB server answers at {self.hosts}: {self.problem}"


@dataclass(eq=False)
class AuthenticationFailed(ConnectionProblem):
    """The server does not accept the user or the password."""

    hosts: str

    @property
    def message(self) -> str:
        return f"the MongoDB server at {self.hosts} does not accept this user and password"


@dataclass(eq=False)
class TargetBusy(Locked):
    """Another process is writing the same target."""

    place: str
    holder: str

    @property
    def message(self) -> str:
        return f"another run is writing {self.place}: {self.holder}"


@dataclass(eq=False)
class LeaseLost(Locked):
    """This process was taken for dead, and its lock was taken over; it has stopped writing."""

    place: str

    @property
    def message(self) -> str:
        return f"the lock on {self.place} was taken over by another run while this one was not heard of"

    @property
    def hint(self) -> str:
        return "Nothing more was written. booking-migrate status shows who is at work now."


# --- nothing to do (12) ------------------------------------------------------------------------------------


@dataclass(eq=False)
class NoRun(NothingToDo):
    """No run is there that could be rolled back."""

    what: str
    """Which run was looked for, and where."""

    @property
    def message(self) -> str:
        return f"there is no {self.what}"

    @property
    def hint(self) -> str:
        return "booking-migrate status shows every run."


# --- invariants (1) ----------------------------------------------------------------------------------------


@dataclass(eq=False)
class UnaccountedBookings(Unexpected):
    """scanned = migrated + already migrated + rejected does not hold (DESIGN.md, invariant 1)."""

    scanned: int
    accounted: int

    @property
    def message(self) -> str:
        return f"{self.scanned} bookings were scanned but {self.accounted} are accounted for"


@dataclass(eq=False)
class DuplicateKeys(Unexpected):
    """The server refused client documents as duplicates: somebody else writes to the target."""

    place: str
    count: int
    sample: str

    @property
    def message(self) -> str:
        noun = "client document" if self.count == 1 else "client documents"
        return f"{self.place} refused {self.count} {noun} as duplicates, such as {self.sample}"

    @property
    def hint(self) -> str:
        return "Somebody else writes to the target. Stop them, then run again: what is already there is kept."


@dataclass(eq=False)
class TargetChanged(Unexpected):
    """A client document of the target changed between reading and writing it."""

    place: str
    document_id: str

    @property
    def message(self) -> str:
        return f"client document {self.document_id} in {self.place} was changed by somebody else just now"

    @property
    def hint(self) -> str:
        return "Run again: it is read anew."


@dataclass(eq=False)
class IllegalTransition(Unexpected):
    """A run was to go from a state to one that cannot follow it."""

    run_id: str
    before: str
    after: str

    @property
    def message(self) -> str:
        return f"run {self.run_id} is {self.before} and cannot become {self.after}"


@dataclass(eq=False)
class NotRestored(Unexpected):
    """After a rollback the target is not as it was before the run."""

    place: str
    count: int
    sample: str

    @property
    def message(self) -> str:
        noun = "client document is" if self.count == 1 else "client documents are"
        return f"{self.count} {noun} not as before the run in {self.place}, such as {self.sample}"

    @property
    def hint(self) -> str:
        return "Run the rollback again: it goes on from what is already undone."
