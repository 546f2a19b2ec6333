"""How errors are declared, the categories of errors, and the one table that maps them to exit codes."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from inspect import get_annotations
from shlex import quote
from string import Formatter
from typing import Any, Self, dataclass_transform

from booking_migrate.quantities import grouped, plural

SAME_COMMAND = "booking-migrate ..."
"""Stands for the command that runs, at the end of a line of a hint: where it is known, it is printed whole.

Behind it may be options to add, and those to leave out: ``booking-migrate ... --overwrite``, ``booking-migrate ... without --max-lag``.
"""


GOES_ON = "what was written is kept, and it continues from there"
"""What the same command does when it is run again; where that is not so, `STARTS_OVER` is printed instead."""

GO_ON = f"Run the same command again: {GOES_ON}."
"""The hint of what was stopped; a cut-over that was undone has another one."""

STARTS_OVER = "it starts over"
"""What a command does that only reads, or that has undone what it did."""

UNANSWERED = "Nothing was changed: the question was not answered."
"""The note of what has ended a command while it asked."""

LIVE_AS_BEFORE = "is live as before and accepts writes again."
"""The end of a note that what the command did is undone."""


class ExitCode(IntEnum):
    """How a command ended. An API: codes are only ever added."""

    meaning: str

    DONE = 0, "done, nothing wrong"
    UNEXPECTED = 1, "unexpected error"
    USAGE = 2, "usage or configuration"
    REJECTED = (
        3,
        "done, but some bookings were rejected, or left (dry-run: would be; audit-code: places to change)",
    )
    MISMATCHES = 4, "verify, references verify or finalize found mismatches"
    REFUSED = 5, "refused, a precondition does not hold"
    NOT_WRITTEN = 6, "the step itself is done, but a report or output could not be written"
    CANNOT_CONNECT = 10, "cannot connect or authenticate"
    LOCKED = 11, "another run holds the lock"
    NOTHING_TO_DO = 12, "nothing to resume or roll back"
    HUNG_UP = 129, "hung up (SIGHUP: the terminal is gone); can be run again"
    INTERRUPTED = 130, "interrupted (Ctrl-C); can be run again"
    TERMINATED = 143, "terminated (SIGTERM); can be run again"

    def __new__(cls, code: int, meaning: str) -> Self:
        """Make a number that knows its meaning."""
        member = int.__new__(cls, code)
        member._value_, member.meaning = code, meaning
        return member

    @property
    def is_good(self) -> bool:
        """Return whether the command did what it was asked for, and nothing has to be looked at before the next one."""
        return self in (ExitCode.DONE, ExitCode.REJECTED)


class _TextFormatter(Formatter):
    """Formats templates with attributes of an error.

    A number has its digits in groups of three, ``{count:client has|clients have}`` is one with the noun that fits it,
    ``{problems:; }`` a sequence with its separator (a comma if none is named), ``{ids:, |{count}}`` the first few of a number,
    ``{source!q}`` a text quoted for the shell; all else is as in `str.format`.
    """

    def get_value(self, key: int | str, args: Sequence[Any], _kwargs: Any) -> Any:
        """Return an attribute of the error, the only argument."""
        return getattr(args[0], str(key))

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return quote(value) if conversion == "q" else super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, int) and "|" in format_spec:
            return plural(value, *format_spec.split("|"))
        if isinstance(value, int) and not format_spec:
            return grouped(value)
        if isinstance(value, list | tuple):
            separator, _, count = format_spec.partition("|")
            return _first_of(value, int(count or len(value)), separator or ", ")
        return str(super().format_field(value, format_spec))


def _first_of(shown: Sequence[str], count: int, separator: str) -> str:
    more = f"{separator.rstrip(', ')} and {grouped(count - len(shown))} more" if count > len(shown) else ""
    return separator.join(shown) + more


class either(str):  # noqa: N801 - it is used like a template
    """A template that counts if a field is neither empty nor false, and another one that counts otherwise."""

    __slots__ = ("field", "otherwise")
    field: str
    otherwise: str

    def __new__(cls, field: str, then: str, otherwise: str = "") -> Self:
        """Choose between two templates by a field."""
        choice = super().__new__(cls, then)
        choice.field, choice.otherwise = field, otherwise
        return choice


class Template:
    """A text of an error class: the template on the class, the formatted text on an error."""

    _formatter = _TextFormatter()

    def __init__(self, template: str) -> None:
        self._template = template

    def __get__(self, error: object | None, _kind: type | None = None) -> str:
        """Return the text with the error's fields filled in."""
        template = self._template
        if error is None:
            return template
        if isinstance(template, either) and not getattr(error, template.field):
            template = template.otherwise
        return self._formatter.format(template, error)


@dataclass_transform(eq_default=False)
class BookingMigrateError(Exception):
    """Root of all errors.

    A subclass declares what happened as annotated fields and becomes a dataclass. Every string that it assigns without
    an annotation is a template over these fields and its properties.
    """

    @property
    def message(self) -> str:
        """Return what happened, in one sentence without a full stop."""
        return "something went wrong"

    @property
    def hint(self) -> str:
        """Return the command or change that helps, or an empty string; by default what a field `advice` says."""
        return str(getattr(self, "advice", ""))

    is_before_start = False
    """Whether the command has only looked at its places so far."""

    @property
    def effect(self) -> str:
        """Return what the command has done to the data before it failed, in one sentence; empty if that depends."""
        return "Nothing was changed." if self.is_before_start else ""

    @property
    def again(self) -> str | None:
        """Return with which options the same command can be run again, one line for each way; None if that does not help.

        By default the same command is to be run as it is if the hint says so and does not have it already.
        """
        says_so = "same command" in self.hint and SAME_COMMAND not in self.hint
        return "" if says_so else None

    @property
    def again_without(self) -> str:
        """Return the options to leave out of the same command."""
        return ""

    def __init_subclass__(cls) -> None:
        """Make the subclass a dataclass, and its texts templates."""
        super().__init_subclass__()
        dataclass(eq=False)(cls)
        declared = get_annotations(cls)
        for name, value in list(vars(cls).items()):
            if isinstance(value, str) and not name.startswith("_") and name not in declared:
                setattr(cls, name, Template(value))

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Restore an error with its fields when it comes from another process, whatever its constructor takes."""
        return _restored, (type(self), vars(self))


def _restored(kind: type[BookingMigrateError], fields: dict[str, Any]) -> BookingMigrateError:
    error = kind.__new__(kind)
    vars(error).update(fields)
    return error


class UsageProblem(BookingMigrateError):
    """The command line, the environment or the config file asks for something that cannot be done."""

    effect = "Nothing was changed."


class Refused(BookingMigrateError):
    """A precondition does not hold; nothing was written."""


class RefusedUnchanged(Refused):
    """A precondition does not hold, which was found before the command changed anything."""

    effect = "Nothing was changed."


class OutputProblem(BookingMigrateError):
    """The step itself is done, but a report or another output of it could not be written."""


class ConnectionProblem(BookingMigrateError):
    """The server cannot be reached or rejects the credentials."""

    @property
    def effect(self) -> str:
        return "No run was started, and nothing was changed." if self.is_before_start else ""


@contextmanager
def before_start() -> Iterator[None]:
    """Mark a problem as one before the command has changed anything.

    Raises:
        BookingMigrateError: the same, marked.
    """
    try:
        yield
    except BookingMigrateError as problem:
        problem.is_before_start = True
        raise


class Locked(BookingMigrateError):
    """Another run is using the same target."""


class NothingToDo(BookingMigrateError):
    """No run can be resumed or rolled back."""


class Interrupted(BookingMigrateError):
    """The user pressed Ctrl-C."""

    message = "interrupted"
    hint = GO_ON


class Terminated(BookingMigrateError):
    """The process was asked to end (SIGTERM)."""

    message = "terminated (SIGTERM)"
    hint = GO_ON


class HungUp(BookingMigrateError):
    """The terminal of the process was closed (SIGHUP)."""

    message = "the terminal was closed (SIGHUP)"
    hint = GO_ON


class Unexpected(BookingMigrateError):
    """An invariant does not hold: a fault of the program, or another process changed the data."""


def beside(place: str) -> str:
    """Return the name of another file in the same folder and of the same kind."""
    return re.sub(r"((?:\.[A-Za-z]+){0,2})$", r"_2\1", place, count=1)


def another_or_overwrite(option: str, place: str, first: str = "Use another place, the usual choice") -> str:
    """Return the hint for an output that exists: another place is the usual choice, and replacing it loses what it holds."""
    return (
        f"{first}: {SAME_COMMAND} {option} {quote(beside(place))}\n"
        f"Only if nothing in {place} is needed any more, replace it, and what it holds is lost: {SAME_COMMAND} --overwrite"
    )


def effect_of(error: BaseException) -> str:
    """Return what a failed command has done to the data, as far as its error says so."""
    return error.effect if isinstance(error, BookingMigrateError) else ""


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
    """Return the exit code of an error: that of its nearest base in `EXIT_CODES`, or 1."""
    for kind in type(error).__mro__:
        if kind in EXIT_CODES:
            return EXIT_CODES[kind]
    return ExitCode.UNEXPECTED
