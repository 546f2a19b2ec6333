"""Python, read with its own parser into the common syntax tree: statements and whole files."""

import ast
import warnings
from collections.abc import Iterable
from collections.abc import Sequence as Several

from booking_migrate.audit.python_expressions import PythonExpressions, place_of
from booking_migrate.audit.syntax import (
    Assign,
    Block,
    Branch,
    Class,
    Declare,
    Entry,
    Function,
    Import,
    Loop,
    Mapping,
    Name,
    Node,
    Other,
    Parameter,
    Program,
    Property,
    Repeat,
    Return,
    Sequence,
    Spread,
    TypeDefinition,
)


def read_python(text: str) -> Program:
    """Return the program of a file.

    Raises:
        SyntaxError: it is not Python, or of a version that this Python does not know.
    """
    with warnings.catch_warnings():
        # Of the audited code, such as an invalid escape in a string: not this program's.
        warnings.simplefilter("ignore")
        tree = ast.parse(text)
    return Program(Block((1, 1), _Reader().several(tree.body), has_scope=False), is_python=True)


class _Reader(PythonExpressions):
    """Reads statements: a visitor with a method for each kind that matters."""

    def several(self, statements: Iterable[ast.stmt]) -> tuple[Node, ...]:
        """Return the nodes of statements; one statement may have several."""
        return tuple(part for each in statements for part in self.statement(each))

    def statement(self, node: ast.stmt) -> Iterable[Node]:
        """Return the nodes of one statement."""
        read = getattr(self, f"read_{type(node).__name__}", None)
        if read is not None:
            made: Iterable[Node] = read(node)
            return made
        parts = [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr)]
        return (Other(place_of(node), tuple(map(self.expression, parts))),)

    def block(self, statements: Several[ast.stmt], at: ast.AST) -> Block:
        """Return a block; in Python it does not have a scope."""
        return Block(place_of(at), self.several(statements), has_scope=False)

    def read_Expr(self, node: ast.Expr) -> Iterable[Node]:
        return (self.expression(node.value),)

    def read_Assign(self, node: ast.Assign) -> Iterable[Node]:
        value = self.expression(node.value)
        return tuple(self.assigned(target, value, node) for target in node.targets)

    def read_AnnAssign(self, node: ast.AnnAssign) -> Iterable[Node]:
        value = None if node.value is None else self.expression(node.value)
        if isinstance(node.target, ast.Name):
            return (Declare(place_of(node), self.pattern(node.target), value, self.type(node.annotation)),)
        return () if value is None else (self.assigned(node.target, value, node),)

    def read_AugAssign(self, node: ast.AugAssign) -> Iterable[Node]:
        made = self.assigned(node.target, self.expression(node.value), node)
        made.is_update = True
        return (made,)

    def read_TypeAlias(self, node: ast.AST) -> Iterable[Node]:
        name, value = getattr(node, "name", None), getattr(node, "value", None)
        made = self.type(value) if isinstance(value, ast.expr) else None
        if isinstance(name, ast.Name) and made is not None:
            yield TypeDefinition(place_of(node), name.id, (), made)

    def read_Return(self, node: ast.Return) -> Iterable[Node]:
        return (Return(place_of(node), None if node.value is None else self.expression(node.value)),)

    def read_If(self, node: ast.If) -> Iterable[Node]:
        blocks = self.block(node.body, node), self.block(node.orelse, node)
        return (Branch(place_of(node), (self.test(node.test),), blocks),)

    def read_For(self, node: ast.For | ast.AsyncFor) -> Iterable[Node]:
        target, source = self.pattern(node.target), self.expression(node.iter)
        yield Loop(place_of(node), target, source, self.block(node.body, node))
        yield from self.several(node.orelse)

    read_AsyncFor = read_For

    def read_While(self, node: ast.While) -> Iterable[Node]:
        body = Block(place_of(node), (self.test(node.test), *self.several(node.body)), has_scope=False)
        yield Repeat(place_of(node), body)
        yield from self.several(node.orelse)

    def read_With(self, node: ast.With | ast.AsyncWith) -> Iterable[Node]:
        for item in node.items:
            value = self.expression(item.context_expr)
            yield value if item.optional_vars is None else self.assigned(item.optional_vars, value, node)
        yield from self.several(node.body)

    read_AsyncWith = read_With

    def read_Try(self, node: ast.Try) -> Iterable[Node]:
        parts = [node.body, *(each.body for each in node.handlers), node.orelse, node.finalbody]
        return (Branch(place_of(node), (), tuple(self.block(part, node) for part in parts)),)

    def read_Match(self, node: ast.Match) -> Iterable[Node]:
        subject = self.expression(node.subject)
        blocks = []
        for case in node.cases:
            target = self.matched(case.pattern)
            body = self.several(case.body)
            blocks.append(Block(place_of(node), (Assign(target.at, target, subject), *body), has_scope=False))
        return (Branch(place_of(node), (), tuple(blocks)),)

    def matched(self, node: ast.pattern) -> Node:
        """Return what a pattern takes from its subject."""
        at = place_of(node)
        match node:
            case ast.MatchMapping(keys=keys, patterns=patterns):
                texts = [key.value if isinstance(key, ast.Constant) else None for key in keys]
                pairs = zip(texts, patterns, strict=True)
                return Mapping(at, tuple(Entry(at, str(text), self.matched(part)) for text, part in pairs))
            case ast.MatchClass(kwd_attrs=names, kwd_patterns=patterns):
                named = zip(names, patterns, strict=True)
                return Mapping(at, tuple(Entry(at, name, self.matched(part)) for name, part in named))
            case ast.MatchAs(name=str(name)):
                return Name(at, name)
            case ast.MatchSequence(patterns=patterns):
                return Sequence(at, tuple(map(self.matched, patterns)))
            case _:
                pass
        return Other(at)

    def read_Import(self, node: ast.Import) -> Iterable[Node]:
        for each in node.names:
            if each.asname is None:
                top = each.name.partition(".")[0]
                yield Import(place_of(node), top, (("*", top),))
            else:
                yield Import(place_of(node), each.name, (("*", each.asname),))

    def read_ImportFrom(self, node: ast.ImportFrom) -> Iterable[Node]:
        module = "." * node.level + (node.module or "")
        yield Import(
            place_of(node), module, tuple((each.name, each.asname or each.name) for each in node.names)
        )

    def read_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterable[Node]:
        made = self.function(node)
        yield Declare(made.at, Name(made.at, made.name), made)

    read_AsyncFunctionDef = read_FunctionDef

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, *, is_method: bool = False) -> Function:
        """Return a function."""
        decorators = tuple(map(self.expression, node.decorator_list))
        is_static = any(isinstance(each, Name) and each.name == "staticmethod" for each in decorators)
        return Function(
            place_of(node),
            node.name,
            tuple(self.parameters(node.args)),
            Block(place_of(node), self.several(node.body), has_scope=False),
            None if node.returns is None else self.type(node.returns),
            has_this=False,
            is_method=is_method and not is_static,
            decorators=decorators,
        )

    def parameters(self, given: ast.arguments) -> Iterable[Parameter]:
        """Yield the parameters in their order."""
        several = [*given.posonlyargs, *given.args]
        defaults = [None] * (len(several) - len(given.defaults)) + list(given.defaults)
        for argument, default in zip(several, defaults, strict=True):
            yield self._parameter(argument, default)
        if given.vararg is not None:
            yield Parameter(
                place_of(given.vararg), Spread((0, 0), Name((0, 0), given.vararg.arg)), is_rest=True
            )
        for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
            yield self._parameter(argument, default)

    def _parameter(self, argument: ast.arg, default: ast.expr | None) -> Parameter:
        at = place_of(argument)
        kind = None if argument.annotation is None else self.type(argument.annotation)
        made = None if default is None else self.expression(default)
        if made is None and argument.annotation is not None:
            made = self.injected(argument.annotation)
        return Parameter(at, Name(at, argument.arg), kind, made)

    def read_ClassDef(self, node: ast.ClassDef) -> Iterable[Node]:
        at = place_of(node)
        fields: list[Property] = []
        methods: list[Function] = []
        statics: list[Function] = []
        for each in node.body:
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                value = None if each.value is None else self.expression(each.value)
                kind = self.type(each.annotation)
                fields.append(Property(place_of(each), each.target.id, kind, value))
            elif isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
                name = each.targets[0].id
                fields.append(
                    Property(place_of(each), name, None, self.expression(each.value), is_static=True)
                )
            elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                made = self.function(each, is_method=True)
                (methods if made.is_method else statics).append(made)
        yield Declare(
            at,
            Name(at, node.name),
            Class(
                at,
                node.name,
                tuple(map(self.expression, node.bases)),
                tuple(fields),
                tuple(methods),
                tuple(statics),
                tuple(map(self.expression, node.decorator_list)),
            ),
        )
