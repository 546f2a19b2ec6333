"""From events of a change stream, raw BSON, to changes.

Very many events may wait to be read, and nearly all of them look alike: one pattern takes those apart. What it does not match
is read field by field.
"""

import re
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from booking_migrate.bson.document import DOCUMENT, Element, elements, read_fields, value_in
from booking_migrate.stores.changes import Change, Role

_TWO_NUMBERS = struct.Struct("<II")

_CLIENT = rb"\x1b\x00\x00\x00\x07clientId\x00(.{12})\x00"
_EMPTY = rb"\x05\x00\x00\x00\x00"
# Sizes are fixed, and the strings are the server's own or names of collections: none of them holds a NUL.
_COMMON = re.compile(
    rb".{4}\x03_id\x00.{4}\x02_data\x00.{4}[^\x00]*\x00\x00"
    rb"\x02operationType\x00(.{4}[^\x00]*\x00)"
    rb"\x11clusterTime\x00(.{8})"
    rb"(?:\x03fullDocument\x00(?:" + _EMPTY + rb"|" + _CLIENT + rb"))?"
    rb"\x03ns\x00(.{4}\x02db\x00.{4}[^\x00]*\x00\x02coll\x00.{4}[^\x00]*\x00\x00)"
    rb"\x03documentKey\x00\x16\x00\x00\x00\x07_id\x00(.{12})\x00"
    rb"(?:\x03updateDescription\x00.{4}\x03updatedFields\x00(?:" + _EMPTY + rb"|" + _CLIENT + rb")\x00)?"
    rb"\x00",
    re.DOTALL,
).fullmatch
"""An event of one document that an ObjectId names, with `clientId` absent or an ObjectId."""


class EventReader:
    """Reads the events of one stream."""

    def __init__(self, names: Mapping[str, Role], *, is_whole: bool) -> None:
        """Take what the watched collections are, by name, and whether events have the whole new document."""
        self._names = names
        self._is_whole = is_whole
        self._roles: dict[bytes, tuple[Role, str] | None] = {}

    def change_of(self, event: bytes) -> Change | None:
        """Return the change that an event is about; None if that is in another collection."""
        match = None if self._is_whole else _COMMON(event)
        if match is None:
            return self._read(event)
        operation, time, inserted, namespace, document_id, updated = match.groups()
        changed = self._changed(namespace)
        if changed is None:
            return None
        role, name = changed
        clients = () if inserted is updated else tuple(map(ObjectId, filter(None, (inserted, updated))))
        return Change(role, _text(operation), ObjectId(document_id), clients, _timestamp(time), None, name)

    def _read(self, event: bytes) -> Change | None:
        # Part by part: a document that would change on being decoded must not hide the others.
        parts = {part.name: part for part in elements(event)}
        changed = self._changed(parts[b"ns"].value)
        if changed is None and b"to" in parts:
            # Another collection was renamed to a watched name.
            changed = self._changed(parts[b"to"].value)
        if changed is None:
            return None
        role, name = changed
        key, whole, updated = (
            _document_in(parts, name) for name in (b"documentKey", b"fullDocument", b"updateDescription")
        )
        named: list[Any] = []
        if whole is not None:
            named.append(value_in(whole, b"clientId"))
        if updated is not None:
            named.append(_updated_client(updated))
        return Change(
            role,
            _text(parts[b"operationType"].value),
            None if key is None else value_in(key, b"_id"),
            tuple(value for value in named if value is not None),
            _timestamp(parts[b"clusterTime"].value),
            whole if self._is_whole else None,
            name,
        )

    def _changed(self, namespace: bytes) -> tuple[Role, str] | None:
        """Return what a collection is to the migration and its name, by the part of an event that names it."""
        if namespace not in self._roles:
            name = str(read_fields(namespace).get("coll", ""))
            role = self._names.get(name)
            self._roles[namespace] = None if role is None else (role, name)
        return self._roles[namespace]


def _document_in(parts: Mapping[bytes, Element], name: bytes) -> bytes | None:
    """Return a document inside a document; None if it is not there, or is not one."""
    found = parts.get(name)
    return found.value if found is not None and found.kind == DOCUMENT else None


def _updated_client(description: bytes) -> Any:
    """Return the new `clientId` that an update sets; None if it sets another field."""
    fields = next((part for part in elements(description) if part.name == b"updatedFields"), None)
    return None if fields is None else value_in(fields.value, b"clientId")


@lru_cache(maxsize=64)
def _text(value: bytes) -> str:
    return value[4:-1].decode()


def _timestamp(value: bytes) -> Timestamp:
    increment, seconds = _TWO_NUMBERS.unpack(value)
    return Timestamp(seconds, increment)
