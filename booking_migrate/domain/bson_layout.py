"""Flat BSON documents at a glance: documents of one layout are taken apart by one compiled pattern.

A layout is the names and types of a document's fields in their order. Nearly all documents of a collection share a few of
them, and then one match gives every value's bytes without decoding any. The pattern is BSON's own grammar for that layout
(https://bsonspec.org/spec.html): fixed sizes, and strings up to their NUL. `Layouts` makes sure that each string is as long
as the document says; so a match is the one right reading of the document, whatever stands in its strings.
"""

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Generic, TypeVar

from bson.decimal128 import Decimal128
from bson.int64 import Int64

from booking_migrate.domain.bson_document import elements

STRING, OBJECT_ID, DATE, NULL = 0x02, 0x07, 0x09, 0x0A
_FIXED_SIZES = {
    0x01: 8,  # double
    0x07: 12,  # ObjectId
    0x08: 1,  # bool
    0x09: 8,  # date
    0x0A: 0,  # null
    0x10: 4,  # int32
    0x12: 8,  # int64
    0x13: 16,  # Decimal128
}
_MOST = 24
"""How many layouts are known at a time; a collection that has more of them is read the thorough way."""

_MOST_MISSES = 1000
"""After so many documents of no known layout nothing new is learned."""

_REMEMBERED, _LONGEST_REMEMBERED = 5000, 64
"""How many values of a field are remembered, and up to which length."""

Values = Sequence[bytes]
"""The parts of one document; which is which, the layout says. A string's value is its length, its text and its NUL."""

Plan = TypeVar("Plan")


@dataclass(frozen=True, slots=True)
class Layout:
    """The names and types of a flat document's fields, in order, and where its parts are in a match."""

    kinds: Mapping[str, int]
    """The BSON type byte of each field."""

    place: Mapping[str, int]
    """Where each field's value is among the `Values`."""

    kept: tuple[int, ...]
    """Where the stretches of whole elements are that remain when the cut ones are taken out."""

    match: Callable[[bytes], "re.Match[bytes] | None"] = field(repr=False)
    """Its groups are the parts of a document, if the lengths of its strings are sound; None if it has another layout."""


def layout_of(raw: bytes, cut: frozenset[str]) -> Layout | None:
    """The layout of a document; None if it is not flat, a name occurs twice, or a type is a rare one.

    Args:
        raw: the document's BSON.
        cut: names of fields that are to be left out of `Layout.kept`.

    Raises:
        MalformedBson: the bytes are no BSON document.
    """
    kinds: dict[str, int] = {}
    place: dict[str, int] = {}
    kept: list[int] = []
    pattern = [rb"\A.{4}"]
    groups, is_open = 0, False
    for part in elements(raw):
        name = part.name.decode("utf-8", "surrogateescape")
        if name in kinds or (part.kind != STRING and part.kind not in _FIXED_SIZES):
            return None
        if is_open and name in cut:
            pattern.append(b")")
            is_open = False
        elif not is_open and name not in cut:
            pattern.append(b"(")
            kept.append(groups)
            groups, is_open = groups + 1, True
        pattern.append(re.escape(b"%c%b\x00" % (part.kind, part.name)))
        is_string = part.kind == STRING
        pattern.append(rb"(.{4}[^\x00]*\x00)" if is_string else b"(.{%d})" % _FIXED_SIZES[part.kind])
        kinds[name], place[name] = part.kind, groups
        groups += 1
    pattern.append(b")\\x00\\Z" if is_open else b"\\x00\\Z")
    return Layout(kinds, place, tuple(kept), re.compile(b"".join(pattern), re.DOTALL).match)


Check = Callable[[Any], bool]
"""Says whether a decoded value is as it has to be."""


@dataclass(frozen=True, slots=True)
class _Known(Generic[Plan]):
    """A layout that was met, and what its documents are asked."""

    match: Callable[[bytes], "re.Match[bytes] | None"]
    plan: Plan
    fields: tuple[tuple[str, int, int], ...]
    """Name, type and place of the fields whose values are checked."""

    checked: Callable[[Values], Sequence[bytes]]
    """Their values."""

    sound: tuple[set[bytes], ...]
    """For each of them the values that were found to be sound, so that most documents take one call."""


class Layouts(Generic[Plan]):
    """The layouts met so far, each with what somebody makes of it once, and the values met so far."""

    def __init__(
        self, cut: frozenset[str], plan: Callable[[Layout], Plan | None], checks: Mapping[str, Check]
    ) -> None:
        """Begin with none.

        Args:
            cut: see `layout_of`.
            plan: says what is to be done with the documents of a layout; None: they are not for a glance.
            checks: what the strings and numbers of a field have to be. All other strings may be any.
        """
        self._cut = cut
        self._plan = plan
        self._checks = checks
        self._known: list[_Known[Plan]] = []
        self._sound: dict[tuple[str, int], set[bytes]] = {}
        self._misses = 0

    def read(self, raw: bytes) -> tuple[bytes, Plan, Values] | None:
        """A document with the plan of its layout and its parts; None if it has to be read the thorough way."""
        for place, known in enumerate(self._known):
            found = known.match(raw)
            if found is not None:
                if place:
                    # What was met last is met next, more often than not.
                    self._known.insert(0, self._known.pop(place))
                break
        else:
            learned = self._learn(raw)
            if learned is None:
                return None
            known, found = learned
        values = found.groups()
        if all(map(_CONTAINS, known.sound, known.checked(values))) or self._is_sound(known, values):
            return raw, known.plan, values
        return None

    def _learn(self, raw: bytes) -> "tuple[_Known[Plan], re.Match[bytes]] | None":
        if self._misses >= _MOST_MISSES or len(self._known) >= _MOST:
            return None
        self._misses += 1
        layout = layout_of(raw, self._cut)
        plan = None if layout is None else self._plan(layout)
        found = None if layout is None else layout.match(raw)
        if layout is None or plan is None or found is None:
            return None
        fields = tuple(
            (name, kind, layout.place[name])
            for name, kind in layout.kinds.items()
            if kind == STRING or (kind in NUMBERS and name in self._checks)
        )
        known = _Known(
            layout.match,
            plan,
            fields,
            values_at([place for _, _, place in fields]),
            tuple(self._sound.setdefault((name, kind), set()) for name, kind, _ in fields),
        )
        self._known.insert(0, known)
        return known, found

    def _is_sound(self, known: _Known[Plan], values: Values) -> bool:
        """Whether every value is as it has to be; those that are are remembered, since most come again and again."""
        for (name, kind, place), sound in zip(known.fields, known.sound, strict=True):
            value = values[place]
            if value in sound:
                continue
            if kind == STRING and whole_number(value[:4]) != len(value) - 4:
                return False
            check = self._checks.get(name)
            if check is not None and not check(text_of(value) if kind == STRING else NUMBERS[kind](value)):
                return False
            if len(sound) < _REMEMBERED and len(value) <= _LONGEST_REMEMBERED:
                sound.add(value)
        return True


_CONTAINS = set.__contains__


def values_at(places: Sequence[int]) -> Callable[[Values], tuple[bytes, ...]]:
    """What takes the parts at these places out of a document's parts."""
    # Of one place, itemgetter gives the item alone.
    return itemgetter(*places) if len(places) > 1 else lambda values: tuple(values[place] for place in places)


def whole_number(value: bytes) -> int:
    """The number of an int32, an int64 or a date."""
    return int.from_bytes(value, "little", signed=True)


_DOUBLE = struct.Struct("<d")


def _double(value: bytes) -> float:
    number: Any = _DOUBLE.unpack(value)[0]
    return float(number)


def text_of(value: bytes) -> str | None:
    """The text of a string as it stands in a match; None if it is no UTF-8."""
    try:
        return value[4:-1].decode()
    except UnicodeDecodeError:
        return None


NUMBERS: Mapping[int, Callable[[bytes], Any]] = {
    0x01: _double,
    0x10: whole_number,
    0x12: lambda value: Int64(whole_number(value)),
    0x13: Decimal128.from_bid,
}
"""What reads a number, by its BSON type byte."""
