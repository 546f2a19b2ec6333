"""Which indexes of a collection of bookings make sense for one of client documents, and how they read there."""

from collections.abc import Mapping
from typing import Any, NamedTuple

_CLIENT_FIELDS = frozenset({"clientId", "clientUserId", "clientEmail"})
_SAME_FIELDS = _CLIENT_FIELDS | {"createdAt", "updatedAt"}
_ORDINARY = frozenset({"v", "key", "name", "ns", "background", "sparse", "collation"})


class Successor(NamedTuple):
    """An index of the new collection, or why it is left out."""

    keys: tuple[tuple[str, Any], ...]
    reason: str | None = None


def successor_of(index: Mapping[str, Any]) -> Successor:
    """Return the index that serves the same queries on client documents.

    Fields of a session are found under ``sessions``; those of the client stay where they are. What
    would mean something else there is left out: a unique index, since it would hold across clients and not within one; an
    expiry, since it would delete whole clients; a filter, since it was written for single bookings.

    Args:
        index: as the server lists it.
    """
    keys = tuple(dict(index["key"]).items())
    if keys == (("_id", 1),):
        return Successor((), "every collection has it")
    is_simple = index.get("collation", {}).get("locale", "simple") == "simple"
    if dict(keys) in ({"clientId": 1}, {"clientId": -1}) and is_simple:
        return Successor((), "the target's own index on clientId serves the same")
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


def written(keys: tuple[tuple[str, Any], ...]) -> str:
    """Return an index's fields and directions for people."""
    return ", ".join(f"{name} {direction}" for name, direction in keys)
