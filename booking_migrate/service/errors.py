"""Errors of the booking service: reasons why it does not start, and refusals of requests."""

from collections.abc import Sequence
from typing import ClassVar

from booking_migrate.errors import BookingMigrateError, Refused


class MissingIndexes(Refused):
    """Indexes that the booking service needs do not exist."""

    indexes: Sequence[str]
    """Each as collection and fields."""

    hint = "Create them with booking-migrate service-indexes, or start with --create-indexes."

    @property
    def message(self) -> str:
        noun = "an index is" if len(self.indexes) == 1 else f"{len(self.indexes)} indexes are"
        return f"{noun} missing: {'; '.join(self.indexes)}"


class StandaloneServer(Refused):
    """The booking service needs transactions, which a standalone server does not have."""

    hosts: str
    message = "the booking service needs transactions, and {hosts} is not a replica set"
    hint = "Make it a replica set; one with a single member is enough."


class RequestRefused(BookingMigrateError):
    """Root of the refusals that the HTTP API answers with; none of them ends the program."""

    http_status: ClassVar[int]

    @property
    def at_fault(self) -> str | None:
        """Return the field or parameter of the request at fault; None if it is the request as a whole."""
        return None


class NotSignedIn(RequestRefused):
    """The request has no valid token."""

    http_status = 401
    problem: str
    message = "{problem}"


class NotYours(RequestRefused):
    """The caller may not see or do this."""

    http_status = 403
    problem: str
    message = "{problem}"


class Unknown(RequestRefused):
    """Something that the request names does not exist."""

    http_status = 404
    what: str
    """``booking``, ``session`` or ``expert``."""

    field: str
    message = "no such {what}"
    at_fault = "{field}"


class BadValue(RequestRefused):
    """A field or parameter has a value that it cannot have, or that cannot be booked."""

    http_status = 422
    field: str
    problem: str
    message = "{problem}"
    at_fault = "{field}"


class SlotTaken(RequestRefused):
    """Another session of the expert or of the client overlaps."""

    http_status = 409
    whose: str
    """``expert`` or ``client``."""

    at_fault = "startTime"

    @property
    def message(self) -> str:
        owner = "the expert has" if self.whose == "expert" else "you have"
        return f"{owner} another session at that time"


class WrongState(RequestRefused):
    """A session's status does not allow the requested action."""

    http_status = 409
    status: str
    action: str
    message = "a session that is {status} cannot be {action}"
    at_fault = "sessionId"


class Unwritable(RequestRefused):
    """The client's document takes no further session."""

    http_status = 409
    problem: str
    message = "this client's document takes no more sessions: {problem}"


class NoRoom(RequestRefused):
    """The document that has the session would become larger than MongoDB stores."""

    http_status = 409
    message = "the document that has this session has no room for the change"


class Busy(RequestRefused):
    """The request could not be handled in time; it may succeed later."""

    http_status = 503
    problem: str
    retry_after: int = 1
    """Seconds after which the request should be repeated."""

    message = "{problem}"
