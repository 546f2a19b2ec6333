"""One audit of a whole application: its modules, its values, and what is reported."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import PurePosixPath

from booking_migrate.audit import calls, members, react, routes, shapes
from booking_migrate.audit.arguments import Arguments
from booking_migrate.audit.findings import Confidence, Finding, Rule
from booking_migrate.audit.flow import Evaluator
from booking_migrate.audit.modules import Modules
from booking_migrate.audit.paths import ID, NEW_PATHS, SESSION_ID, SESSIONS, Roots, is_own
from booking_migrate.audit.scopes import Module, Scope
from booking_migrate.audit.syntax import Class, Function, Node, Place, Type, TypeDefinition
from booking_migrate.audit.values import (
    NOTHING,
    Declared,
    External,
    Given,
    Model,
    Origin,
    Store,
    Value,
    union,
)

_OWN = "own fields"
_MOST_ROUNDS = 60
"""After how many rounds a value that still grows is left as it is; real programs take about ten."""


@dataclass(frozen=True, slots=True)
class _Report:
    """A finding, and what would make it void."""

    finding: Finding
    unless_aware: Origin | None
    is_of_documents: bool
    is_flat: bool = False
    """Whether the place is right where the new structure is known: it works on entries that are made of sessions."""

    def is_weaker_than(self, other: "_Report") -> bool:
        """Return whether another report of the same place says more."""
        return (self.unless_aware is not None, self.is_of_documents, self.finding.confidence) > (
            other.unless_aware is not None,
            other.is_of_documents,
            other.finding.confidence,
        )


class Analysis:
    """The values of an application, and the findings."""

    def __init__(self, modules: Iterable[Module], roots: Roots) -> None:
        """Begin with modules that are not evaluated yet."""
        self.roots = roots
        self.modules = Modules(modules)
        self.store = Store()
        self.evaluator = Evaluator(self)
        self.aware: set[Origin] = set()
        """Where bookings come from whose sessions are read: that code knows the new structure."""

        self.aliases: dict[Origin, dict[str, str]] = {}
        """The names of fields in the classes that rename them."""

        self._knows_new_shape = False
        self.reading: tuple[Place, Scope]
        """The place that reads a property, for properties of what is spread into an object."""

        self.class_scopes: dict[Class, Scope] = {}
        """Where each class is."""

        self._inherited: dict[tuple[Class, Class], Class] = {}
        self.flat: set[Origin] = set()
        """The types that name the booking beside its fields: with the new structure, entries that are made of sessions."""

        self.old_types: set[Origin] = set()
        """The other types of bookings: what is declared so expects documents to be bookings, whatever the rest knows."""

        self.knows_new_types = False
        """Whether a type of the new structure is declared."""

        self.schemas: dict[Node, None] = {}
        """The schemas of bookings."""

        self.too_deep: set[str] = set()
        """The files with code that is nested too deep to be evaluated."""

        self.types = shapes.Shapes(self)
        self._decorated: list[tuple[Function, Scope]] = []
        self._scopes: dict[Node, Scope] = {}
        self._new: dict[Node, None] = {}
        self._made_by: dict[Node, Scope] = {}
        self._unit: Node
        self._found: dict[Node, dict[tuple[str, Place, Rule], _Report]] = {}

    def run(self) -> list[Finding]:
        """Evaluate everything until nothing changes; return what was found, in order."""
        for module in self.modules:
            self._scopes[module.program.body] = Scope(module.program.body, module)
            self._new[module.program.body] = None
        waiting: dict[Node, None] = {}
        for _ in range(_MOST_ROUNDS):
            waiting |= self._new | self.store.stale
            self._new, self.store.stale = {}, {}
            # Modules come first: what they import is known then to all of their functions.
            units = [each for each in waiting if not isinstance(each, Function)] or list(waiting)
            if not units:
                break
            for unit in units:
                # It sees what has grown in this round, too.
                self.store.stale.pop(unit, None)
                waiting.pop(unit, None)
                try:
                    self._evaluate(unit)
                except RecursionError:
                    self.too_deep.add(self._scopes[unit].module.path)
        return sorted(self._kept(), key=lambda finding: finding.order)

    def _evaluate(self, unit: Node) -> None:
        self._decorated = []
        self._evaluate_body(unit)
        # Only now: functions are evaluated before the statements above them, such as those that make a router.
        for function, scope in self._decorated:
            routes.decorated(self, function, scope)
        if not isinstance(unit, Function):
            routes.exported(self, self._scopes[unit].module, self._scopes[unit])

    def _evaluate_body(self, unit: Node) -> None:
        scope = self._scopes[unit]
        scope.current = {}
        self.store.reader = self._unit = unit
        # What it reported the last time may be withdrawn: an object may have got a property since that explains it.
        self._found[unit] = {}
        if not isinstance(unit, Function):
            self.evaluator.run(scope.module.program.body, scope)
            if scope.module.is_python:
                for name, slots in scope.ever.items():
                    value = union(self.store.read(slot) for slot in slots)
                    self.store.put(scope.module.exports.site, name, value, (1, 1))
            return
        for number, parameter in enumerate(unit.parameters):
            given = {Given(unit, number)} | self.store.read(("parameter", unit, number))
            if parameter.default is not None:
                given |= self.evaluator.evaluate(parameter.default, scope)
            value = frozenset(given)
            if parameter.type is not None:
                value = union((value, self.annotate(value, parameter.type, scope)))
            self.evaluator.assign(parameter.target, value, scope, is_new=True)
        self.evaluator.run(unit.body, scope)
        if unit.returns is not None:
            self.store.add(("result", unit), self.typed(unit.returns, scope))

    def _kept(self) -> Iterable[Finding]:
        merged: dict[tuple[str, Place, Rule], _Report] = {}
        for reports in self._found.values():
            for key, report in reports.items():
                if key not in merged or merged[key].is_weaker_than(report):
                    merged[key] = report
        for report in merged.values():
            is_known = report.unless_aware is not None and report.unless_aware in self.aware
            is_known |= report.is_of_documents and self.knows_new_shape
            is_known |= report.is_flat and (self.knows_new_shape or self.knows_new_types)
            if not is_known:
                yield report.finding

    def scope_of(self, node: Node) -> Scope | None:
        """Return where an object literal is."""
        return self._made_by.get(node)

    def place(self, node: Node, scope: Scope) -> None:
        """Remember where an object literal is."""
        self._made_by[node] = scope

    @property
    def knows_new_shape(self) -> bool:
        """Return whether a model of the new structure is there: documents are clients, and counting them is meant."""
        return self._knows_new_shape

    def learn_new_shape(self) -> None:
        """Remember that a model of the new structure is there; what was found of own fields is looked at again."""
        self._knows_new_shape = True
        self.store.put(_OWN, SESSIONS, NOTHING, (1, 1))

    def own(self, names: Iterable[str], at: Place) -> None:
        """Remember the fields of stored bookings that only this application has."""
        for name in filter(is_own, names):
            self.store.put(_OWN, name, NOTHING, at)

    def moved(self, name: str) -> str | None:
        """Return the new path of a field; None if it is still right."""
        if name in NEW_PATHS:
            return NEW_PATHS[name]
        is_moved = name != SESSIONS and name in self.store.names(_OWN) and not self._knows_new_shape
        return f"{SESSIONS}[].{name}" if is_moved else None

    # What the evaluator asks.

    def read(self, value: Value, name: str, at: Place, scope: Scope) -> Value:
        """Return a property of a value."""
        self.reading = at, scope
        return members.read(self, value, name, at, scope)

    def write(self, base: Value, name: str, value: Value, at: Place, scope: Scope) -> None:
        """Store a value in a property."""
        members.write(self, base, name, value, at, scope)

    def elements(self, value: Value) -> Value:
        """Return what a loop over a value sees."""
        return members.elements(self, value)

    def pick(self, value: Value, key: Value) -> Value:
        """Return a property whose name is computed."""
        return members.pick(self, value, key)

    def nth(self, value: Value, number: int) -> Value:
        """Return an element by its place."""
        return members.nth(self, value, number)

    def list_of(self, value: Value, site: object) -> Value:
        """Return the list of values."""
        return members.list_of(self, value, site)

    def call(self, function: Value, arguments: Arguments) -> Value:
        """Return the result of a call of a function."""
        return calls.call(self, function, arguments)

    def call_method(self, base: Value, name: str, arguments: Arguments) -> Value:
        """Return the result of a call of a method."""
        return calls.call_method(self, base, name, arguments)

    def element(self, tag: Value, properties: Value, site: Node) -> Value:
        """Return the result of a component."""
        return react.render(self, tag, properties, site)

    def typed(self, written: Type, scope: Scope) -> Value:
        """Return what a value of a type may be."""
        return self.types.value(written, scope)

    def annotate(self, value: Value, written: Type, scope: Scope) -> Value:
        """Return what a type says of a variable, and of the parameters of a function with that type."""
        return self.types.annotate(value, written, scope)

    def define(self, function: Function, scope: Scope) -> None:
        """Let a function be evaluated as a unit, with the names around it."""
        if function not in self._scopes:
            self._scopes[function] = Scope(function, scope.module, scope, function)
            self._new[function] = None
        if function.decorators:
            self._decorated.append((function, scope))

    def returned(self, value: Value, scope: Scope, at: Place) -> None:
        """Look at what a function returns."""
        routes.returned(self, value, scope, at)

    def define_class(self, node: Class, scope: Scope) -> Value:
        """Return a class, with its instance."""
        return shapes.define_class(self, node, scope)

    def inherited(self, node: Class, base: Class) -> Class:
        """Return what a class has of one that it extends: a copy of its own."""
        if (node, base) not in self._inherited:
            self._inherited[node, base] = deepcopy(base)
        return self._inherited[node, base]

    def define_type(self, node: TypeDefinition, scope: Scope) -> Value:
        """Return a type that the application declares."""
        self.types.define(node, scope)
        return frozenset({Declared(node)})

    def imported(self, module: str, name: str, importer: Module) -> Value:
        """Return what a module exports; of a library, a name for it."""
        found = self.modules.resolve(module, importer)
        if found is None:
            if name.startswith("type:"):
                return NOTHING
            last = PurePosixPath(module).name.split(".")[0]
            if module.startswith(".") and self.roots.is_root(last) and name in {"default", last}:
                return frozenset({Model(Origin(importer.path, (1, 1), is_certain=False))})
            whole = name in {"default", "*"}
            return frozenset({External(module if whole else f"{module}.{name}")})
        exports = frozenset({found.exports})
        if name == "*":
            return exports
        known = self.store.names(found.exports.site)
        if found.is_python and name not in known:
            inner = self.modules.resolve(f".{name}", found) if found.path.endswith("__init__.py") else None
            return NOTHING if inner is None else frozenset({inner.exports})
        if name == "default" and name not in known:
            return self.required(found)
        self.reading = (1, 1), self._scopes[importer.program.body]
        return members.read(self, exports, name, *self.reading)

    def required(self, module: Module) -> Value:
        """Return a whole module, as CommonJS has it."""
        return union((frozenset({module.exports}), self.store.get(module.exports.site, "=")))

    # Reports.

    def report(
        self,
        rule: Rule,
        scope: Scope,
        at: Place,
        confidence: Confidence,
        old: str,
        new: str,
        suggestion: str,
        unless_aware: Origin | None = None,
        *,
        is_of_documents: bool = False,
        of: Origin | None = None,
    ) -> None:
        """Report a place.

        Args:
            rule: what the code does.
            scope: where it is.
            at: its place.
            confidence: how sure it is.
            old: the old path.
            new: the new one.
            suggestion: what to write.
            unless_aware: the origin of the bookings, if the place is right where their sessions are read.
            is_of_documents: whether the place is right where a document is known to be a client.
            of: the origin of the bookings, if it is right where they are entries made of sessions.
        """
        finding = Finding(scope.module.path, at, rule, confidence, old, new, suggestion)
        is_of_documents = is_of_documents and unless_aware not in self.old_types
        report = _Report(finding, unless_aware, is_of_documents, of in self.flat)
        found = self._found[self._unit]
        key = finding.path, at, rule
        if key not in found or found[key].is_weaker_than(report):
            found[key] = report

    def report_documents(
        self, rule: Rule, scope: Scope, at: Place, old: str, new: str, suggestion: str, origin: Origin
    ) -> None:
        """Report what applies to documents as if they were bookings."""
        self.report(rule, scope, at, Confidence.LIKELY, old, new, suggestion, origin, is_of_documents=True)

    def report_path(
        self,
        rule: Rule,
        scope: Scope,
        at: Place,
        name: str,
        confidence: Confidence,
        origin: Origin,
        *,
        unless_aware: bool = False,
    ) -> None:
        """Report that a field is used at its old path."""
        new = self.moved(name) or ""
        if name == ID:
            suggestion = f"use the session's {SESSION_ID} (and the document's _id as the booking's)"
        elif rule is Rule.WRITE:
            suggestion = f"set it in the session: booking.{SESSIONS}.find(s => s.{SESSION_ID} ...).{name}"
        else:
            suggestion = f"read it from the session: for each session of booking.{SESSIONS}, session.{name}"
        known = origin if unless_aware else None
        self.report(
            rule, scope, at, confidence, name, new, suggestion, known, is_of_documents=name == ID, of=origin
        )

    def counted(self, scope: Scope, at: Place, origin: Origin) -> None:
        """Report that documents are counted as bookings."""
        suggestion = "add up totalSessions, or count the sessions"
        self.report_documents(
            Rule.COUNT, scope, at, "number of documents", "number of sessions", suggestion, origin
        )
