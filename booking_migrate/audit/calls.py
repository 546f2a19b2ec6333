"""What calls mean: of the application's own functions, of methods of each kind of value, and of lists."""

from typing import TYPE_CHECKING

from booking_migrate.audit import database, http, libraries, maps, members, redux, references, routes, shapes
from booking_migrate.audit.arguments import Arguments
from booking_migrate.audit.scopes import Scope
from booking_migrate.audit.syntax import Function
from booking_migrate.audit.values import (
    ELEMENTS,
    NOTHING,
    SPREAD,
    Answer,
    Atom,
    Booking,
    Bookings,
    Code,
    Constant,
    Database,
    External,
    Getter,
    Given,
    Handle,
    Instance,
    Kind,
    Model,
    NewShape,
    OtherData,
    OtherModel,
    Query,
    Schema,
    Setter,
    Value,
    union,
)

if TYPE_CHECKING:
    from booking_migrate.audit.analysis import Analysis

_SAME = frozenset({
    "filter", "slice", "sort", "reverse", "toSorted", "toReversed", "concat", "copy", "values", "flat", "splice", "fill",
    "toSpliced", "to_list", "toArray", "all", "unique", "sortBy", "orderBy", "lean", "exec", "toJSON", "toObject", "clone",
    "unwrap", "json", "finally", "catch", "model_dump", "dict",
})  # fmt: skip
"""The methods that return the same, or some of it, perhaps in another order."""

_ONE = frozenset({"find", "findLast", "at", "pop", "shift", "first", "last", "__next__", "popleft", "next"})
_MAPPED = frozenset({"map", "flatMap", "mapcat", "collect"})
_ADDED = frozenset(
    {"push", "append", "unshift", "add", "appendleft", "insert", "extend", "update", "set", "setdefault"}
)
_KEYED = frozenset({"get", "pop", "setdefault", "__getitem__"})
_COLUMNS = frozenset({"groupby", "sort_values", "drop_duplicates", "set_index", "nlargest"})
"""The methods of a data frame that take the name of a column."""

_THEN = frozenset({"then", "pipe", "subscribe", "tap"})


def call(analysis: "Analysis", function: Value, arguments: Arguments) -> Value:
    """Return the result of a call of any of these."""
    return union(_call(analysis, atom, arguments) for atom in function)


def _call(analysis: "Analysis", atom: Atom, arguments: Arguments) -> Value:
    match atom:
        case Code(function):
            return call_code(analysis, function, arguments)
        case Kind():
            return _construct(analysis, atom, arguments)
        case External(name):
            return libraries.call(analysis, name, arguments)
        case Setter(slot):
            return _store(analysis, slot, arguments)
        case Model():
            return database.construct(analysis, atom, arguments)
        case Instance(("class", _) as site) if getattr(arguments.node.function, "name", "") == "super":
            return union(
                call(analysis, analysis.store.get(site, f"super.{name}"), arguments)
                for name in shapes.CONSTRUCTORS
            )
        case Instance():
            # The hook of a store, which takes a function that selects a part of the state.
            selected = [call_value(analysis, value, [frozenset({atom})]) for value in arguments.values[:1]]
            return union(selected) if selected else frozenset({atom})
        case NewShape():
            return frozenset({atom})
        case _:
            pass
    return NOTHING


def _store(analysis: "Analysis", slot: object, arguments: Arguments) -> Value:
    """Store the argument of a setter, or what a function makes of the state."""
    state = ("state", slot)
    value = arguments.get(0)
    if isinstance(slot, tuple) and slot[0] == "merged":
        made = call_value(analysis, value, [frozenset({Instance(slot[1])})])
        parts = union((value, made))
        analysis.store.put(
            slot[1], SPREAD, frozenset(a for a in parts if isinstance(a, Instance)), arguments.at
        )
        return NOTHING
    analysis.store.add(state, frozenset(atom for atom in value if not isinstance(atom, Code)))
    for atom in value:
        if isinstance(atom, Code):
            analysis.store.add(state, apply(analysis, atom, [analysis.store.read(state)]))
    return NOTHING


def apply(analysis: "Analysis", code: Code, values: list[Value]) -> Value:
    """Call a function with values that have no place of their own."""
    offset = 1 if code.function.is_method else 0
    for number, value in enumerate(values, offset):
        if number < len(code.function.parameters):
            _pass(analysis, code.function, number, value)
    return analysis.store.read(("result", code.function))


def _pass(analysis: "Analysis", function: Function, number: int, value: Value) -> None:
    """Pass a value to a parameter; strings stay out, since they differ between calls, and what is not known anyway."""
    kept = frozenset(atom for atom in value if not isinstance(atom, Constant | Given | External))
    analysis.store.add(("parameter", function, number), kept)


def call_code(analysis: "Analysis", function: Function, arguments: Arguments) -> Value:
    """Call a function of the application."""
    offset = 1 if function.is_method else 0
    positions = function.parameters[offset:]
    for number, parameter in enumerate(positions, offset):
        if parameter.is_rest:
            rest = union(arguments.values[number - offset :])
            analysis.store.put(parameter, ELEMENTS, rest, parameter.at)
            _pass(analysis, function, number, frozenset({Instance(parameter)}))
            continue
        name = getattr(parameter.target, "name", "")
        _pass(analysis, function, number, arguments.get(number - offset, name))
    routes.called_by(analysis, function, arguments.scope)
    result = analysis.store.read(("result", function))
    return union([*(_resolved(analysis, atom, function, offset, arguments) for atom in result)])


def _resolved(
    analysis: "Analysis", atom: Atom, function: Function, offset: int, arguments: Arguments
) -> Value:
    """Return a part of a result; what depends on a string of this call is settled here."""
    match atom:
        case Answer(depth=depth, via=(of, number)) if of is function:
            return http.resolved(analysis, depth, number - offset, function.parameters[number], arguments)
        case Handle(via=(of, number)) if of is function:
            return database.handle(analysis, arguments.get(number - offset), arguments)
        case Given(of, number) if of is function:
            return arguments.get(number - offset)
    return frozenset({atom})


def _construct(analysis: "Analysis", kind: Kind, arguments: Arguments) -> Value:
    """Make an instance of a class."""
    store, site = analysis.store, ("class", kind.node)
    own = frozenset.union(*(store.get(site, name) for name in shapes.CONSTRUCTORS))
    base = frozenset.union(*(store.get(site, f"super.{name}") for name in shapes.CONSTRUCTORS))
    for atom in own or base:
        if isinstance(atom, Code):
            call_code(analysis, atom.function, arguments)
    for name, value in arguments.named.items():
        analysis.store.put(("class", kind.node), name, value, arguments.at)
    return shapes.instance_of(analysis, kind)


def call_method(analysis: "Analysis", base: Value, name: str, arguments: Arguments) -> Value:
    """Return the result of a call of a method of any of these."""
    routes.called(analysis, base, name, arguments)
    parts = [_call_method(analysis, atom, name, arguments) for atom in base]
    if name == "then" or name in _THEN:
        parts.append(_then(analysis, base, name, arguments))
    if all(isinstance(atom, Given | Constant) for atom in base):
        routes.sent(analysis, base, name, arguments)
        parts.append(libraries.call_unknown(analysis, name, arguments))
    return union(parts)


def _then(analysis: "Analysis", base: Value, name: str, arguments: Arguments) -> Value:
    """Call what is done with the value of a promise."""
    passed = frozenset(atom for atom in base if not isinstance(atom, External))
    results = [call_value(analysis, value, [passed]) for value in arguments.values[:1]]
    return union(results) if name == "then" else union([*results, passed])


def call_value(analysis: "Analysis", function: Value, values: list[Value]) -> Value:
    """Call a callback, which may also be a setter."""
    parts = []
    for atom in function:
        if isinstance(atom, Code):
            parts.append(apply(analysis, atom, values))
        elif isinstance(atom, Setter) and values:
            analysis.store.add(("state", atom.slot), values[0])
        elif isinstance(atom, Kind):
            parts.append(shapes.instance_of(analysis, atom))
        elif isinstance(atom, Getter) and values and isinstance(atom.scope, Scope):
            parts += [analysis.read(values[0], name, atom.at, atom.scope) for name in atom.names]
    return union(parts)


def _call_method(analysis: "Analysis", atom: Atom, name: str, arguments: Arguments) -> Value:
    match atom:
        case Model():
            return database.call_model(analysis, atom, name, arguments)
        case Query():
            return database.call_query(analysis, atom, name, arguments)
        case Schema():
            return database.call_schema(analysis, atom, name, arguments)
        case OtherModel() | OtherData():
            return references.call_other(analysis, atom, name, arguments)
        case Database():
            return database.call_database(analysis, name, arguments)
        case Booking():
            return call_booking(analysis, atom, name, arguments)
        case Bookings() | Answer():
            return call_list(analysis, atom, name, arguments)
        case Instance(site):
            return _call_instance(analysis, atom, site, name, arguments)
        case External(dotted):
            return libraries.call(analysis, f"{dotted}.{name}", arguments)
        case Kind(node):
            own = analysis.store.get(("static", node), name)
            return call(analysis, own, arguments) if own else shapes.instance_of(analysis, atom)
        case Code() if name in {"bind", "call", "apply"}:
            return frozenset({atom})
        case NewShape():
            for each in arguments.code():
                apply(analysis, each, [frozenset({atom}), frozenset({atom})])
            return frozenset({atom})
        case _:
            pass
    return NOTHING


def call_booking(analysis: "Analysis", atom: Booking, name: str, arguments: Arguments) -> Value:
    """Call a method of a document."""
    origin = atom.origin
    if name in {"get", "pop", "setdefault"} and arguments.text(0):
        return analysis.read(
            frozenset({atom}), arguments.text(0), arguments.node.arguments[0].at, arguments.scope
        )
    if name in {"set", "update", "assign"}:
        names = [arguments.text(0), *arguments.named] if arguments.text(0) else list(arguments.named)
        for each in arguments.get(0):
            if isinstance(each, Instance):
                names += analysis.store.names(each.site)
        for each_name in names:
            analysis.write(frozenset({atom}), each_name, NOTHING, arguments.at, arguments.scope)
    own = analysis.store.get(("methods", origin), name) or shapes.added_to_schemas(analysis, "methods", name)
    if own:
        return call(analysis, own, arguments)
    if name in _COLUMNS and arguments.text(0):
        analysis.read(frozenset({atom}), arguments.text(0), arguments.at, arguments.scope)
        return frozenset({atom})
    if name == "populate":
        references.check_populate(analysis, arguments, atom.origin)
    is_itself = name in _SAME or name in {"save", "populate", "lean", "model_copy", "copy", "data"}
    return frozenset({atom}) if is_itself else NOTHING


def _call_instance(
    analysis: "Analysis", atom: Instance, site: object, name: str, arguments: Arguments
) -> Value:
    store = analysis.store
    own = members.own_property(analysis, site, name)
    if callable_parts := frozenset(
        each for each in own if isinstance(each, Code | Kind | Setter | External | Model)
    ):
        return call(analysis, callable_parts, arguments)
    if maps.is_map(site):
        return _call_map(analysis, atom, name, arguments)
    if name in _KEYED and arguments.text(0):
        key = arguments.text(0)
        found = analysis.read(frozenset({atom}), key, arguments.node.arguments[0].at, arguments.scope)
        return union((found, arguments.get(1)))
    if name in _KEYED and len(arguments.values) <= 1:
        return union((members.pick(analysis, frozenset({atom}), NOTHING), NOTHING))
    if name == "setdefault":
        store.put(site, arguments.text(0) or ELEMENTS, arguments.get(1), arguments.at)
        return members.pick(analysis, frozenset({atom}), NOTHING)
    if name == "getState":
        return frozenset({atom})
    if name == "setState":
        return _set_state(analysis, site, arguments)
    if isinstance(site, tuple) and site[0] == "reducers":
        return redux.add_case(analysis, atom, arguments)
    if name in _ADDED:
        value = arguments.values[-1] if arguments.values else NOTHING
        if name == "update":
            store.put(site, SPREAD, value, arguments.at)
            for key, each in arguments.named.items():
                store.put(site, key, each, arguments.at)
        elif name == "set" and arguments.text(0):
            store.put(site, arguments.text(0), value, arguments.at)
        else:
            added = members.elements(analysis, value) if name == "extend" else value
            store.put(site, ELEMENTS, added, arguments.at)
        return frozenset({atom})
    return call_list(analysis, atom, name, arguments)


def _call_map(analysis: "Analysis", atom: Instance, name: str, arguments: Arguments) -> Value:
    """Call a method of a map."""
    held = maps.held(analysis, atom.site)
    if name == "set":
        maps.put(analysis, atom.site, arguments.get(1), arguments.at)
        return frozenset({atom})
    if name == "get":
        return held
    if name == "values":
        return members.list_of(analysis, held, arguments.node)
    if name == "forEach":
        call_value(analysis, arguments.get(0), [held])
    return frozenset({atom}) if name == "entries" else NOTHING


def _set_state(analysis: "Analysis", site: object, arguments: Arguments) -> Value:
    """Add to the state of a component, or what a function makes of it."""
    state = analysis.store.get(site, "state")
    made = union((arguments.get(0), call_value(analysis, arguments.get(0), [state])))
    added = frozenset(each for each in made if isinstance(each, Instance))
    for each in state:
        if isinstance(each, Instance):
            analysis.store.put(each.site, SPREAD, added - {each}, arguments.at)
    if not state:
        analysis.store.put(site, "state", added, arguments.at)
    return NOTHING


def call_list(analysis: "Analysis", atom: Atom, name: str, arguments: Arguments) -> Value:
    """Call a method of a list: callbacks get its elements."""
    if isinstance(atom, Answer) and atom.depth < 0:
        return frozenset({Answer(atom.origin, 0, atom.via)}) if name in {"json", "text", "data"} else NOTHING
    whole = frozenset({atom})
    item = members.elements(analysis, whole)
    if name in {"reduce", "reduceRight"}:
        return _reduce(analysis, item, arguments)
    results = [call_value(analysis, value, [item, item]) for value in arguments.every()]
    if name in {"items", "entries"}:
        site = ("entries", atom, arguments.node)
        analysis.store.put(site, "1", union((item, members.pick(analysis, whole, NOTHING))), arguments.at)
        return members.list_of(analysis, frozenset({Instance(site)}), arguments.node)
    if name in _MAPPED:
        result = union(results)
        flat = members.elements(analysis, result) if name == "flatMap" else result
        return members.list_of(analysis, flat, arguments.node)
    if name in _ONE:
        return item
    if name == "values":
        return members.list_of(analysis, members.pick(analysis, whole, NOTHING), arguments.node)
    if name in _SAME:
        given = [value for value in arguments.values if name == "concat"]
        return union((whole, *given))
    return NOTHING


def _reduce(analysis: "Analysis", item: Value, arguments: Arguments) -> Value:
    """Call a reducer with what it returns."""
    result = arguments.get(1)
    for atom in arguments.get(0):
        if isinstance(atom, Code):
            result = union((result, apply(analysis, atom, [result, item])))
            result = union((result, apply(analysis, atom, [result, item])))
    return result
