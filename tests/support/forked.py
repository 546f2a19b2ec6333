"""The program as a process that starts at once: it is forked from one that has imported what takes long to import.

It has its own streams, folder, variables and signals like one that is started by its name. What the interpreter itself does at
the start and at the end of a process is not as there: tests of that start the program anew.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver, get_context
from multiprocessing.reduction import DupFd
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self, TextIO

from booking_migrate.cli import app

_COMMANDS = ("migrate", "verify", "status", "dry_run", "cutover", "rollback", "finalize")
_NEEDED = tuple(f"booking_migrate.cli.{name}" for name in _COMMANDS)
_SECONDS = 300
"""How long a process may take; no test depends on it."""

FORKING = get_context("forkserver")


def prepare_forking() -> None:
    """Start the process that others are forked from, with what takes long to import; the program would start it with less."""
    FORKING.set_forkserver_preload(["__main__", "tests.support.killed", *_NEEDED, "tests.support.warmed"])
    forkserver.ensure_running()


class Forked:
    """A process that is used as one of `subprocess.Popen` with text streams; standard input is empty, or a given file."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        main: Callable[..., Any] | None = None,
        folder: Path | None = None,
        input: TextIO | None = None,  # noqa: A002
    ) -> None:
        """Start it.

        Args:
            arguments: the arguments of the program, or of another main function.
            environment: its variables.
            main: the function to call; by default the program's own.
            folder: where it runs; by default here.
            input: its standard input.
        """
        pipes = [os.pipe() for _ in range(2)]
        nothing = os.open(os.devnull, os.O_RDONLY)
        given = nothing if input is None else input.fileno()
        streams = [DupFd(each) for each in (given, *(written for _, written in pipes))]
        target = main or _run_program
        where = str(folder or Path.cwd())
        self._process = FORKING.Process(
            target=_run, args=(streams, dict(environment), where, target, tuple(arguments))
        )
        self._process.start()
        for descriptor in (nothing, *(written for _, written in pipes)):
            os.close(descriptor)
        self.stdout, self.stderr = (
            os.fdopen(read, encoding="utf-8", errors="backslashreplace") for read, _ in pipes
        )
        self.pid: int = self._process.pid or 0

    @property
    def returncode(self) -> int | Any:
        """Its exit code, or the negative number of the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | Any:
        """The same."""
        return self.returncode

    def wait(self, seconds: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        self._process.join(seconds)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("the program", seconds or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()

    def communicate(self, timeout: float = _SECONDS) -> tuple[str, str]:
        """Wait for its end; what it has written.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        read: dict[TextIO, str] = {}
        readers = [
            Thread(target=lambda stream=each: read.update({stream: stream.read()}), daemon=True)
            for each in (self.stdout, self.stderr)
        ]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join()
        self._close()
        return read[self.stdout], read[self.stderr]

    def _close(self) -> None:
        self.stdout.close()
        self.stderr.close()

    def __enter__(self) -> Self:
        """Begin what ends with the process."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for its end, and close its streams."""
        self._process.join()
        self._close()


def ran(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    main: Callable[..., Any] | None = None,
    folder: Path | None = None,
    input: TextIO | None = None,  # noqa: A002
) -> "subprocess.CompletedProcess[str]":
    """Run the program, or another main function, to its end.

    Raises:
        subprocess.TimeoutExpired: it had to be killed.
    """
    with Forked(arguments, environment, main=main, folder=folder, input=input) as process:
        try:
            output, errors = process.communicate()
        finally:
            process.kill()
    assert process.returncode is not None
    return subprocess.CompletedProcess(list(arguments), process.returncode, output, errors)


def _run_program(*arguments: str) -> None:
    sys.argv = ["booking-migrate", *arguments]
    app.main()


def _run(
    streams: Sequence[Any],
    environment: Mapping[str, str],
    folder: str,
    main: Callable[..., Any],
    arguments: Sequence[str],
) -> None:
    """Be the process."""
    for number, stream in enumerate(streams):
        descriptor = stream.detach()
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    # As the interpreter makes them at the start: what was inherited is for other kinds of files.
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    main(*arguments)
