"""What a command does not do before and after its work, which is most of what a small migration takes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.readme import ROOT

_WATCHED = """
import gc, json, sys
looked_at = []
gc.callbacks.append(lambda phase, info: phase == "start" and looked_at.append(gc.get_count()[0]))
sys.argv = ["booking-migrate", *sys.argv[1:]]
from booking_migrate.cli.app import main
try:
    main()
except SystemExit:
    loaded = [name for name in sys.modules if name.startswith("booking_migrate.")]
    print(json.dumps({"most": max(looked_at), "frozen": gc.get_freeze_count(), "loaded": loaded}), file=sys.stderr)
"""

_INTERRUPTED = """
import signal, sys
from importlib.abc import MetaPathFinder
class Signalled(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == wanted:
            signal.raise_signal(number)
wanted, number = sys.argv.pop(1), int(sys.argv.pop(1))
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Signalled())
from booking_migrate.cli.app import main
main()
"""


def migrated(folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Migrate the example into a file in a folder, by a script that runs the program in its own way."""
    places = {name: str(ROOT / "examples" / f"{name}.jsonl") for name in ("bookings", "users", "experts")}
    return subprocess.run(
        [
            *(sys.executable, "-c", script, *arguments, "migrate", "--source", places["bookings"]),
            *("--users", places["users"], "--experts", places["experts"], "--target", "clients.jsonl"),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_small_migration_neither_collects_nor_loads_what_it_does_not_use(tmp_path: Path) -> None:
    """The objects of loaded modules are not searched for cycles, and reports of other commands are not loaded."""
    done = migrated(tmp_path, _WATCHED)
    assert 0 == done.returncode, done.stderr
    seen = json.loads(done.stderr.splitlines()[-1])
    loaded = set(seen["loaded"])

    assert "booking_migrate.reports.pages.migrate" in loaded
    assert set() == loaded & {
        "booking_migrate.reports.lifecycle",
        "booking_migrate.reports.model_dry_run",
        "booking_migrate.reports.preflight",
        "booking_migrate.service",
    }
    assert seen["most"] < 1000
    assert seen["frozen"] > 50_000


@pytest.mark.parametrize(
    ("number", "code", "named"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated (SIGTERM)"),
        (signal.SIGHUP, 129, "the terminal was closed (SIGHUP)"),
    ],
)
@pytest.mark.parametrize(
    ("module", "said", "is_written"),
    [
        ("booking_migrate.cli.migrate", "\nNothing was changed.\n", False),
        (
            "booking_migrate.reports.terminal",
            " while the result was reported: the work itself had ended\n",
            True,
        ),
    ],
    ids=["before its work", "behind its work"],
)
def test_a_signal_outside_of_the_work_is_said(
    tmp_path: Path, module: str, said: str, number: signal.Signals, code: int, named: str, is_written: bool
) -> None:
    """While a command is loaded or its result is rendered, a signal ends the program with a line that says what it means."""
    done = migrated(tmp_path, _INTERRUPTED, module, str(int(number)))

    assert (code, f"error: {named}{said}") == (done.returncode, done.stderr)
    assert is_written == (tmp_path / "clients.jsonl").exists()
