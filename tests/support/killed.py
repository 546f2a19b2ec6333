"""The program as a process that stops, waits or dies at a named step of a run's life.

`killed_at` runs the command line with a failpoint that kills the process when the step is reached for the Nth time,
`waiting_at` and `stopped_at` with one that makes a file and waits for another, which may name a later step to be killed at.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from booking_migrate.cli import app
from tests.support.failpoints import Step, failpoints
from tests.support.forked import Forked

GATE = "LIFECYCLE_GATE"
"""The variable with the path of a gate: ``PATH.reached`` is made, ``PATH.open`` is waited for."""


ROOT = Path(__file__).parents[2]
_PATIENCE = 120


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


def waiting_at(
    step: Step,
    environment: Mapping[str, str],
    gate: Path,
    *arguments: str,
    main: Callable[..., None] | None = None,
) -> Forked:
    """Start the program as a process that will wait at a step until ``gate.open`` is made; ``main`` as for `killed_at`."""
    variables = {**environment, GATE: str(gate)}
    return Forked(("wait", step.value, "1", *arguments), variables, main=main or _main, folder=ROOT)


def stopped_at(step: Step, environment: Mapping[str, str], gate: Path, *arguments: str) -> Forked:
    """The program as a process that waits at a step until ``gate.open`` is made."""
    process = waiting_at(step, environment, gate, *arguments)
    deadline = time.monotonic() + _PATIENCE
    while not Path(f"{gate}.reached").exists():
        if time.monotonic() > deadline or process.poll() is not None:
            process.kill()
            raise AssertionError(f"{step} was not reached: {process.communicate()}")
        time.sleep(0.01)
    return process


def goes_on(process: Forked, gate: Path) -> dict[str, Any]:
    """Open the gate; the report in the end."""
    Path(f"{gate}.open").touch()
    try:
        output, errors = process.communicate(timeout=_PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    report: dict[str, Any] = json.loads(output)
    return report


def dies_at(process: Forked, gate: Path, step: Step) -> int:
    """Open the gate, and have the process killed at a later step; its exit code."""
    written = Path(f"{gate}.step")
    written.write_text(step.value)
    written.rename(f"{gate}.open")
    try:
        process.communicate(timeout=_PATIENCE)
    finally:
        process.kill()
    return process.returncode


def killed_at(
    step: Step,
    count: int,
    environment: Mapping[str, str],
    *arguments: str,
    main: Callable[..., None] | None = None,
) -> int:
    """Kill the program at a step; return its exit code. ``main`` is the function that it runs, if it is not the usual one."""
    with Forked(
        ("kill", step.value, str(count), *arguments), environment, main=main or _main, folder=ROOT
    ) as process:
        try:
            process.communicate(_PATIENCE)
        finally:
            process.kill()
    assert process.returncode is not None
    return process.returncode


def _main(what: str, step: str, count: str, *arguments: str) -> None:
    sys.argv = ["booking-migrate", *arguments]
    with failpoints(Saboteur(what, Step(step), int(count))):
        app.main()


def waiting_behind(gate: str, module: str, owner: str, name: str, *arguments: str) -> None:
    """Be the program that makes ``GATE.reached`` when a method has returned, and waits for ``GATE.open``."""
    kind = getattr(import_module(module), owner)
    whole = getattr(kind, name)

    def waiting(*given: Any, **named: Any) -> Any:
        result = whole(*given, **named)
        Path(f"{gate}.reached").touch()
        while not Path(f"{gate}.open").exists():
            time.sleep(0.01)
        return result

    setattr(kind, name, waiting)
    sys.argv = ["booking-migrate", *arguments]
    app.main()
