"""The map of old ids: of each old booking the ids of its session, of the client document that holds it, and of its client.

It is a function of client documents: those that a migration would make, or that one has made.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bson import decode
from bson.errors import BSONError
from bson.objectid import ObjectId

from booking_migrate.bson.document import CODEC
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.stores.booking_map import BookingMap, MapEntry

_AT_ONCE = 2000
"""How many entries are written at a time."""


@dataclass(slots=True)
class MapCounts:
    """What a map holds."""

    entries: int = 0
    """Old ids, each session with `legacyBookingId` once."""

    clients: int = 0
    """Client documents with any of them."""


def entries_of(raw: bytes) -> list[MapEntry]:
    """Return an entry for each session of a document that has a `legacyBookingId`; none of a document without sessions."""
    found = _of_object_ids(raw)
    return list(_exactly(raw)) if found is None else found


def _of_object_ids(raw: bytes) -> list[MapEntry] | None:
    """Return the entries if all ids are ObjectIds, else None: values of other types may change when they are decoded."""
    try:
        fields = decode(raw, CODEC)
    except (BSONError, UnicodeError):
        # Any field may be the cause; the exact way reads only those that are needed.
        return None
    sessions = fields.get("sessions")
    if not isinstance(sessions, list):
        return []
    found = [
        MapEntry(one["legacyBookingId"], fields.get("_id"), one.get("sessionId"), fields.get("clientId"))
        for one in sessions
        if isinstance(one, dict) and "legacyBookingId" in one
    ]
    return found if all(type(value) is ObjectId for entry in found for value in entry) else None


def _exactly(raw: bytes) -> Iterator[MapEntry]:
    document = read_client_document(raw)
    if isinstance(document, ClientDocument):
        for session in document.sessions:
            fields = session.fields
            if "legacyBookingId" in fields:
                ids = document.document_id, fields.get("sessionId"), document.client_id
                yield MapEntry(fields["legacyBookingId"], *ids)


class MapWriter:
    """Writes the map of client documents that come one after the other."""

    def __init__(self, place: BookingMap) -> None:
        """Take the place, which was prepared."""
        self._place = place
        self._waiting: list[MapEntry] = []
        self.counts = MapCounts()

    def take(self, raw: bytes) -> None:
        """Take one document, as BSON; one without sessions adds nothing.

        Raises:
            WriteFailed, NotPermitted, ConnectionProblem, MapExists: the place cannot be written.
        """
        found = entries_of(raw)
        if not found:
            return
        self._waiting += found
        self.counts.entries += len(found)
        self.counts.clients += 1
        if len(self._waiting) >= _AT_ONCE:
            self._flush()

    def finish(self) -> bool:
        """Make the map appear; return whether its place has changed.

        Raises:
            WriteFailed, NotPermitted, ConnectionProblem, MapExists: the place cannot be written.
        """
        self._flush()
        return self._place.finish()

    def _flush(self) -> None:
        entries, self._waiting = self._waiting, []
        if entries:
            self._place.write(entries)
