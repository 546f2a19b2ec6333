"""Audit an application: read its files, follow the values, and keep what is new."""

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from booking_migrate.audit.analysis import Analysis
from booking_migrate.audit.baseline import fingerprinted
from booking_migrate.audit.comments import is_suppressed, suppressions
from booking_migrate.audit.files import PYTHON, WITHOUT_JSX, Source, read_sources
from booking_migrate.audit.findings import AuditOutcome, Confidence, Finding, Skipped
from booking_migrate.audit.javascript import read_javascript
from booking_migrate.audit.paths import Roots
from booking_migrate.audit.python_code import read_python
from booking_migrate.audit.scopes import Module
from booking_migrate.audit.syntax import Program
from booking_migrate.events import Advanced, Listener, NullListener, PhaseEnded, PhaseStarted

DEFAULT_ROOT = "booking"
_LONGEST_LINE = 200
_DEEPEST = 15_000


@dataclass(frozen=True, slots=True)
class AuditPlan:
    """What is audited, and what is reported of it."""

    paths: Sequence[Path]
    roots: Sequence[str] = ()
    """Names of bookings in this application besides the usual one, such as ``appointment``."""

    least: Confidence = Confidence.LOOK
    """Findings of less confidence are left out."""

    known: Collection[str] = ()
    """The fingerprints of findings in the baseline."""

    base: Path | None = None
    """The folder that file names begin at; the current one by default."""


def audit(plan: AuditPlan, listener: Listener | None = None) -> AuditOutcome:
    """Return what an application does that expects the old structure."""
    with _deep_recursion():
        return _audit(plan, listener or NullListener())


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Let code be nested deeper than usual: a sum of a few hundred strings is nested as often."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _DEEPEST))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _audit(plan: AuditPlan, shown: Listener) -> AuditOutcome:
    skipped: list[Skipped] = []
    lines: dict[str, list[str]] = {}
    comments: dict[str, Mapping[int, frozenset[str]]] = {}
    modules: list[Module] = []
    shown.notify(PhaseStarted("reading the code", None, "file"))
    for source in read_sources(plan.paths, plan.base or Path.cwd(), skipped):
        program = _parsed(source, skipped)
        if program is not None:
            modules.append(Module(source.name, program))
            lines[source.name] = source.text.split("\n")
            comments[source.name] = suppressions(source.text)
        shown.notify(Advanced(1))
    shown.notify(PhaseEnded())
    analysis = Analysis(modules, Roots.of([DEFAULT_ROOT, *plan.roots]))
    found = list(_with_text(analysis.run(), lines))
    skipped += [
        Skipped(path, "it is nested too deep; the rest was read") for path in sorted(analysis.too_deep)
    ]
    asked = [each for each in fingerprinted(found) if _RANKS[each.confidence] <= _RANKS[plan.least]]
    kept = [each for each in asked if not is_suppressed(each, comments[each.path])]
    new = tuple(each for each in kept if each.fingerprint not in plan.known)
    return AuditOutcome(
        findings=new,
        known_count=len(kept) - len(new),
        suppressed_count=len(asked) - len(kept),
        skipped=tuple(skipped),
        file_count=len(modules),
    )


_RANKS = {each: number for number, each in enumerate(Confidence)}


def _parsed(source: Source, skipped: list[Skipped]) -> Program | None:
    """Return the program in a file; None if it cannot be parsed."""
    try:
        if source.suffix in PYTHON:
            return read_python(source.text)
        program = read_javascript(source.text, has_jsx=source.suffix not in WITHOUT_JSX)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = "" if line is None else f"line {line} "
        skipped.append(Skipped(source.name, f"{where}cannot be parsed: {getattr(error, 'msg', error)}"))
        return None
    except (RecursionError, MemoryError):
        skipped.append(Skipped(source.name, "it is nested too deep"))
        return None
    if program.problem:
        skipped.append(Skipped(source.name, program.problem))
    return program


def _with_text(findings: Sequence[Finding], lines: Mapping[str, list[str]]) -> Iterator[Finding]:
    """Yield findings with the code of their lines, and with columns that count characters."""
    for each in findings:
        known = lines[each.path]
        line, column = each.at
        text = known[line - 1] if 0 < line <= len(known) else ""
        if each.path.endswith(tuple(PYTHON)):
            # Python's parser counts the bytes of UTF-8.
            column = len(text.encode()[: column - 1].decode(errors="ignore")) + 1
        yield replace(each, at=(line, column), text=text.strip()[:_LONGEST_LINE])
