"""Where each field of a booking is in the new structure: the table comes from the contract, a second list does not exist."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from booking_migrate.domain.contract import FIELDS, RESERVED, TOTALS, Presence
from booking_migrate.domain.kinds import Kind
from booking_migrate.domain.session import CLIENT_FIELDS

SESSIONS = "sessions"
SESSION_ID, LEGACY_ID = RESERVED

OF_CLIENT = frozenset({"clientId", *CLIENT_FIELDS})
"""The fields that stay where they are."""

SHARED = frozenset(rule.name for rule in FIELDS if rule.presence is Presence.FROM_ID)
"""The fields that sessions and client documents both have, with another meaning."""

MOVED = {
    rule.name: f"{SESSIONS}[].{rule.name}"
    for rule in FIELDS
    if rule.name not in OF_CLIENT and rule.name not in SHARED
}
"""The new path of each field that moved into a session, by its old one."""

ID = "_id"
_KEPT = OF_CLIENT | SHARED | {*TOTALS, ID, "id", "__v", SESSIONS, SESSION_ID, LEGACY_ID}
NEW_PATHS = {**MOVED, ID: f"{SESSIONS}[].{SESSION_ID}"}

_CONTRACT = frozenset(rule.name for rule in FIELDS)
_MOMENT = frozenset(
    rule.name
    for rule in FIELDS
    if rule.presence is Presence.REQUIRED
    and rule.kind is not Kind.IDENTIFIER
    and rule.name not in {"price", "currency"}
)
"""The required fields that say what was booked, and for when."""

_STORED = OF_CLIENT | SHARED | {ID, "id"} | {r.name for r in FIELDS if r.presence is Presence.DEFAULTED}
"""What a stored booking has and a request for one does not."""

_OF_BOOKING = OF_CLIENT | {"sessionType", "paymentStatus"}
"""What distinguishes a booking from other things with a time and a price, such as a course."""

_FEWEST, _FEWEST_IF_NAMED, _FEWEST_OF_MOMENT = 5, 3, 2


def camel(name: str) -> str:
    """Return a name in the contract's style: ``expert_id`` is ``expertId``."""
    head, *rest = name.lstrip("_").split("_")
    return name[: len(name) - len(name.lstrip("_"))] + head + "".join(part.title() for part in rest)


def is_new_shape(names: Collection[str]) -> bool:
    """Return whether properties are those of a client document or of a session."""
    known = _CONTRACT.intersection(names)
    return (SESSIONS in names and bool(known or set(TOTALS).intersection(names))) or (
        SESSION_ID in names and len(known) >= _FEWEST_IF_NAMED - 1
    )


def is_old_shape(names: Collection[str], *, is_named: bool = False) -> bool:
    """Return whether properties are those of a booking in the old structure.

    Args:
        names: the names of the properties.
        is_named: whether the type has the name of a root, so that fewer fields suffice.
    """
    found = _CONTRACT.intersection(names)
    if is_new_shape(names) or not _STORED.intersection(names):
        return False
    if is_named and len(found) >= _FEWEST_IF_NAMED:
        return bool(found - OF_CLIENT - SHARED)
    return (
        len(found) >= _FEWEST
        and len(found & _MOMENT) >= _FEWEST_OF_MOMENT
        and bool(_OF_BOOKING.intersection(found))
    )


def is_own(name: str) -> bool:
    """Return whether a field of stored bookings is one that only this application has: it is in the session, too."""
    return name.isidentifier() and name not in MOVED and name not in _KEPT


@dataclass(frozen=True, slots=True)
class Roots:
    """The names that bookings have in an application."""

    words: frozenset[str]
    """Model names and collection names, in lower case, singular and plural."""

    route: re.Pattern[str]
    """Finds bookings in the path of a route, and whether something follows."""

    @classmethod
    def of(cls, names: Iterable[str]) -> "Roots":
        """Return the roots for names such as ``booking``."""
        singular = {each.lower().removesuffix("s") for each in names}
        words = frozenset({*singular, *(f"{each}s" for each in singular)})
        listed = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
        return cls(
            words, re.compile(rf"(?:^|[/}}])(?:{listed})(?P<rest>/[^?#]*)?(?:[?#].*)?$", re.IGNORECASE)
        )

    def is_root(self, name: str) -> bool:
        """Return whether a model, a collection or an entity has one of the names."""
        return name.lower() in self.words

    def is_id(self, name: str) -> bool:
        """Return whether a property is the id of a booking, such as ``bookingId``."""
        lower = name.lower()
        return lower.endswith("id") and lower.removesuffix("id").rstrip("_") in self.words

    def is_type_name(self, name: str) -> bool:
        """Return whether the name of a type has one of the names as a word."""
        return any(
            each.lower() in self.words for each in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)
        ) or (name[:1] == "I" and self.is_root(name[1:]))
