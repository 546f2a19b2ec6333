"""Who listens to a command: the screen, its log and its metrics, opened from the options and closed at the end."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from booking_migrate.cli.options import LogLevel, OutputOptions
from booking_migrate.errors import BadConfiguration, MissingExtra, OutputFailed
from booking_migrate.events import Event, Listener, ReadingChosen
from booking_migrate.reports.model import ReadingReport, Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from booking_migrate.cli.logs import Log
    from booking_migrate.cli.metrics import Metrics


STANDARD_ERROR = "-"
"""The log file that is standard error."""


class Observers(Listener):
    """The screen, the log and the metrics of one command, as far as they were asked for; how collections are read is noted, too."""

    def __init__(self, command: str, run_id: str) -> None:
        self._command = command
        self._run_id = run_id
        self._stack = ExitStack()
        self._log: Log | None = None
        self._metrics: Metrics | None = None
        self._paths: dict[str, Path] = {}
        self.listeners: list[Listener] = []
        self.readings: dict[str, ReadingReport] = {}

    def open(self, output: OutputOptions, redact: "Callable[[str], str]") -> None:
        """Open what the options name.

        Raises:
            BadConfiguration: the log cannot be written.
            MissingExtra: metrics need a package that is not installed.
        """
        if output.log_file is not None:
            from booking_migrate.cli.logs import Log  # noqa: PLC0415 - most commands have none

            common = {"command": self._command, "run_id": self._run_id}
            stream = self._stream(output.log_file)
            self._log = Log(stream, output.log_format, output.log_level, redact, common)
            self._log.write(LogLevel.INFO, "started", f"{self._command} started")
            self._paths["log"] = output.log_file
            self.listeners.append(self._log)
        if output.metrics is not None:
            try:
                from booking_migrate.cli.metrics import Metrics  # noqa: PLC0415 - an extra
            except ModuleNotFoundError:
                raise MissingExtra("--metrics", "metrics") from None
            self._metrics = Metrics(output.metrics, self._command, self._run_id)
            self._paths["metrics"] = output.metrics
            self.listeners.append(self._metrics)

    def _stream(self, path: Path) -> TextIO:
        if str(path) == STANDARD_ERROR:
            return sys.stderr
        try:
            return self._stack.enter_context(path.open("a", encoding="utf-8", errors="backslashreplace"))
        except OSError as error:
            raise BadConfiguration("--log-file", f"{path} cannot be written: {error.strerror}") from None

    def at_work(self) -> AbstractContextManager[None]:
        """Write metrics now and then, while the context lasts."""
        return nullcontext() if self._metrics is None else self._metrics.written()

    def notify(self, event: Event) -> None:
        """Pass on an event."""
        if isinstance(event, ReadingChosen):
            self.readings[event.place] = ReadingReport(place=event.place, way=event.way, reason=event.reason)
        for listener in self.listeners:
            listener.notify(event)

    def end(self, report: Report) -> Sequence[OutputFailed]:
        """Log and count how the command ended, and close; return which outputs are not complete."""
        if self._log is not None:
            error = report.error
            level = LogLevel.INFO if error is None else LogLevel.ERROR
            message = f"{self._command} ended with exit code {int(report.exit_code)}"
            facts = {} if error is None else {"error": error.kind, "hint": error.hint}
            said = message if error is None else f"{message}: {error.message}"
            self._log.write(level, "ended", said, exit_code=int(report.exit_code), **facts)
        if self._metrics is not None:
            self._metrics.end(report)
        try:
            self._stack.close()
        except OSError as error:
            # What a full disk has not taken is still in a buffer.
            if self._log is not None:
                self._log.problem = self._log.problem or error
        kinds = {"log": self._log, "metrics": self._metrics}
        return [
            OutputFailed(
                self._command,
                kind,
                str(self._paths[kind]),
                problem.strerror or str(problem),
                report.error is None,
            )
            for kind, sink in kinds.items()
            if sink is not None and (problem := sink.problem) is not None
        ]
