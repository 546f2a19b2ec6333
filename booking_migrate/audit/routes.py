"""Routes that an application serves: those that take the id of a booking, and what they answer."""

import re
from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING

from booking_migrate.audit.arguments import Arguments
from booking_migrate.audit.findings import Confidence, Rule
from booking_migrate.audit.http import CHANGES
from booking_migrate.audit.paths import ID, SESSION_ID, SESSIONS
from booking_migrate.audit.scopes import Module, Scope
from booking_migrate.audit.syntax import Call, Class, Function, Member, Name, Node, Place, Text
from booking_migrate.audit.values import (
    NOTHING,
    Booking,
    Bookings,
    Code,
    Constant,
    Given,
    Instance,
    NewShape,
    Origin,
    Query,
    Router,
    Value,
    external,
    union,
)

if TYPE_CHECKING:
    from booking_migrate.audit.analysis import Analysis

_METHODS = frozenset({"get", "post", "put", "patch", "delete", "del", "all", "head", "options"})
_DECORATORS = _METHODS | {"route", "api_route"}
_MOUNTS = frozenset({"use", "register", "route", "mount", "include_router", "register_blueprint"})
_MAKERS = frozenset({"router", "koa-router", "apirouter", "blueprint", "hono"})
_PREFIXES = ("prefix", "url_prefix", "basePath")
_RESPONSES = frozenset({
    "jsonify", "JSONResponse", "ORJSONResponse", "UJSONResponse", "json_response", "jsonp", "make_response",
})  # fmt: skip
"""Functions and classes that make a response of their first argument."""

_TEMPLATES = frozenset({"render_template", "TemplateResponse", "render_template_string"})
"""Functions that render a template, which is not read itself."""

_PASSED_ON = frozenset({"render", "emit"})
"""Methods that take a name, and what a template or listeners elsewhere get."""

_PARAMETER = re.compile(r":(\w+)(?:\([^)]*\))?\??|<(?:[^<>:]+:)?(\w+)>|\{(\w+)(?::\w+)?\}|\[(\w+)\]")
_IDS = frozenset({"", "_", "uu", "p", "k"})
"""What comes before ``id`` (or ``pk``, ``key``) in the name of a parameter that is the id of what the route is about."""

_FILE = re.compile(
    r"(?:^|/)(?:app|pages|routes)/(?:[^/]+/)*?(api/.+?)(?:/(?:route|index|\+server))?\.[cm]?[jt]sx?$"
)
"""The files whose places are routes (Next, SvelteKit), and the route."""

_NAMES_OF_SESSION = frozenset({SESSION_ID, "session_id"})
_DIRECT, _INDIRECT = Constant("direct"), Constant("indirect")
_DEEPEST = 5


def made(analysis: "Analysis", name: str, arguments: Arguments) -> Value | None:
    """Return a router if a function makes one; None if not.

    Args:
        analysis: the audit.
        name: the function's dotted name.
        arguments: those of the call; a prefix may be among them.
    """
    if re.split(r"[./]", name)[-1].lower() not in _MAKERS:
        return None
    router = Router(arguments.node)
    for prefix in _prefixes(analysis, arguments):
        analysis.store.add(("mounted", router), frozenset({Constant(_slashed(prefix))}))
    return frozenset({router, external(f"{name}()")})


def _prefixes(analysis: "Analysis", arguments: Arguments) -> Iterator[str]:
    """Yield the prefixes among the arguments, by name or in an object."""
    for name in _PREFIXES:
        values = [arguments.named.get(name, NOTHING)]
        for value in arguments.values:
            for atom in value:
                if isinstance(atom, Instance):
                    values += [
                        analysis.store.get(atom.site, each)
                        for each in analysis.store.names(atom.site)
                        if each == name
                    ]
        for value in values:
            yield from (atom.text for atom in value if isinstance(atom, Constant))


def _slashed(path: str) -> str:
    path = path.strip("/")
    return f"/{path}" if path else ""


def _mounted(analysis: "Analysis", base: Value) -> list[str]:
    """Return the paths that a router is mounted at; an empty one if it is not known."""
    found: set[str] = set()
    for atom in base:
        if isinstance(atom, Router):
            key: Hashable = atom
        elif isinstance(atom, Given):
            key = atom.function
        else:
            continue
        value = analysis.store.read(("mounted", key))
        found |= {each.text for each in value if isinstance(each, Constant)}
    return sorted(found) or [""]


def called(analysis: "Analysis", base: Value, name: str, arguments: Arguments) -> None:
    """Look at a method of an application or a router: it may serve a route, or mount a router."""
    if name in _METHODS and arguments.values:
        codes = list(arguments.code())
        chained = _chained_path(arguments.node)
        text = chained if chained is not None else arguments.text(0)
        if codes and (chained is not None or text.startswith(("/", ":"))):
            paths = [f"{prefix}{_slashed(text)}" for prefix in _mounted(analysis, base)]
            _served(analysis, paths, name, arguments.scope, arguments.at, [code.function for code in codes])
    if name in _MOUNTS:
        _mount(analysis, base, arguments)


def _chained_path(call: Call) -> str | None:
    """Return the path in ``router.route('/:id').get(...)``, also behind further methods; None if it is another call."""
    inner: Node = call.function
    while isinstance(inner, Member) and isinstance(inner.base, Call):
        function = inner.base.function
        if isinstance(function, Member) and function.name == "route" and inner.base.arguments:
            path = inner.base.arguments[0]
            return path.value if isinstance(path, Text) else None
        inner = function
    return None


def _mount(analysis: "Analysis", base: Value, arguments: Arguments) -> None:
    """Remember where a router, or a plugin that is called with one, is mounted."""
    texts = [text for text in [arguments.text(0), *_prefixes(analysis, arguments)] if text]
    inner = [f"{outer}{_slashed(text)}" for outer in _mounted(analysis, base) for text in texts or [""]]
    for value in arguments.every():
        for atom in value:
            if isinstance(atom, Router | Code):
                key: Hashable = atom if isinstance(atom, Router) else atom.function
                mounted = frozenset(Constant(text) for text in inner if text)
                analysis.store.add(("mounted", key), mounted)


def _served(
    analysis: "Analysis", paths: list[str], method: str, scope: Scope, at: Place, handlers: list[Function]
) -> None:
    """Remember which functions serve a route; report it if it takes the id of a booking."""
    for function in handlers:
        analysis.store.add(("handler", function), frozenset(map(Constant, paths)))
    known = union(analysis.store.read(("looks up", function)) for function in handlers)
    for path in paths:
        parts = [part for part in path.split("/") if part]
        rest = _rest(analysis, path, parts, known)
        if rest is None or SESSIONS in parts or any("session" in part.lower() for part in rest):
            continue
        is_change = method in CHANGES or len(rest) > 1
        if not is_change and not known:
            # It may answer with a whole client document.
            continue
        shown = "/".join(["bookings", "{id}", *rest[1:]])
        suggestion = (
            f"take the {SESSION_ID} as well, from the path or the body; the id in the route is the document's {ID}"
            if is_change
            else f"answer with the session that is meant, or the whole document; the id in the route is the document's {ID}"
        )
        if any(_takes_session(analysis, function, scope) for function in handlers):
            continue
        analysis.report(
            Rule.ROUTE,
            scope,
            at,
            Confidence.CERTAIN if is_change else Confidence.LIKELY,
            f"{shown} by booking",
            f"{shown} with {SESSION_ID}",
            suggestion,
            Origin(scope.module.path, at),
            is_of_documents=True,
        )


def _takes_session(analysis: "Analysis", function: Function, scope: Scope) -> bool:
    """Return whether a function names the id of a session, or the type of one of its parameters does."""
    for parameter in function.parameters:
        for atom in NOTHING if parameter.type is None else analysis.typed(parameter.type, scope):
            if isinstance(atom, NewShape) or (
                isinstance(atom, Instance) and _NAMES_OF_SESSION.intersection(analysis.store.names(atom.site))
            ):
                return True
    waiting: list[object] = [function]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            if each in _NAMES_OF_SESSION:
                return True
        elif isinstance(each, tuple):
            waiting += each
        else:
            waiting += [getattr(each, name) for name in getattr(each, "__match_args__", ())]
    return False


def _rest(analysis: "Analysis", path: str, parts: list[str], known: Value) -> list[str] | None:
    """Return the parts of a path from the id of a booking on; None if it does not have one.

    Args:
        analysis: the audit.
        path: the whole path.
        parts: its parts.
        known: whether what serves it looks up a booking by its id, or calls what does.
    """
    names = {
        number: next(filter(None, found.groups()))
        for number, part in enumerate(parts)
        if (found := _PARAMETER.fullmatch(part))
    }
    fitting = [number for number, name in names.items() if _is_of_booking(analysis, name)]
    root = analysis.roots.route.search(_PARAMETER.sub("{}", path))
    if known and (root or _DIRECT in known):
        start = min(fitting or names, default=None)
        return None if start is None else parts[start:]
    start = len(parts) - len([part for part in ((root and root["rest"]) or "").split("/") if part])
    return parts[start:] if root and start in fitting else None


def _is_of_booking(analysis: "Analysis", name: str) -> bool:
    """Return whether the name of a parameter says that it is the id of what the route is about."""
    lower = name.lower()
    for end in ("id", "key"):
        if lower.endswith(end):
            before = lower.removesuffix(end).rstrip("_")
            return before in _IDS or before in analysis.roots.words
    return lower == "pk" or lower in analysis.roots.words


def decorated(analysis: "Analysis", function: Function, scope: Scope) -> None:
    """Look at the decorators of a function: they may say which route it serves (FastAPI, Flask)."""
    for each in function.decorators:
        if not (isinstance(each, Call) and isinstance(each.function, Member)):
            continue
        method = each.function.name
        path = each.arguments[0] if each.arguments else None
        if method in _DECORATORS and isinstance(path, Text):
            base = analysis.evaluator.evaluate(each.function.base, scope)
            paths = [f"{prefix}{_slashed(path.value)}" for prefix in _mounted(analysis, base)]
            _served(analysis, paths, _method_of(each, method), scope, each.at, [function])


def _method_of(decorator: Call, name: str) -> str:
    """Return the method of a route: Flask has it in ``methods``."""
    for named in decorator.named:
        if named.name == "methods":
            texts = [
                part.value.lower() for part in getattr(named.value, "items", ()) if isinstance(part, Text)
            ]
            return next((text for text in texts if text in CHANGES), "get")
    return name


def controller(analysis: "Analysis", node: Class, scope: Scope) -> None:
    """Look at the decorators of a class and of its methods: they may say which routes they serve (Nest)."""
    for each in node.decorators:
        if not (
            isinstance(each, Call) and isinstance(each.function, Name) and each.function.name == "Controller"
        ):
            continue
        prefix = _text(each.arguments)
        for method in node.methods:
            for one in method.decorators:
                if isinstance(one, Call) and isinstance(one.function, Name):
                    verb = one.function.name.lower()
                    if verb in _METHODS:
                        path = f"{_slashed(prefix)}{_slashed(_text(one.arguments))}"
                        _served(analysis, [path], verb, scope, one.at, [method])


def _text(arguments: Iterable[Node]) -> str:
    return next((each.value for each in arguments if isinstance(each, Text)), "")


def exported(analysis: "Analysis", module: Module, scope: Scope) -> None:
    """Look at what a file exports whose place is a route: its functions serve it."""
    place = _FILE.search(module.path)
    if place is None:
        return
    site = module.exports.site
    for name in analysis.store.names(site):
        method = name.lower()
        if name == "default" or (method in _METHODS and name.isupper()):
            codes = [atom for atom in analysis.store.get(site, name) if isinstance(atom, Code)]
            for code in codes:
                _served(analysis, [f"/{place[1]}"], method, scope, code.function.at, [code.function])


def looked_up(analysis: "Analysis", scope: Scope, how: Constant = _DIRECT) -> None:
    """Remember that a function, and those around it, look up a booking by its id, or call what does."""
    around: Scope | None = scope
    while around is not None:
        if around.function is not None:
            analysis.store.add(("looks up", around.function), frozenset({how}))
        around = around.parent


def called_by(analysis: "Analysis", function: Function, scope: Scope) -> None:
    """Remember of a caller what is known of the function that it calls."""
    if analysis.store.read(("looks up", function)):
        looked_up(analysis, scope, _INDIRECT)


# Answers.


def sent(analysis: "Analysis", base: Value, name: str, arguments: Arguments) -> None:
    """Look at a method of something that is not known: it may answer a request, as ``res.json(...)`` does."""
    if not arguments.values:
        return
    if name in _PASSED_ON and arguments.text(0):
        _rendered(analysis, arguments)
    if name in {"json", "jsonp"} or (name in {"send", "status"} and _is_response(analysis, base, arguments)):
        check(analysis, arguments.values[0], arguments.scope, arguments.at)


def _is_response(analysis: "Analysis", base: Value, arguments: Arguments) -> bool:
    """Return whether a method is one of a parameter of a function that serves a route."""
    root: Node = arguments.node.function
    while isinstance(root, Member | Call):
        root = root.base if isinstance(root, Member) else root.function
    value = base or (
        analysis.evaluator.evaluate(root, arguments.scope) if isinstance(root, Name) else NOTHING
    )
    functions = [atom.function for atom in value if isinstance(atom, Given)]
    return any(analysis.store.read(("handler", function)) for function in functions)


def _rendered(analysis: "Analysis", arguments: Arguments) -> None:
    """Look at what a template is rendered with, or what is sent to listeners."""
    for value in [*arguments.values, *arguments.named.values()]:
        check(analysis, value, arguments.scope, arguments.at)


def responded(analysis: "Analysis", name: str, arguments: Arguments) -> None:
    """Look at a function of a library: it may make a response, as ``jsonify(...)`` does."""
    last = name.rpartition(".")[2]
    if last in _TEMPLATES or (last in _PASSED_ON and arguments.text(0)):
        _rendered(analysis, arguments)
    if last in _RESPONSES or (last == "json" and name.endswith("Response.json")):
        check(analysis, arguments.get(0, "content", "data"), arguments.scope, arguments.at)


def returned(analysis: "Analysis", value: Value, scope: Scope, at: Place) -> None:
    """Look at what a function returns: it is the answer if the function serves a route, or has the form of a response."""
    if scope.function is not None and analysis.store.read(("handler", scope.function)):
        check(analysis, value, scope, at)
        return
    for atom in value:
        if isinstance(atom, Instance):
            names = analysis.store.names(atom.site)
            if "statusCode" in names and "body" in names:
                check(analysis, analysis.store.get(atom.site, "body"), scope, at)


def check(analysis: "Analysis", value: Value, scope: Scope, at: Place) -> None:
    """Report an answer that holds bookings as they are stored: with the new structure they are client documents."""
    for origin, is_many in _bookings(analysis, value, _DEEPEST, set()):
        old = "bookings in the answer" if is_many else "a booking in the answer"
        new = "client documents in the answer" if is_many else "a client document in the answer"
        suggestion = f"answer with one entry per session while callers expect that, and with its {SESSION_ID}; or change the callers as well"
        analysis.report_documents(Rule.ANSWER, scope, at, old, new, suggestion, origin)


def _bookings(
    analysis: "Analysis", value: Value, depth: int, seen: set[Hashable]
) -> Iterator[tuple[Origin, bool]]:
    """Yield where the bookings in a value come from, and whether there are several."""
    for atom in value:
        match atom:
            case Booking(origin) | Query(origin, False):
                yield origin, False
            case Bookings(origin) | Query(origin, True):
                yield origin, True
            case Instance(site) if depth and site not in seen:
                seen.add(site)
                for name in analysis.store.names(site):
                    yield from _bookings(analysis, analysis.store.get(site, name), depth - 1, seen)
            case _:
                pass
