"""The options that commands share, and how their values are read.

Each option is also read from the environment (``BOOKING_MIGRATE_`` and its name) and from the config file. The order is:
option, environment, config file, default.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from booking_migrate.cli.config_file import read_config_option
from booking_migrate.cli.option_values import MEBIBYTE, parse_size, parse_waiver, waivable
from booking_migrate.domain.rejection import ConflictPolicy, Reason
from booking_migrate.stores.open import JsonFormat

DEFAULT_DOCUMENT_SIZE = 8 * MEBIBYTE
"""The default of ``--max-document-size``, in bytes."""


ENGINE_IGNORED = "--engine is ignored: the program converts all bookings itself. The option will be removed."

_PLACES = "Places"
_CONNECTION = "Connection"
_PEOPLE = "Users and experts, for bookings without user ids and emails"
_RULES = "What may pass"
_WRITING = "Writing"
_IN_PLACE = "In place"
_OUTPUT = "Output"


def option(flag: str, *, panel: str, help: str, also_from: str | None = None, **settings: Any) -> Any:  # noqa: A002 - typer's own name for it
    """A typer option that is also read from the environment.

    Args:
        flag: the option as typed, such as ``--batch-size``, or with its negation, ``--overwrite/--no-overwrite``.
        panel: the heading under which ``--help`` shows it.
        help: what it means.
        also_from: a second environment variable, asked after the option's own.
        **settings: anything else for `typer.Option`.
    """
    name = "BOOKING_MIGRATE_" + flag.partition("/")[0].removeprefix("--").replace("-", "_").upper()
    variables = [name] if also_from is None else [name, also_from]
    return typer.Option(
        flag, help=help, rich_help_panel=panel, envvar=variables, show_envvar=False, **settings
    )


Source = Annotated[
    str,
    option(
        "--source", panel=_PLACES, metavar="PLACE", help="Where the bookings are: a collection, a file, or -."
    ),
]
Target = Annotated[
    str,
    option(
        "--target",
        panel=_PLACES,
        metavar="PLACE",
        help="Where client documents go: a collection, a file, or -.",
    ),
]
Rejects = Annotated[
    Path | None,
    option(
        "--rejects",
        panel=_PLACES,
        metavar="FILE",
        help="Where rejected bookings go.",
        show_default="TARGET.rejected.jsonl, or collection booking_migrate_rejected",
    ),
]
JsonFormatOption = Annotated[
    JsonFormat | None,
    option(
        "--json-format",
        panel=_PLACES,
        help="How JSON files are read: as Extended JSON, or as plain JSON.",
        show_default="by the first document",
    ),
]
Uri = Annotated[
    str | None,
    option(
        "--uri",
        panel=_CONNECTION,
        metavar="URI",
        also_from="MONGODB_URI",
        show_default=False,
        help="The MongoDB server, as mongodb://... Better given as MONGODB_URI: other users of a machine see options.",
    ),
]
Db = Annotated[
    str | None,
    option(
        "--db",
        panel=_CONNECTION,
        metavar="NAME",
        help="The database.",
        show_default="the one in the connection string",
    ),
]
Users = Annotated[
    str | None,
    option(
        "--users",
        panel=_PEOPLE,
        metavar="PLACE",
        help="Where users are.",
        show_default="users, if there is a server",
    ),
]
Experts = Annotated[
    str | None,
    option(
        "--experts",
        panel=_PEOPLE,
        metavar="PLACE",
        help="Where experts are.",
        show_default="experts, if there is a server",
    ),
]
UserIdField = Annotated[
    str,
    option("--user-id-field", panel=_PEOPLE, metavar="FIELD", help="A user's field with the four-digit id."),
]
UserEmailField = Annotated[
    str, option("--user-email-field", panel=_PEOPLE, metavar="FIELD", help="A user's field with the email.")
]
ExpertUserField = Annotated[
    str,
    option(
        "--expert-user-field",
        panel=_PEOPLE,
        metavar="FIELD",
        help="An expert's field with the _id of its user.",
    ),
]
Accept = Annotated[
    list[Reason] | None,
    option(
        "--accept",
        panel=_RULES,
        metavar="REASON",
        parser=parse_waiver,
        autocompletion=waivable,
        show_default=False,
        help="Migrate bookings that break this rule; REASON as listed above. May be repeated.",
    ),
]
MaxDocumentSize = Annotated[
    int,
    option(
        "--max-document-size",
        panel=_RULES,
        metavar="SIZE",
        parser=parse_size,
        show_default="8MiB",
        help="Reject the bookings of a client whose document would be larger.",
    ),
]
MergeClientDocuments = Annotated[
    bool,
    option(
        "--merge-client-documents/--no-merge-client-documents",
        show_default=False,
        panel=_RULES,
        help="Join two client documents of one client into the older one, instead of refusing.",
    ),
]
OnConflict = Annotated[
    ConflictPolicy,
    option(
        "--on-conflict",
        panel=_RULES,
        metavar="reject|source|target",
        show_default=False,
        help="A booking differs from its session in a client document that others wrote or changed: reject it (default), derive "
        "the session from the booking again, or keep the session and record that decision.",
    ),
]
Overwrite = Annotated[
    bool,
    option(
        "--overwrite/--no-overwrite",
        show_default=False,
        panel=_WRITING,
        help="Replace a target file that holds something else.",
    ),
]
EngineOption = Annotated[str | None, option("--engine", panel=_WRITING, help="Ignored.", hidden=True)]
Workers = Annotated[
    int,
    option(
        "--workers",
        panel=_WRITING,
        min=1,
        max=64,
        help="Number of processes that read and convert; more than there are cores makes it slower.",
    ),
]
BatchSize = Annotated[
    int,
    option(
        "--batch-size",
        panel=_WRITING,
        min=1,
        max=100_000,
        help="Bookings per batch. It changes speed and memory, never the result.",
    ),
]
OptionalTarget = Annotated[
    str | None,
    option(
        "--target",
        panel=_PLACES,
        metavar="PLACE",
        help="Where client documents would go.",
        show_default="bookings_consolidated, taken as empty without a server",
    ),
]
RejectFile = Annotated[
    Path | None,
    option(
        "--reject-file",
        panel=_OUTPUT,
        metavar="FILE",
        show_default=False,
        help="Write the bookings that would be rejected, whole and with all reasons, as JSON lines.",
    ),
]
SavedPlan = Annotated[
    Path | None,
    option(
        "--plan",
        panel=_OUTPUT,
        metavar="FILE",
        show_default=False,
        help="Save what would be migrated; migrate --plan FILE then refuses other options and files.",
    ),
]
FollowedPlan = Annotated[
    Path | None,
    option(
        "--plan",
        panel=_RULES,
        metavar="FILE",
        show_default=False,
        help="Refuse unless options and files are still those of this plan, which dry-run --plan saved.",
    ),
]
Sample = Annotated[
    int | None,
    option(
        "--sample",
        panel=_PLACES,
        metavar="N",
        min=1,
        show_default="all",
        help="A quick look at about N bookings; every figure is then an estimate.",
    ),
]
RunTarget = Annotated[
    str | None,
    option(
        "--target",
        panel=_PLACES,
        metavar="PLACE",
        help="The target of the runs that are meant.",
        show_default=False,
    ),
]
RunId = Annotated[
    str | None,
    option(
        "--run",
        panel=_PLACES,
        metavar="ID",
        help="The run that is meant, as status and every report name it.",
        show_default="the newest one that wrote something",
    ),
]
Yes = Annotated[
    bool, option("--yes", panel=_WRITING, help="Do not ask; needed where nobody is at the terminal.")
]
Watch = Annotated[
    bool,
    option("--watch", panel=_OUTPUT, help="Show it again every second, until no run is at work any more."),
]
MaxLag = Annotated[
    float | None,
    option(
        "--max-lag",
        panel=_WRITING,
        metavar="SECONDS",
        min=0,
        show_default="never pause",
        help="Pause while a secondary of the target's replica set is further behind, or nobody can tell.",
    ),
]
InPlaceOption = Annotated[
    bool,
    option(
        "--in-place/--no-in-place",
        panel=_IN_PLACE,
        show_default=False,
        help="Migrate within the source collection, while the application uses it.",
    ),
]
InPlaceProof = Annotated[
    bool,
    option(
        "--in-place/--no-in-place",
        panel=_IN_PLACE,
        show_default=False,
        help="The source was migrated within itself: the archive is read with it.",
    ),
]
Archive = Annotated[
    str | None,
    option(
        "--archive",
        panel=_IN_PLACE,
        metavar="NAME",
        show_default="SOURCE_legacy",
        help="The collection that old bookings are moved to, whole.",
    ),
]
Passes = Annotated[
    int,
    option(
        "--passes",
        panel=_IN_PLACE,
        metavar="N",
        min=1,
        max=1000,
        help="Look for bookings that came meanwhile at most so often.",
    ),
]
MaxRate = Annotated[
    float | None,
    option(
        "--max-rate",
        panel=_IN_PLACE,
        metavar="N",
        min=1,
        show_default="no limit",
        help="Move at most so many bookings a second.",
    ),
]
WithoutTransactions = Annotated[
    bool,
    option(
        "--without-transactions",
        panel=_IN_PLACE,
        show_default=False,
        help="For a server that has none: the application must be stopped until the run is done.",
    ),
]
Restart = Annotated[
    bool,
    option(
        "--restart/--no-restart",
        show_default=False,
        panel=_WRITING,
        help="Undo an interrupted run and start over, instead of going on with it.",
    ),
]
Json = Annotated[
    bool, option("--json", panel=_OUTPUT, help="Print one JSON report on standard output, also on failure.")
]
Reports = Annotated[
    list[Path] | None,
    option(
        "--report",
        panel=_OUTPUT,
        metavar="PATH",
        show_default=False,
        help="Write a report too; .json, .md, .html or .xml (JUnit) by suffix. May be repeated.",
    ),
]
Config = Annotated[
    Path | None,
    option(
        "--config",
        panel=_OUTPUT,
        metavar="FILE",
        is_eager=True,
        callback=read_config_option,
        show_default=False,
        help="A TOML file: options with underscores, such as batch_size = 500, and the tables \\[contract] and \\[hooks].",
    ),
]
Quiet = Annotated[bool, option("--quiet", panel=_OUTPUT, help="No progress, no table; errors only.")]
Verbose = Annotated[bool, option("--verbose", panel=_OUTPUT, help="Show the traceback of an error.")]
