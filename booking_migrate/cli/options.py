"""The options that commands share, in groups, and how their values are read.

Each option is also read from the environment (``BOOKING_MIGRATE_`` and its name) and from the config file. The order is:
option, environment, config file, default. A group's fields become parameters of a command (see `parameters`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from booking_migrate.cli.config_file import read_config_option
from booking_migrate.cli.option_values import parse_size, parse_waiver, waivable
from booking_migrate.cli.parameters import FromEnvironment, Option, option
from booking_migrate.cli.printed_commands import GivenOptions
from booking_migrate.cli.run import Invocation
from booking_migrate.domain.contract import Contract
from booking_migrate.domain.rejection import ConflictPolicy, Reason
from booking_migrate.domain.rules import DEFAULT_MAXIMUM_DOCUMENT_SIZE, PeopleFields, Rules
from booking_migrate.stores.open import JsonFormat

DEFAULT_TARGET = "bookings_consolidated"

PLACES = "Places"
CONNECTION = "Connection"
PEOPLE = "Users and experts, for bookings without user ids and emails"
RULES = "What may pass"
WRITING = "Writing"
IN_PLACE = "In place"
OUTPUT = "Output"


def accept_option(help: str) -> Option:  # noqa: A002 - typer's own name for it
    """Return the option ``--accept``, which names the rules that are waived."""
    return option(
        metavar="REASON", parser=parse_waiver, autocompletion=waivable, show_default=False, help=help
    )


def size_option(*, default: str, help: str) -> Option:  # noqa: A002 - as above
    """Return an option that takes a size with a unit."""
    return option(metavar="SIZE", parser=parse_size, show_default=default, help=help)


def workers_option(help: str) -> Option:  # noqa: A002 - as above
    """Return the option ``--workers``."""
    return option(min=1, max=64, help=help)


Source = Annotated[
    str, option(panel=PLACES, metavar="PLACE", help="Where the bookings are: a collection, a file, or -.")
]
JsonFormatOption = Annotated[
    JsonFormat | None,
    option(
        panel=PLACES,
        help="How JSON files are read: as Extended JSON, or as plain JSON.",
        show_default="by the first document",
    ),
]
Archive = Annotated[
    str | None,
    option(
        panel=IN_PLACE,
        metavar="NAME",
        show_default="SOURCE_legacy",
        help="The collection that old bookings are moved to, whole.",
    ),
]
RunTarget = Annotated[
    str | None,
    option(panel=PLACES, metavar="PLACE", help="The target of the runs that are meant.", show_default=False),
]
Yes = Annotated[bool, option(panel=WRITING, help="Do not ask for confirmation; required without a terminal.")]


@dataclass(frozen=True, slots=True)
class PlaceOptions:
    """Where bookings are read and client documents are."""

    panel: ClassVar[str] = PLACES

    source: Source = "bookings"
    target: Annotated[
        str, option(metavar="PLACE", help="Where client documents go: a collection, a file, or -.")
    ] = DEFAULT_TARGET
    rejects: Annotated[
        Path | None,
        option(
            metavar="FILE",
            help="Where rejected bookings go.",
            show_default="TARGET.rejected.jsonl, or collection booking_migrate_rejected",
        ),
    ] = None
    json_format: JsonFormatOption = None


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """The server and the database."""

    panel: ClassVar[str] = CONNECTION

    uri: Annotated[
        str | None,
        option(
            metavar="URI",
            also_from="MONGODB_URI",
            show_default=False,
            help="The MongoDB server, as mongodb://... Prefer MONGODB_URI: other users of a machine can see options.",
        ),
    ] = None
    db: Annotated[
        str | None,
        option(metavar="NAME", help="The database.", show_default="the one in the connection string"),
    ] = None
    is_uri_from_environment: Annotated[bool, FromEnvironment("uri")] = False


@dataclass(frozen=True, slots=True)
class PeopleOptions:
    """Where users and experts are, and their fields."""

    panel: ClassVar[str] = PEOPLE

    users: Annotated[
        str | None,
        option(metavar="PLACE", help="Where users are.", show_default="users, if there is a server"),
    ] = None
    experts: Annotated[
        str | None,
        option(metavar="PLACE", help="Where experts are.", show_default="experts, if there is a server"),
    ] = None
    user_id_field: Annotated[str, option(metavar="FIELD", help="A user's field with the four-digit id.")] = (
        "user_id"
    )
    user_email_field: Annotated[str, option(metavar="FIELD", help="A user's field with the email.")] = "email"
    expert_user_field: Annotated[
        str, option(metavar="FIELD", help="An expert's field with the _id of its user.")
    ] = "userId"

    @property
    def fields(self) -> PeopleFields:
        """Return the three field names."""
        return PeopleFields(self.user_id_field, self.user_email_field, self.expert_user_field)


@dataclass(frozen=True, slots=True)
class RuleOptions:
    """What decides the result."""

    panel: ClassVar[str] = RULES

    accept: Annotated[
        list[Reason] | None,
        accept_option("Migrate bookings that break this rule; REASON as listed above. May be repeated."),
    ] = None
    max_document_size: Annotated[
        int,
        size_option(default="8MiB", help="Reject the bookings of a client whose document would be larger."),
    ] = DEFAULT_MAXIMUM_DOCUMENT_SIZE
    merge_client_documents: Annotated[
        bool,
        option(
            negatable=True,
            show_default=False,
            help="Join two client documents of one client into the older one, instead of refusing.",
        ),
    ] = False
    on_conflict: Annotated[
        ConflictPolicy,
        option(
            metavar="reject|source|target",
            show_default=False,
            help="A booking differs from its session in a client document that another program wrote or changed: reject it "
            "(default), derive the session from the booking again, or keep the session and record that decision.",
        ),
    ] = ConflictPolicy.REJECT

    def under(self, contract: Contract) -> Rules:
        """Return the rules that these options make of a contract."""
        return Rules(contract, frozenset(self.accept or ()), self.max_document_size, self.on_conflict)


@dataclass(frozen=True, slots=True)
class WritingOptions:
    """How the result is written; without influence on what it is."""

    panel: ClassVar[str] = WRITING

    overwrite: Annotated[
        bool, option(negatable=True, show_default=False, help="Replace a target file that holds other data.")
    ] = False
    batch_size: Annotated[
        int,
        option(min=1, max=100_000, help="Bookings per batch. It changes speed and memory, never the result."),
    ] = 10_000
    engine: Annotated[str | None, option(help="Ignored.", hidden=True)] = None
    workers: Annotated[
        int,
        workers_option(
            "Number of processes that read and convert; more than there are cores makes it slower."
        ),
    ] = 2
    max_lag: Annotated[
        float | None,
        option(
            metavar="SECONDS",
            min=0,
            show_default="never pause",
            help="Pause while a secondary of the target's replica set is further behind, or its lag is unknown.",
        ),
    ] = None
    restart: Annotated[
        bool,
        option(
            negatable=True,
            show_default=False,
            help="Undo an interrupted run and start over, instead of resuming it.",
        ),
    ] = False


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What a command prints and writes about itself."""

    panel: ClassVar[str] = OUTPUT

    json: Annotated[bool, option(help="Print one JSON report on standard output, also on failure.")] = False
    report: Annotated[
        list[Path] | None,
        option(
            metavar="PATH",
            show_default=False,
            help="Write a report too; .json, .md, .html or .xml (JUnit) by suffix. May be repeated.",
        ),
    ] = None
    config: Annotated[
        Path | None,
        option(
            metavar="FILE",
            is_eager=True,
            callback=read_config_option,
            show_default=False,
            help="A TOML file: options with underscores, such as batch_size = 500, and the tables \\[contract] and \\[hooks].",
        ),
    ] = None
    quiet: Annotated[bool, option(help="No progress, no table; errors only.")] = False
    verbose: Annotated[bool, option(help="Show the traceback of an error.")] = False

    def invocation(
        self,
        ctx: typer.Context,
        *,
        uri: str | None,
        source: str = "",
        target: str = "",
        places: Iterable[str | Path | None] = (),
    ) -> Invocation:
        """Return what `run` needs to know about a command.

        Args:
            ctx: the command's context.
            uri: the connection string, whose secrets no output shows.
            source: the source as given.
            target: the target as given.
            places: what it reads or writes, as given; None is left out, and the config file is added.
        """
        return Invocation(
            command=ctx.command.name or "",
            source=source,
            target=target,
            places=[str(place) for place in (*places, self.config) if place is not None],
            uri=uri,
            json=self.json,
            reports=tuple(self.report or ()),
            quiet=self.quiet,
            verbose=self.verbose,
            given=GivenOptions.of(ctx),
        )
