"""The pages that describe the package name what exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "booking_migrate"
PAGES = sorted(PACKAGE.rglob("README.md"))
_LONGEST = 60
_LONGEST_FILE, _LONGEST_FUNCTION = 400, 60


def _named(page: Path) -> list[str]:
    """The paths in code spans of a page, as far as they look like ones."""
    spans = re.findall(r"`([\w/]+(?:\.py|/))`", page.read_text(encoding="utf-8"))
    return sorted({*spans, *re.findall(r"`((?:[a-z_]+/)+[a-z_]+)`", page.read_text(encoding="utf-8"))})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_named_paths_exist(page: Path) -> None:
    """Every file and folder that a page names exists, from the package or from the page's own folder on."""
    roots = (PACKAGE, page.parent, PACKAGE.parent)
    absent = [
        name
        for name in _named(page)
        if not any((root / name).exists() or (root / f"{name}.py").exists() for root in roots)
    ]

    assert [] == absent


def test_there_are_enough_ways_in() -> None:
    """The table of what to open has at least twenty rows, and every folder of a verb has a page of at most 60 lines."""
    page = PACKAGE.joinpath("README.md").read_text(encoding="utf-8")
    table = page.split("## To change X, open Y")[1].split("\n## ")[0]
    verbs = ("migrate", "in_place", "verify", "dry_run", "cutover", "rollback")
    lengths = {
        verb: len(PACKAGE.joinpath(verb, "README.md").read_text(encoding="utf-8").splitlines())
        for verb in verbs
    }

    assert 22 <= len([line for line in table.splitlines() if line.startswith("|")])
    assert {} == {verb: length for verb, length in lengths.items() if length > _LONGEST}


def _functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The functions of a module, each with the lines of its statements; signature and docstring do not count."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            if body:
                yield node.name, (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_files_and_functions_are_short() -> None:
    """No module is longer than 400 lines, and no function than 60; what is longer has two subjects."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
    file_lines = {str(path): text.count("\n") for path, text in texts.items()}
    function_lines = {
        f"{path}: {name}": lines
        for path, text in texts.items()
        for name, lines in _functions(ast.parse(text))
    }

    assert {} == {name: lines for name, lines in file_lines.items() if lines > _LONGEST_FILE}
    assert {} == {name: lines for name, lines in function_lines.items() if lines > _LONGEST_FUNCTION}
