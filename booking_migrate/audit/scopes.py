"""Names: which slots a variable may stand for, where it is read."""

from dataclasses import dataclass, field

from booking_migrate.audit.syntax import Function, Node, Place, Program
from booking_migrate.audit.values import Instance, Slot


@dataclass(slots=True, eq=False)
class Module:
    """A file of the application."""

    path: str
    program: Program

    @property
    def is_python(self) -> bool:
        """Return the language."""
        return self.program.is_python

    @property
    def exports(self) -> Instance:
        """Return the object that holds what the module exports."""
        return Instance(("exports", self.path))


@dataclass(slots=True, eq=False)
class Scope:
    """The variables of a block or a function."""

    node: Node
    module: Module
    parent: "Scope | None" = None
    function: Function | None = None
    """The function whose body it is or belongs to."""

    current: dict[str, frozenset[Slot]] = field(default_factory=dict)
    """What each variable may be at the place that is evaluated: an assignment replaces what was there before."""

    ever: dict[str, set[Slot]] = field(default_factory=dict)
    """What it may be anywhere: functions see this of the scopes around them."""

    inner: dict[Node, "Scope"] = field(default_factory=dict)

    def within(self, node: Node) -> "Scope":
        """Return the scope of a block inside."""
        found = self.inner.get(node)
        if found is None:
            found = self.inner[node] = Scope(node, self.module, self, self.function)
        found.current = {}
        return found

    def declare(self, name: str, at: Place) -> Slot:
        """Return the slot of a variable that gets a value here, and let the name stand for it from here on."""
        slot = ("variable", self.node, name, at)
        self.current[name] = frozenset({slot})
        self.ever.setdefault(name, set()).add(slot)
        return slot

    def holder(self, name: str) -> "Scope | None":
        """Return the scope that has a variable, this one or one around it."""
        scope: Scope | None = self
        while scope is not None and name not in scope.ever:
            scope = scope.parent
        return scope

    def slots(self, name: str) -> frozenset[Slot] | None:
        """Return what a variable may be here; None if it is not one of the application."""
        holder = self.holder(name)
        if holder is None:
            return None
        if holder.function is self.function and name in holder.current:
            return holder.current[name]
        return frozenset(holder.ever[name])

    def reassign(self, name: str, at: Place) -> Slot:
        """Return the slot of an assignment to a variable, which begins here if it does not exist yet."""
        holder = self.holder(name)
        if holder is None:
            return self.declare(name, at)
        if self.module.is_python and holder.function is not self.function:
            return self.declare(name, at)
        if holder.function is self.function:
            return holder.declare(name, at)
        slot = ("variable", holder.node, name, at)
        holder.ever[name].add(slot)
        if name in holder.current:
            holder.current[name] |= {slot}
        return slot

    def snapshot(self) -> list[tuple["Scope", dict[str, frozenset[Slot]]]]:
        """Return the state of the variables of the function."""
        states = []
        scope: Scope | None = self
        while scope is not None and scope.function is self.function:
            states.append((scope, dict(scope.current)))
            scope = scope.parent
        return states


def restore(states: list[tuple[Scope, dict[str, frozenset[Slot]]]]) -> None:
    """Set the variables back to a state."""
    for scope, names in states:
        scope.current = dict(names)


def join(states: list[tuple[Scope, dict[str, frozenset[Slot]]]]) -> None:
    """Add a state: the variables may be either."""
    for scope, names in states:
        for name, slots in names.items():
            scope.current[name] = scope.current.get(name, frozenset()) | slots
