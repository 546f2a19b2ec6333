"""``migrate --resume RUN``: the same command again, with the places and options that the run was started with."""

import shlex
from typing import NoReturn

import typer

from booking_migrate.cli import run
from booking_migrate.cli.next_steps import typed_words
from booking_migrate.cli.options import ConnectionOptions
from booking_migrate.errors import BookingMigrateError, NoRun
from booking_migrate.reports.model import Report
from booking_migrate.runs.commands import command_of
from booking_migrate.runs.states import RESUMABLE, in_words
from booking_migrate.stores.connection import open_journal


def resume_run(
    ctx: typer.Context, asked: run.Invocation, connection: ConnectionOptions, run_id: str
) -> NoReturn:
    """Run the command that continues a run, with the words that were typed beside ``--resume``.

    Raises:
        typer.Exit: always, with the exit code.
    """
    try:
        words = _words_of(connection, run_id)
    except BookingMigrateError as error:
        problem = error

        def body(_context: run.RunContext) -> Report:
            raise problem

        run.execute(asked, body)
    command = ctx.command
    # What was typed comes last, and so counts more: an option that the run did not have is then refused by its name.
    again = command.make_context(
        ctx.info_name, [*words, *typed_words(ctx, {"--resume"})[1:]], parent=ctx.parent
    )
    with again:
        command.invoke(again)
    raise typer.Exit


def _words_of(connection: ConnectionOptions, run_id: str) -> list[str]:
    """Return the options of the command that continues a run.

    Raises:
        NoRun: it does not exist, or is not unfinished.
        ConnectionProblem, NotPermitted, JournalTooNew: the journal cannot be read.
    """
    with connection.open() as opened:
        runs = open_journal(opened).journal.runs()
    found = next((each for each in runs if each.run_id == run_id), None)
    if found is None:
        raise NoRun(f"run {run_id}")
    if found.state not in RESUMABLE:
        raise NoRun(f"unfinished run {run_id}: it is {in_words(found.state)}")
    return shlex.split(command_of(found, "migrate"))[2:]
