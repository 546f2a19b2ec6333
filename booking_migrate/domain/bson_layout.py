"""Flat BSON documents at a glance: documents of one layout are taken apart by one compiled pattern.

A layout is the names and types of a document's fields in their order. Nearly all documents of a collection share a few of
them, and then one match gives every value's bytes without decoding any. The pattern is BSON's own grammar for that layout
(https://bsonspec.org/spec.html): fixed sizes, and strings up to their NUL, whose lengths are checked against what the
document says. So a match is the one right reading of the document, whatever stands in its strings.
"""

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, Generic, TypeVar

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

Values = Sequence[bytes]
"""The parts of one document; which is which, the layout says. A string's value ends with its NUL."""

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

    match: Callable[[bytes], Values | None] = field(repr=False)
    """The parts of a document, or None if it has another layout."""


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
    prefixes: list[int] = []
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
        if part.kind == STRING:
            pattern.append(rb"(.{4})([^\x00]*\x00)")
            prefixes.append(groups)
            groups += 1
        else:
            pattern.append(b"(.{%d})" % _FIXED_SIZES[part.kind])
        kinds[name], place[name] = part.kind, groups
        groups += 1
    pattern.append(b")\\x00\\Z" if is_open else b"\\x00\\Z")
    compiled = re.compile(b"".join(pattern), re.DOTALL)
    return Layout(kinds, place, tuple(kept), _matcher(compiled, prefixes))


def _matcher(pattern: "re.Pattern[bytes]", prefixes: Sequence[int]) -> Callable[[bytes], Values | None]:
    match = pattern.match
    if not prefixes:
        return lambda raw: None if (found := match(raw)) is None else found.groups()
    lengths_of, texts_of = _getter(prefixes), _getter([prefix + 1 for prefix in prefixes])
    unpack: Final = struct.Struct(f"<{len(prefixes)}i").unpack

    def read(raw: bytes) -> Values | None:
        found = match(raw)
        if found is None:
            return None
        values = found.groups()
        return values if unpack(b"".join(lengths_of(values))) == tuple(map(len, texts_of(values))) else None

    return read


def _getter(places: Sequence[int]) -> Callable[[Values], tuple[bytes, ...]]:
    # Of one place, itemgetter gives the item alone.
    return itemgetter(*places) if len(places) > 1 else lambda values: (values[places[0]],)


class Layouts(Generic[Plan]):
    """The layouts met so far, each with what somebody makes of it once."""

    def __init__(self, cut: frozenset[str], plan: Callable[[Layout], Plan | None]) -> None:
        """Begin with none.

        Args:
            cut: see `layout_of`.
            plan: says what is to be done with the documents of a layout; None: they are not for a glance.
        """
        self._cut = cut
        self._plan = plan
        self._known: list[tuple[Callable[[bytes], Values | None], Plan]] = []
        self._misses = 0

    def read(self, raw: bytes) -> tuple[Plan, Values] | None:
        """The parts of a document and the plan of its layout; None if it has to be read the thorough way."""
        for place, (match, plan) in enumerate(self._known):
            values = match(raw)
            if values is not None:
                if place:
                    # What was met last is met next, more often than not.
                    self._known.insert(0, self._known.pop(place))
                return plan, values
        return self._learn(raw)

    def _learn(self, raw: bytes) -> tuple[Plan, Values] | None:
        if self._misses >= _MOST_MISSES or len(self._known) >= _MOST:
            return None
        self._misses += 1
        layout = layout_of(raw, self._cut)
        plan = None if layout is None else self._plan(layout)
        if layout is None or plan is None:
            return None
        values = layout.match(raw)
        if values is None:
            return None
        self._known.insert(0, (layout.match, plan))
        return plan, values


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
        return value[:-1].decode()
    except UnicodeDecodeError:
        return None


NUMBERS: Mapping[int, Callable[[bytes], Any]] = {
    0x01: _double,
    0x10: whole_number,
    0x12: lambda value: Int64(whole_number(value)),
    0x13: Decimal128.from_bid,
}
"""What reads a number, by its BSON type byte."""
