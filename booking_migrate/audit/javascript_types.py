"""Types of TypeScript, read from the syntax tree of ast-grep."""

from ast_grep_py import SgNode

from booking_migrate.audit.syntax import LIST, UNION, Place, Property, Type

_WRAPPERS = frozenset(
    {"parenthesized_type", "readonly_type", "optional_type", "rest_type", "type_annotation"}
)


def place_of(node: SgNode) -> Place:
    """Return where a node begins."""
    start = node.range().start
    return start.line + 1, start.column + 1


def named(node: SgNode) -> list[SgNode]:
    """Return the children that are not punctuation or comments."""
    return [each for each in node.children() if each.is_named() and each.kind() != "comment"]


def annotation(node: SgNode) -> Type | None:
    """Return the type that a declaration, parameter or function has, if any."""
    found = node.field("type") or node.field("return_type")
    return None if found is None else read_type(found)


def read_type(node: SgNode) -> Type | None:
    """Return a type; None if nothing of interest can be in it."""
    kind = node.kind()
    if kind in _WRAPPERS:
        inner = named(node)
        return read_type(inner[-1]) if inner else None
    if kind in {"type_identifier", "identifier", "nested_type_identifier"}:
        return Type(node.text())
    if kind == "generic_type":
        return Type(named(node)[0].text(), type_arguments(node))
    if kind in {"array_type", "tuple_type"}:
        return Type(LIST, _all(named(node)))
    if kind in {"union_type", "intersection_type"}:
        return Type(UNION, _all(named(node)))
    if kind in {"object_type", "interface_body"}:
        return Type(members=tuple(_members(node)))
    if kind == "function_type":
        returned = node.field("return_type")
        return Type(returns=None if returned is None else read_type(returned))
    if kind == "lookup_type":
        inner = named(node)
        return Type(LIST, _all(inner[:1])) if len(inner) > 1 and inner[1].text() != "number" else None
    return None


def type_arguments(node: SgNode) -> tuple[Type, ...]:
    """Return the arguments of a generic type or call, unknown ones as empty types."""
    found = next((each for each in node.children() if each.kind() == "type_arguments"), None)
    return () if found is None else tuple(read_type(each) or Type() for each in named(found))


def type_parameters(node: SgNode) -> tuple[str, ...]:
    """Return the names of the parameters of a generic type."""
    found = next((each for each in node.children() if each.kind() == "type_parameters"), None)
    return () if found is None else tuple(named(each)[0].text() for each in named(found))


def _all(nodes: list[SgNode]) -> tuple[Type, ...]:
    return tuple(filter(None, map(read_type, nodes)))


def _members(body: SgNode) -> list[Property]:
    members = []
    for each in named(body):
        kind = each.kind()
        name = each.field("name")
        if kind == "property_signature" and name is not None:
            members.append(Property(place_of(each), name.text().strip("'\""), annotation(each)))
        elif kind == "method_signature" and name is not None:
            returned = Type(returns=annotation(each))
            members.append(Property(place_of(each), name.text(), returned))
        elif kind == "index_signature":
            members.append(Property(place_of(each), "*", annotation(each)))
    return members
