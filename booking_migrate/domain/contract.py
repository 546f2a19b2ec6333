"""The contract with the new application: which values a session may have.

`FIELDS` is the one definition: a field's BSON types, whether it must be there, and which rules its values keep. From it
come the pydantic-core validator that every booking passes (`Contract.validator`), the words of a fault
(`Contract.fault`) and the table in the README. `Contract` holds what the config file may change in it.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import CoreSchema, SchemaValidator, core_schema

from booking_migrate.bson.document import Opaque
from booking_migrate.bson.format import describe
from booking_migrate.domain.kinds import (
    Kind,
    has_kind,
    is_finite,
    length_schema,
    number_schema,
    schema_of,
    utf16_length,
)
from booking_migrate.domain.rejection import Fault, Reason

EMAIL = r"[^\x00-\x20@]+@[^\x00-\x20@]+\.[^\x00-\x20@]+"
USER_ID = r"[0-9]{4}"
TIME = r"([01]?[0-9]|2[0-3]):[0-5][0-9]"
CURRENCY = r"[A-Z]{3}"


class Presence(Enum):
    """Whether a booking must have a field. A match has a case for each, which mypy checks."""

    REQUIRED = "required"
    DEFAULTED = "added if absent"
    """Absent is fine and the conversion fills it in; null is a wrong type."""

    FROM_ID = "if absent, the time in an ObjectId `_id` counts"
    """Absent is fine and stays so; null is a wrong type."""

    LOOKED_UP = "looked up if absent"
    """Absent or null is fine: it is looked up among users and experts."""

    OPTIONAL = "optional"
    """Absent or null is fine and stays so."""


class Constraint(Enum):
    """What a rule asks of a value of the right type. A match on it has a case for each, which mypy checks."""

    PATTERN = "pattern"
    """The whole string matches a regular expression, in the common ground of Python, Rust and PCRE."""

    ALLOWED = "allowed"
    """The string is one of those that the contract lists, if it lists any."""

    MINIMUM = "minimum"
    MAXIMUM_LENGTH = "maximum length"
    """In UTF-16 units."""


@dataclass(frozen=True, slots=True)
class ValueRule:
    """One rule for values that are strings or numbers."""

    reason: Reason
    """The reason for which a value is refused that breaks it; ``--accept`` waives it."""

    constraint: Constraint
    by: str
    """The regular expression; of other constraints the name of the `Contract` attribute."""


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What one field of a booking must be."""

    name: str
    kind: Kind
    presence: Presence
    rules: tuple[ValueRule, ...] = ()
    """For values of the right type. Of those that a value breaks, the first one counts."""

    missing: Reason = Reason.FIELD_MISSING
    wrong_type: Reason = Reason.WRONG_TYPE
    default: str | None = None
    """What a session has where its booking lacks the field; None: no fixed value."""


DEFAULT_STATUS = "pending"
"""What an absent `status` or `paymentStatus` counts as."""

_REQUIRED, _DEFAULTED, _FROM_ID, _LOOKED_UP, _OPTIONAL = Presence
_PATTERN, _ALLOWED, _MINIMUM, _MAXIMUM_LENGTH = Constraint


def _only(reason: Reason, constraint: Constraint, by: str) -> tuple[ValueRule]:
    return (ValueRule(reason, constraint, by),)


_USER_ID = _only(Reason.USER_ID_INVALID, _PATTERN, USER_ID)
_EMAIL = _only(Reason.EMAIL_INVALID, _PATTERN, EMAIL)
_TIME = _only(Reason.TIME_INVALID, _PATTERN, TIME)

FIELDS: tuple[FieldRule, ...] = (
    FieldRule(
        "clientId",
        Kind.IDENTIFIER,
        _REQUIRED,
        missing=Reason.CLIENT_ID_MISSING,
        wrong_type=Reason.CLIENT_ID_INVALID,
    ),
    FieldRule("expertId", Kind.IDENTIFIER, _REQUIRED),
    FieldRule("clientUserId", Kind.STRING, _LOOKED_UP, _USER_ID),
    FieldRule("clientEmail", Kind.STRING, _LOOKED_UP, _EMAIL),
    FieldRule("expertUserId", Kind.STRING, _LOOKED_UP, _USER_ID),
    FieldRule("expertEmail", Kind.STRING, _LOOKED_UP, _EMAIL),
    FieldRule(
        "sessionType",
        Kind.STRING,
        _REQUIRED,
        _only(Reason.SESSION_TYPE_NOT_ALLOWED, _ALLOWED, "session_types"),
    ),
    FieldRule(
        "duration", Kind.NUMBER, _REQUIRED, _only(Reason.DURATION_TOO_SHORT, _MINIMUM, "minimum_duration")
    ),
    FieldRule("scheduledDate", Kind.DATE, _REQUIRED),
    FieldRule("startTime", Kind.STRING, _REQUIRED, _TIME),
    FieldRule("endTime", Kind.STRING, _REQUIRED, _TIME),
    FieldRule(
        "status",
        Kind.STRING,
        _DEFAULTED,
        _only(Reason.STATUS_NOT_ALLOWED, _ALLOWED, "statuses"),
        default=DEFAULT_STATUS,
    ),
    FieldRule("price", Kind.NUMBER, _REQUIRED, _only(Reason.PRICE_NEGATIVE, _MINIMUM, "minimum_price")),
    FieldRule(
        "currency",
        Kind.STRING,
        _REQUIRED,
        (
            ValueRule(Reason.CURRENCY_NOT_ALLOWED, _ALLOWED, "currencies"),
            ValueRule(Reason.CURRENCY_NOT_ALLOWED, _PATTERN, CURRENCY),
        ),
    ),
    FieldRule(
        "paymentStatus",
        Kind.STRING,
        _DEFAULTED,
        _only(Reason.PAYMENT_STATUS_NOT_ALLOWED, _ALLOWED, "payment_statuses"),
        default=DEFAULT_STATUS,
    ),
    FieldRule("paymentMethod", Kind.STRING, _OPTIONAL),
    FieldRule("meetingLink", Kind.STRING, _OPTIONAL),
    FieldRule(
        "notes", Kind.STRING, _OPTIONAL, _only(Reason.NOTES_TOO_LONG, _MAXIMUM_LENGTH, "maximum_notes_length")
    ),
    FieldRule(
        "cancellationReason",
        Kind.STRING,
        _OPTIONAL,
        _only(Reason.CANCELLATION_REASON_TOO_LONG, _MAXIMUM_LENGTH, "maximum_cancellation_reason_length"),
    ),
    FieldRule(
        "cancelledBy",
        Kind.STRING,
        _OPTIONAL,
        _only(Reason.CANCELLED_BY_NOT_ALLOWED, _ALLOWED, "cancelled_by"),
    ),
    FieldRule("cancellationTime", Kind.DATE, _OPTIONAL),
    FieldRule(
        "refundAmount",
        Kind.NUMBER,
        _OPTIONAL,
        _only(Reason.REFUND_AMOUNT_NEGATIVE, _MINIMUM, "minimum_refund_amount"),
    ),
    FieldRule("createdAt", Kind.DATE, _FROM_ID),
    FieldRule("updatedAt", Kind.DATE, _FROM_ID),
)

RULES = {rule.name: rule for rule in FIELDS}

WAIVABLE = frozenset(rule.reason for field in FIELDS for rule in field.rules)
"""The reasons of value rules: ``--accept`` lets a booking pass that breaks one of them."""

RESERVED = {"sessionId": "new", "legacyBookingId": "_id"}
"""Names that the conversion gives, with where their values are from; a booking that has one of its own is rejected."""

Words = Annotated[tuple[str, ...], Field(min_length=1)]


class Contract(BaseModel):
    """What the config file's ``[contract]`` may change: the values allowed, never the types."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    session_types: Words = Field(
        default=("video", "audio", "chat", "in-person"), description="values of `sessionType`"
    )
    minimum_duration: float = Field(default=15, description="the least `duration`, in minutes")
    statuses: Words = Field(
        default=("pending", "confirmed", "completed", "cancelled", "no-show"),
        description="values of `status`",
    )
    minimum_price: float = Field(default=0, description="the least `price`")
    currencies: (
        Annotated[tuple[Annotated[str, StringConstraints(pattern=f"^{CURRENCY}$")], ...], Field(min_length=1)]
        | None
    ) = Field(default=None, description="values of `currency`; by default any three capital letters")
    payment_statuses: Words = Field(
        default=("pending", "paid", "refunded", "failed"), description="values of `paymentStatus`"
    )
    maximum_notes_length: int = Field(default=1000, ge=0, description="the longest `notes`, in UTF-16 units")
    maximum_cancellation_reason_length: int = Field(
        default=500, ge=0, description="the longest `cancellationReason`, in UTF-16 units"
    )
    cancelled_by: Words = Field(default=("client", "expert", "system"), description="values of `cancelledBy`")
    minimum_refund_amount: float = Field(default=0, description="the least `refundAmount`")

    def validator(self, accepted: Container[Reason]) -> SchemaValidator:
        """Return a validator for a booking's decoded fields, all lookups done; it ignores fields that it does not know.

        It takes a dict of Python's BSON types and raises `pydantic_core.ValidationError` with one error or more for
        each field at fault; `fault` says what the fault is.

        Args:
            accepted: the value rules that are waived.
        """
        fields = {rule.name: self._typed_dict_field(rule, accepted) for rule in FIELDS}
        return SchemaValidator(
            core_schema.typed_dict_schema(fields, extra_behavior="ignore", config={"strict": True})
        )

    def value_validator(self, rule: FieldRule, accepted: Container[Reason]) -> SchemaValidator:
        """Return a validator for one field's decoded value, which is neither absent nor null.

        Args:
            rule: the field's.
            accepted: the value rules that are waived.
        """
        return SchemaValidator(self._schema(rule, accepted), core_schema.CoreConfig(strict=True))

    def _typed_dict_field(self, rule: FieldRule, accepted: Container[Reason]) -> core_schema.TypedDictField:
        schema = self._schema(rule, accepted)
        match rule.presence:
            case Presence.REQUIRED | Presence.LOOKED_UP:
                return core_schema.typed_dict_field(schema, required=True)
            case Presence.DEFAULTED | Presence.FROM_ID:
                return core_schema.typed_dict_field(schema, required=False)
            case Presence.OPTIONAL:
                return core_schema.typed_dict_field(core_schema.nullable_schema(schema), required=False)

    def _schema(self, field: FieldRule, accepted: Container[Reason]) -> CoreSchema:
        schemas: list[CoreSchema] = [
            # The type of its error is the rule's number, by which `fault` finds it.
            core_schema.custom_error_schema(schema, str(number), custom_error_message=rule.constraint.value)
            for number, rule in enumerate(field.rules)
            if rule.reason not in accepted and (schema := self._rule_schema(rule)) is not None
        ]
        if schemas:
            return core_schema.chain_schema(schemas)
        # Of the two identifiers only a client's may not be empty: no user can be looked up by it.
        return schema_of(field.kind, may_be_empty=field.wrong_type is not Reason.CLIENT_ID_INVALID)

    def _rule_schema(self, rule: ValueRule) -> CoreSchema | None:
        """Return a schema for values of the right type that keep a rule; None if the contract does not limit them."""
        match rule.constraint:
            case Constraint.PATTERN:
                return core_schema.str_schema(pattern=rf"\A(?:{rule.by})\z")
            case Constraint.ALLOWED:
                words: Words | None = getattr(self, rule.by)
                return None if words is None else core_schema.literal_schema(list(words))
            case Constraint.MINIMUM:
                return number_schema(getattr(self, rule.by))
            case Constraint.MAXIMUM_LENGTH:
                return length_schema(getattr(self, rule.by))

    def fault(self, field: FieldRule, document: Mapping[str, Any], error_type: str) -> Fault:
        """Return what is wrong with a field that did not pass `validator`.

        Args:
            field: the rules of the field.
            document: the booking's fields.
            error_type: the type of the validator's error.
        """
        if field.name not in document:
            return Fault(field.missing, field.name, "absent")
        value = document[field.name]
        if isinstance(value, Opaque) and value.text is not None and str in field.kind.types:
            return Fault(field.wrong_type, field.name, f"{describe(value)} is not valid UTF-8")
        if not has_kind(value, field.kind):
            return Fault(field.wrong_type, field.name, f"{describe(value)} is not {field.kind.text}")
        if field.kind is Kind.NUMBER and not is_finite(value):
            return Fault(Reason.NUMBER_NOT_FINITE, field.name, f"{describe(value)} is not finite")
        if not field.rules:
            return Fault(field.wrong_type, field.name, f"{describe(value)} is not an id that is not empty")
        rule = field.rules[int(error_type)]
        found = (
            f"{utf16_length(value)} UTF-16 units are more than {getattr(self, rule.by)}"
            if rule.constraint is Constraint.MAXIMUM_LENGTH
            else f"{describe(value)} is not {self.expectation(rule)}"
        )
        return Fault(rule.reason, field.name, found)

    def expectation(self, rule: ValueRule) -> str:
        """Return what values must be beyond their type, for people; empty if the contract does not limit them."""
        match rule.constraint:
            case Constraint.PATTERN:
                return _PATTERN_NAMES[rule.by]
            case Constraint.ALLOWED:
                words: Words | None = getattr(self, rule.by)
                return "" if words is None else f"one of {', '.join(words)}"
            case Constraint.MINIMUM:
                return f"at least {getattr(self, rule.by):g}"
            case Constraint.MAXIMUM_LENGTH:
                return f"at most {getattr(self, rule.by)} UTF-16 units long"


_PATTERN_NAMES = {
    USER_ID: "four digits",
    EMAIL: "an email address",
    TIME: "a time as H:MM or HH:MM, 24 hours",
    CURRENCY: "three capitals",
}

TOTALS = ("totalSessions", "totalSpent")
"""The fields of a client document that add up its sessions; single bookings do not have them."""

DOCUMENT_FIELDS = (
    "_id",
    "clientId",
    "clientUserId",
    "clientEmail",
    "sessions",
    *TOTALS,
    "createdAt",
    "updatedAt",
)
"""A client document's fields in their order."""
