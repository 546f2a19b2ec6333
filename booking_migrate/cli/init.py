"""The command ``init``: a config file made of a look at the database."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.options import OUTPUT, PLACES, ConnectionOptions, OutputOptions
from booking_migrate.cli.parameters import Group, option
from booking_migrate.errors import OutputExists
from booking_migrate.events import PhaseEnded, PhaseStarted
from booking_migrate.init.config_text import config_text
from booking_migrate.init.look import look
from booking_migrate.reports.files import check_output_path, replace_file
from booking_migrate.reports.init import InitReport, report_of_init
from booking_migrate.stores.connection import open_inspector
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.places import DEFAULT_SOURCE, parse_place
from booking_migrate.stores.ports import DocumentReader

HELP = """
It finds collections of bookings, client documents, users and experts, the fields and currencies in use, and fields elsewhere that
hold ids of bookings, and writes them down, each line with its reason. What it cannot decide is listed and commented out;
--source, --users and --experts decide it.

A bounded number of documents of each collection is read, and nothing is written to the server: a user who may only read is
enough. Every command takes the file with --config.

\b
[bold]Examples[/bold]
    MONGODB_URI=mongodb://localhost booking-migrate init --db shop
    booking-migrate init --output shop.toml && booking-migrate dry-run --config shop.toml
    booking-migrate init --output -
"""


@dataclass(frozen=True, slots=True)
class ConfigOptions(Group, panel=OUTPUT):
    """Where the config file goes."""

    output: Path = option(
        Path("booking-migrate.toml"), "The file to write; - is standard output.", metavar="FILE"
    )
    overwrite: bool = option(False, "Replace a file that exists.", negatable=True)


@dataclass(frozen=True, slots=True)
class DecidedOptions(Group, panel=PLACES):
    """What the look need not find out."""

    source: str | None = option(
        None, "The collection of bookings, if several have any.", metavar="COLLECTION"
    )
    users: str | None = option(None, "That of users, if several may be it.", metavar="COLLECTION")
    experts: str | None = option(None, "That of experts, if several may be it.", metavar="COLLECTION")

    @property
    def named(self) -> dict[str, str]:
        """Return those that are decided, by name."""
        decided = {"source": self.source, "users": self.users, "experts": self.experts}
        return {key: value for key, value in decided.items() if value is not None}


def init(
    ctx: typer.Context,
    *,
    decided: DecidedOptions,
    connection: ConnectionOptions,
    config: ConfigOptions,
    output: OutputOptions,
) -> None:
    path = None if str(config.output) == run.STANDARD_STREAM else config.output
    asked = run.Invocation(ctx, output, connection.uri, places=[path])
    run.execute(asked, lambda context: _init(decided.named, connection, config, context))


def _init(
    named: Mapping[str, str], connection: ConnectionOptions, config: ConfigOptions, context: run.RunContext
) -> InitReport:
    is_stream = str(config.output) == run.STANDARD_STREAM
    if not is_stream:
        check_output_path("--output", config.output)
        if config.output.exists() and not config.overwrite:
            path = shlex.quote(str(config.output))
            raise OutputExists(str(config.output), f"booking-migrate dry-run --config {path}")
    context.listener.notify(PhaseStarted("looking at the database", None))
    with connection.open() as opened:
        # Any collection will do: the database is looked at through one.
        opened.contact(DEFAULT_SOURCE)
        inspector = open_inspector(opened, DEFAULT_SOURCE)

        def open_source(name: str) -> DocumentReader:
            return open_reader(parse_place(name), opened)

        outcome = look(
            inspector,
            open_source,
            database=connection.db,
            contract=contract_of(context.asked.ctx),
            named=named,
        )
        text = config_text(outcome, inspector.database, context.asked.server.get("host") or "a server")
    context.listener.notify(PhaseEnded())
    if is_stream:
        sys.stdout.write(text)
    else:
        replace_file(config.output, text)
    return report_of_init(
        outcome, run_id=context.run_id, config=str(config.output), named=named, seconds=context.seconds
    )
