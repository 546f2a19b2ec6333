"""JavaScript and TypeScript, read with ast-grep into the common syntax tree: statements and whole files."""

from collections.abc import Iterable

from ast_grep_py import SgNode, SgRoot

from booking_migrate.audit.javascript_expressions import Expressions, text_of
from booking_migrate.audit.javascript_types import annotation, named, place_of, read_type, type_parameters
from booking_migrate.audit.syntax import (
    Block,
    Branch,
    Class,
    Declare,
    Export,
    Import,
    Loop,
    Mapping,
    Name,
    Node,
    Program,
    ReExport,
    Repeat,
    Return,
    Sequence,
    Spread,
    Type,
    TypeDefinition,
    WithDefault,
)

_IGNORED = frozenset({"comment", "ambient_declaration", "function_signature", "enum_declaration"})


def read_javascript(text: str, *, has_jsx: bool) -> Program:
    """Return the program of a file; of what cannot be parsed, the rest is read, and the first place is named.

    Args:
        text: the source.
        has_jsx: whether angle brackets are elements, not TypeScript's casts.
    """
    root = SgRoot(text, "tsx" if has_jsx else "typescript").root()
    error = root.find(kind="ERROR")
    program = Program(Block(place_of(root), _Reader().statements(root)))
    if error is not None:
        line, column = place_of(error)
        program.problem = f"line {line}, column {column} cannot be parsed; the rest was read"
    return program


class _Reader(Expressions):
    """Reads statements: a visitor with a method for each kind that matters."""

    def statements(self, node: SgNode) -> tuple[Node, ...]:
        """Return the statements in a block."""
        return self.several(named(node))

    def several(self, nodes: Iterable[SgNode]) -> tuple[Node, ...]:
        """Return the nodes of statements; one statement may have several."""
        return tuple(part for node in nodes for part in self.statement(node))

    def statement(self, node: SgNode) -> Iterable[Node]:
        """Return the nodes of one statement."""
        kind = node.kind()
        if kind in _IGNORED:
            return ()
        read = getattr(self, f"read_{kind}", None)
        if read is None:
            return (self.expression(node),)
        made: Iterable[Node] = read(node)
        return made

    def read_expression_statement(self, node: SgNode) -> Iterable[Node]:
        return self.expressions(node)

    def read_statement_block(self, node: SgNode) -> Iterable[Node]:
        return (self._block(node, node),)

    def _block(self, node: SgNode | None, at: SgNode) -> Block:
        if node is None:
            return Block(place_of(at), ())
        inner = named(node) if node.kind() in {"statement_block", "program"} else [node]
        return Block(place_of(node), self.several(inner))

    def read_lexical_declaration(self, node: SgNode) -> Iterable[Node]:
        for each in named(node):
            if each.kind() == "variable_declarator":
                target, value = each.field("name"), each.field("value")
                if target is not None:
                    made = None if value is None else self.expression(value)
                    yield Declare(place_of(each), self.pattern(target), made, annotation(each))

    def read_if_statement(self, node: SgNode) -> Iterable[Node]:
        condition = node.field("condition")
        tests = () if condition is None else (self.test(condition),)
        then, otherwise = node.field("consequence"), node.field("alternative")
        blocks = [self._block(then, node)]
        if otherwise is not None:
            inner = named(otherwise)
            blocks.append(self._block(inner[0] if inner else None, node))
        yield Branch(place_of(node), tests, tuple(blocks))

    def read_for_in_statement(self, node: SgNode) -> Iterable[Node]:
        left, right = node.field("left"), node.field("right")
        operator = node.field("operator")
        if left is None or right is None:
            return
        body = self._block(node.field("body"), node)
        if operator is not None and operator.text() == "in":
            yield Repeat(place_of(node), Block(body.at, (self.expression(right), body)))
        else:
            yield Loop(place_of(node), self.pattern(left), self.expression(right), body)

    def read_for_statement(self, node: SgNode) -> Iterable[Node]:
        body = node.field("body")
        parts: list[Node] = []
        for each in named(node):
            parts += (
                self._block(each, node).body if each.kind() == "statement_block" else self.statement(each)
            )
        yield Repeat(place_of(node), Block(place_of(body or node), tuple(parts)))

    def read_try_statement(self, node: SgNode) -> Iterable[Node]:
        blocks = [self._block(node.field("body"), node)]
        blocks += [self._block(each.field("body"), each) for each in named(node)[1:]]
        yield Branch(place_of(node), (), tuple(blocks))

    def read_switch_statement(self, node: SgNode) -> Iterable[Node]:
        value, body = node.field("value"), node.field("body")
        cases = [] if body is None else named(body)
        blocks = tuple(Block(place_of(each), self.several(named(each))) for each in cases)
        yield Branch(place_of(node), () if value is None else (self.expression(value),), blocks)

    def read_return_statement(self, node: SgNode) -> Iterable[Node]:
        inner = named(node)
        yield Return(place_of(node), self.expression(inner[0]) if inner else None)

    def read_function_declaration(self, node: SgNode) -> Iterable[Node]:
        name = node.field("name")
        made = self.function(node)
        yield Declare(place_of(node), Name(made.at, name.text() if name else "default"), made)

    def read_class_declaration(self, node: SgNode) -> Iterable[Node]:
        made = self.class_of(node)
        yield Declare(place_of(node), Name(made.at, made.name), made)

    def read_interface_declaration(self, node: SgNode) -> Iterable[Node]:
        name, body = node.field("name"), node.field("body")
        if name is None or body is None:
            return
        heritage = [each for each in named(node) if each.kind() == "extends_type_clause"]
        bases = tuple(filter(None, (read_type(base) for each in heritage for base in named(each))))
        yield TypeDefinition(
            place_of(node), name.text(), type_parameters(node), read_type(body) or Type(), bases
        )

    def read_type_alias_declaration(self, node: SgNode) -> Iterable[Node]:
        name, value = node.field("name"), node.field("value")
        made = None if value is None else read_type(value)
        if name is not None and made is not None:
            yield TypeDefinition(place_of(node), name.text(), type_parameters(node), made)

    def read_import_statement(self, node: SgNode) -> Iterable[Node]:
        module = _source(node)
        clause = next((each for each in named(node) if each.kind() == "import_clause"), None)
        if module is None or clause is None:
            return
        names: list[tuple[str, str]] = []
        for each in named(clause):
            if each.kind() == "identifier":
                names.append(("default", each.text()))
            elif each.kind() == "namespace_import":
                names.append(("*", named(each)[0].text()))
            else:
                names += [_specifier(one) for one in named(each)]
        yield Import(place_of(node), module, tuple(names))

    def read_export_statement(self, node: SgNode) -> Iterable[Node]:
        at, module = place_of(node), _source(node)
        clause = next((each for each in named(node) if each.kind() == "export_clause"), None)
        names = () if clause is None else tuple(_specifier(one) for one in named(clause))
        if module is not None:
            whole = next((each for each in named(node) if each.kind() == "namespace_export"), None)
            all_of_it = ("*", "*" if whole is None else named(whole)[0].text())
            yield ReExport(at, module, names or (all_of_it,))
            return
        if clause is not None:
            yield Export(at, names)
            return
        declared, value = node.field("declaration"), node.field("value")
        is_default = any(each.text() == "default" for each in node.children()[:3])
        if value is not None:
            yield Export(at, value=self.expression(value))
        elif declared is not None:
            decorators = [one for one in named(node) if one.kind() == "decorator"]
            for each in self.statement(declared):
                if isinstance(each, Declare) and isinstance(each.value, Class):
                    each.value.decorators += tuple(self.expression(named(one)[0]) for one in decorators)
                yield each
                here = list(_declared(each))
                yield Export(at, tuple((name, "default" if is_default else name) for name in here))

    def read_internal_module(self, node: SgNode) -> Iterable[Node]:
        body = node.field("body")
        return () if body is None else self.several(named(body))

    read_variable_declaration = read_lexical_declaration
    read_while_statement = read_for_statement
    read_do_statement = read_for_statement
    read_generator_function_declaration = read_function_declaration
    read_abstract_class_declaration = read_class_declaration
    read_module = read_internal_module


def _source(node: SgNode) -> str | None:
    found = node.field("source")
    return None if found is None else text_of(found)


def _specifier(node: SgNode) -> tuple[str, str]:
    name, alias = node.field("name"), node.field("alias")
    here = "" if name is None else name.text()
    return here, here if alias is None else alias.text()


def _declared(node: Node) -> Iterable[str]:
    """Yield the names that a statement declares."""
    match node:
        case Declare(target=target):
            yield from _targets(target)
        case TypeDefinition(name=name):
            yield name
        case _:
            pass


def _targets(target: Node) -> Iterable[str]:
    match target:
        case Name(name=name):
            yield name
        case Mapping(entries=entries):
            for entry in entries:
                yield from _targets(entry.value)
        case Sequence(items=items):
            for item in items:
                yield from _targets(item)
        case Spread(value=value) | WithDefault(target=value):
            yield from _targets(value)
        case _:
            pass
