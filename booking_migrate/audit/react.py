"""React: components get their properties, hooks keep and return values."""

from typing import TYPE_CHECKING

from booking_migrate.audit import calls, http
from booking_migrate.audit.arguments import Arguments
from booking_migrate.audit.syntax import Node
from booking_migrate.audit.values import (
    NOTHING,
    Answer,
    Code,
    External,
    Instance,
    Kind,
    Setter,
    Value,
    union,
)

if TYPE_CHECKING:
    from booking_migrate.audit.analysis import Analysis

_FETCHED = frozenset(
    {"useQuery", "useSuspenseQuery", "useInfiniteQuery", "useAsync", "useRequest", "queryOptions"}
)
_WRAPPERS = frozenset(
    {"memo", "forwardRef", "observer", "useCallback", "lazy", "cache", "useEffectEvent", "useEvent"}
)


def render(analysis: "Analysis", tag: Value, properties: Value, site: Node) -> Value:
    """Call the components that an element stands for."""
    parts = []
    for atom in tag:
        if isinstance(atom, Code):
            parts.append(calls.apply(analysis, atom, [properties]))
        elif isinstance(atom, Kind):
            analysis.store.put(("class", atom.node), "props", properties, site.at)
        elif isinstance(atom, Instance):
            analysis.store.put(atom.site, "value", analysis.store.get(site, "value"), site.at)
    children = analysis.store.get(site, "children")
    for atom in children:
        if isinstance(atom, Code):
            calls.apply(analysis, atom, [])
    return union(parts)


def call_hook(analysis: "Analysis", name: str, arguments: Arguments) -> Value | None:
    """Return the result of a hook; None if it is not one."""
    last = name.rpartition(".")[2]
    made = _HOOKS.get(last)
    if made is not None:
        return made(analysis, arguments)
    if last in _WRAPPERS:
        return union(frozenset({code}) for code in arguments.code())
    return _fetched(analysis, arguments) if last in _FETCHED else None


def _state(analysis: "Analysis", arguments: Arguments) -> Value:
    node, store = arguments.node, analysis.store
    slot = ("state", node)
    first = arguments.get(0)
    store.add(slot, frozenset(atom for atom in first if not isinstance(atom, Code)))
    store.add(slot, calls.call_value(analysis, first, []))
    for written in node.types:
        store.add(slot, analysis.typed(written, arguments.scope))
    site = ("pair", node)
    store.put(site, "0", store.read(slot), node.at)
    store.put(site, "1", frozenset({Setter(node)}), node.at)
    return frozenset({Instance(site)})


def _reducer(analysis: "Analysis", arguments: Arguments) -> Value:
    node, store = arguments.node, analysis.store
    slot = ("state", node)
    store.add(slot, arguments.get(1))
    action = store.read(("state", ("action", node)))
    for atom in arguments.get(0):
        if isinstance(atom, Code):
            store.add(slot, calls.apply(analysis, atom, [store.read(slot), action]))
    site = ("pair", node)
    store.put(site, "0", store.read(slot), node.at)
    store.put(site, "1", frozenset({Setter(("action", node))}), node.at)
    return frozenset({Instance(site)})


def _computed(analysis: "Analysis", arguments: Arguments) -> Value:
    return calls.call_value(analysis, arguments.get(0), [])


def _effect(analysis: "Analysis", arguments: Arguments) -> Value:
    calls.call_value(analysis, arguments.get(0), [])
    return NOTHING


def _reference(analysis: "Analysis", arguments: Arguments) -> Value:
    site = ("reference", arguments.node)
    analysis.store.put(site, "current", arguments.get(0), arguments.at)
    for written in arguments.node.types:
        analysis.store.put(site, "current", analysis.typed(written, arguments.scope), arguments.at)
    return frozenset({Instance(site)})


def _context(analysis: "Analysis", arguments: Arguments) -> Value:
    """Return a context: its provider puts the value into it."""
    site = ("context", arguments.node)
    store = analysis.store
    store.put(site, "value", arguments.get(0), arguments.at)
    for written in arguments.node.types:
        store.put(site, "value", analysis.typed(written, arguments.scope), arguments.at)
    store.put(site, "Provider", frozenset({Instance(site)}), arguments.at)
    return frozenset({Instance(site)})


def _use_context(analysis: "Analysis", arguments: Arguments) -> Value:
    found = [
        analysis.store.get(atom.site, "value") for atom in arguments.get(0) if isinstance(atom, Instance)
    ]
    return union(found)


def _mutation(analysis: "Analysis", arguments: Arguments) -> Value:
    """Return a mutation: what it is called with goes to its function, and the result to what is done on success."""
    site, store = ("mutation", arguments.node), analysis.store
    functions = [arguments.get(0)]
    for atom in arguments.get(0):
        if isinstance(atom, Instance):
            functions.append(store.get(atom.site, "mutationFn"))
            result = calls.call_value(analysis, functions[-1], [])
            calls.call_value(analysis, store.get(atom.site, "onSuccess"), [result])
            store.put(site, "data", result, arguments.at)
    callable_parts = union(frozenset(a for a in each if isinstance(a, Code)) for each in functions)
    for name in ("mutate", "mutateAsync", "trigger", "run"):
        store.put(site, name, callable_parts, arguments.at)
    return frozenset({Instance(site)})


def _fetched(analysis: "Analysis", arguments: Arguments) -> Value:
    """Return the result of a query: `data` is what its function returns."""
    store, site = analysis.store, ("query", arguments.node)
    results = []
    for value in arguments.every():
        results.append(calls.call_value(analysis, value, []))
        for atom in value:
            if isinstance(atom, Instance):
                fetched = calls.call_value(analysis, store.get(atom.site, "queryFn"), [])
                chosen = calls.call_value(analysis, store.get(atom.site, "select"), [fetched])
                results.append(chosen or fetched)
    declared = [analysis.typed(each, arguments.scope) for each in arguments.node.types[:1]]
    store.put(site, "data", union([*results, *declared]), arguments.at)
    if not any(results):
        store.put(site, "data", _fetched_by_route(analysis, arguments), arguments.at)
    return frozenset({Instance(site)})


def _swr(analysis: "Analysis", arguments: Arguments) -> Value:
    store, site = analysis.store, ("query", arguments.node)
    fetched = calls.call_value(analysis, arguments.get(1), [arguments.get(0)])
    declared = [analysis.typed(each, arguments.scope) for each in arguments.node.types[:1]]
    by_route = _fetched_by_route(analysis, arguments)
    own = frozenset(atom for atom in fetched if not (isinstance(atom, Answer) and atom.via is not None))
    store.put(site, "data", union([own, by_route, *declared]), arguments.at)
    return frozenset({Instance(site)})


def _fetched_by_route(analysis: "Analysis", arguments: Arguments) -> Value:
    """Return the body of the answer if the key is a route of bookings."""
    found = http.answer(analysis, arguments, arguments.get(0), "get")
    return frozenset(Answer(a.origin, 0, a.via) if isinstance(a, Answer) else a for a in found)


def _component(_analysis: "Analysis", arguments: Arguments) -> Value:
    return union(
        [*(frozenset({code}) for code in arguments.code()), frozenset({External("React.createElement()")})]
    )


def _element(analysis: "Analysis", arguments: Arguments) -> Value:
    return calls.call_value(analysis, arguments.get(0), [arguments.get(1)])


_HOOKS = {
    "useState": _state,
    "useReducer": _reducer,
    "useMemo": _computed,
    "useEffect": _effect,
    "useLayoutEffect": _effect,
    "useRef": _reference,
    "ref": _reference,
    "createContext": _context,
    "useContext": _use_context,
    "useMutation": _mutation,
    "useSWR": _swr,
    "swr": _swr,
    "useFetch": _swr,
    "createElement": _element,
    "connect": _component,
}
