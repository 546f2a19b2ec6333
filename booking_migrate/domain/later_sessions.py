"""From a session that the new application booked to the old booking of which a migration would make that session."""

from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId

from booking_migrate.bson.document import DOCUMENT, element_of, elements, wrap
from booking_migrate.domain.client_document import ClientDocument, StoredSession
from booking_migrate.domain.rejection import WAIVABLE
from booking_migrate.domain.rules import Rules
from booking_migrate.domain.session import (
    CLIENT_FIELDS,
    DROPPED,
    Converter,
    People,
    Session,
    booking_of_session,
    read_booking,
    time_of,
)

_CLIENT = frozenset({b"clientId", *(name.encode() for name in CLIENT_FIELDS)})
_NOT_OF_BOOKINGS = frozenset({*(name.encode() for name in DROPPED), b"legacyBookingId", b"sessions"})
_DATES = ("createdAt", "updatedAt")

_CONVERTER = Converter(Rules(accepted=WAIVABLE))
"""Types only: the new application may hold values that the old one does not know, and the session has them either way."""


def booking_id_of(session: StoredSession) -> ObjectId | None:
    """Return the `_id` of the booking that a session becomes; None if its `sessionId` is not an ObjectId."""
    own = session.fields.get("sessionId")
    return booking_of_session(own) if type(own) is ObjectId else None


def as_booking(document: ClientDocument, session: StoredSession) -> bytes | None:
    """Return a session booked since as an old booking, BSON; a migration gives the same session again, with the same id.

    `clientId`, `clientUserId` and `clientEmail` are the client document's, all other fields the session's own, in its order.
    One without dates gets the time in its `sessionId`.

    Args:
        document: the client document that the session stands in.
        session: a session without `legacyBookingId`.

    Returns:
        None if that is not possible: without a `sessionId` that is an ObjectId, with a field that no session of a booking
        has, or with a type that the contract does not allow.
    """
    booking_id = booking_id_of(session)
    if booking_id is None or session.element.kind != DOCUMENT:
        return None
    own = [part for part in elements(session.element.value) if part.name != b"sessionId"]
    names = {part.name for part in own}
    if len(names) != len(own) or names & _NOT_OF_BOOKINGS:
        return None
    client = [part for part in document.parts if part.name in _CLIENT]
    dates = [
        element_of(name, DatetimeMS(time_of(booking_id))) for name in _DATES if name.encode() not in names
    ]
    raw = wrap([element_of("_id", booking_id), *client, *own, *dates])
    made = _CONVERTER.convert(read_booking(raw), People())
    return raw if isinstance(made, Session) else None
