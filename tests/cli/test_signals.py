"""Ctrl-C and SIGTERM: the documented exit codes, and no half file."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.booking_lines import SOUND


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_signal_while_reading(workspace: Path, program: list[str], number: signal.Signals, code: int) -> None:
    """A signal in the middle of the source ends the run with its code, a JSON report, and nothing written."""
    source = workspace / "in.jsonl"
    os.mkfifo(source)
    arguments = ["migrate", "--source", "in.jsonl", "--target", "out.jsonl", "--json"]
    # Opening the source waits for its reader, so after that the run has begun; it never sees the source's end.
    with (
        subprocess.Popen([*program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
        source.open("w", encoding="utf-8") as feed,
    ):
        feed.write(SOUND)
        feed.flush()
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)

    assert code == process.returncode, stderr
    assert code == json.loads(stdout)["exit_code"]
    assert b"Traceback" not in stderr
    assert [source] == list(workspace.iterdir())
