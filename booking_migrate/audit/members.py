"""What reading and writing a property means, for each kind of value; here most findings are made."""

from typing import TYPE_CHECKING

from booking_migrate.audit import routes, shapes
from booking_migrate.audit.findings import Confidence, Rule
from booking_migrate.audit.paths import ID, LEGACY_ID, NEW_PATHS, SESSION_ID, SESSIONS, SHARED
from booking_migrate.audit.scopes import Scope
from booking_migrate.audit.syntax import Node, Place
from booking_migrate.audit.values import (
    ELEMENTS,
    NOTHING,
    SPREAD,
    Answer,
    Atom,
    Booking,
    Bookings,
    Code,
    Database,
    External,
    Given,
    Handle,
    Instance,
    Kind,
    Model,
    NewShape,
    Origin,
    OtherData,
    Query,
    Schema,
    Value,
    external,
    union,
)
from booking_migrate.domain.contract import TOTALS

if TYPE_CHECKING:
    from booking_migrate.audit.analysis import Analysis

_OF_NEW_SHAPE = frozenset({SESSIONS, "session", SESSION_ID, LEGACY_ID, *TOTALS})
_OF_ENVELOPE = frozenset({
    "success", "message", "error", "errors", "ok", "code", "statusCode", "status_code", "headers", "statusText",
    "total", "count", "page", "pages", "limit", "pagination", "meta", "config", "request", "text",
})  # fmt: skip
"""What an answer has beside its data."""

_LENGTHS = frozenset({"length", "size"})
_PAYLOAD_DEPTH = 1
"""From which depth on a part of an answer may be a booking: above, `status` is that of the request."""


def read(analysis: "Analysis", value: Value, name: str, at: Place, scope: Scope) -> Value:
    """Return a property of a value."""
    parts = [_read(analysis, atom, name, at, scope) for atom in value]
    if scope.module.is_python and analysis.roots.is_root(name) and all(isinstance(a, Given) for a in value):
        # Such as `request.app.database.bookings`: only a collection has the methods that are looked for.
        parts.append(frozenset({Model(Origin(scope.module.path, at, is_certain=False))}))
    return union(parts)


def _read(analysis: "Analysis", atom: Atom, name: str, at: Place, scope: Scope) -> Value:
    match atom:
        case Booking(origin) | Query(origin, False):
            return _read_booking(analysis, origin, name, at, scope)
        case Bookings(origin) | Query(origin, True):
            if name in _LENGTHS:
                analysis.counted(scope, at, origin)
            return frozenset({Booking(origin)}) if name.isdigit() else NOTHING
        case Answer():
            return _read_answer(analysis, atom, name, at, scope)
        case Instance(site):
            return _property(analysis, site, name, set())
        case External(dotted):
            return frozenset({external(f"{dotted}.{name}")})
        case Database():
            is_root = analysis.roots.is_root(name)
            return frozenset({Model(Origin(scope.module.path, at)) if is_root else atom})
        case Kind(node):
            return analysis.store.get(("static", node), name)
        case Schema(site):
            return frozenset({Instance((name, site))}) if name in {"methods", "statics"} else NOTHING
        case OtherData(references) if name in references:
            return frozenset({Booking(Origin(scope.module.path, at))})
        case OtherData():
            return frozenset({atom}) if name.isdigit() else NOTHING
        case NewShape():
            return frozenset({atom})
        case Model() if name in {"collection", "prototype"}:
            return frozenset({atom})
    return NOTHING


def _property(analysis: "Analysis", site: object, name: str, seen: set[object]) -> Value:
    """Return a property of an object, of what is spread into it if it does not have one of its own."""
    store = analysis.store
    seen.add(site)
    known = store.names(site)
    if name in known:
        return store.get(site, name)
    parts = [store.get(site, ELEMENTS)]
    for atom in store.get(site, SPREAD):
        if isinstance(atom, Instance):
            if atom.site not in seen:
                parts.append(_property(analysis, atom.site, name, seen))
        elif isinstance(atom, Booking | Answer | External | NewShape) and name not in _OF_ENVELOPE:
            at, scope = analysis.reading
            parts.append(_read(analysis, atom, name, at, scope))
    return union(parts)


def own_property(analysis: "Analysis", site: object, name: str) -> Value:
    """Return a property that an object or one that is spread into it has by this name."""
    store, waiting, seen = analysis.store, [site], set()
    found = []
    while waiting:
        each = waiting.pop()
        if each in seen:
            continue
        seen.add(each)
        if name in store.names(each):
            found.append(store.get(each, name))
        else:
            waiting += [atom.site for atom in store.get(each, SPREAD) if isinstance(atom, Instance)]
    return union(found)


def _read_booking(analysis: "Analysis", origin: Origin, name: str, at: Place, scope: Scope) -> Value:
    name = analysis.aliases.get(origin, {}).get(name, name)
    if name in {"value", "_doc"}:
        return frozenset({Booking(origin)})
    if name in _OF_NEW_SHAPE:
        analysis.aware.add(origin)
        return NOTHING
    if name != ID and analysis.moved(name):
        confidence = Confidence.CERTAIN if origin.is_certain else Confidence.LIKELY
        analysis.report_path(Rule.FIELD, scope, at, name, confidence, origin)
    elif name == ID:
        analysis.report_path(Rule.FIELD, scope, at, ID, Confidence.LIKELY, origin, unless_aware=True)
    elif name in SHARED:
        suggestion = f"the document's {name} is that of all its sessions: use the session's, if that is meant"
        analysis.report(
            Rule.FIELD,
            scope,
            at,
            Confidence.LOOK,
            name,
            f"{SESSIONS}[].{name}",
            suggestion,
            origin,
            is_of_documents=True,
        )
    elif name == "id":
        analysis.report_path(Rule.FIELD, scope, at, ID, Confidence.LOOK, origin, unless_aware=True)
    else:
        return analysis.store.get(("methods", origin), name)
    return NOTHING


def _read_answer(analysis: "Analysis", atom: Answer, name: str, at: Place, scope: Scope) -> Value:
    if atom.depth < 0:
        is_body = name in {"data", "body", "json"}
        return frozenset({Answer(atom.origin, 0, atom.via)}) if is_body else NOTHING
    if name in _OF_NEW_SHAPE:
        analysis.aware.add(atom.origin)
        return NOTHING
    if name in _LENGTHS:
        if atom.via is None:
            analysis.counted(scope, at, atom.origin)
        return NOTHING
    is_payload = atom.depth >= _PAYLOAD_DEPTH or name not in {"status", "notes"}
    if name in NEW_PATHS and is_payload:
        if atom.via is None:
            unless_aware = name == ID
            analysis.report_path(
                Rule.ANSWER, scope, at, name, Confidence.LIKELY, atom.origin, unless_aware=unless_aware
            )
        return NOTHING
    if name in _OF_ENVELOPE or name in {"status", "notes"}:
        return NOTHING
    if name.isdigit():
        return _element_of(atom)
    return frozenset({Answer(atom.origin, atom.depth + 1, atom.via)})


def _element_of(atom: Answer) -> Value:
    if atom.via is None:
        return frozenset({Booking(atom.origin)})
    return frozenset({Answer(atom.origin, _PAYLOAD_DEPTH, atom.via)})


def elements(analysis: "Analysis", value: Value) -> Value:
    """Return what a loop over a value sees; of an object, also the elements of those that are spread into it."""
    waiting, seen = list(value), set[Atom]()
    parts: list[Value] = []
    while waiting:
        atom = waiting.pop()
        if atom in seen:
            continue
        seen.add(atom)
        match atom:
            case Bookings(origin) | Query(origin, True):
                parts.append(frozenset({Booking(origin)}))
            case Answer(depth=depth) if depth >= 0:
                parts.append(_element_of(atom))
            case Instance(site):
                store = analysis.store
                names = store.names(site)
                parts += [store.get(site, name) for name in names if name == ELEMENTS or name.isdigit()]
                if SPREAD in names:
                    waiting += store.get(site, SPREAD)
            case OtherData() | NewShape():
                parts.append(frozenset({atom}))
            case _:
                pass
    return union(parts)


def pick(analysis: "Analysis", value: Value, key: Value) -> Value:
    """Return a property whose name is computed."""
    parts = [elements(analysis, value)]
    for atom in value:
        if isinstance(atom, Instance):
            store = analysis.store
            parts += [store.get(atom.site, name) for name in store.names(atom.site) if name != SPREAD]
        elif isinstance(atom, Database):
            parts.append(frozenset({atom}))
            parts += [frozenset({Handle((g.function, g.number))}) for g in key if isinstance(g, Given)]
    return union(parts)


def nth(analysis: "Analysis", value: Value, number: int) -> Value:
    """Return an element by its place, where a list is taken apart."""
    parts = []
    for atom in value:
        if isinstance(atom, Instance):
            known = analysis.store.names(atom.site)
            name = str(number) if str(number) in known else ELEMENTS
            parts.append(analysis.store.get(atom.site, name))
        else:
            parts.append(elements(analysis, frozenset({atom})))
    return union(parts)


def list_of(analysis: "Analysis", value: Value, site: object) -> Value:
    """Return the list of values."""
    several: set[Atom] = {Bookings(atom.origin) for atom in value if isinstance(atom, Booking)}
    several |= {atom for atom in value if isinstance(atom, NewShape | OtherData)}
    rest = frozenset(atom for atom in value if not isinstance(atom, Booking | NewShape | OtherData))
    if rest or not several:
        analysis.store.put(site, ELEMENTS, rest, (0, 0))
        several.add(Instance(site))
    return frozenset(several)


def write(analysis: "Analysis", base: Value, name: str, value: Value, at: Place, scope: Scope) -> None:
    """Store a value in a property."""
    for atom in base:
        match atom:
            case Booking(origin) | Query(origin, False):
                known = analysis.aliases.get(origin, {}).get(name, name)
                if known in _OF_NEW_SHAPE:
                    analysis.aware.add(origin)
                elif known != ID and analysis.moved(known):
                    certain = Confidence.CERTAIN if origin.is_certain else Confidence.LIKELY
                    analysis.report_path(Rule.WRITE, scope, at, known, certain, origin)
            case Instance(site):
                analysis.store.put(site, name, value, at)
                _bind_this(analysis, site, value)
            case Kind(node):
                analysis.store.put(("static", node), name, value, at)
            case Given(_, 0) if name == "body":
                # Koa answers with what is stored in the body of its context.
                routes.check(analysis, value, scope, at)
            case External("module") if name == "exports":
                analysis.store.put(scope.module.exports.site, SPREAD, value, at)
                analysis.store.put(scope.module.exports.site, "=", value, at)
            case External("exports" | "module.exports"):
                analysis.store.put(scope.module.exports.site, name, value, at)
            case _:
                pass


def _bind_this(analysis: "Analysis", site: object, value: Value) -> None:
    """Let methods that are added to a schema know what `this` is."""
    match site:
        case ("methods" | "statics" as part, Node() as schema):
            this = shapes.this_of_schema(analysis, schema, is_static=part == "statics")
            for atom in value:
                if isinstance(atom, Code):
                    analysis.store.add(("this", atom.function), this)
        case _:
            pass
