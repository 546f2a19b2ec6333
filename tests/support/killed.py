"""The program as a process that stops, waits or dies at a named step of a run's life.

``python -m tests.support.killed WHAT STEP N ARGUMENTS...`` runs the command line with a listener that, when the step is
reached for the Nth time, kills the process (``kill``), or makes a file and waits for another (``wait FILE``).
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from booking_migrate.cli import app, progress
from booking_migrate.events import Event, Listener, Reached, Step

GATE = "LIFECYCLE_GATE"
"""The variable with the path of a gate: ``PATH.reached`` is made, ``PATH.open`` is waited for."""


class Saboteur:
    """A listener that acts at one step."""

    def __init__(self, what: str, step: Step, count: int) -> None:
        self._what = what
        self._step = step
        self._left = count

    def notify(self, event: Event) -> None:
        """Act if this is the step."""
        if isinstance(event, Reached) and event.step is self._step:
            self._left -= 1
            if self._left == 0:
                self._act()

    def _act(self) -> None:
        if self._what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        gate = os.environ[GATE]
        Path(f"{gate}.reached").touch()
        while not Path(f"{gate}.open").exists():
            time.sleep(0.01)


def _main() -> None:
    what, step, count, *arguments = sys.argv[1:]

    @contextmanager
    def saboteur(*_stream: Any, **_options: Any) -> Iterator[Listener]:
        yield Saboteur(what, Step(step), int(count))

    progress.progress = saboteur
    sys.argv = ["booking-migrate", *arguments]
    app.main()


if __name__ == "__main__":
    _main()
