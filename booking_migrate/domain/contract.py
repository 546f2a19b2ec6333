"""The contract with the new application: which values a session may have.

`FIELDS` is the one definition: a field's BSON types, whether it must be there, and which rule its values keep. From it
come the pydantic-core validator that every booking passes (`Contract.validator`), the words of a fault
(`Contract.fault`) and the table in the README. `Contract` holds what the config file may change in it.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Annotated, Any

from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import CoreSchema, SchemaValidator, core_schema

from booking_migrate.bson.document import DATE, DECIMAL128, DOUBLE, INT32, INT64, OBJECT_ID, STRING, Opaque
from booking_migrate.bson.format import describe
from booking_migrate.domain.rejection import Fault, Reason

EMAIL = r"[^\x00-\x20@]+@[^\x00-\x20@]+\.[^\x00-\x20@]+"
USER_ID = r"[0-9]{4}"
TIME = r"([01]?[0-9]|2[0-3]):[0-5][0-9]"
CURRENCY = r"[A-Z]{3}"

_UUID_SUBTYPES = frozenset({3, 4})
_UUID_LENGTH = 16


NUMBER_TYPES = frozenset({int, Int64, float, Decimal128})
"""The Python types of BSON's numbers; bool is not among them."""


class Kind(Enum):
    """The BSON types a field may have: for people, as Python types, and as the type bytes of flat bookings.

    A match on a kind has a case for each, which mypy checks.
    """

    IDENTIFIER = (
        "an ObjectId, a string, an integer or a UUID",
        frozenset({ObjectId, str, int, Int64}),
        frozenset({OBJECT_ID}),
    )
    """Flat bookings have ObjectIds only. A UUID is one of the binary values, so `has_kind` recognizes it."""

    STRING = ("a string", frozenset({str}), frozenset({STRING}))
    NUMBER = ("a number", NUMBER_TYPES, frozenset({DOUBLE, INT32, INT64, DECIMAL128}))
    DATE = ("a date", frozenset({DatetimeMS}), frozenset({DATE}))

    def __init__(self, text: str, types: frozenset[type], flat_types: frozenset[int]) -> None:
        self.text = text
        self.types = types
        self.flat_types = flat_types


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


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What one field of a booking must be."""

    name: str
    kind: Kind
    presence: Presence
    reason: Reason | None = None
    """The reason for which a value of the right type is refused; None if every such value is fine."""

    missing: Reason = Reason.FIELD_MISSING
    wrong_type: Reason = Reason.WRONG_TYPE
    default: str | None = None
    """What a session has where its booking lacks the field; None: no fixed value."""

    pattern: str | None = None
    """A regular expression for the whole string, in the common ground of Python, Rust and PCRE."""

    allowed: str | None = None
    """The name of the `Contract` attribute that lists the values allowed."""

    minimum: str | None = None
    """The name of the `Contract` attribute with the least number allowed."""

    maximum_length: str | None = None
    """The name of the `Contract` attribute with the greatest length allowed, in UTF-16 units."""


DEFAULT_STATUS = "pending"
"""What an absent `status` or `paymentStatus` counts as."""

_REQUIRED, _DEFAULTED, _FROM_ID, _LOOKED_UP, _OPTIONAL = Presence

FIELDS: tuple[FieldRule, ...] = (
    FieldRule(
        "clientId",
        Kind.IDENTIFIER,
        _REQUIRED,
        Reason.CLIENT_ID_INVALID,
        missing=Reason.CLIENT_ID_MISSING,
        wrong_type=Reason.CLIENT_ID_INVALID,
    ),
    FieldRule("expertId", Kind.IDENTIFIER, _REQUIRED),
    FieldRule("clientUserId", Kind.STRING, _LOOKED_UP, Reason.USER_ID_INVALID, pattern=USER_ID),
    FieldRule("clientEmail", Kind.STRING, _LOOKED_UP, Reason.EMAIL_INVALID, pattern=EMAIL),
    FieldRule("expertUserId", Kind.STRING, _LOOKED_UP, Reason.USER_ID_INVALID, pattern=USER_ID),
    FieldRule("expertEmail", Kind.STRING, _LOOKED_UP, Reason.EMAIL_INVALID, pattern=EMAIL),
    FieldRule(
        "sessionType", Kind.STRING, _REQUIRED, Reason.SESSION_TYPE_NOT_ALLOWED, allowed="session_types"
    ),
    FieldRule("duration", Kind.NUMBER, _REQUIRED, Reason.DURATION_TOO_SHORT, minimum="minimum_duration"),
    FieldRule("scheduledDate", Kind.DATE, _REQUIRED),
    FieldRule("startTime", Kind.STRING, _REQUIRED, Reason.TIME_INVALID, pattern=TIME),
    FieldRule("endTime", Kind.STRING, _REQUIRED, Reason.TIME_INVALID, pattern=TIME),
    FieldRule(
        "status",
        Kind.STRING,
        _DEFAULTED,
        Reason.STATUS_NOT_ALLOWED,
        default=DEFAULT_STATUS,
        allowed="statuses",
    ),
    FieldRule("price", Kind.NUMBER, _REQUIRED, Reason.PRICE_NEGATIVE, minimum="minimum_price"),
    FieldRule(
        "currency",
        Kind.STRING,
        _REQUIRED,
        Reason.CURRENCY_NOT_ALLOWED,
        pattern=CURRENCY,
        allowed="currencies",
    ),
    FieldRule(
        "paymentStatus",
        Kind.STRING,
        _DEFAULTED,
        Reason.PAYMENT_STATUS_NOT_ALLOWED,
        default=DEFAULT_STATUS,
        allowed="payment_statuses",
    ),
    FieldRule("paymentMethod", Kind.STRING, _OPTIONAL),
    FieldRule("meetingLink", Kind.STRING, _OPTIONAL),
    FieldRule("notes", Kind.STRING, _OPTIONAL, Reason.NOTES_TOO_LONG, maximum_length="maximum_notes_length"),
    FieldRule(
        "cancellationReason",
        Kind.STRING,
        _OPTIONAL,
        Reason.CANCELLATION_REASON_TOO_LONG,
        maximum_length="maximum_cancellation_reason_length",
    ),
    FieldRule("cancelledBy", Kind.STRING, _OPTIONAL, Reason.CANCELLED_BY_NOT_ALLOWED, allowed="cancelled_by"),
    FieldRule("cancellationTime", Kind.DATE, _OPTIONAL),
    FieldRule(
        "refundAmount", Kind.NUMBER, _OPTIONAL, Reason.REFUND_AMOUNT_NEGATIVE, minimum="minimum_refund_amount"
    ),
    FieldRule("createdAt", Kind.DATE, _FROM_ID),
    FieldRule("updatedAt", Kind.DATE, _FROM_ID),
)

RULES = {rule.name: rule for rule in FIELDS}

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
        return SchemaValidator(
            self._schema(rule, waived=rule.reason in accepted), core_schema.CoreConfig(strict=True)
        )

    def _typed_dict_field(self, rule: FieldRule, accepted: Container[Reason]) -> core_schema.TypedDictField:
        schema = self._schema(rule, waived=rule.reason in accepted)
        match rule.presence:
            case Presence.REQUIRED | Presence.LOOKED_UP:
                return core_schema.typed_dict_field(schema, required=True)
            case Presence.DEFAULTED | Presence.FROM_ID:
                return core_schema.typed_dict_field(schema, required=False)
            case Presence.OPTIONAL:
                return core_schema.typed_dict_field(core_schema.nullable_schema(schema), required=False)

    def _schema(self, rule: FieldRule, *, waived: bool) -> CoreSchema:
        match rule.kind:
            case Kind.DATE:
                return core_schema.is_instance_schema(DatetimeMS)
            case Kind.IDENTIFIER:
                check_id = _check_client_id if rule.reason is Reason.CLIENT_ID_INVALID else _check_identifier
                rare = core_schema.no_info_plain_validator_function(check_id)
                return _first_of(core_schema.is_instance_schema(ObjectId), rare)
            case Kind.NUMBER:
                least = None if waived or rule.minimum is None else getattr(self, rule.minimum)
                rare = core_schema.no_info_plain_validator_function(_number_check(least))
                return _first_of(core_schema.float_schema(ge=least, allow_inf_nan=False, strict=True), rare)
            case Kind.STRING:
                return core_schema.str_schema() if waived else self._string_schema(rule)

    def _string_schema(self, rule: FieldRule) -> CoreSchema:
        if rule.allowed is not None and (words := getattr(self, rule.allowed)) is not None:
            return core_schema.literal_schema(list(words))
        if rule.maximum_length is not None:
            check = _length_check(getattr(self, rule.maximum_length))
            return core_schema.no_info_after_validator_function(check, core_schema.str_schema())
        if rule.pattern is not None:
            return core_schema.str_schema(pattern=rf"\A(?:{rule.pattern})\z")
        return core_schema.str_schema()

    def fault(self, rule: FieldRule, document: Mapping[str, Any]) -> Fault:
        """Return what is wrong with a field that did not pass `validator`."""
        if rule.name not in document:
            return Fault(rule.missing, rule.name, "absent")
        value = document[rule.name]
        if isinstance(value, Opaque) and value.text is not None and str in rule.kind.types:
            return Fault(rule.wrong_type, rule.name, f"{describe(value)} is not valid UTF-8")
        if not has_kind(value, rule.kind):
            return Fault(rule.wrong_type, rule.name, f"{describe(value)} is not {rule.kind.text}")
        if rule.kind is Kind.NUMBER and not is_finite(value):
            return Fault(Reason.NUMBER_NOT_FINITE, rule.name, f"{describe(value)} is not finite")
        reason = rule.reason or rule.wrong_type
        if rule.maximum_length is not None:
            longest = getattr(self, rule.maximum_length)
            return Fault(reason, rule.name, f"{utf16_length(value)} UTF-16 units are more than {longest}")
        return Fault(reason, rule.name, f"{describe(value)} is not {self.expectation(rule)}")

    def expectation(self, rule: FieldRule) -> str:
        """Return what a field's values must be beyond their type, for people."""
        if rule.allowed is not None and (words := getattr(self, rule.allowed)) is not None:
            return f"one of {', '.join(words)}"
        if rule.minimum is not None:
            return f"at least {getattr(self, rule.minimum):g}"
        if rule.maximum_length is not None:
            return f"at most {getattr(self, rule.maximum_length)} UTF-16 units long"
        return _PATTERN_NAMES.get(rule.pattern, "an id that is not empty")


_PATTERN_NAMES: dict[str | None, str] = {
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


def has_kind(value: Any, kind: Kind) -> bool:
    """Return whether a decoded value is of one of the BSON types that a kind stands for."""
    return type(value) in kind.types or (kind is Kind.IDENTIFIER and _is_uuid(value))


def is_finite(value: float | Decimal128) -> bool:
    """Return whether a BSON number is neither NaN nor infinite."""
    return value.to_decimal().is_finite() if isinstance(value, Decimal128) else isfinite(value)


def is_client_id(value: Any) -> bool:
    """Return whether a decoded value can be a booking's `clientId`."""
    return type(value) is ObjectId or (has_kind(value, Kind.IDENTIFIER) and value != "")


def _first_of(frequent: CoreSchema, rare: CoreSchema) -> CoreSchema:
    """Return two schemas of which the first settles most values without a call into Python."""
    return core_schema.union_schema([frequent, rare], mode="left_to_right")


def _is_uuid(value: Any) -> bool:
    return type(value) is Binary and value.subtype in _UUID_SUBTYPES and len(value) == _UUID_LENGTH


def _check_client_id(value: Any) -> Any:
    if is_client_id(value):
        return value
    raise ValueError


def _check_identifier(value: Any) -> Any:
    if type(value) is ObjectId or has_kind(value, Kind.IDENTIFIER):
        return value
    raise ValueError


def _number_check(least: float | None) -> Callable[[Any], Any]:
    """Return a check for a finite number of a BSON number type, not less than ``least``."""
    types = NUMBER_TYPES
    # As the config file has it: a least price of 0.1 is one tenth, not the double nearest to it.
    floor = None if least is None else Decimal(repr(least))

    def check(value: Any) -> Any:
        if type(value) is Decimal128:
            number = value.to_decimal()
            if number.is_finite() and (floor is None or number >= floor):
                return value
        elif type(value) in types and isfinite(value) and (least is None or value >= least):
            return value
        raise ValueError

    return check


def _length_check(longest: int) -> Callable[[str], str]:
    """Return a check for a string of at most ``longest`` UTF-16 units, which is how the application counts."""

    def check(value: str) -> str:
        if 2 * len(value) > longest and utf16_length(value) > longest:
            raise ValueError
        return value

    return check


def utf16_length(text: str) -> int:
    """Return a string's length as JavaScript counts it: in UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
