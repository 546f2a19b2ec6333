"""Types and classes: which of them are a booking, and what the others hold."""

from collections.abc import Container
from typing import TYPE_CHECKING

from booking_migrate.audit import maps, routes
from booking_migrate.audit.findings import Confidence, Rule
from booking_migrate.audit.paths import MOVED, NEW_PATHS, SESSIONS, camel, is_new_shape, is_old_shape
from booking_migrate.audit.scopes import Scope
from booking_migrate.audit.syntax import LIST, UNION, Call, Class, Function, Node, Text, Type, TypeDefinition
from booking_migrate.audit.values import (
    ELEMENTS,
    NEW,
    NOTHING,
    SPREAD,
    Booking,
    Code,
    Database,
    Declared,
    External,
    Instance,
    Kind,
    Model,
    NewShape,
    Origin,
    Value,
    union,
)

if TYPE_CHECKING:
    from booking_migrate.audit.analysis import Analysis

_COMPONENTS = frozenset({"FC", "FunctionComponent", "VFC", "NextPage", "ComponentType", "Component"})
_LISTS = frozenset({"Array", "ReadonlyArray", "Set", "Iterable", "QuerySnapshot"})
_MAPS = frozenset({"Record", "Map", "ReadonlyMap", "WeakMap"})
_MODELS = frozenset({
    "Model", "Collection", "Repository", "ReturnModelType", "AsyncIOMotorCollection", "AsyncCollection", "PaginateModel",
})  # fmt: skip
CLIENTS = ("MongoClient", "AsyncIOMotorClient", "AsyncMongoClient")
"""The classes of drivers' clients: code calls them, and types name them."""

_DATABASES = frozenset({"Db", "Database", "AsyncIOMotorDatabase", "AsyncDatabase", *CLIENTS})
_RESPONSES = frozenset({"AxiosResponse", "UseQueryResult", "SWRResponse", "HttpResponse"})
_TYPES_OF_FIELDS = (
    "add sessions, totalSessions, totalSpent; move the other fields into a type of their own, with sessionId"
)
_OF_SCHEMAS = frozenset({"Schema", "modelOptions"})
"""The decorators of classes that are the schemas of collections (Nest, Typegoose)."""

_DEEPEST = 24
CONSTRUCTORS = frozenset({"constructor", "__init__"})


class Shapes:
    """The types of an application as values."""

    def __init__(self, analysis: "Analysis") -> None:
        """Begin with none."""
        self._analysis = analysis
        self._scopes: dict[TypeDefinition, Scope] = {}
        self._made: set[object] = set()
        self._depth = 0

    def define(self, node: TypeDefinition, scope: Scope) -> None:
        """Keep where a type is declared, and report it if it is a booking."""
        self._scopes[node] = scope
        self._instance(node, ())

    def annotate(self, value: Value, written: Type, scope: Scope) -> Value:
        """Return what a type says of a value; a type of functions says what they are called with."""
        name = written.name.rpartition(".")[2]
        if name in _COMPONENTS and written.arguments:
            properties = self.value(written.arguments[0], scope)
            for atom in value:
                if isinstance(atom, Code):
                    self._analysis.store.add(("parameter", atom.function, 0), properties)
            return NOTHING
        return self.value(written, scope)

    def value(self, written: Type, scope: Scope, bound: dict[str, Value] | None = None) -> Value:
        """Return what a value of a type may be.

        Args:
            written: the type.
            scope: where it is written.
            bound: the types that the parameters of the declaration stand for.
        """
        if self._depth > _DEEPEST:
            return NOTHING
        self._depth += 1
        try:
            return self._value(written, scope, bound or {})
        finally:
            self._depth -= 1

    def _value(self, written: Type, scope: Scope, bound: dict[str, Value]) -> Value:
        arguments = [self.value(each, scope, bound) for each in written.arguments]
        name = written.name.rpartition(".")[2]
        if not written.name:
            return self._literal(written, scope, bound)
        if name == UNION:
            return union(arguments)
        if name == LIST or name in _LISTS:
            return self._analysis.list_of(union(arguments), ("list", written, self._key(bound)))
        if written.name in bound:
            return bound[written.name]
        declared = self._declared(written.name, scope)
        if declared:
            return self._of_declaration(declared, tuple(arguments))
        return self._of_library(name, arguments, written, bound)

    def _key(self, bound: dict[str, Value]) -> frozenset[tuple[str, Value]]:
        return frozenset(bound.items())

    def _literal(self, written: Type, scope: Scope, bound: dict[str, Value]) -> Value:
        if written.returns is not None or not written.members:
            return NOTHING
        names = {each.name for each in written.members}
        if is_new_shape(names):
            return NEW
        if is_old_shape(names):
            return frozenset({Booking(Origin(scope.module.path, written.members[0].at))})
        site = ("type", written, self._key(bound))
        return self._filled(site, written, scope, bound)

    def _filled(self, site: object, written: Type, scope: Scope, bound: dict[str, Value]) -> Value:
        """Return an instance whose properties are of the types of the members."""
        for each in written.members:
            if each.type is not None:
                self._analysis.store.put(site, each.name, self.value(each.type, scope, bound), each.at)
        return frozenset({Instance(site)})

    def _declared(self, name: str, scope: Scope) -> Value:
        head, *rest = name.split(".")
        for prefix in ("type:", ""):
            slots = scope.slots(f"{prefix}{head}") or ()
            found = union(self._analysis.store.read(slot) for slot in slots)
            for each in rest:
                found = self._analysis.read(found, f"{prefix}{each}", (1, 1), scope)
            if kept := frozenset(
                atom for atom in found if isinstance(atom, Declared | Kind | Model | External)
            ):
                return kept
        return NOTHING

    def _of_declaration(self, declared: Value, arguments: tuple[Value, ...]) -> Value:
        parts = []
        for atom in declared:
            match atom:
                case Declared(node):
                    parts.append(self._instance(node, arguments))
                case Kind():
                    parts.append(instance_of(self._analysis, atom))
                case External(name):
                    parts.append(self._of_library(name.rpartition(".")[2], list(arguments), Type(name), {}))
                case _:
                    pass
        return union(parts)

    def _of_library(self, name: str, arguments: list[Value], written: Type, bound: dict[str, Value]) -> Value:
        store = self._analysis.store
        joined = union(arguments)
        if name in _DATABASES:
            return frozenset({Database()})
        if name in _MODELS:
            return frozenset(Model(atom.origin) for atom in joined if isinstance(atom, Booking))
        if name in _MAPS:
            held = arguments[-1] if arguments else NOTHING
            if name == "Record":
                site = ("record", written, self._key(bound))
                store.put(site, ELEMENTS, held, (0, 0))
            else:
                site = ("map", written, self._key(bound))
                maps.put(self._analysis, site, held, (0, 0))
            return frozenset({Instance(site)})
        if name in _RESPONSES:
            site = ("response", written, self._key(bound))
            store.put(site, "data", joined, (0, 0))
            return frozenset({Instance(site)})
        return joined

    def _instance(self, node: TypeDefinition, arguments: tuple[Value, ...]) -> Value:
        """Return a value of a declared type."""
        analysis, scope = self._analysis, self._scopes[node]
        bound = dict(zip(node.parameters, arguments, strict=False))
        names = self._names(node, set())
        if is_new_shape(names):
            analysis.knows_new_types = True
            return NEW
        bases = union(self.value(base, scope, bound) for base in node.bases)
        if NewShape() in bases:
            return NEW
        is_named = analysis.roots.is_type_name(node.name)
        if node.type.members and is_old_shape(names, is_named=is_named):
            own = {each.name for each in node.type.members}
            origin = Origin(scope.module.path, node.at)
            is_flat = any(map(analysis.roots.is_id, names))
            (analysis.flat if is_flat else analysis.old_types).add(origin)
            if MOVED.keys() & own:
                report_type(analysis, scope, node, own, origin)
            return frozenset({Booking(origin)})
        if not node.type.members:
            return self.value(node.type, scope, bound)
        site = ("type", node, arguments)
        if site not in self._made or self._depth == 0:
            self._made.add(site)
            self._filled(site, node.type, scope, bound)
            analysis.store.put(site, SPREAD, bases, node.at)
        return frozenset({Instance(site)}) | frozenset(atom for atom in bases if isinstance(atom, Booking))

    def _names(self, node: TypeDefinition, seen: set[TypeDefinition]) -> set[str]:
        """Return the names of the members, those of its bases as well."""
        seen.add(node)
        names = {each.name for each in node.type.members}
        for base in node.bases:
            for atom in self._declared(base.name, self._scopes[node]):
                if isinstance(atom, Declared) and atom.node not in seen and atom.node in self._scopes:
                    names |= self._names(atom.node, seen)
        return names


def report_type(
    analysis: "Analysis", scope: Scope, node: Node, names: set[str], origin: Origin | None = None
) -> None:
    """Report that a type has the fields of a booking."""
    listed = sorted(NEW_PATHS.keys() & names, key=list(NEW_PATHS).index)
    old = ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")  # noqa: PLR2004
    analysis.report(
        Rule.TYPE, scope, node.at, Confidence.CERTAIN, old, f"{SESSIONS}[]", _TYPES_OF_FIELDS, of=origin
    )


def define_class(analysis: "Analysis", node: Class, scope: Scope) -> Value:
    """Return a class; its methods and fields become properties of its instance.

    A class has methods of its own for those that it inherits, so that what one class is made with is not mixed with another.
    """
    store = analysis.store
    kind = Kind(node, scope.module.path)
    analysis.class_scopes[node] = scope
    made = _shape(analysis, node, scope)
    store.add(("shape", node), made)
    _define_members(analysis, node, node, scope, made)
    routes.controller(analysis, node, scope)
    own = {each.name for each in node.methods} | {each.name for each in node.fields}
    waiting, seen = [*node.bases], {node}
    where = scope
    while waiting:
        for atom in analysis.evaluator.evaluate(waiting.pop(0), where):
            if isinstance(atom, Kind) and atom.node not in seen and atom.node in analysis.class_scopes:
                seen.add(atom.node)
                inherited = analysis.inherited(node, atom.node)
                where = analysis.class_scopes[atom.node]
                _define_members(analysis, node, inherited, where, made, hidden=own)
                own |= {each.name for each in inherited.methods} | {each.name for each in inherited.fields}
                waiting += atom.node.bases
                store.put(("static", node), SPREAD, frozenset({Instance(("static", atom.node))}), node.at)
    return frozenset({kind})


def _define_members(
    analysis: "Analysis", node: Class, source: Class, scope: Scope, made: Value, hidden: Container[str] = ()
) -> None:
    """Define on the instance of a class the members of itself, or of a class that it extends."""
    store = analysis.store
    instance, static = ("class", node), ("static", node)
    this = made | {Instance(instance)}
    for each in source.fields:
        if each.name in hidden:
            continue
        value = NOTHING if each.value is None else analysis.evaluator.evaluate(each.value, scope)
        if each.type is not None:
            value = union((value, analysis.typed(each.type, scope)))
        store.put(static if each.is_static else instance, each.name, value, each.at)
        if each.is_static and scope.module.is_python:
            store.put(instance, each.name, value, each.at)
    for method in source.methods:
        if method.name not in hidden or method.name in CONSTRUCTORS:
            is_base = source is not node
            _define_method(
                analysis,
                method,
                scope,
                this,
                f"super.{method.name}" if is_base and method.name in CONSTRUCTORS else method.name,
            )
    for method in source.statics if source is node else ():
        code = analysis.evaluator.evaluate(method, scope)
        store.put(static, method.name, code, method.at)
        store.add(("this", method), frozenset({Kind(node, scope.module.path)}))
    for method in source.methods:
        for parameter in method.parameters:
            if parameter.is_field and parameter.type is not None:
                name = getattr(parameter.target, "name", "")
                store.put(instance, name, analysis.typed(parameter.type, scope), parameter.at)


def _define_method(analysis: "Analysis", method: Function, scope: Scope, this: Value, name: str) -> None:
    """Define a method on an instance, which knows the instance."""
    store = analysis.store
    code = analysis.evaluator.evaluate(method, scope)
    decorators = {getattr(each, "name", "") for each in method.decorators}
    value = store.read(("result", method)) if decorators & {"property", "cached_property"} else code
    kinds = frozenset(
        Kind(a.site[1], scope.module.path)
        for a in this
        if isinstance(a, Instance) and isinstance(a.site, tuple)
    )
    for atom in this:
        if isinstance(atom, Instance):
            store.put(atom.site, name, value, method.at)
        elif isinstance(atom, Booking):
            store.put(("methods", atom.origin), name, value, method.at)
    store.add(("this", method), this)
    if method.is_method:
        store.add(("parameter", method, 0), kinds if "classmethod" in decorators else this)


def _shape(analysis: "Analysis", node: Class, scope: Scope) -> Value:
    """Return the booking that an instance of a class is; nothing if it is something else."""
    names = {}
    for each in node.fields:
        if not each.is_static:
            names[_alias(each.value) or each.name] = each.name
    known = {name if name in NEW_PATHS else camel(name): own for name, own in names.items()}
    if is_new_shape(known):
        return NEW
    is_named = analysis.roots.is_type_name(node.name)
    is_stored = analysis.roots.is_root(node.name) and any(
        isinstance(each, Call) and getattr(each.function, "name", "") in _OF_SCHEMAS
        for each in node.decorators
    )
    if not is_old_shape(known, is_named=is_named) and not (is_stored and MOVED.keys() & known.keys()):
        return NOTHING
    origin = Origin(scope.module.path, node.at)
    if is_stored:
        analysis.own(known, node.at)
    if MOVED.keys() & known.keys():
        report_type(analysis, scope, node, set(known))
    analysis.aliases[origin] = {own: name for name, own in known.items()}
    return frozenset({Booking(origin)})


def _alias(value: Node | None) -> str:
    """Return the name that a field has in documents, where a class renames it: ``Field(alias="expertId")``."""
    if isinstance(value, Call):
        for each in value.named:
            if each.name in {"alias", "validation_alias", "db_field"} and isinstance(each.value, Text):
                return each.value.value
    return ""


def instance_of(analysis: "Analysis", kind: Kind) -> Value:
    """Return an instance of a class."""
    node = kind.node
    booking = frozenset(
        atom for atom in analysis.store.read(("shape", node)) if isinstance(atom, Booking | NewShape)
    )
    return booking or frozenset({Instance(("class", node))})


def schema_of(analysis: "Analysis", definition: Value) -> tuple[bool, bool, set[str]]:
    """Return whether the definition of a schema is that of bookings, and whether in the new structure; and its names."""
    names: set[str] = set()
    for atom in definition:
        if isinstance(atom, Instance):
            names |= set(analysis.store.names(atom.site))
    return is_old_shape(names), is_new_shape(names), names


def added_to_schemas(analysis: "Analysis", part: str, name: str) -> Value:
    """Return a method that the application adds to the schema of bookings, as ``methods`` or ``statics``."""
    return union(analysis.store.get((part, schema), name) for schema in analysis.schemas)


def this_of_schema(analysis: "Analysis", schema: Node, *, is_static: bool) -> Value:
    """Return what `this` is in the methods of a schema."""
    return analysis.store.read(("model" if is_static else "document", schema))
