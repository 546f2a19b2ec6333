"""Calls of Mongoose, the MongoDB drivers and PyMongo: models, queries, schemas, other collections."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from booking_migrate.audit import calls, pipelines, queries, references, shapes
from booking_migrate.audit.arguments import Arguments
from booking_migrate.audit.paths import MOVED, SESSIONS, camel
from booking_migrate.audit.syntax import Node
from booking_migrate.audit.values import (
    NOTHING,
    Booking,
    Bookings,
    Code,
    Constant,
    Database,
    Given,
    Handle,
    Instance,
    Kind,
    Model,
    NewShape,
    Origin,
    OtherModel,
    Query,
    Schema,
    Value,
    union,
)

if TYPE_CHECKING:
    from booking_migrate.audit.analysis import Analysis


@dataclass(frozen=True, slots=True)
class _Operation:
    """Which arguments of a method are what, and what it returns."""

    filter: int = -1
    update: int = -1
    projection: int = -1
    documents: int = -1
    is_by_id: bool = False
    counts: bool = False
    is_many: bool | None = None
    """Whether it returns several documents; None if it returns none."""


_OPERATIONS = {
    "find": _Operation(filter=0, projection=1, is_many=True),
    "findOne": _Operation(filter=0, projection=1, is_many=False),
    "findById": _Operation(projection=1, is_by_id=True, is_many=False),
    "findByIdAndUpdate": _Operation(update=1, is_by_id=True, is_many=False),
    "findByIdAndDelete": _Operation(is_by_id=True, is_many=False),
    "findByIdAndRemove": _Operation(is_by_id=True, is_many=False),
    "findOneAndUpdate": _Operation(filter=0, update=1, is_many=False),
    "findOneAndReplace": _Operation(filter=0, documents=1, is_many=False),
    "findOneAndDelete": _Operation(filter=0, is_many=False),
    "updateOne": _Operation(filter=0, update=1),
    "updateMany": _Operation(filter=0, update=1),
    "update": _Operation(filter=0, update=1),
    "replaceOne": _Operation(filter=0, documents=1),
    "deleteOne": _Operation(filter=0),
    "deleteMany": _Operation(filter=0),
    "remove": _Operation(filter=0),
    "countDocuments": _Operation(filter=0, counts=True),
    "count": _Operation(filter=0, counts=True),
    "estimatedDocumentCount": _Operation(counts=True),
    "exists": _Operation(filter=0),
    "create": _Operation(documents=0, is_many=False),
    "insertMany": _Operation(documents=0, is_many=True),
    "insertOne": _Operation(documents=0),
    "insert": _Operation(documents=0),
    "save": _Operation(documents=0),
    "paginate": _Operation(filter=0, is_many=True),
}
_INDEXES = frozenset({"createIndex", "createIndexes", "ensureIndex", "index", "syncIndexes"})
_CONNECTING = (*shapes.CLIENTS, "MongoClient.connect", "PyMongo")
_COLLECTIONS = frozenset({"collection", "getCollection", "get_collection"})
_HOOKS = frozenset({"pre", "post", "get", "set", "method", "static"})


def call_library(analysis: "Analysis", name: str, arguments: Arguments) -> Value | None:
    """Return what a function of a library makes: a schema, a model, a client, a collection; None if it is another one."""
    last = name.rpartition(".")[2]
    if last == "Schema" and arguments.values:
        return _schema(analysis, arguments)
    if last in {"createForClass", "buildSchema"}:
        return _schema_of_class(analysis, arguments)
    if last in {"model", "getModel", "modelForClass"} and arguments.values:
        return _model(analysis, arguments)
    if name.endswith(_CONNECTING):
        return frozenset({Database()})
    if last in _COLLECTIONS:
        return handle(analysis, arguments.get(0, "name"), arguments)
    if last == "aggregate":
        pipelines.check_other(analysis, arguments.get(0, "pipeline"), arguments)
        return NOTHING
    return None


def handle(analysis: "Analysis", name: Value, arguments: Arguments) -> Value:
    """Return the collection of a name."""
    texts = [atom.text for atom in name if isinstance(atom, Constant)]
    origin = Origin(arguments.scope.module.path, arguments.at)
    if any(map(analysis.roots.is_root, texts)):
        return frozenset({Model(origin)})
    given = frozenset(Handle((atom.function, atom.number)) for atom in name if isinstance(atom, Given))
    return given or frozenset({OtherModel(frozenset())})


def call_database(analysis: "Analysis", name: str, arguments: Arguments) -> Value:
    """Call a method of a database, of a client, or of a collection that is not the one of bookings."""
    if name in _COLLECTIONS:
        return handle(analysis, arguments.get(0, "name"), arguments)
    if name == "aggregate":
        pipelines.check_other(analysis, arguments.get(0, "pipeline"), arguments)
        return NOTHING
    is_database = name in {"db", "get_database", "get_default_database", "connect", "database", "__call__"}
    return frozenset({Database()}) if is_database else NOTHING


def _schema(analysis: "Analysis", arguments: Arguments) -> Value:
    """Return a schema; report it if it has the fields of a booking, or refers to bookings."""
    node, definition = arguments.node, arguments.get(0)
    analysis.store.add(("definition", node), definition)
    is_old, is_new, names = shapes.schema_of(analysis, definition)
    origin = Origin(arguments.scope.module.path, node.at)
    is_named = bool(analysis.store.read(("named", node)))
    is_old = is_old or (is_named and not is_new and bool(MOVED.keys() & names))
    if is_old:
        shapes.report_type(analysis, arguments.scope, node, names)
        analysis.own(names, node.at)
        analysis.schemas[node] = None
        analysis.store.add(("document", node), frozenset({Booking(origin)}))
        analysis.store.add(("model", node), frozenset({Model(origin)}))
        for part in ("methods", "statics"):
            for atom in arguments.get(1):
                if isinstance(atom, Instance):
                    for inner in analysis.store.get(atom.site, part):
                        _bind(analysis, inner, node, is_static=part == "statics")
    if is_new and SESSIONS in names:
        analysis.learn_new_shape()
    return frozenset({Schema(node, is_old, is_new)})


def _schema_of_class(analysis: "Analysis", arguments: Arguments) -> Value:
    """Return the schema that is made of a class."""
    node = arguments.node
    for atom in arguments.get(0):
        if isinstance(atom, Kind):
            names = {each.name for each in atom.node.fields if not each.is_static}
            analysis.own(names if SESSIONS not in names else (), node.at)
    made = calls.call_value(analysis, arguments.get(0), [])
    bookings = frozenset(atom for atom in made if isinstance(atom, Booking))
    analysis.store.add(("document", node), bookings)
    analysis.store.add(("model", node), frozenset(Model(atom.origin) for atom in bookings))
    return frozenset({Schema(node, is_old=bool(bookings), is_new=NewShape() in made)})


def _bind(analysis: "Analysis", holder: object, schema: Node, *, is_static: bool) -> None:
    if isinstance(holder, Instance):
        this = shapes.this_of_schema(analysis, schema, is_static=is_static)
        for name in analysis.store.names(holder.site):
            for atom in analysis.store.get(holder.site, name):
                if isinstance(atom, Code):
                    analysis.store.add(("this", atom.function), this)


def _model(analysis: "Analysis", arguments: Arguments) -> Value:
    """Return a model by its name and schema."""
    origin = Origin(arguments.scope.module.path, arguments.at)
    model = frozenset({Model(origin)})
    schemas = [atom for atom in arguments.get(1) if isinstance(atom, Schema)]
    is_root = analysis.roots.is_root(arguments.text(0)) or analysis.roots.is_root(arguments.text(2))
    if is_root or any(each.is_old for each in schemas):
        for each in schemas:
            analysis.store.add(("model", each.site), model)
            if is_root:
                analysis.store.add(("named", each.site), model)
            if not each.is_old:
                references.references_of(analysis, each.site, arguments)
        return model
    refers: frozenset[str] = frozenset()
    for each in schemas:
        refers |= references.references_of(analysis, each.site, arguments)
    typed = union(analysis.typed(each, arguments.scope) for each in arguments.node.types[:1])
    if any(isinstance(atom, Booking) for atom in typed):
        return model
    return frozenset({OtherModel(refers)})


def call_schema(analysis: "Analysis", schema: Schema, name: str, arguments: Arguments) -> Value:
    """Call a method of a schema: indexes, virtuals, hooks."""
    if name == "index" and (schema.is_old or schema.is_new):
        queries.check_index(analysis, arguments.get(0), arguments)
    if name in _HOOKS and schema.is_old:
        is_query = arguments.text(0).startswith(("find", "count", "update", "delete"))
        origin = Origin(arguments.scope.module.path, schema.site.at)
        for code in arguments.code():
            this = shapes.this_of_schema(analysis, schema.site, is_static=name == "static")
            value = frozenset({Query(origin, is_many=True)}) if is_query and name == "pre" else this
            analysis.store.add(("this", code.function), value)
            if name == "post":
                calls.apply(analysis, code, [this])
    return frozenset({schema})


def construct(analysis: "Analysis", model: Model, arguments: Arguments) -> Value:
    """Make a document of the model: ``new Booking({...})``."""
    origin = Origin(arguments.scope.module.path, arguments.at, model.origin.is_certain)
    queries.check_documents(analysis, arguments.get(0), arguments, origin)
    return frozenset({Booking(origin)})


def call_model(analysis: "Analysis", model: Model, name: str, arguments: Arguments) -> Value:
    """Call a method of the collection of bookings, or of its model."""
    origin = Origin(arguments.scope.module.path, arguments.at, model.origin.is_certain)
    known = camel(name)
    if known in _INDEXES:
        queries.check_index(analysis, arguments.get(0, "keys", "indexes"), arguments)
        return NOTHING
    if known == "aggregate":
        return pipelines.check(analysis, arguments.get(0, "pipeline"), arguments, origin)
    if known == "distinct":
        queries.check_field(analysis, arguments.text(0, "key"), arguments, origin)
        queries.check_filter(analysis, arguments.get(1, "filter"), arguments, origin)
        return NOTHING
    if known == "watch":
        return pipelines.check_changes(analysis, arguments.get(0, "pipeline"), arguments, origin)
    if known == "where":
        return call_query(analysis, Query(origin, is_many=True), name, arguments)
    if known == "bulkWrite":
        queries.check_bulk(analysis, arguments.get(0), arguments, origin)
        return NOTHING
    operation = _OPERATIONS.get(known)
    if operation is not None:
        return _operate(analysis, operation, known, arguments, origin)
    own = shapes.added_to_schemas(analysis, "statics", name)
    return calls.call(analysis, own, arguments) if own else NOTHING


def _operate(
    analysis: "Analysis", operation: _Operation, name: str, arguments: Arguments, origin: Origin
) -> Value:
    if operation.is_by_id:
        queries.report_id(analysis, arguments, origin, is_removal=name.endswith(("Delete", "Remove")))
    if operation.filter >= 0:
        is_removal = name.startswith(("delete", "remove")) or name == "findOneAndDelete"
        criteria = arguments.get(operation.filter, "filter")
        is_moved = queries.check_filter(analysis, criteria, arguments, origin, is_removal=is_removal)
        if operation.counts and is_moved:
            queries.report_count(analysis, arguments, origin)
    if operation.counts:
        analysis.counted(arguments.scope, arguments.at, origin)
    if operation.update >= 0:
        queries.check_update(analysis, arguments.get(operation.update, "update"), arguments, origin)
    if operation.projection >= 0:
        queries.check_projection(
            analysis, arguments.get(operation.projection, "projection"), arguments, origin
        )
    if operation.documents >= 0:
        documents = arguments.get(operation.documents, "document", "documents", "replacement")
        queries.check_documents(analysis, documents, arguments, origin)
    for option in ("sort", "skip", "limit"):
        if option in arguments.named:
            queries.check_order(analysis, option, arguments.named[option], arguments, origin)
    if operation.is_many:
        _check_options(analysis, arguments, origin)
    if operation.is_many is None:
        return NOTHING
    result: Value = frozenset({Query(origin, operation.is_many)})
    for code in arguments.code():
        # A callback takes the error before the result.
        calls.apply(analysis, code, [NOTHING, result])
    return result


def _check_options(analysis: "Analysis", arguments: Arguments, origin: Origin) -> None:
    """Report options of a query: the driver takes them second, Mongoose third."""
    for atom in union((arguments.get(1), arguments.get(2))):
        if isinstance(atom, Instance):
            names = analysis.store.names(atom.site)
            for option in ("sort", "skip", "limit"):
                if option in names:
                    value = analysis.store.get(atom.site, option)
                    queries.check_order(analysis, option, value, arguments, origin)
            if "projection" in names:
                queries.check_projection(
                    analysis, analysis.store.get(atom.site, "projection"), arguments, origin
                )


def call_query(analysis: "Analysis", query: Query, name: str, arguments: Arguments) -> Value:
    """Call a method of a query or a cursor, or of what it returned."""
    itself: Value = frozenset({query})
    origin, known = query.origin, camel(name)
    has_code = any(True for _ in arguments.code())
    if known in {"sort", "skip", "limit"} and not has_code:
        value = itself if not arguments.values and not arguments.named else arguments.get(0, "key_or_list")
        queries.check_order(analysis, known, value, arguments, origin)
        return itself
    if known in {"select", "projection", "project"} and not has_code:
        queries.check_projection(analysis, arguments.get(0), arguments, origin)
        return itself
    if known == "populate":
        references.check_populate(analysis, arguments, origin)
        return itself
    if known in {"where", "distinct"}:
        queries.check_field(analysis, arguments.text(0), arguments, origin)
        queries.check_filter(analysis, arguments.get(0), arguments, origin)
        return itself
    if known in {"countDocuments", "count", "estimatedDocumentCount"}:
        analysis.counted(arguments.scope, arguments.at, origin)
        return NOTHING
    if known in _OPERATIONS and not has_code and not query.is_many:
        return itself
    if query.is_many:
        if known in {"next", "tryNext"}:
            return frozenset({Booking(origin)})
        found = calls.call_list(analysis, Bookings(origin), name, arguments)
        return found or (itself if name not in {"then", "hasNext", "close"} and not has_code else NOTHING)
    found = calls.call_booking(analysis, Booking(origin), name, arguments)
    return found or itself
