"""Aggregations: which stages use paths that moved."""

from typing import TYPE_CHECKING

from booking_migrate.audit import members
from booking_migrate.audit.arguments import Arguments
from booking_migrate.audit.findings import Confidence, Rule
from booking_migrate.audit.paths import ID, LEGACY_ID, SESSIONS
from booking_migrate.audit.queries import LOGICAL, certainty, knows_sessions, listed, old_name
from booking_migrate.audit.scopes import Scope
from booking_migrate.audit.syntax import Node, Place
from booking_migrate.audit.values import (
    ELEMENTS,
    NOTHING,
    SPREAD,
    Booking,
    Constant,
    Instance,
    Model,
    Origin,
    Query,
    Value,
    ordered,
)

if TYPE_CHECKING:
    from booking_migrate.audit.analysis import Analysis

_BY_KEYS = frozenset({"$match", "$sort", "$project", "$unset"})
_RESHAPES = frozenset({
    "$group", "$project", "$replaceRoot", "$replaceWith", "$count", "$bucket", "$bucketAuto", "$sortByCount", "$facet",
})  # fmt: skip
_OF_DOCUMENTS = frozenset({"$sort", "$skip", "$limit", "$count"})
_DEEPEST = 12


def stages(analysis: "Analysis", pipeline: Value) -> list[Instance]:
    """Return the stages of a pipeline, in order as far as it is known."""
    found: list[Instance] = []
    for atom in ordered(pipeline):
        if isinstance(atom, Instance):
            names = analysis.store.names(atom.site)
            numbered = sorted((name for name in names if name.isdigit()), key=int)
            for name in [*numbered, ELEMENTS]:
                found += [
                    each
                    for each in ordered(analysis.store.get(atom.site, name))
                    if isinstance(each, Instance)
                ]
    return found


def check(analysis: "Analysis", pipeline: Value, arguments: Arguments, origin: Origin) -> Value:
    """Report the stages of an aggregation of bookings; return its documents, as long as they are bookings."""
    is_reshaped = _check_stages(analysis, stages(analysis, pipeline), arguments, origin)
    return NOTHING if is_reshaped else frozenset({Query(origin, is_many=True)})


def check_changes(analysis: "Analysis", pipeline: Value, arguments: Arguments, origin: Origin) -> Value:
    """Report the stages of a change stream; return its events."""
    for stage in stages(analysis, pipeline):
        for name in analysis.store.names(stage.site):
            paths = _paths(analysis, name, analysis.store.get(stage.site, name))
            inner = [path.partition(".")[2] for path in paths if path.startswith("fullDocument.")]
            if found := [path for path in inner if old_name(analysis, path)]:
                _report(analysis, stage, found, arguments, origin)
    event = ("event", arguments.node)
    analysis.store.put(event, "fullDocument", frozenset({Booking(origin)}), arguments.at)
    return members.list_of(analysis, frozenset({Instance(event)}), ("events", arguments.node))


def _check_stages(
    analysis: "Analysis", listed_stages: list[Instance], arguments: Arguments, origin: Origin
) -> bool:
    is_unwound = False
    made: set[str] = set()
    for stage in listed_stages:
        for name in analysis.store.names(stage.site):
            value = analysis.store.get(stage.site, name)
            if name == "$facet":
                for atom in ordered(value):
                    if isinstance(atom, Instance):
                        for key in analysis.store.names(atom.site):
                            inner = stages(analysis, analysis.store.get(atom.site, key))
                            _check_stages(analysis, inner, arguments, origin)
                return True
            paths = _paths(analysis, name, value)
            for path in paths:
                knows_sessions(analysis, path, origin)
                is_unwound = is_unwound or path.partition(".")[0] == SESSIONS
            found = [
                path
                for path in dict.fromkeys(paths)
                if path.partition(".")[0] not in made and old_name(analysis, path)
            ]
            made |= _made(analysis, name, value)
            if found:
                _report(analysis, stage, found, arguments, origin)
            elif not is_unwound and (
                name in _OF_DOCUMENTS or (name == "$group" and _counts(analysis, value, 0))
            ):
                scope, at = _place(analysis, stage, arguments)
                analysis.report_documents(
                    Rule.STAGE,
                    scope,
                    at,
                    f"{name} of documents",
                    f"{name} of sessions",
                    f"unwind {SESSIONS} before",
                    origin,
                )
            check_lookup(analysis, stage, name, value, arguments)
            if name in _RESHAPES:
                return True
    return False


def _made(analysis: "Analysis", stage: str, value: Value) -> set[str]:
    """Return the fields that a stage adds to its documents."""
    names: set[str] = set()
    for atom in value:
        if isinstance(atom, Instance):
            if stage in {"$addFields", "$set"}:
                names |= set(analysis.store.names(atom.site))
            elif stage in {"$lookup", "$graphLookup"}:
                names |= {
                    each.text for each in analysis.store.get(atom.site, "as") if isinstance(each, Constant)
                }
    return names


def _place(analysis: "Analysis", stage: Instance, arguments: Arguments) -> tuple[Scope, Place]:
    if isinstance(stage.site, Node) and (scope := analysis.scope_of(stage.site)):
        return scope, stage.site.at
    return arguments.scope, arguments.at


def _report(
    analysis: "Analysis", stage: Instance, found: list[str], arguments: Arguments, origin: Origin
) -> None:
    scope, at = _place(analysis, stage, arguments)
    new = ", ".join(f"{SESSIONS}.{path}" for path in found[:3])
    suggestion = f"put {{ $unwind: '${SESSIONS}' }} before it and use {new}"
    analysis.report(Rule.STAGE, scope, at, certainty(origin), listed(found), new, suggestion)


def _paths(analysis: "Analysis", stage: str, value: Value) -> list[str]:
    """Return the paths that a stage reads."""
    paths = _strings(analysis, value, 0)
    if stage in _BY_KEYS:
        paths += _keys(analysis, value, 0)
    return paths


def _keys(analysis: "Analysis", value: Value, depth: int) -> list[str]:
    keys: list[str] = []
    for atom in ordered(value):
        if isinstance(atom, Instance) and depth < _DEEPEST:
            for name in analysis.store.names(atom.site):
                inner = analysis.store.get(atom.site, name)
                if name in LOGICAL:
                    keys += _keys(analysis, members.elements(analysis, inner), depth + 1)
                elif name == SPREAD:
                    keys += _keys(analysis, inner, depth + 1)
                else:
                    keys.append(name)
        elif isinstance(atom, Constant) and not atom.text.startswith("$"):
            keys.append(atom.text)
    return keys


def _strings(analysis: "Analysis", value: Value, depth: int) -> list[str]:
    """Return the paths that are written as strings with a dollar sign, anywhere in a value."""
    found: list[str] = []
    for atom in ordered(value):
        if isinstance(atom, Constant) and atom.text.startswith("$"):
            text = atom.text.removeprefix("$$ROOT.").removeprefix("$$CURRENT.")
            found.append(text.removeprefix("$") if not text.startswith("$$") else "")
        elif isinstance(atom, Instance) and depth < _DEEPEST:
            for name in analysis.store.names(atom.site):
                found += _strings(analysis, analysis.store.get(atom.site, name), depth + 1)
    return found


def _counts(analysis: "Analysis", value: Value, depth: int) -> bool:
    """Return whether a group counts its documents: ``{$sum: 1}``."""
    for atom in ordered(value):
        if isinstance(atom, Instance) and depth < _DEEPEST:
            for name in analysis.store.names(atom.site):
                inner = analysis.store.get(atom.site, name)
                if name == "$count" or (name == "$sum" and not inner) or _counts(analysis, inner, depth + 1):
                    return True
    return False


def check_other(analysis: "Analysis", pipeline: Value, arguments: Arguments) -> None:
    """Report where the aggregation of another collection joins bookings, and what it reads of them."""
    origin = Origin(arguments.scope.module.path, arguments.at)
    joined: set[str] = set()
    for stage in stages(analysis, pipeline):
        for name in analysis.store.names(stage.site):
            value = analysis.store.get(stage.site, name)
            joined |= check_lookup(analysis, stage, name, value, arguments)
            found = []
            for path in _paths(analysis, name, value):
                head, _, rest = path.partition(".")
                if head in joined and old_name(analysis, rest):
                    found.append(rest)
            if found and name != "$lookup":
                _report(analysis, stage, found, arguments, origin)


def check_lookup(
    analysis: "Analysis", stage: Instance, name: str, value: Value, arguments: Arguments
) -> set[str]:
    """Report a stage that joins bookings by their id; return the names under which they are joined."""
    if name not in {"$lookup", "$graphLookup"}:
        return set()
    names: set[str] = set()
    for atom in ordered(value):
        if not isinstance(atom, Instance):
            continue
        get = analysis.store.get
        source = get(atom.site, "from")
        is_root = any(
            isinstance(each, Model) or (isinstance(each, Constant) and analysis.roots.is_root(each.text))
            for each in source
        )
        if not is_root:
            continue
        names |= {each.text for each in get(atom.site, "as") if isinstance(each, Constant)}
        origin = Origin(arguments.scope.module.path, arguments.at)
        _check_stages(analysis, stages(analysis, get(atom.site, "pipeline")), arguments, origin)
        foreign = [each.text for each in get(atom.site, "foreignField") if isinstance(each, Constant)]
        for path in foreign:
            if path == ID or old_name(analysis, path):
                new = f"{SESSIONS}.{LEGACY_ID}" if path == ID else f"{SESSIONS}.{path}"
                scope, at = _place(analysis, stage, arguments)
                analysis.report(
                    Rule.REFERENCE,
                    scope,
                    at,
                    Confidence.CERTAIN,
                    f"foreignField: '{path}'",
                    f"foreignField: '{new}'",
                    f"join by '{new}', then pick the session that matches",
                )
    return names
