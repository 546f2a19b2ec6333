"""References to bookings in other collections: schemas with them, populated paths, their documents."""

from typing import TYPE_CHECKING

from booking_migrate.audit import calls, members, pipelines
from booking_migrate.audit.arguments import Arguments
from booking_migrate.audit.findings import Confidence, Rule
from booking_migrate.audit.paths import ID, LEGACY_ID, SESSION_ID, SESSIONS, camel
from booking_migrate.audit.syntax import Node
from booking_migrate.audit.values import (
    NOTHING,
    Constant,
    Instance,
    Model,
    Origin,
    OtherData,
    OtherModel,
    Value,
    union,
)

if TYPE_CHECKING:
    from booking_migrate.audit.analysis import Analysis

_READS = ("find", "create", "insert", "where", "paginate")
"""What the methods begin with that return documents."""


def references_of(analysis: "Analysis", schema: Node, arguments: Arguments) -> frozenset[str]:
    """Return the paths of a schema that refer to bookings, and report them."""
    found: set[str] = set()
    for atom in analysis.store.read(("definition", schema)):
        if not isinstance(atom, Instance):
            continue
        names = analysis.store.names(atom.site)
        for name, at in names.items():
            value = analysis.store.get(atom.site, name)
            scope = (analysis.scope_of(atom.site) if isinstance(atom.site, Node) else None) or arguments.scope
            inner = union((value, members.elements(analysis, value)))
            if SESSION_ID not in names and _refers(analysis, inner):
                found.add(name)
                analysis.report(
                    Rule.REFERENCE,
                    scope,
                    at,
                    Confidence.CERTAIN,
                    f"{name} -> _id",
                    f"{name} -> {SESSIONS}[].{LEGACY_ID}",
                    f"populate by a virtual with foreignField '{SESSIONS}.{LEGACY_ID}', or store the {SESSION_ID}",
                )
            elif _is_polymorphic(analysis, inner):
                analysis.report(
                    Rule.REFERENCE,
                    scope,
                    at,
                    Confidence.LOOK,
                    f"{name} may say that an id is that of a booking",
                    f"{SESSIONS}[].{LEGACY_ID}",
                    f"look for the id beside it: one of a booking is in {SESSIONS}.{LEGACY_ID} now",
                )
    return frozenset(found)


def _refers(analysis: "Analysis", value: Value) -> bool:
    for atom in value:
        if isinstance(atom, Instance):
            for each in analysis.store.get(atom.site, "ref"):
                if isinstance(each, Model) or (
                    isinstance(each, Constant) and analysis.roots.is_root(each.text)
                ):
                    return True
    return False


def _is_polymorphic(analysis: "Analysis", value: Value) -> bool:
    for atom in value:
        if isinstance(atom, Instance):
            words = members.elements(analysis, analysis.store.get(atom.site, "enum"))
            if any(isinstance(each, Constant) and analysis.roots.is_root(each.text) for each in words):
                return True
    return False


def check_populate(analysis: "Analysis", arguments: Arguments, origin: Origin) -> None:
    """Report a populated path that moved into the sessions."""
    texts = [arguments.text(0)]
    for atom in arguments.get(0):
        if isinstance(atom, Instance):
            texts += [
                each.text for each in analysis.store.get(atom.site, "path") if isinstance(each, Constant)
            ]
    for path in " ".join(texts).split():
        new = analysis.moved(path)
        if new is not None and path != ID:
            analysis.report(
                Rule.POPULATE,
                arguments.scope,
                arguments.at,
                Confidence.CERTAIN if origin.is_certain else Confidence.LIKELY,
                path,
                new,
                f"populate('{SESSIONS}.{path}')",
            )


def call_other(analysis: "Analysis", atom: OtherModel | OtherData, name: str, arguments: Arguments) -> Value:
    """Call a method of another model, or of its documents."""
    data = OtherData(atom.references)
    if name == "aggregate":
        pipelines.check_other(analysis, arguments.get(0, "pipeline"), arguments)
        return NOTHING
    if name == "populate":
        texts = arguments.text(0).split()
        for each in arguments.get(0):
            if isinstance(each, Instance):
                texts += [c.text for c in analysis.store.get(each.site, "path") if isinstance(c, Constant)]
        for path in texts:
            if path.partition(".")[0] in atom.references:
                analysis.report(
                    Rule.POPULATE,
                    arguments.scope,
                    arguments.at,
                    Confidence.CERTAIN,
                    f"{path} -> _id",
                    f"{path} -> {SESSIONS}[].{LEGACY_ID}",
                    f"populate a virtual with foreignField '{SESSIONS}.{LEGACY_ID}', then pick the session",
                )
    if isinstance(atom, OtherModel):
        return frozenset({data}) if camel(name).startswith(_READS) else NOTHING
    if any(True for _ in arguments.code()) or name in {"map", "filter", "find"}:
        item: Value = frozenset({data})
        results = [calls.call_value(analysis, value, [item, item]) for value in arguments.every()]
        if name == "map":
            return members.list_of(analysis, union(results), arguments.node)
    return frozenset({data})
