"""The field that says what a polymorphic reference refers to, found in the data: ``{type: "booking", itemId: ...}``.

Beside some of the values that are ids of bookings, and some that are not, the short texts of the same document and of the root
are counted. A field whose text separates the two says the type.
"""

from collections import Counter
from collections.abc import Iterator

from booking_migrate.bson.document import STRING, elements
from booking_migrate.references.outcome import Condition
from booking_migrate.references.paths import Candidate
from booking_migrate.references.values import HEX_DIGITS, addressable

_FIRST = 1000
"""How many of each kind are looked at one by one; of what follows only some."""

_STEP = 97
_LONGEST = 40
"""How many bytes a text that names a type has at most."""

_MOST_VALUES = 40
"""A field with more different texts says no type."""

_MOST_TYPES = 5
"""How many texts may be beside ids of bookings."""

_LEAST_OTHERS = 0.5
"""The share of the values that are not ids of bookings beside which the type has to be another one."""

_CLOSE = 0.9
"""The share of the best one's values from which on another one is as good."""

_TYPE_NAMES = ("type", "kind", "model", "ref", "class", "entity", "collection")
"""What fields that say a type are called, at the end of their names."""


def is_looked_at(number: int) -> bool:
    """Return whether the texts beside a value are counted; ``number`` counts the values of its kind, hits or others."""
    return number <= _FIRST or number % _STEP == 0


class Siblings:
    """The texts beside the values of one path."""

    __slots__ = ("_hits", "_misses", "_texts")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._hits = 0
        self._misses = 0
        self._texts: dict[str, tuple[Counter[str], Counter[str]] | None] = {}
        """By path: texts beside ids of bookings, and beside others; None if they are too many for a type."""

    def note(self, raw: bytes, candidate: Candidate, *, is_hit: bool) -> None:
        """Count the texts beside a value."""
        if is_hit:
            self._hits += 1
        else:
            self._misses += 1
        for path, text in _texts_beside(raw, candidate):
            counted = self._texts.setdefault(path, (Counter(), Counter()))
            if counted is None:
                continue
            counted[0 if is_hit else 1][text] += 1
            if len(counted[0]) + len(counted[1]) > 2 * _MOST_VALUES:
                self._texts[path] = None

    def condition(self) -> Condition | None:
        """Return the condition that separates ids of bookings from others best; None without one."""
        if not self._hits or not self._misses:
            return None
        found = [each for each in self._conditions() if each.others >= _LEAST_OTHERS * self._misses]
        best = max((each.others for each in found), default=0)
        # Some other text separates them as well by chance; a name, and the same document, say which one is meant.
        close = [each for each in found if each.others >= _CLOSE * best]
        return max(close, key=_rank, default=None)

    def _conditions(self) -> Iterator[Condition]:
        for path, counted in self._texts.items():
            if counted is None or not 0 < len(counted[0]) <= _MOST_TYPES:
                continue
            types, other = counted
            # Texts of which most occur once, such as titles, do not say a type.
            are_types = 2 * len({*types, *other}) <= types.total() + other.total()
            others = self._misses - sum(other[text] for text in types)
            if types.total() == self._hits and others > 0 and are_types:
                yield Condition(path, tuple(text for text, _ in types.most_common()), others)


def _rank(condition: Condition) -> tuple[bool, bool, int, int]:
    """Return how likely a condition says the type of a reference, to be compared."""
    name = condition.field.rpartition(".")[2].lower()
    is_type = name.endswith(_TYPE_NAMES)
    return is_type, "." in condition.field, condition.others, -len(condition.values)


def _texts_beside(raw: bytes, candidate: Candidate) -> Iterator[tuple[str, str]]:
    """Yield the short texts of the document that has a value, and of the root, with their paths."""
    node, _keys, _kind, begin = candidate
    path = node.path
    parent = path.rpartition(".")[0]
    starts = {"": 0, f"{parent}.": begin} if begin else {"": 0}
    for prefix, start in starts.items():
        size = int.from_bytes(raw[start : start + 4], "little")
        for element in elements(raw[start : start + size]):
            text = element.value[4:-1]
            if element.kind != STRING or not 0 < len(text) <= _LONGEST or len(text) == HEX_DIGITS:
                continue
            name = addressable(element.name)
            if name is not None and f"{prefix}{name}" != path:
                yield f"{prefix}{name}", text.decode("utf-8", "replace")
