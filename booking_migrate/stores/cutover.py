"""What a cut-over keeps of a collection: its options, and the indexes that make sense for client documents."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bson import json_util

from booking_migrate.domain.contract import TOTALS


@dataclass(frozen=True, slots=True)
class IndexNote:
    """How a cut-over handled one index of the old collection."""

    name: str
    keys: str
    """Its fields and directions, for people: ``expertId 1, status 1``."""

    recreated_as: str | None
    """The fields and directions it has now; None if it was left out."""

    reason: str | None = None
    """Why it was left out."""


@dataclass(frozen=True, slots=True)
class OptionNote:
    """What a cut-over makes of one option of the old collection, or of one that only the new collection has."""

    name: str
    definition: str
    """As Extended JSON."""

    reason: str | None = None
    """Why it is not kept; None if it is."""

    @property
    def is_kept(self) -> bool:
        """Return whether the new live collection has it as the old one had it."""
        return self.reason is None


@dataclass(frozen=True, slots=True)
class OldBookings:
    """The old bookings in a live collection after a cut-over."""

    carried: int = 0
    """Those that the cut-over has carried along."""

    later: int = 0
    """All others: an old application has written them since."""

    carried_ids: tuple[Any, ...] = ()
    """The `_id` values of the first few that were carried along."""

    later_ids: tuple[Any, ...] = ()
    """Those of the first few others."""


IMAGES = "changeStreamPreAndPostImages"
_COLLATION = "collation"
_VALIDATION = frozenset({"validator", "validationLevel", "validationAction"})
_CREATION = "only a new collection can be given it: create the target with it, and migrate again"
_REASONS = {
    "capped": "a capped collection cannot be replaced by a cut-over",
    "encryptedFields": "a collection of Queryable Encryption cannot be replaced by a cut-over",
    "validator": "it was written for single bookings; write one for client documents",
    _COLLATION: "only a new collection can be given it: roll back, drop the target, and migrate again",
}


def options_after(source: Mapping[str, Any], target: Mapping[str, Any] | None) -> tuple[OptionNote, ...]:
    """Return which options of a source are kept when a target takes its place (manual, reference/command/collMod).

    Images for change streams can be set on any collection, and are; so is a validator for client documents, unless the target
    has its own. Everything else the target has already, or never gets.

    Args:
        source: the old collection's options, as the server lists them.
        target: the new one's; None if it is not there yet: then it is created with the source's default collation.
    """
    expected = {_COLLATION: source.get(_COLLATION)} if target is None else target
    notes = []
    for name, value in source.items():
        if name in _VALIDATION - {"validator"} or value in ({}, {"enabled": False}):
            continue
        is_same = comparable(name, value) == comparable(name, expected.get(name))
        reason = None if is_same or name == IMAGES else _REASONS.get(name, _CREATION)
        if name == "validator" and is_for_client_documents(value) and not is_same:
            reason = "the new collection has one of its own" if expected.get(name) else None
        notes.append(OptionNote(name, _shown(value), reason))
    if expected.get(_COLLATION) and not source.get(_COLLATION):
        reason = "the new collection has it and the old one has not: queries compare text in another way"
        notes.append(OptionNote(_COLLATION, _shown(expected[_COLLATION]), reason))
    return tuple(notes)


_FIELDS_OF_CLIENTS = ("sessions", *TOTALS)
"""Fields that client documents have, and single bookings do not."""

_NAMED = re.compile(rf"""["'.$](?:{"|".join(_FIELDS_OF_CLIENTS)})["'.]""")


def is_for_client_documents(validator: Mapping[str, Any]) -> bool:
    """Return whether a validator of the source names fields that only client documents have.

    Those of an earlier cut-over may be in the source, beside bookings that an old application has written since.
    """
    return _NAMED.search(_shown(validator)) is not None


def comparable(name: str, value: Any) -> Any:
    """Return an option's value without the version of the library behind it."""
    if name == _COLLATION and isinstance(value, Mapping):
        return {key: each for key, each in value.items() if key != "version"}
    return value


def _shown(value: Any) -> str:
    return json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS)


_SAME_FIELDS = frozenset({"clientId", "clientUserId", "clientEmail", "createdAt", "updatedAt"})
_ORDINARY = frozenset({"v", "key", "name", "ns", "background", "sparse", "collation"})


IndexKeys = Sequence[tuple[str, Any]]


class Successor(NamedTuple):
    """An index of the new collection, or why it is left out."""

    keys: IndexKeys
    reason: str | None = None
    is_unchanged: bool = False
    """Whether it was made for client documents, and is created with its name and all of its options."""


def successor_of(index: Mapping[str, Any]) -> Successor:
    """Return the index that serves the same queries on client documents.

    Fields of a session are found under ``sessions``; those of the client stay where they are. What
    would mean something else there is left out: a unique index, since it would hold across clients and not within one; an
    expiry, since it would delete whole clients; a filter, since it was written for single bookings. An index on fields of
    client documents was made for them: after an earlier cut-over. It is kept as it is.

    Args:
        index: as the server lists it.
    """
    keys = tuple(dict(index["key"]).items())
    if keys == (("_id", 1),):
        return Successor((), "every collection has it")
    is_simple = index.get("collation", {}).get("locale", "simple") == "simple"
    if dict(keys) in ({"clientId": 1}, {"clientId": -1}) and is_simple:
        return Successor((), "the target's own index on clientId serves the same")
    # A text index has its fields only in its weights.
    if any(name.partition(".")[0] in _FIELDS_OF_CLIENTS for name in (*dict(keys), *index.get("weights", {}))):
        return Successor(keys, is_unchanged=True)
    for option, reason in (
        ("expireAfterSeconds", "its expiry would delete whole clients"),
        ("partialFilterExpression", "its filter was written for single bookings"),
        ("unique", "it would forbid what single bookings did not: check what it was for"),
    ):
        if index.get(option) not in (None, False):
            return Successor((), reason)
    unknown = set(index) - _ORDINARY - {"unique"}
    if unknown or any(direction not in (1, -1) for _, direction in keys):
        return Successor((), "it is of a special kind")
    return Successor(tuple((_moved(name), direction) for name, direction in keys))


def _moved(name: str) -> str:
    if name == "_id":
        return "sessions.legacyBookingId"
    return name if name.partition(".")[0] in _SAME_FIELDS else f"sessions.{name}"


def written(keys: IndexKeys) -> str:
    """Return an index's fields and directions for people."""
    return ", ".join(f"{name} {direction}" for name, direction in keys)


_GIVEN_BY_SERVER = frozenset({"v", "key", "ns"})


def options_of_index(index: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options, the name included, by which an index is created again as the server lists it."""
    return {name: value for name, value in index.items() if name not in _GIVEN_BY_SERVER}


def is_same_index(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two indexes have the same fields, in one order, and the same options, whatever their names."""

    def described(index: Mapping[str, Any]) -> Mapping[str, Any]:
        options = {name: comparable(name, value) for name, value in options_of_index(index).items()}
        return {**options, "name": None, "background": None}

    return list(one["key"].items()) == list(other["key"].items()) and described(one) == described(other)
