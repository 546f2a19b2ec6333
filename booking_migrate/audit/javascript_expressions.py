"""Expressions of JavaScript and TypeScript: a visitor with a method for each kind of node that matters."""

from abc import ABC, abstractmethod

from ast_grep_py import SgNode

from booking_migrate.audit.javascript_types import annotation, named, place_of, read_type, type_arguments
from booking_migrate.audit.syntax import (
    Assign,
    Block,
    Call,
    Choice,
    Class,
    Element,
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
    Property,
    Return,
    Sequence,
    Spread,
    Text,
    Typed,
    WithDefault,
)

_COMPARISONS = frozenset({"==", "===", "!=", "!==", "<", ">", "<=", ">="})
_EMPTINESS = frozenset({"0", "1"})
_LOGICAL = frozenset({"||", "&&", "??"})


def text_of(node: SgNode) -> str:
    """Return the text of a string without its quotes."""
    return node.text()[1:-1]


class Expressions(ABC):
    """Reads expressions; statements come from the subclass."""

    @abstractmethod
    def statements(self, node: SgNode) -> tuple[Node, ...]:
        """Return the statements in a block."""

    def expression(self, node: SgNode) -> Node:
        """Return an expression; of a kind that carries no value, its parts."""
        visit = getattr(self, f"visit_{node.kind()}", None)
        if visit is not None:
            made: Node = visit(node)
            return made
        return Other(place_of(node), self.expressions(node)) if node.children() else Other(place_of(node))

    def expressions(self, node: SgNode) -> tuple[Node, ...]:
        """Return the expressions in a node."""
        return tuple(self.expression(each) for each in named(node))

    def optional(self, node: SgNode | None) -> Node | None:
        """Return an expression if it is there."""
        return None if node is None else self.expression(node)

    def test(self, node: SgNode) -> Node:
        """Return a condition; whether there are any elements is not a question of how many."""
        kind = node.kind()
        if kind == "member_expression":
            name, base = node.field("property"), node.field("object")
            if name is not None and base is not None and name.text() in {"length", "size"}:
                return self.expression(base)
        if kind in {"parenthesized_expression", "unary_expression"}:
            return Other(place_of(node), tuple(map(self.test, named(node))))
        if kind == "binary_expression":
            left, right = named(node)[0], named(node)[-1]
            operator = _operator(node)
            if operator in _LOGICAL:
                return Other(place_of(node), (self.test(left), self.test(right)))
        return self.expression(node)

    def visit_identifier(self, node: SgNode) -> Node:
        return Name(place_of(node), node.text())

    visit_shorthand_property_identifier = visit_identifier
    visit_this = visit_identifier
    visit_super = visit_identifier
    visit_property_identifier = visit_identifier

    def visit_string(self, node: SgNode) -> Node:
        return Text(place_of(node), text_of(node))

    def visit_template_string(self, node: SgNode) -> Node:
        parts: list[Node] = []
        for each in named(node):
            if each.kind() == "template_substitution":
                parts += self.expressions(each)
            else:
                parts.append(Text(place_of(each), each.text()))
        return Joined(place_of(node), tuple(parts))

    def visit_parenthesized_expression(self, node: SgNode) -> Node:
        return self.expression(named(node)[0]) if named(node) else Other(place_of(node))

    visit_await_expression = visit_parenthesized_expression
    visit_non_null_expression = visit_parenthesized_expression
    visit_jsx_expression = visit_parenthesized_expression

    def visit_sequence_expression(self, node: SgNode) -> Node:
        *first, last = self.expressions(node)
        return Choice(place_of(node), tuple(first), (last,))

    def visit_as_expression(self, node: SgNode) -> Node:
        value, *rest = named(node)
        kind = read_type(rest[0]) if rest else None
        inner = self.expression(value)
        return inner if kind is None else Typed(place_of(node), inner, kind)

    visit_satisfies_expression = visit_as_expression

    def visit_type_assertion(self, node: SgNode) -> Node:
        return self.expression(named(node)[-1])

    def visit_member_expression(self, node: SgNode) -> Node:
        base, name = node.field("object"), node.field("property")
        if base is None or name is None:
            return Other(place_of(node), self.expressions(node))
        return Member(place_of(name), self.expression(base), name.text())

    def visit_subscript_expression(self, node: SgNode) -> Node:
        base, key = node.field("object"), node.field("index")
        if base is None or key is None:
            return Other(place_of(node), self.expressions(node))
        if key.kind() in {"string", "number"}:
            name = text_of(key) if key.kind() == "string" else key.text()
            return Member(place_of(key), self.expression(base), name)
        return Index(place_of(key), self.expression(base), self.expression(key))

    def visit_binary_expression(self, node: SgNode) -> Node:
        at, parts = place_of(node), named(node)
        if len(parts) != 2:  # noqa: PLR2004 - an operator has two sides
            return Other(at, self.expressions(node))
        left, right = parts
        operator = _operator(node)
        if operator in _COMPARISONS:
            if right.text() in _EMPTINESS:
                return Other(at, (self.test(left),))
            if left.text() in _EMPTINESS:
                return Other(at, (self.test(right),))
        if operator in _LOGICAL:
            first = self.test(left) if operator == "&&" else self.expression(left)
            second = self.expression(right)
            return Choice(at, (first,), (second,)) if operator == "&&" else Choice(at, (), (first, second))
        made = Joined if operator == "+" else Other
        return made(at, (self.expression(left), self.expression(right)))

    def visit_unary_expression(self, node: SgNode) -> Node:
        operator = node.children()[0].text()
        read = self.test if operator == "!" else self.expression
        return Other(place_of(node), tuple(map(read, named(node))))

    def visit_ternary_expression(self, node: SgNode) -> Node:
        condition, *options = named(node)
        return Choice(place_of(node), (self.test(condition),), tuple(map(self.expression, options)))

    def visit_assignment_expression(self, node: SgNode) -> Node:
        target, value = node.field("left"), node.field("right")
        if target is None or value is None:
            return Other(place_of(node), self.expressions(node))
        return Assign(place_of(node), self.pattern(target), self.expression(value))

    def visit_augmented_assignment_expression(self, node: SgNode) -> Node:
        made = self.visit_assignment_expression(node)
        if isinstance(made, Assign):
            made.is_update = True
        return made

    def visit_array(self, node: SgNode) -> Node:
        return Sequence(place_of(node), self.expressions(node))

    def visit_spread_element(self, node: SgNode) -> Node:
        return Spread(place_of(node), self.expression(named(node)[0]))

    def visit_object(self, node: SgNode) -> Node:
        entries = []
        for each in named(node):
            kind, at = each.kind(), place_of(each)
            if kind == "pair":
                key, value = each.field("key"), each.field("value")
                if key is None or value is None:
                    continue
                is_computed = key.kind() == "computed_property_name"
                made = self.expression(value)
                if is_computed:
                    made = Choice(at, self.expressions(key), (made,))
                entries.append(Entry(at, None if is_computed else _key(key), made))
            elif kind == "spread_element":
                entries.append(Entry(at, None, self.visit_spread_element(each)))
            elif kind == "method_definition":
                function = self.function(each)
                entries.append(Entry(at, function.name, function))
            else:
                entries.append(Entry(at, each.text(), self.expression(each)))
        return Mapping(place_of(node), tuple(entries))

    def visit_call_expression(self, node: SgNode) -> Node:
        function, given = node.field("function"), node.field("arguments")
        if function is None:
            return Other(place_of(node), self.expressions(node))
        called = self.expression(function)
        at = called.at if isinstance(called, Member) else place_of(node)
        arguments = () if given is None else self.expressions(given)
        if given is not None and given.kind() == "template_string":
            arguments = (self.expression(given),)
        return Call(at, called, arguments, types=type_arguments(node))

    def visit_new_expression(self, node: SgNode) -> Node:
        made, given = node.field("constructor"), node.field("arguments")
        if made is None:
            return Other(place_of(node), self.expressions(node))
        arguments = () if given is None else self.expressions(given)
        return Call(place_of(node), self.expression(made), arguments, (), type_arguments(node), is_new=True)

    def visit_arrow_function(self, node: SgNode) -> Node:
        return self.function(node)

    visit_function_expression = visit_arrow_function
    visit_function = visit_arrow_function
    visit_generator_function = visit_arrow_function
    visit_generator_function_declaration = visit_arrow_function

    def visit_class(self, node: SgNode) -> Node:
        return self.class_of(node)

    def function(self, node: SgNode) -> Function:
        """Return a function of any kind."""
        name, body = node.field("name"), node.field("body")
        single, several = node.field("parameter"), node.field("parameters")
        if single is not None:
            parameters = [Parameter(place_of(single), self.pattern(single))]
        else:
            parameters = [] if several is None else [self.parameter(each) for each in named(several)]
        if body is None:
            block = Block(place_of(node), ())
        elif body.kind() == "statement_block":
            block = Block(place_of(body), self.statements(body), has_scope=False)
        else:
            at = place_of(body)
            block = Block(at, (Return(at, self.expression(body)),), has_scope=False)
        return Function(
            place_of(node),
            "" if name is None else _key(name),
            tuple(parameters),
            block,
            annotation(node) if node.field("return_type") is not None else None,
            has_this=node.kind() != "arrow_function",
        )

    def parameter(self, node: SgNode) -> Parameter:
        """Return a parameter; JavaScript has bare patterns, TypeScript wraps them."""
        at, target = place_of(node), node.field("pattern")
        if target is None:
            made = self.pattern(node)
            return Parameter(at, made, is_rest=isinstance(made, Spread))
        kinds = {each.kind() for each in named(node)}
        is_field = "accessibility_modifier" in kinds or any(c.text() == "readonly" for c in node.children())
        made = self.pattern(target)
        default = self.optional(node.field("value"))
        return Parameter(at, made, annotation(node), default, isinstance(made, Spread), is_field)

    def pattern(self, node: SgNode) -> Node:
        """Return a target of an assignment or a declaration."""
        at, kind = place_of(node), node.kind()
        if kind == "object_pattern":
            return Mapping(at, tuple(map(self._taken, named(node))))
        if kind == "array_pattern":
            return Sequence(at, self._elements(node))
        if kind == "rest_pattern":
            return Spread(at, self.pattern(named(node)[0]))
        if kind in {"assignment_pattern", "object_assignment_pattern"}:
            left, right = named(node)
            return WithDefault(at, self.pattern(left), self.expression(right))
        if kind in {"shorthand_property_identifier_pattern", "identifier", "this"}:
            return Name(at, node.text())
        return self.expression(node)

    def _elements(self, node: SgNode) -> tuple[Node, ...]:
        """Return the elements of a pattern, those that are left out as well."""
        items: list[Node] = []
        is_open = True
        for each in node.children():
            if each.text() == ",":
                if is_open:
                    items.append(Other(place_of(each)))
                is_open = True
            elif each.is_named() and each.kind() != "comment":
                items.append(self.pattern(each))
                is_open = False
        return tuple(items)

    def _taken(self, node: SgNode) -> Entry:
        """Return what one entry of an object pattern takes."""
        at, kind = place_of(node), node.kind()
        if kind == "pair_pattern":
            key, value = node.field("key"), node.field("value")
            if key is not None and value is not None:
                is_computed = key.kind() == "computed_property_name"
                return Entry(at, None if is_computed else _key(key), self.pattern(value))
        made = self.pattern(node)
        name = made.target if isinstance(made, WithDefault) else made
        return Entry(at, name.name if isinstance(name, Name) else None, made)

    def class_of(self, node: SgNode) -> Class:
        """Return a class."""
        name, body = node.field("name"), node.field("body")
        bases: list[Node] = []
        decorators = [each for each in named(node) if each.kind() == "decorator"]
        for each in named(node):
            if each.kind() == "class_heritage":
                clauses = [one for one in named(each) if one.kind() == "extends_clause"] or [each]
                values = [one.field("value") or one for one in clauses]
                bases += [self.expression(one) for one in values if one.kind() != "class_heritage"]
        fields: list[Property] = []
        methods: tuple[list[Function], list[Function]] = ([], [])
        pending: list[Node] = []
        for each in [] if body is None else named(body):
            if each.kind() == "decorator":
                pending.append(self.expression(named(each)[0]))
                continue
            is_static = any(child.text() == "static" for child in each.children()[:4])
            if each.kind() == "method_definition":
                method = self.function(each)
                method.decorators, pending = tuple(pending), []
                methods[is_static].append(method)
            elif each.kind() in {"public_field_definition", "field_definition"}:
                fields.append(self._field(each, is_static=is_static))
        return Class(
            place_of(node),
            "" if name is None else name.text(),
            tuple(bases),
            tuple(fields),
            tuple(methods[False]),
            tuple(methods[True]),
            tuple(self.expression(named(each)[0]) for each in decorators),
        )

    def _field(self, node: SgNode, *, is_static: bool) -> Property:
        name = node.field("name") or node.field("property")
        value = self.optional(node.field("value"))
        for each in named(node):
            if each.kind() == "decorator" and value is None:
                value = self.expression(named(each)[0])
        return Property(
            place_of(node), "" if name is None else _key(name), annotation(node), value, is_static
        )

    def visit_jsx_element(self, node: SgNode) -> Node:
        opening = named(node)[0]
        inner = [each for each in named(node)[1:] if each.kind() not in {"jsx_text", "jsx_closing_element"}]
        return self._element(opening, tuple(self.expression(each) for each in inner if named(each)))

    def visit_jsx_self_closing_element(self, node: SgNode) -> Node:
        return self._element(node, ())

    def _element(self, opening: SgNode, children: tuple[Node, ...]) -> Node:
        at, tag = place_of(opening), opening.field("name")
        entries = []
        for each in named(opening):
            if each.kind() == "jsx_attribute":
                key, *value = named(each)
                made = self.expression(value[0]) if value else Other(place_of(each))
                entries.append(Entry(place_of(each), key.text(), made))
            elif each.kind() == "jsx_expression" and named(each):
                entries.append(Entry(place_of(each), None, self.expression(named(each)[0])))
        if tag is None or (tag.kind() == "identifier" and tag.text()[:1].islower()):
            return Other(at, (*(entry.value for entry in entries), *children))
        return Element(at, self.expression(tag), Mapping(at, tuple(entries)), children)


def _key(node: SgNode) -> str:
    return text_of(node) if node.kind() == "string" else node.text()


def _operator(node: SgNode) -> str:
    found = node.field("operator")
    return "" if found is None else found.text()
