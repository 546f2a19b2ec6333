"""The one place where a command runs: its errors become messages, reports and exit codes."""

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import NoReturn

import typer

from booking_migrate.cli import progress
from booking_migrate.cli.annotations import annotations
from booking_migrate.cli.config_file import HookName, Hooks, hooks_of
from booking_migrate.cli.error_output import console_on, print_error, translated
from booking_migrate.cli.next_steps import GivenOptions
from booking_migrate.cli.observers import Observers
from booking_migrate.cli.open import Places, is_same_file
from booking_migrate.cli.options import OutputOptions
from booking_migrate.cli.parameters import BEGUN, set_options
from booking_migrate.cli.progress import waits_said
from booking_migrate.cli.signals import signals_raise
from booking_migrate.cli.streams import failure_of, named_server, redact, secrets_of
from booking_migrate.cli.usage import misspelt_variables
from booking_migrate.errors import (
    BadConfiguration,
    BookingMigrateError,
    ExitCode,
    HookFailed,
    OutputFailed,
    WriteFailed,
    exit_code_of,
)
from booking_migrate.events import Listener, Warned
from booking_migrate.reports.files import check_report_path, write_report
from booking_migrate.reports.model import Report, RewriteStatusReport, render_json
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.own_collections import new_run_id
from booking_migrate.stores.places import uses_files_only

STANDARD_STREAM = "-"
"""The place that is standard input or output."""

_WRITES_BY = {"migrate": "target", "init": "output", "references find": "output", "references map": "out"}
"""The option of each command that may name standard output for its data."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What is the same for every command: what was asked for, and how to answer."""

    ctx: typer.Context
    output: OutputOptions
    uri: str | None
    source: str = ""
    target: str = ""
    places: Sequence[str | Path | None] = ()
    """Everything that it reads or writes, as the user wrote it; no report may be one of them, nor be the config file."""

    repeats_uri: bool = True
    """Whether the commands in what it says need ``--uri``, if it was given; not where they come after setting `MONGODB_URI`."""

    @classmethod
    def about(
        cls, ctx: typer.Context, output: OutputOptions, places: Places, *others: str | Path | None
    ) -> "Invocation":
        """Return the invocation of a command that works with these places, and reads or writes others, too."""
        return cls(ctx, output, places.connection.uri, places.source, places.target, [*places.named, *others])

    @property
    def command(self) -> str:
        """Return the command's name."""
        return self.ctx.command.name or ""

    @property
    def reports(self) -> Sequence[Path]:
        """Return the files that the report is written to."""
        return self.output.report or ()

    @property
    def server(self) -> Mapping[str, str | None]:
        """Return host and database for the report; both None if only files are used."""
        if uses_files_only(self.source, self.target):
            return {}
        host, database = named_server(self.uri, self.ctx.params.get("db"))
        return {"host": host and self.redact(host), "database": database and self.redact(database)}

    @property
    def given(self) -> GivenOptions:
        """Return what other commands need, too."""
        found = GivenOptions.of(self.ctx, self.server.get("database"))
        return replace(found, names_server=found.names_server and self.repeats_uri)

    @property
    def writes_to_standard_output(self) -> bool:
        """Return whether data goes to standard output, so that nothing else may: other commands read their target."""
        return str(self.ctx.params.get(_WRITES_BY.get(self.command, ""))) == STANDARD_STREAM

    def redact(self, text: str) -> str:
        """Return a text without anything secret of the connection string."""
        return redact(text, secrets_of(self.uri))

    def printable(self, text: str) -> str:
        """Return a text without secrets, whose commands can be copied as they are."""
        return self.given.complete(self.redact(text))


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the body of a command works with, beside its options."""

    asked: Invocation
    run_id: str
    listener: Listener
    signal_guard: SignalGuard
    """Defers the first signal during critical sections."""

    run_hook: Callable[[Report | None], None] = lambda _report: None
    """Runs the hook after a step that is done, though the command continues; then it is not run at the end.

    With None it was run by the command that did the step, which this one only resumes.
    """

    stopped: list[RewriteStatusReport] = field(default_factory=list)
    """Gets the rewrite of references that an error has ended, or its undo."""

    _began: float = field(default_factory=monotonic)

    @property
    def seconds(self) -> float:
        """Return for how long the command has run."""
        return monotonic() - self._began


@dataclass(frozen=True, slots=True)
class Incomplete:
    """The result of a step that is done, though an output about it could not be written."""

    report: Report
    errors: Sequence[OutputFailed]


def execute(asked: Invocation, body: Callable[[RunContext], Report | Incomplete]) -> NoReturn:
    """Run a command's body, report its result, run the hook after it, and exit.

    Raises:
        typer.Exit: always, with the exit code.
    """
    asked.ctx.meta[BEGUN] = True
    if asked.output.json and asked.writes_to_standard_output:
        raise typer.BadParameter(
            f"standard output is taken by --{_WRITES_BY[asked.command]} -; use --report report.json.",
            param_hint="--json",
        )
    run_id = new_run_id()
    started_at = datetime.now(UTC)
    writable: list[Path] = []
    is_done = False
    lost: Sequence[OutputFailed] = ()
    early: list[HookFailed | None] = []
    stopped: list[RewriteStatusReport] = []
    observers = Observers(asked.command, run_id)
    hooks = Hooks()
    try:
        hooks = hooks_of(asked.ctx)
        signal_guard = SignalGuard()
        with (
            signals_raise(signal_guard),
            progress.progress(sys.stderr, quiet=asked.output.quiet, redact=asked.printable) as screen,
            _warnings_reach(lambda text: observers.notify(Warned(text))),
        ):
            observers.listeners.append(screen)
            _check_reports(asked)
            writable += asked.reports
            observers.open(asked.output, asked.redact)
            for name, meant in misspelt_variables(asked.ctx):
                observers.notify(
                    Warned(f"the environment variable {name} is not read; did you mean {meant}?")
                )
            run_hook = partial(_run_early, asked, hooks, observers, early)
            with observers.at_work(), waits_said(observers):
                ended = body(RunContext(asked, run_id, observers, signal_guard, run_hook, stopped))
        report, lost = (ended.report, ended.errors) if isinstance(ended, Incomplete) else (ended, ())
        report = asked.given.complete_report(report)
        is_done = True
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one place that reports them all
        report = _failed(asked, run_id, error, stopped)
    report = report.model_copy(
        update={
            **asked.server,
            "options": {name: asked.redact(text) for name, text in set_options(asked.ctx).items()},
            "started_at": started_at,
            "ended_at": datetime.now(UTC),
            "reading": tuple(observers.readings.values()),
        }
    )
    for each in (*lost, *filter(None, early)):
        report = _with_loss(asked, report, each)
    report = _write_reports(asked, report, writable)
    if is_done and not early:
        report = _run_hook(asked, report, hooks, writable)
    report = _close(asked, report, observers, hooks, writable)
    code = _show(asked, report, writable, is_done=is_done)
    if not asked.output.quiet:
        sys.stderr.writelines(f"report written to {asked.redact(str(path))}\n" for path in writable)
    raise typer.Exit(code)


def attend(asked: Invocation, body: Callable[[], None]) -> NoReturn:
    """Run a body that works until it is stopped and makes no report; print its error if it fails, such as a signal that it does not handle, and exit.

    Raises:
        typer.Exit: always, with the exit code.
    """
    asked.ctx.meta[BEGUN] = True
    try:
        with (
            signals_raise(None),
            _warnings_reach(lambda text: sys.stderr.write(f"warning: {asked.redact(text)}\n")),
        ):
            body()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one place that reports them all
        print_error(asked, error)
        raise typer.Exit(exit_code_of(translated(error))) from None
    raise typer.Exit(ExitCode.DONE)


def _close(
    asked: Invocation, report: Report, observers: Observers, hooks: Hooks, paths: list[Path]
) -> Report:
    """Pass the final result on to log, metrics, annotations and the hook for failures."""
    lost = observers.end(report)
    for each in lost:
        report = _with_loss(asked, report, each)
    if lost:
        report = _write_reports(asked, report, paths)
    for line in annotations(report):
        sys.stderr.write(f"{asked.redact(line)}\n")
    if report.exit_code.is_good:
        return report
    try:
        with signals_raise(None):
            problem = hooks.run_on_failure(report, asked.redact)
    except KeyboardInterrupt as signalled:
        problem = str(translated(signalled))
    if problem is not None:
        sys.stderr.write(f"warning: the hook {HookName.ON_FAILURE} failed: {problem}\n")
    return report


@contextmanager
def _warnings_reach(show_line: Callable[[str], object]) -> Iterator[None]:
    """Show warnings of Python and of the driver in one plain line each, not as source text with a file's path."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        show_line(" ".join(str(message).split()))

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show
        yield


def _run_hook(asked: Invocation, report: Report, hooks: Hooks, paths: list[Path]) -> Report:
    """Run the hook after a step; if it fails, all reports say so from then on, and a good exit code turns to 1."""
    try:
        with signals_raise(None):
            hooks.run_after(report, asked.redact)
    except HookFailed as error:
        failure, code = error, exit_code_of(error)
    except KeyboardInterrupt as signalled:
        end = translated(signalled)
        failure, code = HookFailed(report.command, f"after_{report.command}", str(end)), exit_code_of(end)
    else:
        return report
    changed = _with_loss(asked, report, failure, code)
    return report if changed is report else _write_reports(asked, changed, paths)


def _run_early(
    asked: Invocation,
    hooks: Hooks,
    listener: Listener,
    ends: list[HookFailed | None],
    report: Report | None,
) -> None:
    """Run the hook after a step while the command continues; how it ended is added, and reported at the end, too."""
    try:
        if report is not None:
            hooks.run_after(asked.given.complete_report(report), asked.redact)
        ends.append(None)
    except HookFailed as error:
        listener.notify(Warned(asked.redact(error.message)))
        ends.append(error)


def _check_reports(asked: Invocation) -> None:
    """Refuse reports that could not be written, and those that would overwrite what the command reads or writes."""
    beside = [("--log-file", asked.output.log_file), ("--metrics", asked.output.metrics)]
    for option, path in (*(("--report", path) for path in asked.reports), *beside):
        if path is None:
            continue
        if option == "--report":
            check_report_path(path, asked.command)
        for place in (*asked.places, asked.output.config):
            if place is not None and is_same_file(path, place):
                raise BadConfiguration(option, f"{str(path)!r} is also read or written as {str(place)!r}")


def _failed(
    asked: Invocation, run_id: str, error: BaseException, stopped: Sequence[RewriteStatusReport]
) -> Report:
    return Report(
        error=print_error(asked, error, next(iter(stopped), None)),
        command=asked.command,
        run_id=run_id,
        source=asked.redact(asked.source),
        target=asked.redact(asked.target),
        exit_code=exit_code_of(translated(error)),
    )


def _write_reports(asked: Invocation, report: Report, paths: list[Path]) -> Report:
    """Write the report files; one that cannot be written is taken out of ``paths``, and the others say so."""
    written = []
    is_done = report.error is None
    before = report
    for path in paths:
        try:
            write_report(path, report)
        except WriteFailed as error:
            failure = OutputFailed(asked.command, "report", error.place, error.problem, is_done)
            report = _with_loss(asked, report, failure)
        else:
            written.append(path)
    paths[:] = written
    return report if report is before else _write_reports(asked, report, paths)


def _with_loss(
    asked: Invocation, report: Report, failure: BookingMigrateError, code: int | None = None
) -> Report:
    """Say what failed after the step, with another exit code if one is given; that never hides an error or mismatches."""
    failed_with = print_error(asked, failure)
    if report.error is not None:
        return report
    is_good = report.exit_code.is_good
    failed = exit_code_of(failure) if code is None else code
    return report.model_copy(
        update={"error": failed_with, "exit_code": failed if is_good else report.exit_code}
    )


def _show(asked: Invocation, report: Report, paths: list[Path], *, is_done: bool) -> int:
    """Print the command's result; return its exit code."""
    if asked.output.json:
        sys.stdout.write(render_json(report))
    elif is_done and not asked.output.quiet:
        # Here and not above: with --quiet, --json or an error it is not used, and it imports the texts of all reports.
        from booking_migrate.reports.terminal import render_terminal  # noqa: PLC0415

        stream = sys.stderr if asked.writes_to_standard_output else sys.stdout
        console = console_on(stream)
        with console.capture() as captured:
            # A command's word that is wider than the screen stays whole, so that it can be copied.
            console.print(render_terminal(report, console.width), crop=False)
        # Wrapped lines come padded to the width of the screen.
        stream.write("".join(f"{line.rstrip(' ')}\n" for line in captured.get().splitlines()))
    problem = failure_of(sys.stdout)
    if problem is None:
        return report.exit_code
    output = "report" if asked.output.json else "result"
    failure = OutputFailed(asked.command, output, "standard output", problem, is_done)
    return _write_reports(asked, _with_loss(asked, report, failure), paths).exit_code
