"""What the verifier says when something is not as it must be, as values."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from booking_migrate.bson.document import Element
from booking_migrate.bson.format import display_id

REJECTED_FIELD = "rejected"
"""Stands as the field of a mismatch that is about the record of a rejected booking."""

INDEX_FIELD = "index"
"""Stands as the field of a mismatch that is about an index."""


class Kind(StrEnum):
    """The kinds of mismatches (DESIGN.md, section 4). The values are an API."""

    MISSING = "missing"
    EXTRA = "extra"
    DUPLICATE = "duplicate"
    CONTENT = "content"
    TOTALS = "totals"
    ORDER = "order"
    CLIENT = "client"
    CONFLICT = "conflict"


class Rule(StrEnum):
    """What the verifier proves, rule by rule; reports have one line or one test case for each. An API."""

    EVERY_BOOKING_ONCE = "every-booking-has-its-session"
    REJECTED_FOR_CAUSE = "every-rejected-booking-has-a-cause-and-a-record"
    NOTHING_ELSE = "no-session-without-its-booking"
    NOTHING_TWICE = "nothing-twice"
    CONTENT = "sessions-hold-what-the-bookings-held"
    TOTALS = "totals-and-dates-fit-the-sessions"
    ORDER = "sessions-are-in-order"
    CLIENT = "client-documents-name-the-right-client"
    CONFLICT = "no-session-conflicts-with-its-booking"
    INDEX = "one-document-per-client-is-enforced"


_RULES = {
    Kind.MISSING: Rule.EVERY_BOOKING_ONCE,
    Kind.EXTRA: Rule.NOTHING_ELSE,
    Kind.DUPLICATE: Rule.NOTHING_TWICE,
    Kind.CONTENT: Rule.CONTENT,
    Kind.TOTALS: Rule.TOTALS,
    Kind.ORDER: Rule.ORDER,
    Kind.CLIENT: Rule.CLIENT,
    Kind.CONFLICT: Rule.CONFLICT,
}
_FIELD_RULES = {REJECTED_FIELD: Rule.REJECTED_FOR_CAUSE, INDEX_FIELD: Rule.INDEX}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that is not as DESIGN.md has it."""

    kind: Kind
    client_id: Any = None
    """The client's id as decoded, or None if none is known."""

    booking_id: Any = None
    """The old booking's `_id` as decoded (of a session without one, its `sessionId`), or None."""

    field: str | None = None
    """The field at fault, `REJECTED_FIELD` or `INDEX_FIELD`; None if it is the document as a whole."""

    expected: Element | None = None
    """The value that should be there, exactly; None if there should be none, or if it is not one value."""

    found: Element | None = None
    """The value that is there, exactly; None if there is none, or if it is not one value."""

    detail: str = ""
    """What is wrong, for people, where the values do not say it."""

    @property
    def place(self) -> str:
        """Return its kind and where it is, in one line; values are left out."""
        where = [
            "" if self.client_id is None else f"client {display_id(self.client_id)}",
            "" if self.booking_id is None else f"booking {display_id(self.booking_id)}",
            self.field or "",
        ]
        return ": ".join(filter(None, [self.kind, ", ".join(filter(None, where)), self.detail]))

    @property
    def rule(self) -> Rule:
        """The rule that is broken."""
        if self.field in _FIELD_RULES and self.kind in (Kind.MISSING, Kind.EXTRA):
            return _FIELD_RULES[self.field]
        return _RULES[self.kind]
