"""The program as a process that stops, waits or dies at a named step of a run's life.

`killed_at` runs the command line with a failpoint that kills the process when the step is reached for the Nth time;
``python -m tests.support.killed wait STEP N ARGUMENTS...`` with one that makes a file and waits for another, which may name a
later step to be killed at.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import Any

from booking_migrate.cli import app
from tests.support.failpoints import Step, failpoints

GATE = "LIFECYCLE_GATE"
"""The variable with the path of a gate: ``PATH.reached`` is made, ``PATH.open`` is waited for."""


ROOT = Path(__file__).parents[2]
_PATIENCE = 120
_NEEDED = tuple(f"booking_migrate.cli.{name}" for name in ("migrate", "cutover", "rollback", "finalize"))
_FORKING = get_context("forkserver")


class Saboteur:
    """Acts at one step, when it is reached for the Nth time."""

    def __init__(self, what: str, step: Step, count: int) -> None:
        self._what = what
        self._step = step
        self._left = count

    def __call__(self, step: Step) -> None:
        """Act if this is the step."""
        if step is self._step:
            self._left -= 1
            if self._left == 0:
                self._act()

    def _act(self) -> None:
        if self._what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        gate = os.environ[GATE]
        Path(f"{gate}.reached").touch()
        opened = Path(f"{gate}.open")
        while not opened.exists():
            time.sleep(0.01)
        deadly = opened.read_text()
        if deadly:
            self._what, self._step, self._left = "kill", Step(deadly), 1


def stopped_at(
    step: Step, environment: Mapping[str, str], gate: Path, *arguments: str
) -> "subprocess.Popen[str]":
    """The program as a process that waits at a step until ``gate.open`` is made."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.killed", "wait", step.value, "1", *arguments],
        env={**environment, GATE: str(gate)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + _PATIENCE
    while not Path(f"{gate}.reached").exists():
        if time.monotonic() > deadline or process.poll() is not None:
            process.kill()
            raise AssertionError(f"{step} was not reached: {process.communicate()}")
        time.sleep(0.01)
    return process


def goes_on(process: "subprocess.Popen[str]", gate: Path) -> dict[str, Any]:
    """Open the gate; the report in the end."""
    Path(f"{gate}.open").touch()
    try:
        output, errors = process.communicate(timeout=_PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    report: dict[str, Any] = json.loads(output)
    return report


def dies_at(process: "subprocess.Popen[str]", gate: Path, step: Step) -> int:
    """Open the gate, and have the process killed at a later step; its exit code."""
    written = Path(f"{gate}.step")
    written.write_text(step.value)
    written.rename(f"{gate}.open")
    try:
        process.communicate(timeout=_PATIENCE)
    finally:
        process.kill()
    return process.returncode


def prepare_forking() -> None:
    """Start the process that others are forked from, with what takes long to import; the program would start it with less."""
    _FORKING.set_forkserver_preload(["__main__", __name__, *_NEEDED])
    forkserver.ensure_running()


def killed_at(step: Step, count: int, environment: Mapping[str, str], *arguments: str) -> int:
    """Kill the program at a step, in a process that is forked and so starts at once; return its exit code."""
    process = _FORKING.Process(target=_run, args=(step.value, count, dict(environment), arguments))
    process.start()
    process.join(_PATIENCE)
    process.kill()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _run(step: str, count: int, environment: dict[str, str], arguments: tuple[str, ...]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    sys.argv = ["", "kill", step, str(count), *arguments]
    _main()


def _main() -> None:
    what, step, count, *arguments = sys.argv[1:]

    sys.argv = ["booking-migrate", *arguments]
    with failpoints(Saboteur(what, Step(step), int(count))):
        app.main()


if __name__ == "__main__":
    _main()
