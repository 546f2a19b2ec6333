"""The program: its commands, what holds for all of them, and where it starts."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from booking_migrate import __version__
from booking_migrate.cli import (
    cutover,
    dry_run,
    explain,
    finalize,
    migrate,
    rollback,
    serve,
    service_indexes,
    status,
    verify,
    view,
)
from booking_migrate.cli.help_texts import EXIT_STATUS, PROGRAM
from booking_migrate.cli.redaction import redact, secrets_among
from booking_migrate.cli.streams import failure_of, ignore_impossible_sizes, make_tolerant
from booking_migrate.errors import ExitCode

_SECRETS = "booking_migrate.secrets"


class DiscreetGroup(TyperGroup):
    """A group whose usage errors repeat no password: a connection string may stand where none belongs."""

    def make_context(self, info_name: Any, args: Any, *rest: Any, **kwargs: Any) -> Any:
        """As typer, with messages redacted."""
        secrets = secrets_among(args)
        try:
            context = super().make_context(info_name, args, *rest, **kwargs)
        except typer.TyperException as error:
            error.message = redact(error.message, secrets)
            raise
        context.meta[_SECRETS] = secrets
        return context

    def invoke(self, ctx: Any) -> Any:
        """As typer, with messages redacted."""
        try:
            return super().invoke(ctx)
        except typer.TyperException as error:
            error.message = redact(error.message, ctx.meta.get(_SECRETS, ()))
            raise


app = typer.Typer(
    name="booking-migrate",
    cls=DiscreetGroup,
    help=PROGRAM,
    epilog=EXIT_STATUS,
    no_args_is_help=True,
    rich_markup_mode="rich",
    # Tracebacks are for --verbose, and cli/run.py takes secrets out of them.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"booking-migrate {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=lambda value: _print_version(wanted=value),
            help="Show the version.",
        ),
    ] = False,
) -> None:
    """Hold the options of the program as a whole."""


app.command("dry-run", help=dry_run.HELP, epilog=EXIT_STATUS)(dry_run.dry_run)
app.command("migrate", help=migrate.HELP, epilog=EXIT_STATUS)(migrate.migrate)
app.command("verify", help=verify.HELP, epilog=EXIT_STATUS)(verify.verify)
app.command("cutover", help=cutover.HELP, epilog=EXIT_STATUS)(cutover.cutover)
app.command("rollback", help=rollback.HELP, epilog=EXIT_STATUS)(rollback.rollback)
app.command("finalize", help=finalize.HELP, epilog=EXIT_STATUS)(finalize.finalize)
app.command("view", help=view.HELP, epilog=EXIT_STATUS)(view.view)
app.command("status", help=status.HELP, epilog=EXIT_STATUS)(status.status)
app.command("explain", help=explain.HELP, epilog=EXIT_STATUS)(explain.explain)
app.command("serve", help=serve.HELP, epilog=EXIT_STATUS)(serve.serve)
app.command("service-indexes", help=service_indexes.HELP, epilog=EXIT_STATUS)(service_indexes.service_indexes)


def main() -> None:
    """Run the command line and exit with one of `booking_migrate.errors.ExitCode`."""
    make_tolerant()
    ignore_impossible_sizes()
    try:
        app(prog_name="booking-migrate")
    except SystemExit as ended:
        # What a command says of itself has been seen to; this is about help and the version.
        problem = failure_of(sys.stdout)
        if problem is None or ended.code:
            raise
        sys.stderr.write(f"error: the output could not be written to standard output: {problem}\n")
        sys.exit(ExitCode.NOT_WRITTEN)
