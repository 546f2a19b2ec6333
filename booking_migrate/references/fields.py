"""Where references are: the tables ``[[references]]`` of the config file, as values."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class NewId(StrEnum):
    """Which new id stands for an old booking. What depends on it has a case for each, which mypy checks."""

    SESSION = "session"
    """The `sessionId` of the session that the booking became."""

    CLIENT_DOCUMENT = "client-document"
    """The `_id` of the client document that has this session."""

    @property
    def is_shared(self) -> bool:
        """Return whether several bookings have the same one: it must not be unique, and does not lead back to one booking."""
        match self:
            case NewId.SESSION:
                return False
            case NewId.CLIENT_DOCUMENT:
                return True


@dataclass(frozen=True, slots=True)
class ReferenceField:
    """A field of a collection that holds ids of bookings."""

    collection: str
    field: str
    """The field's path with dots, array positions left out, as a query names it; ``_id`` is one too."""

    to: NewId = NewId.SESSION
    """What a rewrite puts there instead."""

    add: Mapping[str, NewId] = dataclasses.field(default_factory=dict)
    """Fields that a rewrite sets beside it, in the same document as ``field``: whole paths with dots, and what is put there."""

    when: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    """The condition: each of these fields has one of these values, as MongoDB compares. A path with the same parent as
    ``field`` is looked up in the document, at whatever depth, that has the reference; any other one from the root."""

    exclude: bool = False
    """Whether a rewrite leaves this field as it is."""

    @property
    def parent(self) -> str:
        """Return the path of the document that has the field; empty for the root."""
        return self.field.rpartition(".")[0]

    @property
    def full_name(self) -> str:
        """Return collection and path, for messages."""
        return f"{self.collection}.{self.field}"


def each_place_once(fields: Sequence[ReferenceField]) -> tuple[ReferenceField, ...]:
    """Return fields without those of a place that an earlier one names, whatever a rewrite writes there."""
    found: list[ReferenceField] = []
    for each in fields:
        same = [one for one in fields if one.full_name == each.full_name]
        # A condition says nothing if one of them has none.
        whole = next((one for one in same if not one.when), each)
        if not any(one.full_name == whole.full_name and one.when == whole.when for one in found):
            found.append(whole)
    return tuple(found)
