"""What functions of libraries and of the languages return, as far as bookings pass through them."""

from typing import TYPE_CHECKING

from booking_migrate.audit import calls, database, http, maps, members, react, redux, routes
from booking_migrate.audit.arguments import Arguments
from booking_migrate.audit.values import (
    ELEMENTS,
    NOTHING,
    SPREAD,
    Answer,
    Booking,
    Bookings,
    Code,
    Constant,
    External,
    Getter,
    Given,
    Instance,
    OtherData,
    Query,
    Setter,
    Value,
    external,
    union,
)

if TYPE_CHECKING:
    from booking_migrate.audit.analysis import Analysis

_SAME = frozenset({
    "list", "tuple", "set", "frozenset", "sorted", "reversed", "iter", "aiter", "deepcopy", "copy", "cloneDeep", "clone",
    "structuredClone", "parse", "stringify", "freeze", "from", "resolve", "sortBy", "orderBy", "uniqBy", "uniq", "compact",
    "toJS", "shuffle", "take", "filter", "cast", "jsonable_encoder", "islice", "unref", "readonly", "toRaw", "observable",
    "reject", "str", "assert", "expect", "lru_cache", "cache", "Promise", "of", "loads", "dumps",
})  # fmt: skip
"""The functions that return their argument, or some of it, perhaps in another order."""

_ONE = frozenset({"max", "min", "next", "anext", "choice", "find", "minBy", "maxBy", "first", "last", "head"})
_ALL_OF = frozenset({"all", "allSettled", "gather", "wait"})
_GROUPED = frozenset({"groupBy", "keyBy", "indexBy", "groupby", "countBy", "partition"})
_ENTRIES = frozenset({"Object.entries", "enumerate", "items"})
_VALUES = frozenset({"Object.values", "values"})
_LISTS = frozenset({"list", "tuple", "set", "frozenset", "sorted", "reversed", "deque"})
_GETTERS = frozenset({"itemgetter", "attrgetter", "property", "pluck"})
_OPERATIONS = frozenset({
    "UpdateOne", "UpdateMany", "InsertOne", "ReplaceOne", "DeleteOne", "DeleteMany", "IndexModel",
})  # fmt: skip
_BY_NAME = frozenset({
    "groupBy", "keyBy", "countBy", "sortBy", "orderBy", "uniqBy", "minBy", "maxBy", "sumBy", "meanBy", "map", "pick",
})  # fmt: skip
"""The functions of lodash that take the names of properties."""

_MADE = frozenset(
    {
        "Map",
        "Set",
        "WeakMap",
        "defaultdict",
        "dict",
        "OrderedDict",
        "Array",
        "Object.create",
        "list",
        "Counter",
    }
)


def call(analysis: "Analysis", name: str, arguments: Arguments) -> Value:
    """Return the result of a function of a library.

    Args:
        analysis: the audit.
        name: its dotted name.
        arguments: those of the call.
    """
    last = name.rpartition(".")[2]
    if name.startswith("super()."):
        return _call_base(analysis, last, arguments)
    routes.responded(analysis, name, arguments)
    for knows in (database.call_library, react.call_hook, redux.call, http.request, routes.made):
        found = knows(analysis, name, arguments)
        if found is not None:
            return found
    if last in {"require", "import"}:
        module = analysis.modules.resolve(arguments.text(0), arguments.scope.module)
        return analysis.required(module) if module else frozenset({External(arguments.text(0))})
    found = _of_language(analysis, name, last, arguments)
    if found is not None:
        return found
    if last == "DataFrame":
        return members.elements(analysis, arguments.get(0))
    if last in _OPERATIONS:
        return _operation(analysis, arguments)
    if last in _LISTS:
        item = members.elements(analysis, arguments.get(0))
        if any(isinstance(atom, Booking) for atom in item):
            calls.call_value(analysis, arguments.get(1, "key"), [item])
            return members.list_of(analysis, item, arguments.node)
    if last in _GETTERS:
        names = [atom.text for value in arguments.values for atom in value if isinstance(atom, Constant)]
        return frozenset({Getter(tuple(names), arguments.at, arguments.scope)})
    if name.startswith("zustand"):
        return _shared_state(analysis, arguments)
    if arguments.node.is_new or last in _MADE:
        return _made(analysis, name, arguments)
    return _any(analysis, name, arguments)


def _call_base(analysis: "Analysis", name: str, arguments: Arguments) -> Value:
    """Call a method of the class that one extends (Python)."""
    function = arguments.scope.function
    this = NOTHING if function is None else analysis.store.read(("this", function))
    sites = [atom.site for atom in this if isinstance(atom, Instance)]
    found = [analysis.store.get(site, f"super.{name}") or analysis.store.get(site, name) for site in sites]
    return union(calls.call(analysis, value, arguments) for value in found)


def _of_language(analysis: "Analysis", name: str, last: str, arguments: Arguments) -> Value | None:
    first = arguments.get(0)
    if last in {"Depends", "Security"}:
        return calls.call_value(analysis, first, [])
    if name == "len":
        for atom in first:
            if isinstance(atom, Bookings):
                analysis.counted(arguments.scope, arguments.at, atom.origin)
        return NOTHING
    if name in {"map", "filter"}:
        item = members.elements(analysis, arguments.get(1))
        result = calls.call_value(analysis, first, [item])
        return members.list_of(analysis, result, arguments.node) if name == "map" else arguments.get(1)
    if name in _ENTRIES or name == "zip":
        site = ("entries", arguments.node)
        if name == "zip":
            for number, value in enumerate(arguments.values):
                analysis.store.put(site, str(number), members.elements(analysis, value), arguments.at)
        else:
            is_list = name == "enumerate"
            pair = members.elements(analysis, first) if is_list else members.pick(analysis, first, NOTHING)
            analysis.store.put(site, "1", pair, arguments.at)
        return members.list_of(analysis, frozenset({Instance(site)}), arguments.node)
    if name in _VALUES:
        return members.list_of(analysis, members.pick(analysis, first, NOTHING), arguments.node)
    if name == "Object.assign":
        for atom in first:
            for value in arguments.values[1:]:
                if isinstance(atom, Instance):
                    analysis.store.put(atom.site, SPREAD, value, arguments.at)
                elif isinstance(atom, Booking | Query):
                    _assign(analysis, atom, value, arguments)
        return union(arguments.values)
    if last in _ALL_OF and name != "all":
        if len(arguments.values) == 1:
            return first
        for number, value in enumerate(arguments.values):
            analysis.store.put(arguments.node, str(number), value, arguments.at)
        return frozenset({Instance(arguments.node)})
    return None


def _assign(analysis: "Analysis", atom: Booking | Query, value: Value, arguments: Arguments) -> None:
    """Store the properties of an object in a booking."""
    for each in value:
        if isinstance(each, Instance):
            for name in analysis.store.names(each.site):
                analysis.write(frozenset({atom}), name, NOTHING, arguments.at, arguments.scope)


def _made(analysis: "Analysis", name: str, arguments: Arguments) -> Value:
    """Return a new container or an instance of a library's class, with what was passed to it."""
    if name == "Promise":
        return _promise(analysis, arguments)
    site = arguments.node
    if name in {"Map", "WeakMap"}:
        held = ("map", arguments.node)
        pairs = members.elements(analysis, arguments.get(0))
        maps.put(analysis, held, members.nth(analysis, pairs, 1), arguments.at)
        for written in arguments.node.types[1:2]:
            maps.put(analysis, held, analysis.typed(written, arguments.scope), arguments.at)
        return frozenset({Instance(held)})
    for value in arguments.values:
        analysis.store.put(site, SPREAD, frozenset(a for a in value if isinstance(a, Instance)), arguments.at)
        analysis.store.put(site, ELEMENTS, members.elements(analysis, value), arguments.at)
        calls.call_value(analysis, value, [])
    for key, value in arguments.named.items():
        analysis.store.put(site, SPREAD if key == "**" else key, value, arguments.at)
    made = frozenset({Instance(site)})
    is_container = name.rpartition(".")[2] in _MADE
    return made if is_container else made | {external(f"{name}()")}


def _promise(analysis: "Analysis", arguments: Arguments) -> Value:
    """Return what a new promise is resolved with."""
    slot = ("promise", arguments.node)
    for code in arguments.code():
        calls.apply(analysis, code, [frozenset({Setter(slot)})])
    return analysis.store.read(("state", slot))


def _operation(analysis: "Analysis", arguments: Arguments) -> Value:
    """Return an operation of a bulk write, or an index, with what it is made of."""
    site, is_filtered = arguments.node, len(arguments.values) + len(arguments.named) > 1
    names = ("filter", "update") if is_filtered else ("document", "")
    for number, name in enumerate(names):
        if name:
            analysis.store.put(site, name, arguments.get(number, name, "replacement"), arguments.at)
    return frozenset({Instance(site)})


def _shared_state(analysis: "Analysis", arguments: Arguments) -> Value:
    """Return a store of zustand: its state is what the function makes, and what it sets later."""
    site = ("store", arguments.node)
    for value in arguments.values:
        made = calls.call_value(
            analysis,
            value,
            [frozenset({Setter(("merged", site))}), frozenset({Getter((), arguments.at, arguments.scope)})],
        )
        analysis.store.put(site, SPREAD, made, arguments.at)
    for written in arguments.node.types:
        analysis.store.put(site, SPREAD, analysis.typed(written, arguments.scope), arguments.at)
    return frozenset({Instance(site)})


def _any(analysis: "Analysis", name: str, arguments: Arguments) -> Value:
    """Return the result of any other function: callbacks get what is passed with them, and may be what is returned."""
    last = name.rpartition(".")[2]
    passed = union(
        frozenset(
            a for a in value if isinstance(a, Booking | Bookings | Query | Answer | OtherData | Instance)
        )
        for value in arguments.every()
    )
    is_needed = last in _BY_NAME or last in _ONE or any(True for _ in arguments.code())
    found = members.elements(analysis, passed) if is_needed else NOTHING
    item = frozenset(atom for atom in found if not isinstance(atom, External))
    if last in _BY_NAME and item:
        for value in arguments.values[1:]:
            for atom in value | members.elements(analysis, value):
                if isinstance(atom, Constant):
                    analysis.read(item, atom.text, arguments.at, arguments.scope)
    results = [
        calls.call_value(analysis, value, [item, item] if item else [])
        for value in arguments.every()
        if any(isinstance(atom, Code) for atom in value)
    ]
    if last in _ONE:
        return item
    if last in {"map", "flatMap"}:
        return members.list_of(analysis, union(results), arguments.node)
    if last in _GROUPED:
        site = ("grouped", arguments.node)
        analysis.store.put(site, ELEMENTS, passed, arguments.at)
        return frozenset({Instance(site)})
    if last in _SAME:
        return union((passed, *(_strings(value) for value in arguments.values[:1]), *_functions(arguments)))
    return union((frozenset({external(f"{name}()")}), *_functions(arguments), *results))


def _functions(arguments: Arguments) -> list[Value]:
    """Return the functions among the arguments: wrappers return what they wrap."""
    return [frozenset({each}) for each in arguments.code()]


def _strings(value: Value) -> Value:
    return frozenset(atom for atom in value if isinstance(atom, Constant | Given))


def call_unknown(analysis: "Analysis", name: str, arguments: Arguments) -> Value:
    """Return the result of a method of something that is not known."""
    for knows in (database.call_library, http.request):
        found = knows(analysis, f"?.{name}", arguments)
        if found is not None:
            return found
    for value in arguments.every():
        calls.call_value(analysis, value, [])
    return NOTHING
