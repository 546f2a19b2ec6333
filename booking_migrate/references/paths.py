"""The values of many documents that could be ids of bookings, found by one pass over their bytes, and counted by path.

This is `values.candidates` made fast: no value is decoded, an embedded document or an array in which nothing looks like an
id is passed over as a whole, and paths are nodes of a tree instead of texts. A property test proves the two equal.
"""

import re
import struct
from binascii import unhexlify
from collections import Counter

from booking_migrate.bson.document import ARRAY, DOCUMENT, OBJECT_ID, STRING
from booking_migrate.bson.order import OBJECT_ID_KEY
from booking_migrate.references.values import HEX_DIGITS, Form, addressable, form_of

_INT32 = struct.Struct("<i").unpack_from
_HEX = rb"[0-9a-fA-F]{%d}" % HEX_DIGITS
_RUN = re.compile(rb"(?<![0-9a-fA-F])%b(?![0-9a-fA-F])" % _HEX)
_LOOKS_LIKE_ID = re.compile(
    rb"\x07[^\x00]*\x00|%b|\x05[^\x00]*\x00\x10\x00\x00\x00[\x03\x04]" % _HEX, re.DOTALL
)
"""What documents with candidates have somewhere; others may have it by chance."""

_STRING_KEY, _BINARY_KEY = b"\x0f", b"\x1e"
_KEY_END = b"\x00\x00"
"""The parts of sort keys of texts and binaries (`bson.order`)."""

_UUID = 16
_FIXED = {0x01: 8, 0x06: 0, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}
_COUNTED = {0x02: 4, 0x03: 0, 0x04: 0, 0x05: 5, 0x0D: 4, 0x0E: 4, 0x0C: 16, 0x0F: 0}
"""Sizes of values by their type; of those that begin with a length, what they have beside it."""

_REGEX, _BINARY = 0x0B, 0x05
_NESTED = (DOCUMENT, ARRAY)
_LEAST = 19
"""How many bytes an array or a document with an id has at least."""

_UUID_SUBTYPES = (3, 4)
_MOST_PATHS = 5000
"""How many paths of one collection are counted: documents whose keys are data have a path for each of them."""

_MOST_DANGLING = 5


class PathNode:
    """One path of a collection, and what was counted there."""

    __slots__ = (
        "_form", "_last", "children", "client_documents", "dangling", "documents", "forms", "hits", "path", "sessions", "values"
    )  # fmt: skip

    def __init__(self, path: str) -> None:
        """Begin to count at a path."""
        self.path = path
        self.children: dict[bytes, PathNode | None] = {}
        self.documents = 0
        self._last = -1
        """The number of the document that was counted last."""

        self.values = 0
        self.hits = 0
        self.sessions = 0
        self.client_documents = 0
        """Values that are new ids already: of sessions, of client documents."""

        self.forms: Counter[Form] = Counter()
        special = form_of(path, None)
        self._form = special if special.is_of_place else Form.OBJECT_ID
        """The form of an ObjectId here."""

        self.dangling: dict[bytes, None] = {}
        """Some of the keys that are ids of no booking, in the order in which they came."""

    def count(self, candidate: "Candidate", number: int, *, is_hit: bool) -> int:
        """Count a value at this path; return how many of its kind were counted, of hits or of others.

        Args:
            candidate: the value.
            number: that of its document, which grows.
            is_hit: whether it is, or has, the id of a booking.
        """
        self._count(number)
        if is_hit:
            self.hits += 1
            self.forms[self._form if candidate[2] == OBJECT_ID else form_at(candidate)] += 1
            return self.hits
        if len(self.dangling) < _MOST_DANGLING:
            self.dangling[candidate[1][0]] = None
        return self.values - self.hits - self.sessions - self.client_documents

    def count_new(self, number: int, *, is_session: bool) -> None:
        """Count a value that is a new id already: of a session, or of a client document."""
        self._count(number)
        if is_session:
            self.sessions += 1
        else:
            self.client_documents += 1

    def _count(self, number: int) -> None:
        self.values += 1
        if self._last != number:
            self._last = number
            self.documents += 1


Candidate = tuple[PathNode, tuple[bytes, ...], int, int]
"""One value that could be the id of a booking, or have several: its path, the sort keys of the ids that it may spell, its BSON
type, and where the document that has the field begins within the outermost one. A plain tuple, because millions are made."""


class PathTree:
    """The paths of one collection."""

    def __init__(self) -> None:
        """Begin with a collection of which nothing was read."""
        self._root = PathNode("")
        self.nodes: list[PathNode] = []

    def candidates(self, raw: bytes) -> list[Candidate]:
        """Return the values of a document that could be ids, in its order."""
        walk = _Walk(raw, self)
        walk.document(0, len(raw) - 1, self._root)
        return walk.found

    def child(self, node: PathNode, name: bytes) -> PathNode | None:
        """Return the node of a field below another one, made if need be; None if its path is not counted."""
        if name in node.children:
            return node.children[name]
        text = addressable(name)
        if text is None or len(self.nodes) >= _MOST_PATHS:
            # Not remembered if there are too many: the names may be data, and each be another one.
            return None
        child = PathNode(f"{node.path}.{text}" if node.path else text)
        node.children[name] = child
        self.nodes.append(child)
        return child


class _Walk:
    """The way through one document."""

    __slots__ = ("_raw", "_tree", "found")

    def __init__(self, raw: bytes, tree: PathTree) -> None:
        self._raw = raw
        self._tree = tree
        self.found: list[Candidate] = []

    def document(self, begin: int, end: int, node: PathNode) -> None:
        """Collect from a document, embedded or not, from its length up to its last byte."""
        raw, children = self._raw, node.children
        find_end, size_of = raw.index, _FIXED.get
        position = begin + 4
        while position < end:
            kind = raw[position]
            start = find_end(0, position + 1) + 1
            size = size_of(kind)
            if size is None:
                # Most texts are short: they are passed over here.
                if kind == STRING and (length := _INT32(raw, start)[0]) <= HEX_DIGITS:
                    size = 4 + length
                else:
                    name = raw[position + 1 : start - 1]
                    child = children[name] if name in children else self._tree.child(node, name)
                    size = self._value(kind, start, child, begin)
            position = start + size

    def _array(self, begin: int, end: int, node: PathNode, parent: int) -> None:
        """Collect from an array, whose elements have its path, and its parent."""
        raw = self._raw
        position = begin + 4
        while position < end:
            kind = raw[position]
            start = raw.index(0, position + 1) + 1
            size = _FIXED.get(kind)
            position = start + (self._value(kind, start, node, parent) if size is None else size)

    def _value(self, kind: int, start: int, node: PathNode | None, parent: int) -> int:
        """Collect from a value that begins at ``start``; return its size."""
        raw = self._raw
        if kind == OBJECT_ID:
            if node is not None:
                self.found.append((node, (OBJECT_ID_KEY + raw[start : start + 12],), kind, parent))
            return 12
        if kind == _REGEX:
            return raw.index(0, raw.index(0, start) + 1) + 1 - start
        length: int = _INT32(raw, start)[0]
        if node is not None:
            if kind == STRING:
                self._text(start, length, node, parent)
            elif kind in _NESTED and length >= _LEAST:
                self._nested(kind, start, length, node, parent)
            elif kind == _BINARY and length == _UUID:
                self._binary(start, node, parent)
        return length + _COUNTED[kind]

    def _text(self, start: int, length: int, node: PathNode, parent: int) -> None:
        """Collect from a string."""
        if length > HEX_DIGITS and (keys := _keys_in_text(self._raw, start + 4, start + 3 + length)):
            self.found.append((node, keys, STRING, parent))

    def _nested(self, kind: int, start: int, length: int, node: PathNode, parent: int) -> None:
        """Collect from an embedded document or an array, if it can have an id."""
        if not _LOOKS_LIKE_ID.search(self._raw, start + 4, start + length):
            return
        if kind == DOCUMENT:
            self.document(start, start + length - 1, node)
        else:
            self._array(start, start + length - 1, node, parent)

    def _binary(self, start: int, node: PathNode, parent: int) -> None:
        """Collect from sixteen bytes that begin at ``start``, if they are a UUID."""
        value = self._raw[start + 4 : start + 5 + _UUID]
        if value[0] in _UUID_SUBTYPES:
            key = b"%b\x00\x00\x00\x10%b" % (_BINARY_KEY, value)
            self.found.append((node, (key,), _BINARY, parent))


def _keys_in_text(raw: bytes, start: int, stop: int) -> tuple[bytes, ...]:
    """Return the sort keys of the ids that a text may spell; none of text without an ObjectId's digits, or that is not UTF-8."""
    runs = _RUN.findall(raw, start, stop)
    if not runs or not _is_utf8(raw[start:stop]):
        return ()
    keys = dict.fromkeys(OBJECT_ID_KEY + unhexlify(run) for run in runs)
    if stop - start == HEX_DIGITS:
        return (*keys, _STRING_KEY + raw[start:stop] + _KEY_END)
    return tuple(keys)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def form_at(candidate: Candidate) -> Form:
    """Return the form of a candidate."""
    node, keys, kind, _parent = candidate
    special = form_of(node.path, None)
    if special.is_of_place:
        return special
    if kind == STRING:
        return Form.TEXT if keys[-1].startswith(_STRING_KEY) else Form.EMBEDDED
    return Form.OBJECT_ID if kind == OBJECT_ID else Form.VALUE
