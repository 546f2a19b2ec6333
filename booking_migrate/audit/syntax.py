"""Syntax trees that JavaScript, TypeScript and Python have in common: what can carry a value, and nothing else.

The readers of the languages (`javascript`, `python_code`) make them, `flow` evaluates them. Nodes are equal only if they are the
same node, so that they can stand for the places where values are made.
"""

from dataclasses import dataclass, field

Place = tuple[int, int]
"""Line and column, counted from 1."""


@dataclass(slots=True, eq=False)
class Node:
    """A part of a program, with its place."""

    at: Place


@dataclass(slots=True, eq=False)
class Name(Node):
    """A variable."""

    name: str


@dataclass(slots=True, eq=False)
class Text(Node):
    """A constant string."""

    value: str


@dataclass(slots=True, eq=False)
class Other(Node):
    """An expression or statement whose own value does not matter, such as a comparison; its parts are evaluated."""

    parts: tuple[Node, ...] = ()


@dataclass(slots=True, eq=False)
class Joined(Node):
    """Strings put together: a template, a sum, an f-string."""

    parts: tuple[Node, ...]


@dataclass(slots=True, eq=False)
class Member(Node):
    """A property by its name: ``base.name``, or ``base["name"]``."""

    base: Node
    name: str


@dataclass(slots=True, eq=False)
class Index(Node):
    """An element or a property whose name is computed."""

    base: Node
    key: Node


@dataclass(slots=True, eq=False)
class Spread(Node):
    """The elements or properties of a value, in place of one."""

    value: Node


@dataclass(slots=True, eq=False)
class Entry(Node):
    """An entry of a mapping; without a key it is a spread or has a computed one."""

    key: str | None
    value: Node


@dataclass(slots=True, eq=False)
class Mapping(Node):
    """An object literal, or a dict; as a target: what is taken from an object."""

    entries: tuple[Entry, ...]


@dataclass(slots=True, eq=False)
class Sequence(Node):
    """An array, a list or a tuple; as a target: what is taken from one."""

    items: tuple[Node, ...]


@dataclass(slots=True, eq=False)
class WithDefault(Node):
    """A target with the value that it has otherwise."""

    target: Node
    value: Node


@dataclass(slots=True, eq=False)
class Type:
    """A type as it is written; `name` is dotted, and empty if only its members are known."""

    name: str = ""
    arguments: tuple["Type", ...] = ()
    """Type arguments, the parts of a union, or the element of an array."""

    members: tuple["Property", ...] = ()
    returns: "Type | None" = None
    """What a function type returns."""


UNION, LIST = "|", "[]"
"""The names of types that are written with operators."""


@dataclass(slots=True, eq=False)
class Property(Node):
    """A property of a type, or a field of a class."""

    name: str
    type: Type | None = None
    value: Node | None = None
    is_static: bool = False


@dataclass(slots=True, eq=False)
class Parameter(Node):
    """A parameter of a function."""

    target: Node
    type: Type | None = None
    default: Node | None = None
    is_rest: bool = False
    is_field: bool = False
    """Whether it is also a field of the instance (TypeScript's constructors)."""


@dataclass(slots=True, eq=False)
class Block(Node):
    """Statements with a scope of their own, unless the language does not have one."""

    body: tuple[Node, ...]
    has_scope: bool = True


@dataclass(slots=True, eq=False)
class Function(Node):
    """A function of any kind."""

    name: str
    parameters: tuple[Parameter, ...]
    body: Block
    returns: Type | None = None
    has_this: bool = True
    is_method: bool = False
    """Whether its first parameter is the instance (Python)."""

    decorators: tuple[Node, ...] = ()


@dataclass(slots=True, eq=False)
class Argument(Node):
    """An argument with a name."""

    name: str
    value: Node


@dataclass(slots=True, eq=False)
class Call(Node):
    """A call, or the making of an instance; its place is that of the function's name."""

    function: Node
    arguments: tuple[Node, ...]
    named: tuple[Argument, ...] = ()
    types: tuple[Type, ...] = ()
    is_new: bool = False


@dataclass(slots=True, eq=False)
class Choice(Node):
    """One of several values."""

    tests: tuple[Node, ...]
    options: tuple[Node, ...]


@dataclass(slots=True, eq=False)
class Assign(Node):
    """A value stored in a variable, a property or a pattern."""

    target: Node
    value: Node
    is_update: bool = False
    """Whether the target's former value is part of the new one."""


@dataclass(slots=True, eq=False)
class Declare(Node):
    """A variable that begins here."""

    target: Node
    value: Node | None
    type: Type | None = None


@dataclass(slots=True, eq=False)
class Typed(Node):
    """A value with a type that the program asserts."""

    value: Node
    type: Type


@dataclass(slots=True, eq=False)
class Element(Node):
    """A JSX element: a component called with its properties."""

    tag: Node
    properties: Mapping
    children: tuple[Node, ...]


@dataclass(slots=True, eq=False)
class Loop(Node):
    """A loop over the elements of a value."""

    target: Node
    source: Node
    body: Block


@dataclass(slots=True, eq=False)
class Repeat(Node):
    """Statements that may be run again."""

    body: Block


@dataclass(slots=True, eq=False)
class Collected(Node):
    """A comprehension: its loops, tests, and the elements; with a key it makes a mapping."""

    loops: tuple[tuple[Node, Node], ...]
    tests: tuple[Node, ...]
    element: Node


@dataclass(slots=True, eq=False)
class Branch(Node):
    """Blocks of which some run."""

    tests: tuple[Node, ...]
    blocks: tuple[Block, ...]


@dataclass(slots=True, eq=False)
class Return(Node):
    """The result of a function."""

    value: Node | None


@dataclass(slots=True, eq=False)
class Class(Node):
    """A class."""

    name: str
    bases: tuple[Node, ...]
    fields: tuple[Property, ...]
    methods: tuple[Function, ...]
    statics: tuple[Function, ...] = ()
    decorators: tuple[Node, ...] = ()


@dataclass(slots=True, eq=False)
class TypeDefinition(Node):
    """An interface or a type alias."""

    name: str
    parameters: tuple[str, ...]
    type: Type
    bases: tuple[Type, ...] = ()


@dataclass(slots=True, eq=False)
class Import(Node):
    """Names from another module: pairs of what it exports and the name here; ``*`` is all of it."""

    module: str
    names: tuple[tuple[str, str], ...]


@dataclass(slots=True, eq=False)
class Export(Node):
    """What a module exports: pairs of the name here and the exported one, or an expression as the default."""

    names: tuple[tuple[str, str], ...] = ()
    value: Node | None = None


@dataclass(slots=True, eq=False)
class ReExport(Node):
    """What a module exports of another one: pairs of its name and the exported one; ``*`` is all of it."""

    module: str
    names: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Program:
    """A whole file."""

    body: Block
    is_python: bool = False
    problem: str = ""
    """What could not be parsed, if a part could not."""

    comments: dict[int, str] = field(default_factory=dict)
    """The comments that suppress findings, by line."""
