"""A request to the booking service is not done. These never end the program: the HTTP API answers with them."""

from dataclasses import dataclass

from booking_migrate.errors.base import BookingMigrateError


class RequestRefused(BookingMigrateError):
    """Root of what a caller of the service may be told."""

    @property
    def at_fault(self) -> str | None:
        """The field or parameter of the request at fault; None if it is the request as a whole."""
        return None


@dataclass(eq=False)
class NotSignedIn(RequestRefused):
    """Nobody knows who is asking."""

    problem: str

    @property
    def message(self) -> str:
        return self.problem


@dataclass(eq=False)
class NotYours(RequestRefused):
    """The caller may not see or do this."""

    problem: str

    @property
    def message(self) -> str:
        return self.problem


@dataclass(eq=False)
class Unknown(RequestRefused):
    """Something that the request names does not exist."""

    what: str
    """``booking``, ``session`` or ``expert``."""

    field: str

    @property
    def message(self) -> str:
        return f"no such {self.what}"

    @property
    def at_fault(self) -> str:
        return self.field


@dataclass(eq=False)
class BadValue(RequestRefused):
    """A field or parameter has a value that it cannot have."""

    field: str
    problem: str

    @property
    def message(self) -> str:
        return self.problem

    @property
    def at_fault(self) -> str:
        return self.field


@dataclass(eq=False)
class NotBookable(RequestRefused):
    """A session as asked for cannot be booked."""

    field: str
    problem: str

    @property
    def message(self) -> str:
        return self.problem

    @property
    def at_fault(self) -> str:
        return self.field


@dataclass(eq=False)
class SlotTaken(RequestRefused):
    """Another session of the expert or of the client is in the way."""

    whose: str
    """``expert`` or ``client``."""

    @property
    def message(self) -> str:
        owner = "the expert has" if self.whose == "expert" else "you have"
        return f"{owner} another session at that time"

    @property
    def at_fault(self) -> str:
        return "startTime"


@dataclass(eq=False)
class WrongState(RequestRefused):
    """A session's status does not allow what is asked for."""

    status: str
    action: str

    @property
    def message(self) -> str:
        return f"a session that is {self.status} cannot be {self.action}"

    @property
    def at_fault(self) -> str:
        return "sessionId"


@dataclass(eq=False)
class Unwritable(RequestRefused):
    """The client's document takes no further session."""

    problem: str

    @property
    def message(self) -> str:
        return f"this client's document takes no more sessions: {self.problem}"


@dataclass(eq=False)
class Busy(RequestRefused):
    """It could not be done in time; nothing is known to be wrong with the request."""

    problem: str
    retry_after: int = 1
    """After how many seconds it makes sense to ask again."""

    @property
    def message(self) -> str:
        return self.problem
