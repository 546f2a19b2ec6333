"""The protocol of following and of the live cut-over, model-checked; see `model/README.md`.

Spin searches the whole state space of each model. With one guard removed, it must find a counterexample.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.simulation import mutants, window_mutants

_FOLDER = Path(__file__).parent / "model"
_MODELS = ("following", "live_cutover", "handover", "reverse_window")

_DEPTH = 1_000
"""More steps than the longest path has. Spin reports a path that is cut off."""

_TABLE_ROW = re.compile(r"^\| `(\w+)` \| `(\w+)` \|", re.MULTILINE)
_SWITCH = re.compile(r"\bMUTANT_(\w+)")
_STORED = re.compile(r"(\d+) states, stored")

_MUTANTS = [
    (model, mutant) for model, mutant in _TABLE_ROW.findall((_FOLDER / "README.md").read_text("utf-8"))
]
"""What the page describes: the model, and the guard that is removed."""

_OF_THE_CODE = {*mutants.MUTANTS, *window_mutants.MUTANTS}
"""By default these guards are removed from the real code only: the simulator finds each of them at a known seed."""


def _tool(name: str, package: str) -> str:
    """Return a program's path; without it the test fails, because a model that is not checked shows nothing."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is missing. Install the package {package}: apt-get install {package}")
    return path


def _run(command: list[str], folder: Path) -> str:
    """Run a command and return its output; a failure is shown with all that was written."""
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    output = result.stdout + result.stderr
    assert 0 == result.returncode, output
    return output


def _search(model: str, folder: Path, *, spin: list[str], compiler: list[str], slots: int = 18) -> str:
    """Generate, compile and run the search for a model, with a table of two to the power of `slots`; return its report."""
    generate = [_tool("spin", "spin"), *spin, "-a", str(_FOLDER / f"{model}.pml")]
    _run(generate, folder)
    # Not for cycles: the properties are about what is reached.
    build = [
        _tool("cc", "gcc"),
        "-w",
        "-DSAFETY",
        "-DVECTORSZ=256",
        "-DMEMLIM=2048",
        *compiler,
        "-o",
        "pan",
        "pan.c",
    ]
    _run(build, folder)
    return _run([str(folder / "pan"), f"-m{_DEPTH}", f"-w{slots}"], folder)


@pytest.mark.parametrize(
    ("model", "states"),
    [("following", 100_000), ("live_cutover", 700_000), ("reverse_window", 400_000)],
)
def test_protocol_holds_for_two_writes(model: str, states: int, tmp_path: Path) -> None:
    """No schedule of two writes loses, doubles or keeps anything stale, and none of them is left out."""
    # Compiling with -O2 takes longer than searching.
    assert _searched_whole(_search(model, tmp_path, spin=["-DWRITES=2"], compiler=["-O0"])) > states


@pytest.mark.parametrize(
    "model",
    ["handover", *(pytest.param(each, marks=pytest.mark.slow) for each in _MODELS if each != "handover")],
)
def test_protocol_holds(model: str, tmp_path: Path) -> None:
    """No schedule within the bounds loses, doubles or keeps anything stale, and none of them is left out."""
    # Up to 1 GB: compressed states would take half as much and twice the time.
    assert _searched_whole(_search(model, tmp_path, spin=[], compiler=["-O1"], slots=24)) > 1_000_000


def _searched_whole(report: str) -> int:
    """Check that a search was complete and found nothing; return the number of states."""
    assert "errors: 0" in report, report
    assert "Full statespace search" in report, report
    for cut_off in ("Search not completed", "max search depth too small", "memory limit", "out of memory"):
        assert cut_off not in report, report
    stored = _STORED.search(report)
    assert stored is not None, report
    return int(stored[1])


@pytest.mark.parametrize(
    ("model", "mutant"),
    [
        pytest.param(model, mutant, marks=pytest.mark.slow if mutant in _OF_THE_CODE else ())
        for model, mutant in _MUTANTS
    ],
)
def test_removed_guard_is_found(model: str, mutant: str, tmp_path: Path) -> None:
    """Without one of its guards, the protocol has a counterexample: the model can see the fault."""
    # Two writes show every one of these faults; compiling takes longer than searching.
    report = _search(model, tmp_path, spin=["-DWRITES=2", f"-DMUTANT_{mutant}"], compiler=["-O0"])
    assert "errors: 1" in report, report
    assert "assertion violated" in report, report
    assert (tmp_path / f"{model}.pml.trail").exists(), report


def test_every_mutant_is_described() -> None:
    """The page lists every guard that can be removed from a model, and no other."""
    switches = [
        (model, mutant)
        for model in _MODELS
        for mutant in sorted(set(_SWITCH.findall((_FOLDER / f"{model}.pml").read_text("utf-8"))))
    ]
    assert sorted(switches) == sorted(_MUTANTS)
