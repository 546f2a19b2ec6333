"""Why a booking cannot be converted, as values."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Reason(StrEnum):
    """Every reason for which a booking is rejected. The values are an API."""

    # What the document is.
    ID_MISSING = "id-missing"
    DUPLICATE_ID = "duplicate-id"
    DUPLICATE_FIELD = "duplicate-field"
    RESERVED_FIELD = "reserved-field"
    SESSIONS_NOT_AN_ARRAY = "sessions-not-an-array"
    NESTED_TOO_DEEP = "nested-too-deep"
    CREATION_TIME_MISSING = "creation-time-missing"
    # Types: never waived.
    CLIENT_ID_MISSING = "client-id-missing"
    CLIENT_ID_INVALID = "client-id-invalid"
    FIELD_MISSING = "field-missing"
    WRONG_TYPE = "wrong-type"
    NUMBER_NOT_FINITE = "number-not-finite"
    # What has to be looked up.
    CLIENT_USER_NOT_FOUND = "client-user-not-found"
    EXPERT_NOT_FOUND = "expert-not-found"
    EXPERT_USER_NOT_FOUND = "expert-user-not-found"
    # Value rules of the contract: may be waived with --accept.
    USER_ID_INVALID = "user-id-invalid"
    EMAIL_INVALID = "email-invalid"
    SESSION_TYPE_NOT_ALLOWED = "session-type-not-allowed"
    DURATION_TOO_SHORT = "duration-too-short"
    TIME_INVALID = "time-invalid"
    STATUS_NOT_ALLOWED = "status-not-allowed"
    PRICE_NEGATIVE = "price-negative"
    CURRENCY_NOT_ALLOWED = "currency-not-allowed"
    PAYMENT_STATUS_NOT_ALLOWED = "payment-status-not-allowed"
    NOTES_TOO_LONG = "notes-too-long"
    CANCELLATION_REASON_TOO_LONG = "cancellation-reason-too-long"
    CANCELLED_BY_NOT_ALLOWED = "cancelled-by-not-allowed"
    REFUND_AMOUNT_NEGATIVE = "refund-amount-negative"
    # What the target holds, or can hold.
    CONFLICT = "conflict"
    CLIENT_DOCUMENT_TOO_LARGE = "client-document-too-large"
    NOT_EXTENDED_JSON = "not-extended-json"


NOT_FOUND = frozenset({Reason.CLIENT_USER_NOT_FOUND, Reason.EXPERT_NOT_FOUND, Reason.EXPERT_USER_NOT_FOUND})
"""The reasons that lie in users and experts."""


class ConflictPolicy(StrEnum):
    """How to treat a booking whose session has other content in a client document that others wrote. An API."""

    REJECT = "reject"
    """Reject the booking as a conflict; the session stays as it is."""

    SOURCE = "source"
    """Derive the session from the booking again, in its place among the other sessions."""

    TARGET = "target"
    """Keep the session, and record that decision with the booking."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One reason why one booking cannot be converted."""

    reason: Reason
    field: str | None
    """The field at fault; None when it is the document as a whole."""

    detail: str
    """What was found and what is allowed, for people. Never longer than a line."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A document that is not migrated, kept whole with every reason."""

    raw: bytes
    """The document's BSON bytes in the source."""

    faults: tuple[Fault, ...]
    """All reasons, in the contract's order of fields; never empty. The first one counts in reports."""

    document_id: Any
    """Its `_id` as decoded, or None if it has none."""

    decision: "ConflictPolicy | None" = None
    """The decision by which a conflict was settled without changing the session; None: the document is rejected."""

    session: bytes | None = None
    """With a decision: the kept session's BSON, so that a rollback knows what was changed in it afterwards."""

    @property
    def reason(self) -> Reason:
        """Return the reason under which the booking is counted."""
        return self.faults[0].reason
