"""Metrics of a command as a Prometheus textfile, which a node exporter collects. A listener of its events."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time

from prometheus_client import CollectorRegistry, Counter, Gauge, write_to_textfile

from booking_migrate import __version__
from booking_migrate.events import (
    Adjusted,
    Advanced,
    Announced,
    Checkpointed,
    Event,
    Listener,
    Paused,
    PhaseEnded,
    PhaseStarted,
    ReadingChosen,
    Resumed,
    Retried,
    RunOpened,
    WaitEnded,
    Waiting,
    Warned,
)
from booking_migrate.reports.model import Report
from booking_migrate.runs.background import repeated

WRITE_SECONDS = 10.0
"""How often the file is written."""


class Metrics(Listener):
    """Counts events, and writes the file whole: it appears by a rename."""

    def __init__(self, path: Path, command: str, run_id: str) -> None:
        """Take the file and what the metrics are about."""
        self._path = path
        self.problem: OSError | None = None
        """Why the file could not be written last; None: it could."""

        self._command = command
        self._registry = CollectorRegistry()
        self._processed = self._counter("bookings_processed", "Bookings processed in all phases.")
        self._retries = self._counter("retries", "Failures with a passing cause that were tried again.")
        self._warnings = self._counter("warnings", "Warnings.")
        self._checkpoints = self._counter("checkpoints", "Checkpoints written.")
        self._expected = self._gauge("bookings_expected", "Estimated bookings of the current phase.")
        self._waiting = self._gauge(
            "waiting_seconds", "For how long something is waited for now; 0: nothing is."
        )
        self._started = self._gauge("started_timestamp_seconds", "When the command began.")
        self._ended = self._gauge("ended_timestamp_seconds", "When the command ended; 0: it is running.")
        self._exit = self._gauge("exit_code", "The exit code; -1: it is running.")
        self._counts = self._gauge("bookings", "What was counted, at the end.", "kind")
        self._mismatches = self._gauge("mismatches", "Mismatches that a verification found, at the end.")
        info = self._gauge("run_info", "The run and the version.", "run_id", "version")
        info.labels(command, run_id, __version__).set(1)
        self._started.labels(command).set(time())
        self._exit.labels(command).set(-1)
        for zero in (self._ended, self._waiting):
            zero.labels(command).set(0)

    def _gauge(self, name: str, about: str, *more: str) -> Gauge:
        return Gauge(f"booking_migrate_{name}", about, ("command", *more), registry=self._registry)

    def _counter(self, name: str, about: str) -> Counter:
        made = Counter(f"booking_migrate_{name}", about, ("command",), registry=self._registry)
        # So that it appears with 0, too.
        made.labels(self._command)
        return made

    def notify(self, event: Event) -> None:
        """Count an event."""
        command = self._command
        match event:
            case Advanced(documents):
                self._processed.labels(command).inc(documents)
            case PhaseStarted(total=total):
                self._expected.labels(command).set(total or 0)
            case Retried():
                self._retries.labels(command).inc()
            case Warned():
                self._warnings.labels(command).inc()
            case Checkpointed():
                self._checkpoints.labels(command).inc()
            case Waiting(seconds=seconds) | Paused(seconds=seconds):
                self._waiting.labels(command).set(seconds)
            case WaitEnded() | Resumed():
                self._waiting.labels(command).set(0)
            case PhaseEnded() | Announced() | ReadingChosen() | Adjusted() | RunOpened():
                pass

    def end(self, report: Report) -> None:
        """Take the result of the command, and write the file for the last time."""
        command = self._command
        self._ended.labels(command).set(time())
        self._exit.labels(command).set(int(report.exit_code))
        if report.counts is not None:
            for kind, count in report.counts.model_dump().items():
                self._counts.labels(command, kind).set(count)
        if report.mismatch_count is not None:
            self._mismatches.labels(command).set(report.mismatch_count)
        self.write()

    def write(self) -> None:
        """Write the file."""
        try:
            write_to_textfile(str(self._path), self._registry)
            self.problem = None
        except OSError as error:
            self.problem = error

    @contextmanager
    def written(self) -> Iterator[None]:
        """Write the file now and every ten seconds while the context lasts."""
        self.write()
        with repeated(self.write, WRITE_SECONDS, name="metrics"):
            yield
