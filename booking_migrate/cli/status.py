"""The command ``status``: runs, where they stand, and what can be done next."""

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import typer

from booking_migrate.cli import options, run
from booking_migrate.cli.config_file import hooks_of
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.printed_commands import GivenOptions
from booking_migrate.stores.open import Connection, FilePlace, parse_place

if TYPE_CHECKING:
    from booking_migrate.reports.life.model import LifeReport
    from booking_migrate.stores.cutover import LiveCollections
    from booking_migrate.stores.journal import RunRecord

HELP = filled("""
Show every run: its state, its progress, when it was heard of last, and the commands that make sense now.

A run whose process is gone is called stale, not running. Nothing is written.

\b
[bold]Examples[/bold]
  All runs of a database:
    MONGODB_URI=mongodb://localhost booking-migrate status --db shop
  Look on while another process migrates:
    booking-migrate status --watch
  In a script:
    booking-migrate status --json
""")

_PAUSE = 1.0
"""Seconds between two looks."""


def status(
    ctx: typer.Context,
    *,
    target: options.RunTarget = None,
    uri: options.Uri = None,
    db: options.Db = None,
    watch: options.Watch = False,
    json: options.Json = False,
    report: options.Reports = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Parse, and hand over to `_look`."""
    asked = run.Invocation(
        command="status",
        source="",
        target=target or "",
        places=[str(path) for path in (config,) if path is not None],
        uri=uri,
        json=json,
        reports=tuple(report or ()),
        quiet=quiet,
        verbose=verbose,
        given=GivenOptions.of(ctx),
    )

    def body(own_id: str, _listener: object) -> "LifeReport":
        place = None if target is None else parse_place(target)
        if isinstance(place, FilePlace):
            return _look_at_file(place, own_id)
        with closing(Connection(uri, db)) as connection:
            looks = _look(connection, target, own_id)
            seen = next(looks)
            if watch:
                seen = _watch(seen, looks)
            return seen

    # It has no hook, but a mistake in the config file is to be told here too.
    run.execute(asked, body, hooks=partial(hooks_of, ctx))


def _look_at_file(place: FilePlace, own_id: str) -> "LifeReport":
    # Here and not above: stores and engine are not needed to print help.
    from booking_migrate.reports.life.model import report_of_status  # noqa: PLC0415
    from booking_migrate.runs.status import file_status  # noqa: PLC0415
    from booking_migrate.stores.files.sidecar import Sidecar  # noqa: PLC0415
    from booking_migrate.stores.process import birth_of, host_name  # noqa: PLC0415

    record = Sidecar(place.path).read()
    runs = [] if record is None else [record.run]
    standings = [
        file_status(each, is_alive=each.host == host_name() and bool(birth_of(each.pid))) for each in runs
    ]
    return report_of_status(standings, run_id=own_id, target=place.name)


def _look(connection: Connection, target: str | None, own_id: str) -> "Iterator[LifeReport]":
    """The runs as they stand, again and again."""
    # Here and not above: stores and engine are not needed to print help.
    from booking_migrate.reports.life.model import report_of_status  # noqa: PLC0415
    from booking_migrate.runs.status import status as standings  # noqa: PLC0415
    from booking_migrate.stores.open_journal import open_journal, open_live  # noqa: PLC0415

    journal, locks, _ = open_journal(connection)

    def live_of(found: "RunRecord") -> "LiveCollections":
        return open_live(connection, source=found.source, target=found.target)

    while True:
        found = standings(journal, locks, live_of, target=target)
        yield report_of_status(found, run_id=own_id, target=target)


def _watch(seen: "LifeReport", looks: "Iterator[LifeReport]") -> "LifeReport":
    """Show on standard error how the runs go on; the last look is the command's result."""
    from rich.console import Console  # noqa: PLC0415 - not needed to print help
    from rich.live import Live  # noqa: PLC0415

    from booking_migrate.reports.life.text import render_life_text  # noqa: PLC0415

    console = Console(file=sys.stderr, highlight=False, emoji=False)
    with Live(render_life_text(seen), console=console, transient=True, auto_refresh=False) as live:
        while any(each.alive for each in seen.runs):
            time.sleep(_PAUSE)
            seen = next(looks)
            live.update(render_life_text(seen), refresh=True)
    return seen
