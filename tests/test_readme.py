"""The pages say what the program does: commands are run, tables compared, links followed."""

import re
import tomllib
from pathlib import Path

import pytest

from booking_migrate.domain.contract import Contract
from tests.support.readme import (
    BLOCKS,
    DRY_RUN,
    OUTPUTS,
    README,
    ROOT,
    Block,
    Output,
    fenced,
    pages,
    without_durations,
)

_MOST_LINES = 220


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_the_generated_parts_are_those_of_the_program(block: Block) -> None:
    """Each generated part is in its page as the program makes it; `python -m tests.support.readme` renews them."""
    assert BLOCKS[block]() == block.text()


def test_the_example_config_file_shows_the_whole_contract() -> None:
    """Its `[contract]` has every key, and behind a `#` the default."""
    text = (ROOT / "examples" / "booking-migrate.toml").read_text(encoding="utf-8")
    lines = text.partition("\n[contract]\n")[2].partition("\n\n")[0]
    shown = tomllib.loads(re.sub(r"^# ", "", lines, flags=re.MULTILINE))

    assert Contract().model_dump(mode="json") | tomllib.loads(lines) == shown


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


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: output.name)
def test_a_command_prints_what_its_page_shows(output: Output, tmp_path: Path) -> None:
    """It exits with 3, warns of nothing, and its output is, or begins with, what the page shows."""
    done = output.run(tmp_path)
    shown = output.shown()

    assert (3, "") == (done.returncode, done.stderr)
    assert shown == without_durations(done.stdout)[: len(shown)]


def test_a_dry_run_is_shown_whole_and_writes_nothing(tmp_path: Path) -> None:
    """The page on dry-run shows all of the output, and the command leaves no file behind."""
    output = next(each for each in OUTPUTS if each.page == DRY_RUN)
    done = output.run(tmp_path)
    files = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}

    assert len(without_durations(done.stdout)) == len(output.shown())
    assert {path.relative_to(ROOT) for path in (ROOT / "examples").rglob("*")} | {Path("examples")} == files


def test_the_first_command_installs_the_program() -> None:
    """The README's first command needs nothing but a clone."""
    *preparation, command = fenced("first command").strip().split(" && ")

    assert ["python3 -m venv .venv", ".venv/bin/pip install --quiet ."] == preparation
    assert command.startswith(".venv/bin/booking-migrate migrate ")


def test_the_test_command_installs_what_the_project_declares() -> None:
    """The README's second command installs the extra that pyproject.toml has, and runs pytest."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert "dev" in extras
    assert [
        "python3 -m venv .venv",
        ".venv/bin/pip install --quiet --editable '.[dev]'",
        ".venv/bin/python -m pytest -n 5 --dist loadfile",
    ] == (fenced("test command").strip().split(" && "))
