"""What an audit finds: places in the code that expect the old structure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from booking_migrate.audit.syntax import Place


class Confidence(StrEnum):
    """How sure it is that a place must change."""

    CERTAIN = "certain"
    LIKELY = "likely"
    LOOK = "look"
    """Worth a look: it depends on what is meant."""


class Bridge(StrEnum):
    """What makes the place work until it is changed."""

    VIEW = "view"
    """A view in the old shape (`booking-migrate view`), read in place of the collection."""

    SERVICE = "service"
    """The booking service, which answers with one entry a session."""

    NOTHING = "nothing"


class Rule(StrEnum):
    """What the code does that expects the old structure. Stable names: they are in reports, baselines and comments."""

    FIELD = "field"
    WRITE = "write"
    QUERY = "query"
    COUNT = "count"
    ORDER = "order"
    STAGE = "stage"
    INDEX = "index"
    BOOKING_ID = "booking-id"
    ROUTE = "route"
    ANSWER = "answer"
    POPULATE = "populate"
    REFERENCE = "reference"
    TYPE = "type"


@dataclass(frozen=True, slots=True)
class RuleText:
    """What holds for all findings of a rule."""

    expects: str
    why: str
    bridge: Bridge


RULES: Mapping[Rule, RuleText] = {
    Rule.FIELD: RuleText(
        "a field of one booking, on the document",
        "The field is in each session of the client document; on the document it is undefined.",
        Bridge.VIEW,
    ),
    Rule.WRITE: RuleText(
        "to write one document per booking",
        "The new structure drops or refuses these fields outside of a session.",
        Bridge.NOTHING,
    ),
    Rule.QUERY: RuleText(
        "fields of a booking at the top of the document, in a query",
        "No client document has these fields at the top, so the query matches none.",
        Bridge.VIEW,
    ),
    Rule.COUNT: RuleText(
        "one document per booking, to count them",
        "The count is that of clients, not that of bookings.",
        Bridge.VIEW,
    ),
    Rule.ORDER: RuleText(
        "one document per booking, to sort them or to divide them into pages",
        "Order, skip and limit apply to clients, each with all of its sessions.",
        Bridge.VIEW,
    ),
    Rule.STAGE: RuleText(
        "fields of a booking at the top of the document, in an aggregation",
        "No client document has these fields at the top, so the stage finds or computes nothing.",
        Bridge.VIEW,
    ),
    Rule.INDEX: RuleText(
        "fields of a booking at the top of the document, in an index",
        "The index holds only null, and a unique one no longer keeps bookings apart: uniqueness does not apply between sessions of one document.",
        Bridge.NOTHING,
    ),
    Rule.BOOKING_ID: RuleText(
        "the id of a booking to be the _id of a document",
        "The _id is that of the client document; a booking is found by its sessionId, or by legacyBookingId if the id is an old one.",
        Bridge.VIEW,
    ),
    Rule.ROUTE: RuleText(
        "the id of a booking to be enough in a route",
        "The id names the client document: the operation needs the sessionId, too.",
        Bridge.NOTHING,
    ),
    Rule.ANSWER: RuleText(
        "one booking, or bookings, in an answer of the API",
        "The answer holds client documents, and a new session beside its booking: data.booking, data.session.",
        Bridge.SERVICE,
    ),
    Rule.POPULATE: RuleText(
        "a path of a booking to be populated",
        "The path is in the sessions, or refers to an _id that no document has any more.",
        Bridge.VIEW,
    ),
    Rule.REFERENCE: RuleText(
        "the _id of a booking in another collection",
        "No document has that _id any more.",
        Bridge.VIEW,
    ),
    Rule.TYPE: RuleText(
        "a type with the fields of one booking",
        "The client document has clientId, sessions and totals; the other fields are those of a session.",
        Bridge.NOTHING,
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One place in the code that expects the old structure."""

    path: str
    """The file, relative to the folder that was audited from, with slashes."""

    at: Place
    rule: Rule
    confidence: Confidence
    old: str
    """The old path, or what the code does."""

    new: str
    suggestion: str
    text: str = ""
    """The line of code."""

    fingerprint: str = ""
    """Equal for the same finding after lines above it have moved."""

    @property
    def order(self) -> tuple[str, Place, str]:
        """Return what findings are sorted by."""
        return self.path, self.at, self.rule


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not read, or only in part."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class AuditOutcome:
    """What an audit found."""

    findings: tuple[Finding, ...]
    """Without those that are suppressed or in the baseline."""

    known_count: int
    """How many are in the baseline."""

    suppressed_count: int
    skipped: tuple[Skipped, ...]
    file_count: int
