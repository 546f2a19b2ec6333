"""An audit of whole applications: what it finds, what it leaves alone, and what does not change that."""

import ast
import keyword
import shutil
from collections import Counter
from pathlib import Path

import pytest
from ast_grep_py import Edit, SgNode, SgRoot
from hypothesis import given, settings
from hypothesis import strategies as st

from booking_migrate.audit.findings import AuditOutcome, Rule
from booking_migrate.audit.paths import MOVED
from booking_migrate.audit.run import AuditPlan, audit
from tests.audit.conftest import HERE, LABELLED, REWRITTEN, audited, labels, score


@pytest.mark.parametrize("name", LABELLED)
def test_places_that_must_change_are_found(name: str) -> None:
    """Of the labelled places at least 95 % are found, and of what is called certain or likely at least 80 % is labelled."""
    found = score(audited(name), labels(name))

    assert 0.95 <= found.recall, sorted(found.missed)
    assert 0.80 <= found.precision, sorted(found.false)


@pytest.mark.parametrize("name", REWRITTEN)
def test_nothing_is_found_in_code_for_the_new_structure(name: str) -> None:
    """An application that was written for the new structure has no place to change."""
    outcome = audited(name)

    assert () == outcome.findings
    assert 0 < outcome.file_count


def test_every_rule_is_exercised() -> None:
    """The labelled applications have places of every rule."""
    found = {each.rule for name in LABELLED for each in audited(name).findings}

    assert set() == set(Rule) - found


def test_the_program_itself_is_not_taken_for_an_application_of_the_old_structure() -> None:
    """Its domain works on bookings all over, with other means than an application: no model, no collection."""
    folder = HERE.parents[1] / "booking_migrate" / "domain"

    assert () == audit(AuditPlan([folder])).findings


_NAMES = st.from_regex(r"[a-z][a-zA-Z0-9]{0,8}", fullmatch=True) | st.sampled_from(sorted(MOVED))
_RESERVED = frozenset(
    {
        "default",
        "undefined",
        "arguments",
        "eval",
        "let",
        "static",
        "await",
        "async",
        "of",
        "get",
        "set",
        "this",
    }
)
_JAVASCRIPT_WORDS = frozenset({
    "break", "case", "catch", "class", "const", "continue", "debugger", "delete", "do", "else", "enum", "export", "extends",
    "false", "finally", "for", "function", "if", "import", "in", "instanceof", "new", "null", "return", "super", "switch",
    "throw", "true", "try", "typeof", "var", "void", "while", "with", "yield", "as", "from", "type", "any", "string",
})  # fmt: skip


@settings(max_examples=3, deadline=None)
@given(prefix=_NAMES)
@pytest.mark.parametrize("name", ["express_react", "javascript", "nest_next", "koa_redux"])
def test_names_of_variables_do_not_matter(
    name: str, prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every local variable of JavaScript has another name, even that of a field: the same is found in the same lines."""
    copy = tmp_path_factory.mktemp("renamed") / name
    shutil.copytree(HERE / "apps" / name, copy)
    for path in copy.rglob("*.*s*"):
        path.write_text(_renamed(path.read_text(encoding="utf-8"), prefix, has_jsx=path.suffix != ".ts"))

    assert _lines(audited(name)) == _lines(audit(AuditPlan([copy], base=copy)))


def _lines(outcome: AuditOutcome) -> Counter[tuple[str, int, str, str]]:
    return Counter((each.path, each.at[0], each.rule, each.old) for each in outcome.findings)


def _renamed(text: str, prefix: str, *, has_jsx: bool) -> str:
    """Give every variable that a file declares and does not export another name, made of a prefix and a number."""
    root = SgRoot(text, "tsx" if has_jsx else "typescript").root()
    exported = {each for statement in root.find_all(kind="export_statement") for each in _exported(statement)}
    local: dict[str, str] = {}
    for each in _declared(root):
        name = each.text()
        if name not in exported and name not in _RESERVED and not name[:1].isupper():
            local.setdefault(name, f"{prefix}{len(local) or ''}")
    taken = _JAVASCRIPT_WORDS | {each.text() for each in root.find_all(kind="identifier")}
    local = {name: new if new not in taken else f"{new}_" for name, new in local.items()}
    edits = [edit for each in _all(root) for edit in _edit(each, local)]
    return root.commit_edits(edits)


def _exported(statement: SgNode) -> list[str]:
    """Return the names that other files import."""
    declared = statement.field("declaration")
    parts = (
        [declared, *declared.children()]
        if declared is not None
        else statement.find_all(kind="export_specifier")
    )
    return [name.text() for part in parts if (name := part.field("name")) is not None]


def _declared(root: SgNode) -> list[SgNode]:
    kinds = (
        "variable_declarator",
        "required_parameter",
        "optional_parameter",
        "arrow_function",
        "for_in_statement",
    )
    found = []
    for kind in kinds:
        for node in root.find_all(kind=kind):
            target = (
                node.field("name") or node.field("pattern") or node.field("parameter") or node.field("left")
            )
            if target is not None and any(one.kind() == "accessibility_modifier" for one in node.children()):
                continue
            if target is not None:
                found += [each for each in _all(target) if each.kind() in _BINDINGS]
    return found


_BINDINGS = {"identifier", "shorthand_property_identifier_pattern"}


def _all(node: SgNode) -> list[SgNode]:
    return [node, *(inner for each in node.children() for inner in _all(each))]


def _edit(node: SgNode, local: dict[str, str]) -> list[Edit]:
    new = local.get(node.text())
    if new is None:
        return []
    if node.kind() == "identifier":
        return [node.replace(new)]
    if node.kind() in {"shorthand_property_identifier", "shorthand_property_identifier_pattern"}:
        return [node.replace(f"{node.text()}: {new}")]
    return []


@settings(max_examples=3, deadline=None)
@given(prefix=_NAMES)
@pytest.mark.parametrize("name", ["fastapi", "flask"])
def test_names_of_variables_do_not_matter_in_python(
    name: str, prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every local variable of Python has another name: the same is found as often."""
    copy = tmp_path_factory.mktemp("renamed") / name
    shutil.copytree(HERE / "apps" / name, copy)
    for path in copy.rglob("*.py"):
        tree = _Renaming(prefix).visit(ast.parse(path.read_text(encoding="utf-8")))
        path.write_text(ast.unparse(tree), encoding="utf-8")
    found = audit(AuditPlan([copy], base=copy))

    def kinds(outcome: AuditOutcome) -> Counter[tuple[str, str, str]]:
        return Counter((each.path, each.rule, each.old) for each in outcome.findings)

    assert kinds(audited(name)) == kinds(found)


class _Renaming(ast.NodeTransformer):
    """Renames the variables of functions, not their parameters, which callers may name."""

    def __init__(self, prefix: str) -> None:
        self._prefix = f"{prefix}_" if keyword.iskeyword(prefix) else prefix
        self._names: dict[str, str] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        stored = {
            each.id
            for each in ast.walk(node)
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
        }
        before = self._names
        self._names = {
            **before,
            **{name: f"{self._prefix}{number}" for number, name in enumerate(sorted(stored))},
        }
        node.body = [self.visit(each) for each in node.body]
        self._names = before
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        before = self._names
        own = {each.arg for each in node.args.args}
        self._names = {name: new for name, new in before.items() if name not in own}
        node.body = self.visit(node.body)
        self._names = before
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self.visit_FunctionDef(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._names.get(node.id, node.id)
        return node


def test_unusual_names_are_roots_if_they_are_asked_for(tmp_path: Path) -> None:
    """With `--root appointment`, the collection `appointments` is that of bookings."""
    tmp_path.joinpath("a.js").write_text("db.collection('appointments').find({ status: 'pending' });\n")

    assert () == audit(AuditPlan([tmp_path])).findings
    assert ["query"] == [each.rule for each in audit(AuditPlan([tmp_path], ["Appointment"])).findings]
