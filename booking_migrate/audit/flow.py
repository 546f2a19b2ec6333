"""How values flow through a program: an evaluation that knows of each value only where it comes from.

Every function and module is a unit. A unit is evaluated again when a slot grows that it has read, until nothing changes: then the
slots hold what flows anywhere. Reports are made on the way; since values only grow, none is taken back but those of places that
turn out to know the new structure.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from booking_migrate.audit.arguments import Arguments
from booking_migrate.audit.scopes import Scope, join, restore
from booking_migrate.audit.syntax import (
    Assign,
    Block,
    Branch,
    Call,
    Choice,
    Class,
    Collected,
    Declare,
    Element,
    Entry,
    Export,
    Function,
    Import,
    Index,
    Joined,
    Loop,
    Mapping,
    Member,
    Name,
    Node,
    Other,
    ReExport,
    Repeat,
    Return,
    Sequence,
    Spread,
    Text,
    Typed,
    TypeDefinition,
    WithDefault,
)
from booking_migrate.audit.values import (
    ELEMENTS,
    NOTHING,
    SPREAD,
    Code,
    Constant,
    External,
    Given,
    Instance,
    Value,
    union,
)

if TYPE_CHECKING:
    from booking_migrate.audit.analysis import Analysis

_LONGEST_TEXT = 200


class Evaluator:
    """Evaluates nodes; what calls, members and types mean comes from `semantics`."""

    def __init__(self, semantics: "Analysis") -> None:
        """Keep what the evaluation is part of."""
        self.semantics = semantics
        self.store = semantics.store
        self._kinds: dict[type[Node], Callable[[Any, Scope], Value]] = {
            Name: self._name,
            Text: lambda node, _scope: frozenset({Constant(node.value)}),
            Other: self._parts,
            Joined: self._joined,
            Member: self._member,
            Index: self._index,
            Spread: lambda node, scope: self.evaluate(node.value, scope),
            Mapping: self._mapping,
            Sequence: self._sequence,
            WithDefault: lambda node, scope: self.evaluate(node.value, scope),
            Block: self._block,
            Function: self._function,
            Call: self._call,
            Choice: self._choice,
            Assign: self._assign,
            Declare: self._declare,
            Typed: self._typed,
            Element: self._element,
            Loop: self._loop,
            Repeat: self._repeat,
            Collected: self._collected,
            Branch: self._branch,
            Return: self._return,
            Class: self._class,
            TypeDefinition: self._type,
            Import: self._import,
            Export: self._export,
            ReExport: self._re_export,
        }

    def evaluate(self, node: Node, scope: Scope) -> Value:
        """Return what a node may be."""
        return self._kinds[type(node)](node, scope)

    def run(self, block: Block, scope: Scope) -> None:
        """Evaluate statements; functions, classes and types first, since they can be used above their place."""
        early = [each for each in block.body if _is_early(each)]
        for each in early:
            self.evaluate(each, scope)
        for each in block.body:
            if not _is_early(each):
                self.evaluate(each, scope)

    def _name(self, node: Name, scope: Scope) -> Value:
        if node.name in {"this", "super"} and not scope.module.is_python:
            return self._this(scope)
        slots = scope.slots(node.name)
        if slots is None:
            return frozenset({External(node.name)})
        return union(self.store.read(slot) for slot in slots)

    def _this(self, scope: Scope) -> Value:
        around: Scope | None = scope
        while around is not None:
            if around.function is not None and around.function.has_this:
                return self.store.read(("this", around.function))
            around = around.parent
        return NOTHING

    def _parts(self, node: Other, scope: Scope) -> Value:
        for each in node.parts:
            self.evaluate(each, scope)
        return NOTHING

    def _joined(self, node: Joined, scope: Scope) -> Value:
        """Return the string, with braces where a part is not known, and the parameters that are part of it."""
        text, given = "", NOTHING
        for each in node.parts:
            value = self.evaluate(each, scope)
            constants = sorted(atom.text for atom in value if isinstance(atom, Constant))
            text += constants[0] if constants else "{}"
            given |= {atom for atom in value if isinstance(atom, Given)}
        return given | {Constant(text[:_LONGEST_TEXT])}

    def _member(self, node: Member, scope: Scope) -> Value:
        return self.semantics.read(self.evaluate(node.base, scope), node.name, node.at, scope)

    def _index(self, node: Index, scope: Scope) -> Value:
        base, key = self.evaluate(node.base, scope), self.evaluate(node.key, scope)
        names = sorted(atom.text for atom in key if isinstance(atom, Constant))
        if names:
            return union(self.semantics.read(base, name, node.at, scope) for name in names)
        return self.semantics.pick(base, key)

    def _mapping(self, node: Mapping, scope: Scope) -> Value:
        self.semantics.place(node, scope)
        for entry in node.entries:
            value = self.evaluate(entry.value, scope)
            if entry.key is not None:
                self.store.put(node, entry.key, value, entry.at)
            elif isinstance(entry.value, Spread):
                self.store.put(node, SPREAD, value, entry.at)
            else:
                self.store.put(node, ELEMENTS, value, entry.at)
        return frozenset({Instance(node)})

    def _sequence(self, node: Sequence, scope: Scope) -> Value:
        is_exact = True
        for number, item in enumerate(node.items):
            value = self.evaluate(item, scope)
            if isinstance(item, Spread):
                is_exact = False
                value = self.semantics.elements(value)
            self.store.put(node, str(number) if is_exact else ELEMENTS, value, item.at)
        return frozenset({Instance(node)})

    def _block(self, node: Block, scope: Scope) -> Value:
        self.run(node, scope.within(node) if node.has_scope else scope)
        return NOTHING

    def _function(self, node: Function, scope: Scope) -> Value:
        self.semantics.define(node, scope)
        return frozenset({Code(node)})

    def _call(self, node: Call, scope: Scope) -> Value:
        if isinstance(node.function, Member) and not node.is_new:
            base = self.evaluate(node.function.base, scope)
            arguments = self._arguments(node, scope)
            return self.semantics.call_method(base, node.function.name, arguments)
        function = self.evaluate(node.function, scope)
        return self.semantics.call(function, self._arguments(node, scope))

    def _arguments(self, node: Call, scope: Scope) -> Arguments:
        values = []
        for each in node.arguments:
            value = self.evaluate(each, scope)
            values.append(self.semantics.elements(value) if isinstance(each, Spread) else value)
        named = {each.name: self.evaluate(each.value, scope) for each in node.named}
        return Arguments(node, scope, values, named)

    def _choice(self, node: Choice, scope: Scope) -> Value:
        for each in node.tests:
            self.evaluate(each, scope)
        return union([self.evaluate(each, scope) for each in node.options])

    def _assign(self, node: Assign, scope: Scope) -> Value:
        value = self.evaluate(node.value, scope)
        if node.is_update:
            value = union((value, self.evaluate(node.target, scope)))
        self.assign(node.target, value, scope)
        return value

    def _declare(self, node: Declare, scope: Scope) -> Value:
        value = NOTHING if node.value is None else self.evaluate(node.value, scope)
        if node.type is not None:
            value = union((value, self.semantics.annotate(value, node.type, scope)))
        self.assign(node.target, value, scope, is_new=True)
        return value

    def assign(self, target: Node, value: Value, scope: Scope, *, is_new: bool = False) -> None:
        """Store a value in a variable or a property, or take it apart.

        Args:
            target: where to.
            value: what.
            scope: where the target is.
            is_new: whether variables begin here.
        """
        match target:
            case Name(at=at, name=name):
                slot = scope.declare(name, at) if is_new else scope.reassign(name, at)
                self.store.add(slot, value)
            case Member(at=at, base=base, name=name):
                self.semantics.write(self.evaluate(base, scope), name, value, at, scope)
            case Index(base=base, key=key, at=at):
                names = [atom.text for atom in self.evaluate(key, scope) if isinstance(atom, Constant)]
                for name in names or [ELEMENTS]:
                    self.semantics.write(self.evaluate(base, scope), name, value, at, scope)
            case Mapping(entries=entries):
                self._take_apart(entries, value, scope, is_new=is_new)
            case Sequence(items=items):
                for number, item in enumerate(items):
                    part = value if isinstance(item, Spread) else self.semantics.nth(value, number)
                    self.assign(item, part, scope, is_new=is_new)
            case WithDefault(target=inner, value=default):
                either = union((value, self.evaluate(default, scope)))
                self.assign(inner, either, scope, is_new=is_new)
            case Spread(value=inner):
                self.assign(inner, value, scope, is_new=is_new)
            case Typed(value=inner):
                self.assign(inner, value, scope, is_new=is_new)
            case _:
                pass

    def _take_apart(self, entries: tuple[Entry, ...], value: Value, scope: Scope, *, is_new: bool) -> None:
        for entry in entries:
            if isinstance(entry.value, Spread) or entry.key is None:
                part = value if isinstance(entry.value, Spread) else self.semantics.pick(value, NOTHING)
            else:
                part = self.semantics.read(value, entry.key, entry.at, scope)
            self.assign(entry.value, part, scope, is_new=is_new)

    def _typed(self, node: Typed, scope: Scope) -> Value:
        value = self.evaluate(node.value, scope)
        return union((value, self.semantics.typed(node.type, scope)))

    def _element(self, node: Element, scope: Scope) -> Value:
        properties = self.evaluate(node.properties, scope)
        inner = [self.evaluate(each, scope) for each in node.children]
        if inner:
            self.store.put(node.properties, "children", union(inner), node.at)
        return self.semantics.element(self.evaluate(node.tag, scope), properties, node.properties)

    def _loop(self, node: Loop, scope: Scope) -> Value:
        item = self.semantics.elements(self.evaluate(node.source, scope))
        states = scope.snapshot()
        inner = scope.within(node.body) if node.body.has_scope else scope
        self.assign(node.target, item, inner, is_new=True)
        self.run(node.body, inner)
        join(states)
        return NOTHING

    def _repeat(self, node: Repeat, scope: Scope) -> Value:
        states = scope.snapshot()
        self._block(node.body, scope)
        join(states)
        return NOTHING

    def _collected(self, node: Collected, scope: Scope) -> Value:
        inner = scope.within(node)
        for target, source in node.loops:
            item = self.semantics.elements(self.evaluate(source, inner))
            self.assign(target, item, inner, is_new=True)
        for each in node.tests:
            self.evaluate(each, inner)
        return self.semantics.list_of(self.evaluate(node.element, inner), node)

    def _branch(self, node: Branch, scope: Scope) -> Value:
        for each in node.tests:
            self.evaluate(each, scope)
        before = scope.snapshot()
        ends = [before]
        for block in node.blocks:
            restore(before)
            self._block(block, scope)
            ends.append(scope.snapshot())
        for state in ends:
            join(state)
        return NOTHING

    def _return(self, node: Return, scope: Scope) -> Value:
        if node.value is not None:
            value = self.evaluate(node.value, scope)
            self.semantics.returned(value, scope, node.at)
            if scope.function is not None:
                self.store.add(("result", scope.function), value)
        return NOTHING

    def _class(self, node: Class, scope: Scope) -> Value:
        return self.semantics.define_class(node, scope)

    def _type(self, node: TypeDefinition, scope: Scope) -> Value:
        self.store.add(scope.declare(f"type:{node.name}", node.at), self.semantics.define_type(node, scope))
        return NOTHING

    def _import(self, node: Import, scope: Scope) -> Value:
        for name, here in node.names:
            for prefix in ("",) if scope.module.is_python else ("", "type:"):
                value = self.semantics.imported(node.module, f"{prefix}{name}", scope.module)
                if value or not prefix:
                    self.store.add(scope.declare(f"{prefix}{here}", node.at), value)
        return NOTHING

    def _export(self, node: Export, scope: Scope) -> Value:
        site = scope.module.exports.site
        if node.value is not None:
            self.store.put(site, "default", self.evaluate(node.value, scope), node.at)
        for here, name in node.names:
            for prefix in ("", "type:"):
                slots = scope.slots(f"{prefix}{here}") or ()
                value = union(self.store.read(slot) for slot in slots)
                self.store.put(site, f"{prefix}{name}", value, node.at)
        return NOTHING

    def _re_export(self, node: ReExport, scope: Scope) -> Value:
        site = scope.module.exports.site
        for name, exported in node.names:
            if exported == ELEMENTS:
                value = self.semantics.imported(node.module, ELEMENTS, scope.module)
                self.store.put(site, SPREAD, value, node.at)
                continue
            for prefix in ("", "type:"):
                value = self.semantics.imported(node.module, f"{prefix}{name}", scope.module)
                self.store.put(site, f"{prefix}{exported}", value, node.at)
        return NOTHING


def _is_early(node: Node) -> bool:
    match node:
        case Declare(value=Function()):
            return isinstance(node.target, Name)
        case Import() | TypeDefinition():
            return True
        case _:
            pass
    return False
