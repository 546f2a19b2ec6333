"""The command ``status``: runs, their states, and what can be done next."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import typer
from rich.console import Group
from rich.live import Live

from booking_migrate.cli import run
from booking_migrate.cli.config_file import hooks_of
from booking_migrate.cli.error_output import console_on
from booking_migrate.cli.open import open_run_stores
from booking_migrate.cli.options import OUTPUT, ConnectionOptions, OutputOptions, RunOptions
from booking_migrate.cli.parameters import Group as OptionGroup
from booking_migrate.cli.parameters import option
from booking_migrate.cutover.recovery import carried_bookings
from booking_migrate.errors import ExitCode, NoRun, NotPermitted
from booking_migrate.references.in_effect import RewriteInEffect, restoring_first, rewrites_in_effect
from booking_migrate.references.rewrite import LOCK as REFERENCES_LOCK
from booking_migrate.reports.lifecycle import LifeReport
from booking_migrate.reports.lifecycle_outcomes import report_of_status
from booking_migrate.reports.rewrite_status import LockReport, rewrite_status
from booking_migrate.reports.terminal import render_terminal
from booking_migrate.runs.followed import OplogReach
from booking_migrate.runs.status import file_status
from booking_migrate.runs.status import status as statuses
from booking_migrate.stores.connection import (
    Connection,
    collection_exists,
    find_old_bookings,
    open_journal,
    open_live,
)
from booking_migrate.stores.cutover import OldBookings
from booking_migrate.stores.files.atomic import Sidecar
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.locks import HeldLockView
from booking_migrate.stores.open_follow import cluster_time_of, oldest_change
from booking_migrate.stores.open_rewriting import open_reference_journal
from booking_migrate.stores.places import FilePlace, parse_place

HELP = """
For each run: its state, its progress, its last heartbeat, and the commands that make sense now. Of several runs each takes
one line; --run ID shows everything about one. Runs that changed nothing are counted only.

Of a run that migrate --follow keeps current it shows how far behind that is, and for how long a cut-over would refuse writes;
once that has ended, how far its last figures are behind now, and whether the oplog still has what has changed since.
After a cut-over it counts the bookings that an old application has written into the live collection since.

A run whose process is gone is called stale, not running. Nothing is written.

\b
[bold]Examples[/bold]
  All runs of a database:
    MONGODB_URI=mongodb://localhost booking-migrate status --db shop
  Watch while another process migrates:
    booking-migrate status --watch
  In a script:
    booking-migrate status --json
  For monitoring, by the exit code:
    booking-migrate status --check --quiet
"""

_COUNTING_SECONDS = 2.0
"""How long the server may look for old bookings in a live collection."""

_WAITING = "\nWaiting for a run to begin; Ctrl-C ends this."
_PAUSE = 1.0
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class WatchOptions(OptionGroup, panel=OUTPUT):
    """Whether to look once."""

    watch: bool = option(
        False, "Wait for a run to begin and show it again every second, until the last running run has ended."
    )
    check: bool = option(
        False, "End with 5 if a run has failed, is stale, or refuses writes though its process is gone."
    )


def status(
    ctx: typer.Context,
    *,
    given: RunOptions,
    connection: ConnectionOptions,
    watching: WatchOptions,
    output: OutputOptions,
) -> None:
    target = given.target

    def body(context: run.RunContext) -> LifeReport:
        # It has no hook, but a mistake in the config file has to be reported here too.
        hooks_of(ctx)
        place = None if target is None else parse_place(target)
        if isinstance(place, FilePlace):
            return _status_of_file(place, context.run_id)
        with connection.open() as opened:
            polled = _poll(opened, target, context.run_id)
            reports = (_of_run(report, given.run_id) for report in polled)
            report = next(reports)
            report = _watch(report, reports) if watching.watch else report
        return _checked(report) if watching.check else report

    run.execute(run.Invocation(ctx, output, connection.uri, target=target or ""), body)


def _of_run(report: LifeReport, run_id: str | None) -> LifeReport:
    """Return the report about one run, or the same if none is named.

    Raises:
        NoRun: it does not exist.
    """
    if run_id is None:
        return report
    chosen = tuple(each for each in report.runs if each.run_id == run_id)
    if not chosen:
        raise NoRun(f"run {run_id}")
    return report.model_copy(update={"runs": chosen})


def _checked(report: LifeReport) -> LifeReport:
    """Return the report with an exit code for monitoring."""
    is_bad = any(
        each.stale or each.state is RunState.FAILED or (each.refuses_writes_since and not each.alive)
        for each in report.runs
    )
    is_bad = is_bad or any(each.state.endswith(("interrupted", "failed")) for each in report.rewrites)
    return report.model_copy(update={"exit_code": ExitCode.REFUSED}) if is_bad else report


def _status_of_file(place: FilePlace, own_id: str) -> LifeReport:
    record = Sidecar(place.path).read()
    found = [] if record is None else [file_status(record.run)]
    return report_of_status(found, run_id=own_id, target=place.name)


def _poll(connection: Connection, target: str | None, own_id: str) -> Iterator[LifeReport]:
    """Yield the current runs, as often as asked."""
    journal, locks, _ = open_journal(connection)
    found_old: dict[str, OldBookings | None] = {}

    def old_of(run: RunRecord) -> OldBookings | None:
        # Once: the server reads the whole collection for it.
        if run.run_id not in found_old:
            found_old[run.run_id] = _old_bookings(connection, run)
        return found_old[run.run_id]

    while True:
        found = statuses(
            journal,
            locks,
            lambda run: open_live(connection, source=run.source, target=run.target),
            target=target,
            old_of=old_of,
            exists=partial(collection_exists, connection),
            reach=lambda: _reach(connection),
        )
        held = locks.held()
        rewrites = rewrites_in_effect(
            open_reference_journal(connection).rewrites(), held.get(REFERENCES_LOCK)
        )
        runs = [replace(each, possible=restoring_first(each.run, each.possible, rewrites)) for each in found]
        yield _with_others(report_of_status(runs, run_id=own_id, target=target), rewrites, held)


def _with_others(
    report: LifeReport, found: Sequence[RewriteInEffect], locks: Mapping[str, HeldLockView]
) -> LifeReport:
    """Return the report with the rewrites of references, and with locks that are held for nothing else that it shows."""
    rewrites = tuple(map(rewrite_status, found))
    shown = {*(each.holder for each in report.runs), *(each.holder for each in rewrites)}
    others = tuple(
        LockReport(name=name, holder=str(view.holder), heard_at=view.heard_at)
        for name, view in locks.items()
        if str(view.holder) not in shown and report.target in ("", name)
    )
    return report.model_copy(update={"rewrites": rewrites, "locks": others})


def _reach(connection: Connection) -> OplogReach | None:
    """Return both ends of the server's oplog; None of a server without a replica set."""
    newest = cluster_time_of(connection, "status")
    return None if newest is None else OplogReach(newest, oldest_change(connection))


def _old_bookings(connection: Connection, run: RunRecord) -> OldBookings | None:
    """Return the old bookings in the collection that a run's cut-over made live; None if that takes long or is not permitted."""
    stores = open_run_stores(connection, target=run.target, source=run.source)
    try:
        return find_old_bookings(
            connection, run, lambda: carried_bookings(run, stores), seconds=_COUNTING_SECONDS
        )
    except NotPermitted:
        return None


def _watch(report: LifeReport, reports: Iterator[LifeReport]) -> LifeReport:
    """Show on standard error the progress of the runs; return the last report."""
    console = console_on(sys.stderr)
    with Live(
        render_terminal(report, console.width), console=console, transient=True, auto_refresh=False
    ) as live:
        has_begun = False
        while not has_begun or any(each.alive for each in report.runs):
            has_begun = has_begun or any(each.alive for each in report.runs)
            if not has_begun:
                live.update(Group(render_terminal(report, console.width), _WAITING), refresh=True)
            time.sleep(_PAUSE)
            report = next(reports)
            live.update(render_terminal(report, console.width), refresh=True)
    return report
