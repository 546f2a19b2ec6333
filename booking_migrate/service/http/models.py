"""The models of requests and responses, which make up the OpenAPI schema."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from booking_migrate.domain.contract import TIME
from booking_migrate.service.appointment import MINUTES_A_DAY, Role
from booking_migrate.service.view import LONGEST, Order

LONGEST_PAGE = 100
_LONGEST_WORD = 50
_MOST_WORDS = 20


def _check_date(text: str) -> str:
    date.fromisoformat(text)
    return text


def _check_text(text: str) -> str:
    # JSON can spell half of a pair of UTF-16 units, which the database does not store.
    text.encode()
    return text


def milliseconds_of(text: str) -> int:
    """Return a date (``YYYY-MM-DD``) in milliseconds since 1970."""
    midnight = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    return round(midnight.timestamp()) * 1000


Id = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST),
    Field(
        description="an ObjectId as 24 hex digits; ids of other types as text",
        examples=["68b0daa5349f0802590e2755"],
    ),
]
SessionId = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-fA-F]{24}$"),
    Field(description="24 hex digits", examples=["68b61bd7a4c0bf9eaab38ee6"]),
]
Word = Annotated[str, StringConstraints(min_length=1, max_length=_LONGEST_WORD)]
Text = Annotated[str, AfterValidator(_check_text)]
Words = Annotated[list[Word], Field(max_length=_MOST_WORDS)]
Date = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
    AfterValidator(_check_date),
    WithJsonSchema({"type": "string", "format": "date"}),
    Field(description="YYYY-MM-DD", examples=["2025-08-29"]),
]
Time = Annotated[
    str,
    StringConstraints(pattern=rf"^({TIME})$"),
    Field(description="H:MM or HH:MM, 24 hours, on the platform's clock", examples=["12:30"]),
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)


class BookingRequest(_Request):
    """A request for a new session."""

    expert_id: Id = Field(description="the `_id` of the expert, or of its user")
    session_type: Word = Field(description="one that the expert offers", examples=["chat"])
    duration: int = Field(ge=1, le=MINUTES_A_DAY, description="minutes", examples=[30])
    scheduled_date: Date
    start_time: Time
    notes: Text | None = Field(
        default=None, description="at most 1000 UTF-16 units", examples=["Service: Resume Review"]
    )


class SessionRequest(_Request):
    """The session to change."""

    session_id: SessionId


class CancelRequest(SessionRequest):
    """The session to cancel, and the reason."""

    reason: Text | None = Field(default=None, description="at most 500 UTF-16 units")


class ListRequest(BaseModel):
    """Which sessions to list."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    role: Role = Field(default=Role.CLIENT, description="whose sessions: yours as client, or yours as expert")
    status: Words = Field(default=[], description="one of these")
    payment_status: Words = Field(default=[], description="one of these")
    session_type: Words = Field(default=[], description="one of these")
    expert_id: Id | None = Field(default=None, description="the `_id` of the expert")
    first: Date | None = Field(default=None, alias="from", description="the earliest scheduledDate")
    last: Date | None = Field(default=None, alias="to", description="the latest scheduledDate, included")
    sort: Order = Order.DATE_FALLING
    page: int = Field(default=1, ge=1, le=1_000_000)
    limit: int = Field(default=20, ge=1, le=LONGEST_PAGE)


class _Response(BaseModel):
    """Base of the responses, which `presentation` builds; the models only describe them."""

    model_config = ConfigDict(alias_generator=to_camel)


class FieldError(_Response):
    """A problem with one field or parameter."""

    field: str
    message: str


class Failure(_Response):
    """The reason why a request failed."""

    success: Literal[False]
    error: str
    errors: list[FieldError] | None = None


class SessionShown(_Response):
    """One session, with any further fields that the application stores."""

    model_config = ConfigDict(extra="allow")

    session_id: str | None = None
    expert_id: str | None = None
    expert_user_id: str | None = None
    expert_email: str | None = None
    session_type: str | None = None
    duration: float | None = None
    scheduled_date: str | None = Field(default=None, description="ISO 8601")
    start_time: str | None = None
    end_time: str | None = None
    status: str | None = None
    price: float | str | None = Field(default=None, description="a Decimal128 is a string")
    currency: str | None = None
    payment_status: str | None = None


class BookingShown(_Response):
    """A client's document. An expert sees its own sessions of other clients' documents, with totals over those."""

    model_config = ConfigDict(extra="allow")

    id: str = Field(alias="_id")
    client_id: str
    client_user_id: str | None = None
    client_email: str | None = None
    sessions: list[SessionShown]
    total_sessions: int | None = None
    total_spent: float | str | None = None


class ListedSession(SessionShown):
    """A session with the booking that it belongs to."""

    booking_id: str | None
    client_id: str | None
    client_user_id: str | None
    client_email: str | None


class Pagination(_Response):
    """The position of a page in its list."""

    page: int
    limit: int
    total: int = Field(description="sessions in the whole list")
    pages: int


class BookingData(_Response):
    """A booking."""

    booking: BookingShown


class SessionData(BookingData):
    """A booking and one session of it."""

    session: SessionShown


class ListData(_Response):
    """One page of sessions."""

    sessions: list[ListedSession]
    pagination: Pagination


class BookingAnswer(_Response):
    """A booking in the envelope."""

    success: Literal[True]
    data: BookingData


class MovedData(_Response):
    """Where the session of an old booking is."""

    booking_id: str
    session_id: str


class MovedAnswer(_Response):
    """The answer to the id of an old booking, in the envelope."""

    success: Literal[True]
    data: MovedData


class SessionAnswer(_Response):
    """A session in the envelope."""

    success: Literal[True]
    message: str | None = None
    data: SessionData


class ListAnswer(_Response):
    """A list in the envelope."""

    success: Literal[True]
    data: ListData


class Health(_Response):
    """The state of the service."""

    success: Literal[True]
    data: dict[str, Any]
