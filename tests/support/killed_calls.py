"""The program as a process that is killed when one of its methods is called, or has returned, for the Nth time."""

import os
import signal
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from booking_migrate.cli import app
from tests.support.forked import Forked

ROOT = Path(__file__).parents[2]
_LIMIT_SECONDS = 120


def killed_around(place: str, count: int, environment: Mapping[str, str], *arguments: str) -> int:
    """Kill the program around a call, and return its exit code.

    Args:
        place: ``before`` or ``after``, module, class and method: ``after package.module:Class.method``; or ``SIGTERM``, or another
            signal, which is sent before the call.
        count: at which call.
        environment: the variables of the process.
        arguments: those of the program.
    """
    with Forked((place, str(count), *arguments), environment, main=_main, folder=ROOT) as process:
        try:
            process.communicate(_LIMIT_SECONDS)
        finally:
            process.kill()
    assert process.returncode is not None
    return process.returncode


def _main(place: str, count: str, *arguments: str) -> None:
    moment, _, target = place.partition(" ")
    module, _, path = target.partition(":")
    owner, _, name = path.partition(".")
    kind = getattr(import_module(module), owner)
    whole = getattr(kind, name)
    left = int(count)

    def deadly(*given: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if moment != "after" and not left:
            os.kill(os.getpid(), signal.SIGKILL if moment == "before" else signal.Signals[moment])
        result = whole(*given, **named)
        if moment == "after" and not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(kind, name, deadly)
    sys.argv = ["booking-migrate", *arguments]
    app.main()
