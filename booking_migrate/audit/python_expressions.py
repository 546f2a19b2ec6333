"""Expressions and annotations of Python: a visitor with a method for each kind of node that matters."""

import ast
from abc import ABC, abstractmethod
from collections.abc import Iterable

from booking_migrate.audit.syntax import (
    LIST,
    UNION,
    Argument,
    Assign,
    Block,
    Call,
    Choice,
    Collected,
    Entry,
    Function,
    Index,
    Joined,
    Mapping,
    Member,
    Name,
    Node,
    Other,
    Parameter,
    Place,
    Return,
    Sequence,
    Spread,
    Text,
    Type,
)

_LISTS = frozenset(
    {
        "list",
        "List",
        "set",
        "Set",
        "tuple",
        "Tuple",
        "Sequence",
        "Iterable",
        "Iterator",
        "Collection",
        "frozenset",
        "AsyncIterator",
        "AsyncIterable",
        "Generator",
        "AsyncGenerator",
        "deque",
    }
)
_DICTS = frozenset({"dict", "Dict", "Mapping", "defaultdict", "OrderedDict"})
_PLAIN = frozenset(
    {
        "Optional",
        "Annotated",
        "Union",
        "Awaitable",
        "Coroutine",
        "Final",
        "ClassVar",
        "Required",
        "NotRequired",
    }
)


def place_of(node: ast.AST) -> Place:
    """Return where a node begins."""
    return getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1


def _end_of(node: ast.AST, name: str) -> Place:
    """Return where an attribute's name begins, which ends the node."""
    line, column = getattr(node, "end_lineno", 1), getattr(node, "end_col_offset", 0)
    return line, column - len(name.encode()) + 1


class PythonExpressions(ABC):
    """Reads expressions; statements come from the subclass."""

    @abstractmethod
    def parameters(self, given: ast.arguments) -> Iterable[Parameter]:
        """Yield the parameters of a function."""

    def expression(self, node: ast.expr) -> Node:
        """Return an expression; of a kind that carries no value, its parts."""
        visit = getattr(self, f"visit_{type(node).__name__}", None)
        if visit is not None:
            made: Node = visit(node)
            return made
        parts = [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr)]
        return Other(place_of(node), tuple(map(self.expression, parts)))

    def test(self, node: ast.expr) -> Node:
        """Return a condition; whether there are any elements is not a question of how many."""
        match node:
            case ast.Call(func=ast.Name(id="len"), args=[inner]):
                return self.expression(inner)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return self.test(inner)
            case ast.BoolOp(values=values):
                return Other(place_of(node), tuple(map(self.test, values)))
            case _:
                pass
        return self.expression(node)

    def visit_Name(self, node: ast.Name) -> Node:
        return Name(place_of(node), node.id)

    def visit_Constant(self, node: ast.Constant) -> Node:
        value = node.value
        return Text(place_of(node), value) if isinstance(value, str) else Other(place_of(node))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> Node:
        return Joined(place_of(node), tuple(map(self.expression, node.values)))

    def visit_FormattedValue(self, node: ast.FormattedValue) -> Node:
        return self.expression(node.value)

    def visit_Attribute(self, node: ast.Attribute) -> Node:
        return Member(_end_of(node, node.attr), self.expression(node.value), node.attr)

    def visit_Subscript(self, node: ast.Subscript) -> Node:
        key = node.slice
        base = self.expression(node.value)
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            return Member(place_of(key), base, key.value)
        if isinstance(key, ast.Slice):
            return Call(place_of(node), Member(place_of(node), base, "slice"), ())
        return Index(place_of(key), base, self.expression(key))

    def visit_Await(self, node: ast.Await) -> Node:
        return self.expression(node.value)

    def visit_Starred(self, node: ast.Starred) -> Node:
        return Spread(place_of(node), self.expression(node.value))

    def visit_NamedExpr(self, node: ast.NamedExpr) -> Node:
        return self.assigned(node.target, self.expression(node.value), node)

    def visit_IfExp(self, node: ast.IfExp) -> Node:
        options = self.expression(node.body), self.expression(node.orelse)
        return Choice(place_of(node), (self.test(node.test),), options)

    def visit_BoolOp(self, node: ast.BoolOp) -> Node:
        return Choice(place_of(node), (), tuple(map(self.expression, node.values)))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Node:
        read = self.test if isinstance(node.op, ast.Not) else self.expression
        return Other(place_of(node), (read(node.operand),))

    def visit_Compare(self, node: ast.Compare) -> Node:
        sides = [node.left, *node.comparators]
        is_emptiness = any(isinstance(each, ast.Constant) and each.value in {0, 1} for each in sides)
        return Other(place_of(node), tuple(map(self.test if is_emptiness else self.expression, sides)))

    def visit_BinOp(self, node: ast.BinOp) -> Node:
        made = Joined if isinstance(node.op, ast.Add) else Other
        if isinstance(node.op, ast.BitOr):
            return Mapping(
                place_of(node),
                tuple(
                    Entry(place_of(each), None, Spread(place_of(each), self.expression(each)))
                    for each in (node.left, node.right)
                ),
            )
        return made(place_of(node), (self.expression(node.left), self.expression(node.right)))

    def visit_Dict(self, node: ast.Dict) -> Node:
        entries = []
        for key, value in zip(node.keys, node.values, strict=True):
            made = self.expression(value)
            if key is None:
                entries.append(Entry(place_of(value), None, Spread(place_of(value), made)))
            elif isinstance(key, ast.Constant) and isinstance(key.value, str):
                entries.append(Entry(place_of(key), key.value, made))
            else:
                entries.append(Entry(place_of(key), None, Choice(made.at, (self.expression(key),), (made,))))
        return Mapping(place_of(node), tuple(entries))

    def visit_List(self, node: ast.List | ast.Tuple | ast.Set) -> Node:
        return Sequence(place_of(node), tuple(map(self.expression, node.elts)))

    visit_Tuple = visit_List
    visit_Set = visit_List

    def visit_Call(self, node: ast.Call) -> Node:
        called = self.expression(node.func)
        at = called.at if isinstance(called, Member) else place_of(node)
        named = tuple(
            Argument(place_of(each), each.arg or "**", self.expression(each.value)) for each in node.keywords
        )
        return Call(at, called, tuple(map(self.expression, node.args)), named)

    def visit_Lambda(self, node: ast.Lambda) -> Node:
        at = place_of(node)
        body = Block(at, (Return(at, self.expression(node.body)),), has_scope=False)
        return Function(at, "", tuple(self.parameters(node.args)), body, has_this=False)

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Node:
        return self._collected(node, node.generators, self.expression(node.elt))

    visit_SetComp = visit_ListComp
    visit_GeneratorExp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp) -> Node:
        value = Choice(place_of(node), (self.expression(node.key),), (self.expression(node.value),))
        return self._collected(node, node.generators, value)

    def _collected(self, node: ast.expr, loops: list[ast.comprehension], element: Node) -> Node:
        pairs = tuple((self.pattern(each.target), self.expression(each.iter)) for each in loops)
        tests = tuple(self.test(one) for each in loops for one in each.ifs)
        return Collected(place_of(node), pairs, tests, element)

    def visit_Yield(self, node: ast.Yield) -> Node:
        at = place_of(node)
        value = Other(at) if node.value is None else self.expression(node.value)
        return Return(at, Sequence(at, (value,)))

    def visit_YieldFrom(self, node: ast.YieldFrom) -> Node:
        return Return(place_of(node), self.expression(node.value))

    def assigned(self, target: ast.expr, value: Node, at: ast.AST) -> Assign:
        """Return the assignment of a value."""
        return Assign(place_of(at), self.pattern(target), value)

    def pattern(self, node: ast.expr) -> Node:
        """Return a target of an assignment."""
        return self.expression(node)

    def injected(self, node: ast.expr) -> Node | None:
        """Return the call in ``Annotated[Database, Depends(get_database)]``."""
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
            calls = [each for each in node.slice.elts if isinstance(each, ast.Call)]
            return self.expression(calls[0]) if calls else None
        return None

    def type(self, node: ast.expr) -> Type | None:
        """Return a type; None if nothing of interest can be in it."""
        match node:
            case ast.Name(id=name):
                return Type(name)
            case ast.Attribute():
                return Type(ast.unparse(node))
            case ast.Constant(value=str(text)):
                try:
                    return self.type(ast.parse(text, mode="eval").body)
                except SyntaxError:
                    return None
            case ast.BinOp(op=ast.BitOr(), left=left, right=right):
                return Type(UNION, self._types(left, right))
            case ast.Subscript(value=base, slice=inside):
                name = ast.unparse(base).rpartition(".")[2]
                inner = inside.elts if isinstance(inside, ast.Tuple) else [inside]
                if name in _LISTS:
                    return Type(LIST, self._types(*inner))
                if name in _DICTS:
                    return Type("Record", self._types(*inner[1:]))
                if name in _PLAIN:
                    return Type(UNION, self._types(*inner))
                return Type(ast.unparse(base), self._types(*inner))
            case _:
                pass
        return None

    def _types(self, *nodes: ast.expr) -> tuple[Type, ...]:
        return tuple(filter(None, map(self.type, nodes)))
