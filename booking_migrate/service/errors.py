"""Errors of the booking service: why it does not start, and why it does not do what a request asks for."""

from collections.abc import Sequence

from booking_migrate.errors import BookingMigrateError, Refused


class MissingIndexes(Refused):
    """The booking service has no indexes to work with."""

    indexes: Sequence[str]
    """Each as collection and fields."""

    hint = "Create them with booking-migrate service-indexes, or start with --create-indexes."

    @property
    def message(self) -> str:
        noun = "an index is" if len(self.indexes) == 1 else f"{len(self.indexes)} indexes are"
        return f"{noun} missing: {'; '.join(self.indexes)}"


class StandaloneServer(Refused):
    """The booking service writes in transactions, which a server that stands alone does not have."""

    hosts: str
    message = "the booking service needs transactions, and {hosts} is no replica set"


class RequestRefused(BookingMigrateError):
    """Root of what the HTTP API answers when it does not do what is asked for; none of them ends the program."""

    @property
    def at_fault(self) -> str | None:
        """The field or parameter of the request at fault; None if it is the request as a whole."""
        return None


class NotSignedIn(RequestRefused):
    """Nobody knows who is asking."""

    problem: str
    message = "{problem}"


class NotYours(RequestRefused):
    """The caller may not see or do this."""

    problem: str
    message = "{problem}"


class Unknown(RequestRefused):
    """Something that the request names does not exist."""

    what: str
    """``booking``, ``session`` or ``expert``."""

    field: str
    message = "no such {what}"
    at_fault = "{field}"


class BadValue(RequestRefused):
    """A field or parameter has a value that it cannot have."""

    field: str
    problem: str
    message = "{problem}"
    at_fault = "{field}"


class NotBookable(RequestRefused):
    """A session as asked for cannot be booked."""

    field: str
    problem: str
    message = "{problem}"
    at_fault = "{field}"


class SlotTaken(RequestRefused):
    """Another session of the expert or of the client is in the way."""

    whose: str
    """``expert`` or ``client``."""

    at_fault = "startTime"

    @property
    def message(self) -> str:
        owner = "the expert has" if self.whose == "expert" else "you have"
        return f"{owner} another session at that time"


class WrongState(RequestRefused):
    """A session's status does not allow what is asked for."""

    status: str
    action: str
    message = "a session that is {status} cannot be {action}"
    at_fault = "sessionId"


class Unwritable(RequestRefused):
    """The client's document takes no further session."""

    problem: str
    message = "this client's document takes no more sessions: {problem}"


class Busy(RequestRefused):
    """It could not be done in time; nothing is known to be wrong with the request."""

    problem: str
    retry_after: int = 1
    """After how many seconds it makes sense to ask again."""

    message = "{problem}"
