"""The command ``rollback``: undo a run."""

import sys
from contextlib import closing
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

import typer

from booking_migrate.cli import options, run
from booking_migrate.cli.config_file import hooks_of
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.wiring import DEFAULT_TARGET
from booking_migrate.engine.interruption import Shield
from booking_migrate.errors import NotConfirmed
from booking_migrate.stores.locate import Connection, FilePlace, parse_place

if TYPE_CHECKING:
    from booking_migrate.engine.rollback import UndoOutcome
    from booking_migrate.events import Listener
    from booking_migrate.reports.model import Report
    from booking_migrate.stores.journal import RunRecord

HELP = filled("""
Undo a run: what it wrote is removed, what it changed is put back, and nothing else is touched.

Client documents that others have changed since are kept and listed, and the exit code is 3. The run's rejected records
go too, its unique index, and the target itself if the run created it and it is left empty. What was restored is read again
before the command says done. If it is interrupted, give it again. Of a target file, the files that the run wrote are
removed if they still are byte for byte what it wrote.

\b
[bold]Examples[/bold]
  The newest run into the default target:
    MONGODB_URI=mongodb://localhost booking-migrate rollback --db shop
  The files of a run into a file:
    booking-migrate rollback --target clients.jsonl
  In a script, a certain run:
    booking-migrate rollback --run 20261123T151100Z-ab12cd --yes --json
""")


def rollback(
    ctx: typer.Context,
    *,
    target: options.RunTarget = None,
    run_id: options.RunId = None,
    uri: options.Uri = None,
    db: options.Db = None,
    yes: options.Yes = False,
    json: options.Json = False,
    report: options.Reports = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Parse, and hand over to `_rollback`."""
    from booking_migrate.reports.life.model import report_of_rollback  # noqa: PLC0415 - not needed to print help

    wanted = target if target is not None or run_id is not None else DEFAULT_TARGET
    asked = run.Invocation(
        command="rollback",
        source="",
        target=wanted or "",
        places=[str(path) for path in (config,) if path is not None],
        uri=uri,
        json=json,
        reports=tuple(report or ()),
        quiet=quiet,
        verbose=verbose,
    )
    shield = Shield()
    began = monotonic()

    def body(own_id: str, listener: "Listener") -> "Report":
        place = None if wanted is None else parse_place(wanted)
        if isinstance(place, FilePlace):
            return report_of_rollback(
                _remove_files(place, run_id, yes=yes, listener=listener), seconds=monotonic() - began
            )
        with closing(Connection(uri, db)) as connection:
            outcome = _rollback(connection, wanted, run_id, own_id, yes=yes, listener=listener, shield=shield)
        return report_of_rollback(outcome, seconds=monotonic() - began)

    run.execute(asked, body, shield, partial(hooks_of, ctx))


def _rollback(
    connection: Connection,
    target: str | None,
    run_id: str | None,
    own_id: str,
    *,
    yes: bool,
    listener: "Listener",
    shield: Shield,
) -> "UndoOutcome":
    # Here and not above: stores and engine are not needed to print help.
    from booking_migrate.cli.life import holder_of, stores_of  # noqa: PLC0415
    from booking_migrate.engine.rollback import choose_run, roll_back  # noqa: PLC0415
    from booking_migrate.stores.locate_journal import open_journal, open_live  # noqa: PLC0415

    chosen = choose_run(open_journal(connection).journal, target=target, run_id=run_id)
    if not yes:
        _confirm(chosen)
    return roll_back(
        chosen,
        stores_of(connection, target=chosen.target, source=chosen.source),
        holder_of("rollback", own_id),
        live=lambda run: open_live(connection, source=run.source, target=run.target),
        listener=listener,
        shield=shield,
    )


def _remove_files(place: FilePlace, run_id: str | None, *, yes: bool, listener: "Listener") -> "UndoOutcome":
    # Here and not above, as in `_rollback`.
    from booking_migrate.engine.file_life import roll_back_file  # noqa: PLC0415
    from booking_migrate.stores.sidecar import Sidecar  # noqa: PLC0415

    sidecar = Sidecar(place.path)
    record = sidecar.read()
    if record is not None and not yes:
        _confirm(record.run)
    return roll_back_file(sidecar, run_id=run_id, listener=listener)


def _confirm(chosen: "RunRecord") -> None:
    """Ask whoever is at the terminal.

    Raises:
        NotConfirmed: nobody is, or the answer is no.
    """
    from booking_migrate.stores.journal import RunState  # noqa: PLC0415 - not needed to print help

    what = f"rollback of run {chosen.run_id} ({chosen.source} -> {chosen.target}, {chosen.state.value})"
    if chosen.state is RunState.ROLLED_BACK:
        return
    if not sys.stdin.isatty() or not typer.confirm(f"{what}: go on?", err=True):
        raise NotConfirmed(what)
