"""The fast path for flat BSON documents: documents of one layout are sliced by one compiled pattern.

A layout is the names and types of a document's fields in their order. Nearly all documents of a collection share a few of
them, and then one match gives every value's bytes without decoding any. The pattern is BSON's own grammar for that layout
(https://bsonspec.org/spec.html): fixed sizes, and strings up to their NUL. `LayoutCache` makes sure that each string is as long
as the document says; so a match is the one right reading of the document, whatever its strings contain.
"""

import re
import struct
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress, repeat
from operator import attrgetter
from typing import Any

from bson.decimal128 import Decimal128
from bson.int64 import Int64

from booking_migrate.bson.document import (
    DATE,
    DECIMAL128,
    DOUBLE,
    INT32,
    INT64,
    MAXIMUM_SIZE,
    NULL,
    OBJECT_ID,
    STRING,
    elements,
)

_FIXED_SIZES = {
    DOUBLE: 8,
    OBJECT_ID: 12,
    0x08: 1,  # bool
    DATE: 8,
    NULL: 0,
    INT32: 4,
    INT64: 8,
    DECIMAL128: 16,
}
MOST_BYTES = 2 * MAXIMUM_SIZE
"""Of documents that are read at once; more would take much memory, and a client cannot have as many."""

_MOST = 24
"""How many layouts are known at a time, and how many that are not read; documents of all others go the reference path."""

_MOST_MISSES = 1000
"""After this number of documents without a known layout no further layout is learned."""

_REMEMBERED, _LONGEST_REMEMBERED = 5000, 64
"""How many values of a field are remembered, and up to which length."""

Values = Sequence[bytes]
"""The parts of one document; which is which, the layout says. A string's value is its length, its text and its NUL."""

Column = Sequence[bytes]
"""The same part of many documents."""

Match = Callable[[bytes, int, int], "re.Match[bytes] | None"]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The names and types of a flat document's fields, in order, and where its parts are in a match."""

    kinds: Mapping[str, int]
    """The BSON type byte of each field."""

    place: Mapping[str, int]
    """Where the values of fields are among the `Values`: of all strings, and of whatever else was wanted."""

    kept: tuple[int, ...]
    """Where the stretches of whole elements are that remain when the cut ones are taken out."""

    match: Match = field(repr=False)
    """Takes bytes that contain a document, and its begin and end there. The groups of what it returns are the parts of the
    document, if the lengths of its strings are sound; it returns None if that has another layout."""


def layout_of(raw: bytes, cut: frozenset[str], wanted: Container[str]) -> Layout | None:
    """Return the layout of a document; None if it is not flat, a name occurs twice, or a type is a rare one.

    Args:
        raw: the document's BSON.
        cut: names of fields that are to be left out of `Layout.kept`.
        wanted: names of fields whose values the caller needs; each takes some time.

    Raises:
        MalformedBson: the bytes are not a BSON document.
    """
    kinds: dict[str, int] = {}
    place: dict[str, int] = {}
    kept: list[int] = []
    pattern = [rb".{4}"]
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
        kinds[name] = part.kind
        value = rb".{4}[^\x00]*\x00" if part.kind == STRING else b".{%d}" % _FIXED_SIZES[part.kind]
        if part.kind == STRING or name in wanted:
            place[name] = groups
            groups, value = groups + 1, b"(%b)" % value
        pattern.append(value)
    pattern.append(b")\\x00" if is_open else b"\\x00")
    return Layout(kinds, place, tuple(kept), re.compile(b"".join(pattern), re.DOTALL).fullmatch)


def merge_columns(tables: Sequence[Sequence[Sequence[Any]]]) -> list[list[Any]]:
    """Return the columns of several tables as those of one, in the order of the first column.

    Args:
        tables: of each of them the same columns; the first has numbers.
    """
    columns = [list(chain.from_iterable(several)) for several in zip(*tables, strict=True)]
    rows = sorted(range(len(columns[0])), key=columns[0].__getitem__)
    return [[column[row] for row in rows] for column in columns]


Check = Callable[[Any], bool]
"""Says whether a decoded value is as it has to be."""


@dataclass(frozen=True, slots=True)
class LayoutGroup:
    """Documents of one layout whose values are as they have to be."""

    layout: Layout
    numbers: Sequence[int]
    """Which ones of all documents they are, ascending."""

    columns: Sequence[Column]
    """Their parts: a column for each place, with a value for each document."""

    def values(self, name: str) -> Column:
        """Return the values of a field that was wanted."""
        return self.columns[self.layout.place[name]]

    def whole_numbers(self, name: str) -> Sequence[int]:
        """Return the numbers of a field of int64 values or dates."""
        return whole_numbers_of(self.values(name))

    def decoded_numbers(self, name: str) -> Sequence[Any]:
        """Return the numbers of a field, whatever type they have."""
        kind, column = self.layout.kinds[name], self.values(name)
        code = _CODES.get(kind)
        if code is not None:
            return struct.unpack(f"<{len(column)}{code}", b"".join(column))
        return list(map(NUMBERS[kind], column))

    def remainders(self) -> Column:
        """Return the elements of each document without the cut ones, as BSON."""
        kept = [self.columns[index] for index in self.layout.kept]
        return list(map(b"".join, zip(*kept, strict=True)))


@dataclass(slots=True)
class _Known:
    """A layout that was met, and what its documents are asked."""

    layout: Layout
    fields: tuple[tuple[str, int, int, set[bytes]], ...]
    """Name, type and place of the fields whose values are checked, and the values of them that were found to be right."""

    is_fit: bool
    """Whether its documents are read; if not, that need not be found out again."""

    met: int = 0
    """How many documents had it."""


class LayoutCache:
    """The layouts and the values met so far."""

    def __init__(
        self,
        cut: frozenset[str],
        is_fit: Callable[[Layout], bool],
        checks: Mapping[str, Check],
        wanted: Iterable[str] = (),
    ) -> None:
        """Create an empty cache.

        Args:
            cut: see `layout_of`.
            is_fit: says whether the documents of a layout are read; all others are left to the reference path.
            checks: what the values of a field have to be whose types are among `CHECKED`. All other strings may be any.
            wanted: see `layout_of`; fields with checks are wanted anyway.
        """
        self._wanted = frozenset({*checks, *wanted})
        self._cut = cut
        self._is_fit = is_fit
        self._checks = checks
        self._known: list[_Known] = []
        self._right: dict[tuple[str, int], set[bytes]] = {}
        self._misses = 0

    def read(self, raw: bytes, borders: Sequence[int]) -> Sequence[LayoutGroup]:
        """Return the documents of each layout, without those that are left to the reference path.

        Args:
            raw: documents, one behind the other.
            borders: where each of them begins, and where the last one ends.
        """
        found: list[LayoutGroup] = []
        begins, ends = borders[:-1], borders[1:]
        numbers: Sequence[int] = range(len(begins))
        # What was met most often is met next, more often than not.
        self._known.sort(key=attrgetter("met"), reverse=True)
        untried = iter([*self._known])
        at = 0
        while at < len(numbers):
            known = next(untried, None) or self._learn(raw[begins[at] : ends[at]])
            if known is None:
                at += 1
                continue
            matches = list(map(known.layout.match, repeat(raw), begins[at:], ends[at:]))
            rows = [match.groups() for match in matches if match]
            known.met += len(rows)
            if known.is_fit:
                found += self._group(known, list(compress(numbers[at:], matches)), rows)
            others = [match is None for match in matches]
            numbers, begins, ends = (list(compress(each[at:], others)) for each in (numbers, begins, ends))
            at = 0
        return found

    def _learn(self, raw: bytes) -> "_Known | None":
        counts = Counter(known.is_fit for known in self._known)
        if self._misses >= _MOST_MISSES or counts[True] >= _MOST:
            return None
        self._misses += 1
        layout = layout_of(raw, self._cut, self._wanted)
        if layout is None or layout.match(raw, 0, len(raw)) is None:
            return None
        is_fit = self._is_fit(layout)
        if counts[is_fit] >= _MOST:
            return None
        fields = tuple(
            (name, kind, layout.place[name], self._right.setdefault((name, kind), set()))
            for name, kind in layout.kinds.items()
            if kind == STRING or (kind in CHECKED and name in self._checks)
        )
        known = _Known(layout, fields, is_fit)
        self._known.append(known)
        return known

    def _group(self, known: _Known, numbers: Sequence[int], rows: Sequence[Values]) -> Sequence[LayoutGroup]:
        """Return the documents of one layout whose values pass the checks; possibly none."""
        if not rows:
            return ()
        columns: Sequence[Column] = list(zip(*rows, strict=True))
        wrong: set[int] = set()
        for name, kind, place, right in known.fields:
            column = columns[place]
            # Most values come again and again, and then this is one call.
            if right.issuperset(column):
                continue
            unfit = {value for value in {*column} - right if not self._is_right(name, kind, value, right)}
            if unfit:
                wrong.update(row for row, value in enumerate(column) if value in unfit)
        if wrong:
            fit = [row not in wrong for row in range(len(rows))]
            numbers = list(compress(numbers, fit))
            columns = [list(compress(column, fit)) for column in columns]
        return (LayoutGroup(known.layout, numbers, columns),) if numbers else ()

    def _is_right(self, name: str, kind: int, value: bytes, right: set[bytes]) -> bool:
        """Return whether a value is as it has to be; it is remembered if it is."""
        if kind == STRING and whole_number(value[:4]) != len(value) - 4:
            return False
        check = self._checks.get(name)
        if check is not None and not check(text_of(value) if kind == STRING else NUMBERS[kind](value)):
            return False
        if len(right) < _REMEMBERED and len(value) <= _LONGEST_REMEMBERED:
            right.add(value)
        return True


def whole_number(value: bytes) -> int:
    """Return the number of an int32, an int64 or a date."""
    return int.from_bytes(value, "little", signed=True)


def whole_numbers_of(column: Column) -> Sequence[int]:
    """Return the numbers of int64 values or dates."""
    return struct.unpack(f"<{len(column)}q", b"".join(column))


_CODES = {DOUBLE: "d", INT32: "i"}
"""How `struct` calls the numbers that are plain ones of Python, by BSON type byte."""

_DOUBLE = struct.Struct("<d")


def _double(value: bytes) -> float:
    number: Any = _DOUBLE.unpack(value)[0]
    return float(number)


def text_of(value: bytes) -> str | None:
    """Return the text of a string in a match; None if it is not UTF-8."""
    try:
        return value[4:-1].decode()
    except UnicodeDecodeError:
        return None


NUMBERS: Mapping[int, Callable[[bytes], Any]] = {
    DOUBLE: _double,
    INT32: whole_number,
    INT64: lambda value: Int64(whole_number(value)),
    DECIMAL128: Decimal128.from_bid,
}
"""What reads a number, by its BSON type byte."""

CHECKED = frozenset({STRING, *NUMBERS})
"""The BSON type bytes of the values that a `LayoutCache` checks."""
