"""Redux: what reducers do to the state, and what thunks pass to them."""

from typing import TYPE_CHECKING

from booking_migrate.audit import calls
from booking_migrate.audit.arguments import Arguments
from booking_migrate.audit.values import NOTHING, Code, Instance, Value, union

if TYPE_CHECKING:
    from booking_migrate.audit.analysis import Analysis

_OUTCOMES = ("fulfilled", "pending", "rejected")


def call(analysis: "Analysis", name: str, arguments: Arguments) -> Value | None:
    """Return what a function of the toolkit makes; None if it is another one."""
    last = name.rpartition(".")[2]
    if last == "createAsyncThunk":
        return _thunk(analysis, arguments)
    if last == "createSlice":
        return _slice(analysis, arguments)
    return None


def _thunk(analysis: "Analysis", arguments: Arguments) -> Value:
    """Return a thunk: its outcome is an action with what its function returns."""
    store, site = analysis.store, ("thunk", arguments.node)
    result = calls.call_value(analysis, arguments.get(1), [])
    action = ("action", arguments.node)
    store.put(action, "payload", result, arguments.at)
    for outcome in _OUTCOMES:
        store.put(site, outcome, frozenset({Instance(action)}), arguments.at)
    return frozenset({Instance(site)})


def _slice(analysis: "Analysis", arguments: Arguments) -> Value:
    """Call the reducers of a slice with its state."""
    store, site = analysis.store, ("reducers", arguments.node)
    for atom in arguments.get(0):
        if not isinstance(atom, Instance):
            continue
        store.put(site, "state", store.get(atom.site, "initialState"), arguments.at)
        state = store.get(site, "state")
        for reducers in store.get(atom.site, "reducers"):
            if isinstance(reducers, Instance):
                for name in store.names(reducers.site):
                    _reduce(analysis, store.get(reducers.site, name), [state, NOTHING])
        builder: Value = frozenset({Instance(site)})
        for code in store.get(atom.site, "extraReducers"):
            if isinstance(code, Code):
                calls.apply(analysis, code, [builder])
    return frozenset({Instance(("slice", arguments.node))})


def _reduce(analysis: "Analysis", reducer: Value, values: list[Value]) -> None:
    for atom in reducer:
        if isinstance(atom, Code):
            calls.apply(analysis, atom, values)


def add_case(analysis: "Analysis", builder: Instance, arguments: Arguments) -> Value:
    """Call a reducer for the action of a thunk."""
    state = analysis.store.get(builder.site, "state")
    _reduce(analysis, union(arguments.values[1:]), [state, arguments.get(0)])
    return frozenset({builder})
