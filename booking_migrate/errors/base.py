"""The bases of all errors, and the one table that maps them to exit codes (DESIGN.md, section 4)."""

from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """How a command ended (DESIGN.md, section 4). An API: codes are only ever added."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    REJECTED = 3
    MISMATCHES = 4
    REFUSED = 5
    NOT_WRITTEN = 6
    CANNOT_CONNECT = 10
    LOCKED = 11
    NOTHING_TO_DO = 12
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


EXIT_CODE_MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "done, nothing wrong",
    ExitCode.UNEXPECTED: "unexpected error",
    ExitCode.USAGE: "usage or configuration",
    ExitCode.REJECTED: "done, but some bookings were rejected (dry-run: would be)",
    ExitCode.MISMATCHES: "verify found mismatches",
    ExitCode.REFUSED: "refused, a precondition does not hold",
    ExitCode.NOT_WRITTEN: "the step itself is done, but a report or output could not be written",
    ExitCode.CANNOT_CONNECT: "cannot connect or authenticate",
    ExitCode.LOCKED: "another run holds the lock",
    ExitCode.NOTHING_TO_DO: "nothing to resume or roll back",
    ExitCode.HUNG_UP: "hung up (SIGHUP: the terminal is gone); can be run again",
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

    def __reduce__(self) -> tuple[Any, ...]:
        """An error of another process comes here with its fields, however it was made."""
        return _restored, (type(self), vars(self))


def _restored(kind: type[BookingMigrateError], fields: dict[str, Any]) -> BookingMigrateError:
    error = kind.__new__(kind)
    vars(error).update(fields)
    return error


class UsageProblem(BookingMigrateError):
    """The command line, the environment or the config file asks for something that makes no sense."""


class Refused(BookingMigrateError):
    """A precondition does not hold; nothing was written."""


class OutputProblem(BookingMigrateError):
    """The step itself is done, but a report or another output of it could not be written."""


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


class HungUp(BookingMigrateError):
    """The terminal of the process is gone (SIGHUP)."""

    @property
    def message(self) -> str:
        return "hung up"

    @property
    def hint(self) -> str:
        return "Run the same command again: it goes on from what is already there."


class Unexpected(BookingMigrateError):
    """An invariant of the tool does not hold: a fault of the tool, or data changed under it."""


EXIT_CODES: dict[type[BookingMigrateError], ExitCode] = {
    UsageProblem: ExitCode.USAGE,
    Refused: ExitCode.REFUSED,
    OutputProblem: ExitCode.NOT_WRITTEN,
    ConnectionProblem: ExitCode.CANNOT_CONNECT,
    Locked: ExitCode.LOCKED,
    NothingToDo: ExitCode.NOTHING_TO_DO,
    HungUp: ExitCode.HUNG_UP,
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
