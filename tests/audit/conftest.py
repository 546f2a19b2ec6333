"""The labelled applications: small, realistic, with uses of every kind and things that only look like them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from booking_migrate.audit.findings import AuditOutcome
from booking_migrate.audit.run import AuditPlan, audit

HERE = Path(__file__).parent
LABELLED = (
    "express_react",
    "javascript",
    "fastapi",
    "nest_next",
    "flask",
    "koa_redux",
    "lambda_context",
    "starlette",
)
REWRITTEN = ("new_express_react", "new_javascript", "new_fastapi")


@dataclass(frozen=True, slots=True)
class Score:
    """How well an audit did on a labelled application."""

    missed: frozenset[tuple[str, int]]
    false: frozenset[tuple[str, int]]
    recall: float
    precision: float
    """Of what is called certain or likely."""


def audited(name: str) -> AuditOutcome:
    """Audit one of the applications."""
    folder = HERE / "apps" / name
    return audit(AuditPlan([folder], base=folder))


def labels(name: str) -> Mapping[tuple[str, int], str]:
    """Return what must be found in an application: the kind of each place by file and line."""
    content = json.loads((HERE / "labels" / f"{name}.json").read_text(encoding="utf-8"))
    return {(path, int(line)): kind for path, lines in content.items() for line, kind in lines.items()}


def score(outcome: AuditOutcome, expected: Mapping[tuple[str, int], str]) -> Score:
    """Compare what was found with what must be found."""
    places = {(each.path, each.at[0]) for each in outcome.findings}
    firm = [(each.path, each.at[0]) for each in outcome.findings if each.confidence != "look"]
    right = [place for place in firm if place in expected]
    return Score(
        missed=frozenset(expected.keys() - places),
        false=frozenset(firm) - expected.keys(),
        recall=len(expected.keys() & places) / len(expected),
        precision=len(right) / len(firm),
    )
