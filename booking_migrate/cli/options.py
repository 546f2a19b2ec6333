"""The options that commands share, in groups, and how their values are read.

Each option is also read from the environment (``BOOKING_MIGRATE_`` and its name) and from the config file. The order is:
option, environment, config file, default. A group's fields become parameters of a command (see `parameters`).
"""

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from booking_migrate.bson.document import MAXIMUM_SIZE
from booking_migrate.cli.config_file import OwnTable, read_config_option
from booking_migrate.cli.parameters import Group, is_from, option
from booking_migrate.domain.contract import WAIVABLE, Contract
from booking_migrate.domain.rejection import ConflictPolicy, Reason
from booking_migrate.domain.rules import DEFAULT_PEOPLE_FIELDS, DEFAULT_RULES, PeopleFields, Rules
from booking_migrate.errors import BadConfiguration
from booking_migrate.quantities import grouped
from booking_migrate.runs.control import NUMBERS, Setting
from booking_migrate.runs.plan import DEFAULT_BATCH_BOOKINGS
from booking_migrate.stores.chunks import PIECE_DOCUMENTS
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.own_collections import REJECTS_COLLECTION, default_archive
from booking_migrate.stores.places import DEFAULT_SOURCE, DEFAULT_TARGET, JsonFormat

_NAMES = DEFAULT_PEOPLE_FIELDS

PLACES = "Places"
PEOPLE = "Users and experts, for bookings without user ids and emails"
RULES = "What may pass"
IN_PLACE = "In place"
OUTPUT = "Output"

MEBIBYTE = 1024 * 1024
_TABLES = ", ".join(each.heading.replace(f"[{each}", f"\\[{each}") for each in OwnTable)
"""As the help shows them: a bracket is markup there."""

_SIZE = re.compile(r"\s*(\d+)\s*(B|KB|KiB|MB|MiB)?\s*", re.IGNORECASE | re.ASCII)
_EXECUTOR = re.compile(r"dask://(\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}", re.ASCII)
_UNITS = {"b": 1, "kb": 1000, "kib": 1024, "mb": 1000_000, "mib": MEBIBYTE}


def parse_size(text: str | int) -> int:
    """Read a size such as ``8MiB``, ``500 KB`` or ``1000000``, in bytes.

    Raises:
        typer.BadParameter: it is not a size, is zero, or is larger than MongoDB takes.
    """
    match = _SIZE.fullmatch(str(text))
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size; write bytes, or a number with KB, KiB, MB or MiB.")
    size = int(match[1]) * _UNITS[(match[2] or "B").lower()]
    if not 0 < size <= MAXIMUM_SIZE:
        raise typer.BadParameter(
            f"{text!r} is not between 1 byte and {MAXIMUM_SIZE // MEBIBYTE}MiB, the most that MongoDB takes."
        )
    return size


def parse_waiver(text: str) -> Reason:
    """Read a reason that may be waived.

    Raises:
        typer.BadParameter: it is not one; the message lists those that are.
    """
    if text not in WAIVABLE:
        raise typer.BadParameter(
            f"{text!r} is not a reason that can be waived; those are: {', '.join(waivable())}."
        )
    return Reason(text)


def parse_executor(text: str) -> str:
    """Check the address of a scheduler.

    Raises:
        typer.BadParameter: it is not one.
    """
    if not _EXECUTOR.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is not an address such as dask://host:8786.")
    return text


def waivable() -> list[str]:
    """Return the reasons that may be waived, for messages and for the shell's completion."""
    return sorted(WAIVABLE)


def check_mode(ctx: typer.Context, unfit: Sequence[str], *, in_place: bool) -> None:
    """Refuse the options ``unfit``, which mean nothing with or without ``--in-place``, as it is given.

    Raises:
        BadConfiguration: one of them is given.
    """
    refuse_options(ctx, unfit, "it means nothing with --in-place" if in_place else "it needs --in-place")


def refuse_options(ctx: typer.Context, unfit: Sequence[str], reason: str) -> None:
    """Refuse options that mean nothing for what is asked for; the config file may have them for other commands.

    Raises:
        BadConfiguration: one of them is given.
    """
    for parameter in unfit:
        if is_from(ctx, parameter, "COMMANDLINE", "ENVIRONMENT"):
            raise BadConfiguration("--" + parameter.replace("_", "-"), reason)


def accept_option(text: str) -> Any:
    """Return the option ``--accept``, which names the rules that are waived."""
    return option(None, text, metavar="REASON", parser=parse_waiver, autocompletion=waivable)


def document_size_option(text: str) -> Any:
    """Return the option ``--max-document-size``."""
    default = DEFAULT_RULES.maximum_document_size
    return option(default, text, metavar="SIZE", parser=parse_size, show_default=f"{default // MEBIBYTE}MiB")


def _in_words(policy: ConflictPolicy) -> str:
    """Return what is done about a conflict, with the value that asks for it, for the help of ``--on-conflict``."""
    match policy:
        case ConflictPolicy.REJECT:
            what = "reject it"
        case ConflictPolicy.SOURCE:
            what = "derive the session from the booking again"
        case ConflictPolicy.TARGET:
            what = "keep the session and record that decision"
    named = [] if policy in what.split() else [policy.value]
    named += ["default"] if policy is DEFAULT_RULES.on_conflict else []
    return f"{what} ({', '.join(named)})" if named else what


_CONFLICTS = [_in_words(each) for each in ConflictPolicy]


def workers_option(text: str) -> Any:
    """Return the option ``--workers``."""
    number = NUMBERS[Setting.WORKERS]
    return option(2, text, min=number.least, max=number.most)


def max_lag_option(text: str) -> Any:
    """Return the option ``--max-lag``."""
    least = NUMBERS[Setting.MAX_LAG].least
    return option(None, text, metavar="SECONDS", min=least, show_default="never pause")


def max_rate_option(text: str) -> Any:
    """Return the option ``--max-rate``."""
    least = NUMBERS[Setting.MAX_RATE].least
    return option(None, text, metavar="N", min=least, show_default="no limit")


def source_option() -> Any:
    """Return the option ``--source``."""
    text = "Where the bookings are: a collection, a file, or -."
    return option(DEFAULT_SOURCE, text, metavar="PLACE", panel=PLACES)


def keep_index_option() -> Any:
    """Return the option ``--keep-index``."""
    text = "Keep the index on sessions.legacyBookingId, or make it: by it, references to old bookings find the session."
    return option(False, text, negatable=True)


def archive_option() -> Any:
    """Return the option ``--archive``."""
    text = "The collection that old bookings are moved to, whole."
    return option(None, text, metavar="NAME", panel=IN_PLACE, show_default=default_archive("SOURCE"))


def json_format_option() -> Any:
    """Return the option ``--json-format``."""
    text = "How JSON files are read: as Extended JSON, or as plain JSON."
    return option(None, text, show_default="by the first document")


@dataclass(frozen=True, slots=True)
class PlaceOptions(Group, panel=PLACES):
    """Where bookings are read and client documents are."""

    source: str = source_option()
    target: str = option(
        DEFAULT_TARGET, "Where client documents go: a collection, a file, or -.", metavar="PLACE"
    )
    rejects: Path | None = option(
        None,
        "Where rejected bookings go.",
        metavar="FILE",
        show_default=f"TARGET.rejected.jsonl, or collection {REJECTS_COLLECTION}",
    )
    json_format: JsonFormat | None = json_format_option()


@dataclass(frozen=True, slots=True)
class RunOptions(Group, panel=PLACES):
    """Which runs are meant."""

    target: str | None = option(None, "The target of the runs that are meant.", metavar="PLACE")
    run_id: str | None = option(
        None,
        "The run that is meant, as status and every report name it.",
        flag="--run",
        metavar="ID",
        show_default="the newest one that wrote something",
    )


@dataclass(frozen=True, slots=True)
class YesOption(Group, panel="Writing"):
    """Whether to ask."""

    yes: bool = option(False, "Do not ask for confirmation; required without a terminal.")


@dataclass(frozen=True, slots=True)
class ConnectionOptions(Group, panel="Connection"):
    """The server and the database."""

    uri: str | None = option(
        None,
        "The MongoDB server, as mongodb://... Prefer MONGODB_URI: other users of a machine can see options.",
        metavar="URI",
        also_from="MONGODB_URI",
    )
    db: str | None = option(
        None, "The database.", metavar="NAME", show_default="the one in the connection string"
    )

    def open(self) -> "closing[Connection]":
        """Return the connection, which is closed after a ``with`` block; nothing is contacted yet."""
        return closing(Connection(self.uri, self.db))


@dataclass(frozen=True, slots=True)
class PeopleOptions(Group, panel=PEOPLE):
    """Where users and experts are, and their fields."""

    users: str | None = option(
        None, "Where users are.", metavar="PLACE", show_default="users, if there is a server"
    )
    experts: str | None = option(
        None, "Where experts are.", metavar="PLACE", show_default="experts, if there is a server"
    )
    user_id_field: str = option(_NAMES.user_id, "A user's field with the four-digit id.", metavar="FIELD")
    user_email_field: str = option(_NAMES.email, "A user's field with the email.", metavar="FIELD")
    expert_user_field: str = option(
        _NAMES.expert_user, "An expert's field with the _id of its user.", metavar="FIELD"
    )

    @property
    def fields(self) -> PeopleFields:
        """Return the three field names."""
        return PeopleFields(self.user_id_field, self.user_email_field, self.expert_user_field)


@dataclass(frozen=True, slots=True)
class RuleOptions(Group, panel=RULES):
    """What decides the result."""

    accept: list[Reason] | None = accept_option(
        "Migrate bookings that break this rule; migrate --help lists each REASON. May be repeated."
    )
    max_document_size: int = document_size_option(
        "Reject the bookings of a client whose document would be larger."
    )
    merge_client_documents: bool = option(
        False,
        "Join two client documents of one client into the older one, instead of refusing.",
        negatable=True,
    )
    on_conflict: ConflictPolicy = option(
        DEFAULT_RULES.on_conflict,
        "A booking differs from its session in a client document that another program wrote or changed: "
        f"{', '.join(_CONFLICTS[:-1])}, or {_CONFLICTS[-1]}.",
        metavar="POLICY",
        show_default=False,
    )

    def under(self, contract: Contract) -> Rules:
        """Return the rules that these options make of a contract."""
        return Rules(contract, frozenset(self.accept or ()), self.max_document_size, self.on_conflict)


@dataclass(frozen=True, slots=True)
class WritingOptions(Group, panel="Writing"):
    """How the result is written; without influence on what it is."""

    overwrite: bool = option(False, "Replace a target file that holds other data.", negatable=True)
    batch_size: int = option(
        DEFAULT_BATCH_BOOKINGS,
        f"Bookings per batch, at most; side by side, more than {grouped(PIECE_DOCUMENTS)} make no difference. "
        "It changes speed and memory, never the result.",
        min=1,
        max=100_000,
    )
    engine: str | None = option(None, "Ignored.", hidden=True)
    workers: int = workers_option(
        "Number of processes that do the work; more than there are cores makes it slower."
    )
    executor: str | None = option(
        None,
        "Let the workers of a Dask cluster do the work, within a database; needs the extra distributed.",
        metavar="dask://HOST:PORT",
        parser=parse_executor,
        show_default="local processes",
    )
    max_lag: float | None = max_lag_option(
        "Pause while a secondary of the target's replica set is further behind, or its lag is unknown."
    )
    max_rate: float | None = max_rate_option("Move at most this many bookings per second, on average.")
    follow: bool = option(
        False,
        "Continue after the last booking: bring in what the application writes, and verify it, until Ctrl-C or a cutover.",
        negatable=True,
    )
    restart: bool = option(
        False, "Undo an interrupted run and start over, instead of resuming it.", negatable=True
    )
    resume: str | None = option(
        None,
        "Continue this unfinished run with the places and options that it was started with.",
        metavar="RUN",
        show_default="one with the same places and options",
    )


class LogFormat(StrEnum):
    """What a line of the log is."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """How much is logged; each includes those that follow it."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Format(StrEnum):
    """How a result is printed beside its reports."""

    TEXT = "text"
    GITHUB = "github"


@dataclass(frozen=True, slots=True)
class FormatOptions(Group, panel=OUTPUT):
    """How the result of a command is printed that offers more than the text for people and ``--json``."""

    format: Format = option(Format.TEXT, "github: also print annotations for GitHub Actions.")


@dataclass(frozen=True, slots=True)
class OutputOptions(Group, panel=OUTPUT):
    """What a command prints and writes about itself."""

    json: bool = option(False, "Print one JSON report on standard output, also on failure.")
    report: list[Path] | None = option(
        None,
        "Write a report too; .json, .md, .html or .xml (JUnit) by suffix. May be repeated.",
        metavar="PATH",
    )
    config: Path | None = option(
        None,
        f"A TOML file: options with underscores, such as batch_size = 500, and the tables {_TABLES}.",
        metavar="FILE",
        is_eager=True,
        callback=read_config_option,
    )
    quiet: bool = option(False, "No progress, no table; errors only.")
    verbose: bool = option(False, "Show the traceback of an error.")
    log_file: Path | None = option(
        None,
        "Add what happens to this file: phases, retries, waits, checkpoints, takeovers; - is standard error.",
        metavar="FILE",
    )
    log_format: LogFormat = option(LogFormat.TEXT, "What a line of the log is.")
    log_level: LogLevel = option(LogLevel.INFO, "How much is logged; debug has every chunk and checkpoint.")
    metrics: Path | None = option(
        None,
        "Write a Prometheus textfile every ten seconds and at the end; needs the extra metrics.",
        metavar="FILE",
    )
