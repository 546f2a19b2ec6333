"""A difference between what the target must hold and what it holds: kinds of mismatches, and the rules that they break."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from booking_migrate.bson.document import Element
from booking_migrate.bson.format import display_id

REJECTED_FIELD = "rejected"
"""The field of a mismatch in the record of a rejected booking."""

INDEX_FIELD = "index"
"""The field of a mismatch in an index."""


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


class Kind(StrEnum):
    """The kinds of mismatches, with the rule that each breaks and what it means. The values are an API."""

    rule: Rule
    meaning: str

    MISSING = (
        "missing",
        Rule.EVERY_BOOKING_ONCE,
        "a booking is neither in the target nor rejected for a cause and kept whole; or the unique index is missing",
    )
    EXTRA = (
        "extra",
        Rule.NOTHING_ELSE,
        "a session, client document or rejected record has no booking that it may come from",
    )
    DUPLICATE = (
        "duplicate",
        Rule.NOTHING_TWICE,
        "a session, client document, id or field is there twice",
    )
    CONTENT = (
        "content",
        Rule.CONTENT,
        "a session or document has other fields, other values, or its fields in another order",
    )
    TOTALS = (
        "totals",
        Rule.TOTALS,
        "`totalSessions`, `totalSpent`, `createdAt` or `updatedAt` do not fit the sessions",
    )
    ORDER = "order", Rule.ORDER, "the sessions of a document are in another order"
    CLIENT = (
        "client",
        Rule.CLIENT,
        "a session is in another client's document, or the document's client fields differ",
    )
    CONFLICT = (
        "conflict",
        Rule.CONFLICT,
        "a booking differs from its session in a document that others wrote or changed",
    )

    def __new__(cls, value: str, rule: Rule, meaning: str) -> Self:
        """Make a text that knows its rule and its meaning."""
        member = str.__new__(cls, value)
        member._value_, member.rule, member.meaning = value, rule, meaning
        return member


_FIELD_RULES = {REJECTED_FIELD: Rule.REJECTED_FOR_CAUSE, INDEX_FIELD: Rule.INDEX}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One difference between what the target must hold and what it holds."""

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
    """The value that is there, exactly; None if it is absent, or if it is not one value."""

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
        """Return the rule that is broken."""
        if self.field in _FIELD_RULES and self.kind in (Kind.MISSING, Kind.EXTRA):
            return _FIELD_RULES[self.field]
        return self.kind.rule
