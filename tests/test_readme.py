"""The pages say what the program does: commands are run, tables compared, links followed."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.readme import BLOCKS, README, ROOT, Block, fenced, pages

_MOST_LINES = 220


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_the_generated_parts_are_those_of_the_program(block: Block) -> None:
    """Each generated part is in its page as the program makes it; `python -m tests.support.readme` renews them."""
    assert BLOCKS[block]() == block.text()


def test_the_readme_is_short() -> None:
    """README.md has at most 220 lines: details are in the pages that it links to."""
    assert _MOST_LINES >= len(README.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_pages_that_exist(page: Path) -> None:
    """Every relative link names a file or folder of the repository, and a heading that it has."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)

    assert [] == broken


def _anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub names them in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_linked() -> None:
    """Each page can be reached from README.md by links."""
    reached, waiting = set(), [README]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        for link in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8")):
            target = (page.parent / link).resolve()
            if target.exists() and target not in reached:
                waiting.append(target)
    # The architecture page names the folders whose pages explain them.
    folders = {page for page in pages() if page.parent.parent == ROOT / "booking_migrate"}

    assert set() == set(pages()) - reached - folders


def test_the_first_command_shows_what_the_readme_shows(tmp_path: Path) -> None:
    """The README's first command, its installation aside, begins with what the README shows and exits with 3."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    *preparation, command = fenced("first command").strip().split(" && ")
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("BOOKING_", "MONGODB_"))
    }

    done = subprocess.run(
        [sys.executable, "-m", "booking_migrate", *command.split()[1:]],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
    expected = _without_duration(fenced("first output"))

    assert ["python3 -m venv .venv", ".venv/bin/pip install --quiet ."] == preparation
    assert command.startswith(".venv/bin/booking-migrate migrate ")
    assert (3, expected) == (done.returncode, _without_duration(done.stdout)[: len(expected)])


def _without_duration(text: str) -> list[str]:
    """Lines without the seconds, which differ from run to run, and without the blanks at their ends."""
    return [line.rsplit(", ", 1)[0] if "->" in line else line.rstrip() for line in text.strip().splitlines()]


def test_the_test_command_installs_what_the_project_declares() -> None:
    """The README's second command installs the extra that pyproject.toml has, and runs pytest."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert "dev" in extras
    assert [
        "python3 -m venv .venv",
        ".venv/bin/pip install --quiet --editable '.[dev]'",
        ".venv/bin/python -m pytest -n 2 --dist loadfile",
    ] == (fenced("test command").strip().split(" && "))
