"""Ids as texts, which is how requests and tokens carry them (DESIGN.md, section 2, names their BSON types)."""

import re
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from bson.binary import Binary, UuidRepresentation
from bson.int64 import Int64
from bson.objectid import ObjectId

_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_UUID_SUBTYPES = (3, 4)

LONGEST = 128
"""The most characters of an id in a request or a token."""


def meanings(text: str) -> list[Any]:
    """The ids that a text may stand for, the likeliest first: an ObjectId, a UUID, an integer, and the text itself."""
    found: list[Any] = []
    if _OBJECT_ID.fullmatch(text):
        found.append(ObjectId(text))
    if _UUID.fullmatch(text):
        found.append(Binary.from_uuid(UUID(text)))
        found.append(Binary.from_uuid(UUID(text), UuidRepresentation.PYTHON_LEGACY))
    if _INTEGER.fullmatch(text):
        found.append(Int64(text))
    return [*found, text]


def as_text(value: Any) -> str | None:
    """An id as responses show it, such that `meanings` of it has the id; None if there is no such text."""
    if isinstance(value, Binary) and value.subtype in _UUID_SUBTYPES and len(value) == len(UUID(int=0).bytes):
        return str(UUID(bytes=bytes(value)))
    is_plain = isinstance(value, ObjectId | str) or (isinstance(value, int) and not isinstance(value, bool))
    return str(value) if is_plain else None


def likeliest(text: str, present: Iterable[Any]) -> Any:
    """Of ids that are there, the one that a text stands for most likely; None if it stands for none of them."""
    there = list(present)
    return next(
        (one for meaning in meanings(text) for one in there if type(one) is type(meaning) and one == meaning),
        next((one for one in there if as_text(one) == text), None),
    )
