"""The arguments of a call."""

from collections.abc import Iterator
from dataclasses import dataclass

from booking_migrate.audit.scopes import Scope
from booking_migrate.audit.syntax import Call, Place
from booking_migrate.audit.values import NOTHING, Code, Constant, Value


@dataclass(slots=True)
class Arguments:
    """The arguments of a call, evaluated, and where it is."""

    node: Call
    scope: Scope
    values: list[Value]
    named: dict[str, Value]

    @property
    def at(self) -> Place:
        """Return the place of the call."""
        return self.node.at

    def get(self, number: int, *names: str) -> Value:
        """Return an argument by its number or one of its names; nothing if it is not there."""
        for name in names:
            if name in self.named:
                return self.named[name]
        return self.values[number] if 0 <= number < len(self.values) else NOTHING

    def text(self, number: int, *names: str) -> str:
        """Return a string argument; empty if it is not one."""
        texts = sorted(atom.text for atom in self.get(number, *names) if isinstance(atom, Constant))
        return texts[0] if texts else ""

    def every(self) -> Iterator[Value]:
        """Yield all of them."""
        yield from self.values
        yield from self.named.values()

    def code(self) -> Iterator[Code]:
        """Yield the functions among them."""
        for value in self.every():
            yield from (atom for atom in value if isinstance(atom, Code))
