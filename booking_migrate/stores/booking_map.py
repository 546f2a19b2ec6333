"""The port of the map: where each old booking went, entry by entry. A file and a collection are places for it.

Old ids come in any BSON type, and keep it: a place of JSON lines has it as Extended JSON, a collection as it is. CSV has texts
only, for programs that know what their ids are.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol


class MapEntry(NamedTuple):
    """One old booking and its ids in the new structure; values are decoded BSON, or `Opaque`."""

    legacy_id: Any
    """The `_id` that the booking had, which its session has as `legacyBookingId`."""

    document_id: Any
    """The `_id` of the client document that holds the session: what the service calls `bookingId`."""

    session_id: Any
    """The `sessionId`; None if the session lacks it."""

    client_id: Any
    """The `clientId`."""


NAMES = ("legacyBookingId", "bookingId", "sessionId", "clientId")
"""What the fields of an entry are called outside; in a collection the first one is `_id`."""


class BookingMap(Protocol):
    """A place that a map goes to; it appears whole, or not at all."""

    name: str
    """What to call it in messages and reports."""

    repeated: int
    """How many entries were left out because an earlier one has the same old id; known when it is finished. A file has all."""

    def prepare(self) -> None:
        """Prepare the place, before anything is read.

        Raises:
            UnusablePlace, NotAMap: it cannot take a map.
            NotPermitted, ConnectionProblem, WriteFailed: it cannot be written.
        """

    def write(self, entries: Sequence[MapEntry]) -> None:
        """Write some entries.

        Raises:
            WriteFailed, NotPermitted, ConnectionProblem: it cannot be written, or cannot hold one of the ids.
            MapExists: a file that may not be replaced holds something else.
        """

    def finish(self) -> bool:
        """Make the map appear, whole and durable; return whether the place has changed.

        Raises:
            MapExists, WriteFailed, NotPermitted, ConnectionProblem: as `write`.
        """

    def abandon(self) -> None:
        """Remove what was written, unless it was finished. May be called twice."""
