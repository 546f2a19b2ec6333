"""What the page on dry-run shows is what it prints."""

import os
import re
import subprocess
import sys

from tests.support.readme import ROOT, fenced

PAGE = ROOT / "examples" / "dry-run.md"


def _without_durations(text: str) -> list[str]:
    """Lines without the seconds, which differ from run to run, and without the blanks at their ends."""
    return [re.sub(r"\d+(?:\.\d+)? s\b", "N s", line).rstrip() for line in text.strip().splitlines()]


def test_the_page_shows_what_a_dry_run_prints() -> None:
    """The command in the page prints the text under it and exits with 3; it leaves no file behind."""
    before = set((ROOT / "examples").iterdir())
    _, *arguments = fenced("dry-run command", PAGE).split()
    done = subprocess.run(
        [sys.executable, "-m", "booking_migrate", *arguments],
        cwd=ROOT,
        env={
            **{
                key: value
                for key, value in os.environ.items()
                if not key.startswith(("BOOKING_", "MONGODB_"))
            },
            "COLUMNS": "100",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert (3, "") == (done.returncode, done.stderr)
    assert _without_durations(fenced("dry-run output", PAGE)) == _without_durations(done.stdout)
    assert before == set((ROOT / "examples").iterdir())
