"""Values as far as the audit follows them: sets of atoms, kept in slots that only grow."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from booking_migrate.audit.syntax import Class, Function, Node, Place, TypeDefinition


@dataclass(frozen=True, slots=True)
class Origin:
    """Where bookings come from: a query, an answer, a type. What is known of one holds for all that comes from it."""

    path: str
    at: Place
    is_certain: bool = True


@dataclass(frozen=True, slots=True)
class Model:
    """The collection of bookings, or its model."""

    origin: Origin


@dataclass(frozen=True, slots=True)
class Query:
    """A query that is not run yet, or a cursor."""

    origin: Origin
    is_many: bool


@dataclass(frozen=True, slots=True)
class Booking:
    """One document of the collection."""

    origin: Origin


@dataclass(frozen=True, slots=True)
class Bookings:
    """Several documents of the collection."""

    origin: Origin


@dataclass(frozen=True, slots=True)
class Answer:
    """What an API answered, or a part of it, as far from the answer's top as `depth` says; -1 is the response itself."""

    origin: Origin
    depth: int = -1
    via: tuple[Function, int] | None = None
    """The parameter that the route comes from; None if it is the route of bookings."""


@dataclass(frozen=True, slots=True)
class Instance:
    """An object, a list or an instance, by the place that makes it; its properties are slots."""

    site: Hashable


@dataclass(frozen=True, slots=True)
class Code:
    """A function of the application."""

    function: Function


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of the application."""

    node: Class
    path: str


@dataclass(frozen=True, slots=True)
class External:
    """Something of a library, by its dotted name; of a name that is not imported it is a global."""

    name: str


_LONGEST_NAME = 60


def external(name: str) -> External:
    """Return something of a library; of a long chain of properties and calls, only that it is one."""
    return External(name if len(name) < _LONGEST_NAME else "?")


@dataclass(frozen=True, slots=True)
class Constant:
    """A string."""

    text: str


@dataclass(frozen=True, slots=True)
class Given:
    """The string that a parameter is called with, which differs between calls."""

    function: Function
    number: int


@dataclass(frozen=True, slots=True)
class Handle:
    """A collection whose name a parameter has."""

    via: tuple[Function, int]


@dataclass(frozen=True, slots=True)
class Declared:
    """A type of the application."""

    node: TypeDefinition


@dataclass(frozen=True, slots=True)
class Setter:
    """A function that stores its argument in a slot, such as that of a React state."""

    slot: Hashable


@dataclass(frozen=True, slots=True)
class Getter:
    """A function that reads properties by their names, such as ``itemgetter("status")``."""

    names: tuple[str, ...]
    at: Place
    scope: Hashable


@dataclass(frozen=True, slots=True)
class Database:
    """A handle of a database, or of a client of one."""


@dataclass(frozen=True, slots=True)
class Router:
    """A router of a server's framework, which is mounted at a path."""

    site: Node


@dataclass(frozen=True, slots=True)
class Schema:
    """A Mongoose schema."""

    site: Node
    is_old: bool
    is_new: bool


@dataclass(frozen=True, slots=True)
class OtherModel:
    """Another model of the application, which may refer to bookings."""

    references: frozenset[str]


@dataclass(frozen=True, slots=True)
class OtherData:
    """Documents of another model, queries and lists of them."""

    references: frozenset[str]


@dataclass(frozen=True, slots=True)
class NewShape:
    """What is declared in the new structure; nothing beside it counts."""


Atom = (
    Model
    | Query
    | Booking
    | Bookings
    | Answer
    | Instance
    | Code
    | Kind
    | External
    | Constant
    | Given
    | Handle
    | Getter
    | Declared
    | Setter
    | Database
    | Router
    | Schema
    | OtherModel
    | OtherData
    | NewShape
)
Value = frozenset[Atom]
NOTHING: Value = frozenset()
_NEW = NewShape()
NEW: Value = frozenset({_NEW})


def union(values: Iterable[Value]) -> Value:
    """Return what a value may be that is one of these; a declaration in the new structure prevails."""
    joined = NOTHING
    for value in values:
        if value and value is not joined:
            joined = joined | value if joined else value
    return NEW if len(joined) > 1 and _NEW in joined else joined


def ordered(value: Value) -> list[Atom]:
    """Return the atoms in an order that is the same in each run, as far as reports depend on it."""
    return sorted(value, key=_rank)


def _rank(atom: Atom) -> tuple[str, str, Place]:
    text = atom.text if isinstance(atom, Constant) else ""
    site = atom.site if isinstance(atom, Instance) else None
    return type(atom).__name__, text, site.at if isinstance(site, Node) else (0, 0)


Slot = tuple[Hashable, ...]

ELEMENTS = "*"
"""The slot of elements, and of properties whose names are computed."""

SPREAD = "..."
"""The slot of values whose properties an object has, too."""

_PLAIN = (Instance, Code, Kind, External, Constant, Given)
_WIDEST = 10
"""A slot that holds this number of things takes only bookings and what leads to them: it belongs to code that handles anything."""


class Store:
    """The slots of a whole application; who reads a slot is evaluated again when it grows."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._slots: dict[Slot, Value] = {}
        self._readers: dict[Slot, dict[Node, None]] = {}
        self._properties: dict[Hashable, dict[str, Place]] = {}
        self.reader: Node
        self.stale: dict[Node, None] = {}
        """The units that have to be evaluated again, in the order in which that was found."""

    def read(self, slot: Slot) -> Value:
        """Return what a slot holds, and evaluate the reader again when that changes."""
        readers = self._readers.get(slot)
        if readers is None:
            self._readers[slot] = {self.reader: None}
        else:
            readers[self.reader] = None
        return self._slots.get(slot, NOTHING)

    def add(self, slot: Slot, value: Value) -> None:
        """Add a value to a slot."""
        held = self._slots.get(slot, NOTHING)
        if value <= held:
            return
        joined = union((held, value))
        if len(joined) > _WIDEST:
            joined = held | frozenset(atom for atom in value if not isinstance(atom, _PLAIN))
        if joined == held:
            return
        self._slots[slot] = joined
        self.stale.update(dict.fromkeys(self._readers.get(slot, ())))

    def put(self, site: Hashable, name: str, value: Value, at: Place) -> None:
        """Add a value to a property of an object."""
        known = self._properties.setdefault(site, {})
        if name not in known:
            known[name] = at
            self.stale.update(dict.fromkeys(self._readers.get(("names", site), ())))
        self.add(("property", site, name), value)

    def get(self, site: Hashable, name: str) -> Value:
        """Return a property of an object."""
        return self.read(("property", site, name))

    def names(self, site: Hashable) -> dict[str, Place]:
        """Return the names of an object's properties, each with the place that made it."""
        self.read(("names", site))
        return self._properties.get(site, {})
