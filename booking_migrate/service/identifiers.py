"""Ids of any BSON type as texts, which is how requests and tokens carry them."""

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
"""The maximum length of an id in a request or a token, in characters."""


def meanings(text: str) -> list[Any]:
    """Return the ids that a text may stand for, likeliest first: an ObjectId, a UUID, an integer, and the text itself."""
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
    """Return an id as responses show it, so that `meanings` finds it again; None for other types."""
    if isinstance(value, Binary) and value.subtype in _UUID_SUBTYPES and len(value) == len(UUID(int=0).bytes):
        return str(UUID(bytes=bytes(value)))
    is_plain = isinstance(value, ObjectId | str) or (isinstance(value, int) and not isinstance(value, bool))
    return str(value) if is_plain else None


def likeliest(text: str, present: Iterable[Any]) -> Any:
    """Return the existing id that a text most likely stands for; None if none of them matches."""
    there = list(present)
    return next(
        (one for meaning in meanings(text) for one in there if type(one) is type(meaning) and one == meaning),
        next((one for one in there if as_text(one) == text), None),
    )
