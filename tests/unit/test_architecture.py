"""The pages that describe the package name what exists."""

import ast
import re
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "booking_migrate"
TESTS = Path(__file__).parents[1]
PAGES = sorted(PACKAGE.rglob("README.md"))
_LONGEST = 60
_LONGEST_ROW = 500
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
    verbs = ("migrate", "in_place", "verify", "dry_run", "cutover", "rollback")
    lengths = {
        verb: len(PACKAGE.joinpath(verb, "README.md").read_text(encoding="utf-8").splitlines())
        for verb in verbs
    }

    assert 20 <= len(_rows())
    assert {} == {verb: length for verb, length in lengths.items() if length > _LONGEST}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_names_in_the_docstring_of_a_package_exist(path: Path) -> None:
    """What the docstring of a package names as ``module.name`` is there, in its folder or from the package on."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    absent = []
    for dotted in re.findall(r"`((?:[a-z_]+\.)+[A-Za-z_]+)`", text):
        module, _, name = dotted.rpartition(".")
        files = [root / f"{module.replace('.', '/')}.py" for root in (path.parent, PACKAGE)]
        if not any(each.exists() and name in each.read_text(encoding="utf-8") for each in files):
            absent.append(dotted)

    assert [] == absent


def _modules_named(page: Path) -> set[Path]:
    """What a page names that may be modules, as paths without suffix, from the package or from the page's own folder on."""
    names = re.findall(r"`([\w/]+?)(?:\.py)?`|\b([\w/]+)\.py\b", page.read_text(encoding="utf-8"))
    return {root / name for name in filter(None, chain(*names)) for root in (PACKAGE, page.parent)}


def test_every_module_has_a_way_in() -> None:
    """Each module is named in the page of its package; where it has none (bson, errors), and on the top level, in any page."""
    anywhere = set[Path]().union(*map(_modules_named, PAGES))
    absent = []
    for path in sorted(PACKAGE.rglob("*.py")):
        page = PACKAGE / path.relative_to(PACKAGE).parts[0] / "README.md"
        named = _modules_named(page) if page.exists() else anywhere
        if not path.name.startswith("__") and path.with_suffix("") not in named:
            absent.append(str(path.relative_to(PACKAGE)))

    assert [] == absent


def _imports_at_run_time(node: ast.AST) -> Iterator[str]:
    """The modules that code imports, but for those that only annotations need."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.ImportFrom):
            yield child.module or ""
        yield from _imports_at_run_time(child)


def test_verbs_and_commands_open_places_by_ports() -> None:
    """Outside of `stores` and `service`, the classes of `stores.mongo` are named in annotations only."""
    found = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in {"stores", "service"}
        for module in _imports_at_run_time(ast.parse(path.read_text(encoding="utf-8")))
        if module.startswith("booking_migrate.stores.mongo")
    ]

    assert [] == found


def test_the_layers_are_all_folders() -> None:
    """The table of layers has every folder and module of the top level, and nothing else."""
    page = PACKAGE.joinpath("README.md").read_text(encoding="utf-8")
    table = page.split("## Layers")[1].split("\n\n")[1]
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}

    assert folders == set(
        re.findall(r"`(\w+/)`", table.replace("stores/files/", "").replace("stores/mongo/", ""))
    )


def _rows(heading: str = "To change X, open Y") -> list[str]:
    """The rows of the tables below a heading, without their own headings."""
    page = PACKAGE.joinpath("README.md").read_text(encoding="utf-8")
    table = page.split(f"## {heading}")[1].split("\n## ")[0]
    lines = table.splitlines()
    headings = {line for line, below in pairwise(lines) if below.startswith("|---")}
    return [line for line in lines if line.startswith("| ") and line not in headings]


def test_rows_are_short() -> None:
    """No row of the table of what to open is longer than 500 characters; what is longer has two subjects."""
    assert [] == [row[2:80] for row in _rows() if len(row) > _LONGEST_ROW]


@pytest.mark.parametrize(
    "row", [*_rows(), *_rows("How an option's value gets there")], ids=lambda row: row[2:50]
)
def test_names_are_in_the_files_of_their_row(row: str) -> None:
    """A class, function, constant or field that a row of these tables names is defined in one of the row's files."""
    cells = " ".join(row.strip("| ").split(" | ")[1:])
    paths = [
        (PACKAGE.parent if name.startswith("tests/") else PACKAGE) / name
        for name in re.findall(r"`([\w/]+\.(?:py|j2))`", cells)
    ]
    folders = [PACKAGE / name for name in re.findall(r"`([\w/]+/)`", cells) if "." not in name]
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for path in [*paths, *(found for folder in folders for found in folder.glob("*.py"))]
    )
    names = {
        part
        for span in re.findall(r"`([A-Za-z_][\w.]*)`", cells)
        if not span.endswith((".py", ".md"))
        for part in span.split(".")
    }

    assert [] == sorted(
        name
        for name in names
        if not re.search(
            rf"(?:(?:class|def) {name}\b|^ *{name}\b[^=\n]*[:=]|^_?[A-Z_, ]*\b{name}\b.*=)",
            source,
            re.MULTILINE,
        )
    )


def test_points_in_time_are_worded_in_one_place() -> None:
    """Only `quantities` decides how a point in time is shown: in which zone, and how precisely."""
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if path.name != "quantities.py" and re.search(r"%[HT][^}]*\} ?UTC", line)
    ]

    assert [] == found


def _functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The functions of a module, each with the lines of its statements; signature and docstring do not count."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            if body:
                yield node.name, (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_files_and_functions_are_short() -> None:
    """No module, and none of the tests, is longer than 400 lines, and no function than 60; what is longer has two subjects."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
    tests = {path: path.read_text(encoding="utf-8") for path in sorted(TESTS.rglob("*.py"))}
    file_lines = {str(path): text.count("\n") for path, text in (texts | tests).items()}
    function_lines = {
        f"{path}: {name}": lines
        for path, text in texts.items()
        for name, lines in _functions(ast.parse(text))
    }

    assert {} == {name: lines for name, lines in file_lines.items() if lines > _LONGEST_FILE}
    assert {} == {name: lines for name, lines in function_lines.items() if lines > _LONGEST_FUNCTION}
