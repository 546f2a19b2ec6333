"""Requests to routes of bookings, and what they answer."""

from typing import TYPE_CHECKING

from booking_migrate.audit.arguments import Arguments
from booking_migrate.audit.findings import Confidence, Rule
from booking_migrate.audit.paths import SESSION_ID, SESSIONS
from booking_migrate.audit.syntax import Parameter
from booking_migrate.audit.values import (
    Answer,
    Constant,
    Given,
    Instance,
    Origin,
    Value,
    union,
)

if TYPE_CHECKING:
    from booking_migrate.audit.analysis import Analysis

_METHODS = frozenset({"get", "post", "put", "patch", "delete", "request", "del", "head"})
_FUNCTIONS = frozenset({
    *_METHODS, "fetch", "axios", "$fetch", "ky", "got", "ajax", "getJSON", "superagent", "apiFetch", "ofetch", "urlopen", "authFetch",
})  # fmt: skip
CHANGES = frozenset({"post", "put", "patch", "delete", "del"})
_CALLBACK_CLIENTS = ("$.", "jQuery.", "request.", "superagent.")


def request(analysis: "Analysis", name: str, arguments: Arguments) -> Value | None:
    """Return the answer of a request; None if a function does not make one, or not to a route that matters."""
    last = name.removesuffix("()").rpartition(".")[2]
    if last not in _FUNCTIONS and not name.startswith(("axios", "ky.", "got.")):
        return None
    is_definition = any(True for _ in arguments.code()) and not name.startswith(_CALLBACK_CLIENTS)
    if is_definition or not arguments.values:
        return None
    target = arguments.get(1) if last == "request" and arguments.text(0).isupper() else arguments.get(0)
    if name.endswith("()") and not _texts(target):
        return None
    found = answer(analysis, arguments, target, last)
    if found and arguments.node.types:
        typed = union(analysis.typed(each, arguments.scope) for each in arguments.node.types[:1])
        if typed:
            site = ("answer", arguments.node)
            analysis.store.put(site, "data", typed, arguments.at)
            return frozenset({Instance(site)})
    for code in arguments.code():
        body = frozenset(Answer(a.origin, 0, a.via) for a in found if isinstance(a, Answer))
        analysis.store.add(("parameter", code.function, 0), body)
    return found or None


def _texts(target: Value) -> list[str]:
    return sorted(atom.text for atom in target if isinstance(atom, Constant))


def answer(analysis: "Analysis", arguments: Arguments, target: Value, method: str) -> Value:
    """Return the answer of a request to a target: a route, or the options of the request."""
    targets = [target]
    for atom in target:
        if isinstance(atom, Instance):
            targets += [analysis.store.get(atom.site, name) for name in ("url", "path", "endpoint", "0")]
    joined = union(targets)
    for text in _texts(joined):
        if found := analysis.roots.route.search(text):
            origin = Origin(arguments.scope.module.path, arguments.at, is_certain=False)
            check_route(analysis, arguments, found["rest"] or "", method, origin)
            return frozenset({Answer(origin)})
    here = Origin(arguments.scope.module.path, arguments.at, is_certain=False)
    return frozenset(
        Answer(here, -1, (atom.function, atom.number)) for atom in joined if isinstance(atom, Given)
    )


def resolved(
    analysis: "Analysis", depth: int, number: int, parameter: Parameter, arguments: Arguments
) -> Value:
    """Return the answer that a function of the application returns, for the route that it is called with."""
    name = getattr(parameter.target, "name", "")
    value = arguments.get(number, name)
    found = answer(analysis, arguments, value, _method_of(analysis, arguments))
    return frozenset(Answer(a.origin, depth, a.via) for a in found if isinstance(a, Answer))


def _method_of(analysis: "Analysis", arguments: Arguments) -> str:
    """Return the method of a request, from its options or the name of the function."""
    for value in arguments.every():
        for atom in value:
            if isinstance(atom, Instance):
                names = _texts(analysis.store.get(atom.site, "method"))
                if names:
                    return names[0].lower()
    return getattr(arguments.node.function, "name", "get")


def check_route(analysis: "Analysis", arguments: Arguments, rest: str, method: str, origin: Origin) -> None:
    """Report a request by the id of a booking that does not say which session is meant."""
    parts = [part for part in rest.split("/") if part]
    if not parts or not parts[0].startswith("{") or SESSIONS in parts or _names_session(analysis, arguments):
        return
    known = _method_of(analysis, arguments)
    is_change = known in CHANGES or method in CHANGES or len(parts) > 1
    path = "/".join(["bookings", "{bookingId}", *parts[1:]])
    if is_change:
        suggestion = f"send the {SESSION_ID} in the body: {{ {SESSION_ID}, ... }}; the id in the route is the document's _id"
    else:
        suggestion = (
            f"pick the session from the answer by its {SESSION_ID}; the id in the route is the document's _id"
        )
    analysis.report(
        Rule.ROUTE,
        arguments.scope,
        arguments.at,
        Confidence.CERTAIN if is_change else Confidence.LIKELY,
        f"{path} by booking",
        f"{path} with {SESSION_ID}",
        suggestion,
        None if is_change else origin,
        is_of_documents=not is_change,
    )


def _names_session(analysis: "Analysis", arguments: Arguments) -> bool:
    """Return whether any argument has a property for the session."""
    waiting = [atom.site for value in arguments.every() for atom in value if isinstance(atom, Instance)]
    seen: set[object] = set()
    while waiting:
        site = waiting.pop()
        if site in seen:
            continue
        seen.add(site)
        names = analysis.store.names(site)
        if SESSION_ID in names or "session_id" in names:
            return True
        for name in names:
            inner = analysis.store.get(site, name)
            waiting += [atom.site for atom in inner if isinstance(atom, Instance)]
    return False
