"""The ports for references: collections that hold ids of old bookings, and what those ids stand for."""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol

from booking_migrate.bson.order import sort_key
from booking_migrate.stores.destination import CollectionFacts


class BookingState(Enum):
    """What is known of an old id that has no new ids."""

    UNMIGRATED = "unmigrated"
    """It is a booking that is not migrated yet."""

    REJECTED = "rejected"
    """It is a booking that was migrated without a session."""

    UNKNOWN = "unknown"
    """It is not the id of any booking: a reference to it dangles."""


class NewIds(NamedTuple):
    """What an old booking is called after a migration, each decoded."""

    session_id: Any
    document_id: Any
    """The `_id` of the client document that has the session."""

    client_id: Any

    def replaces(self, key: bytes) -> bool:
        """Return whether an old id, by its sort key, leads to its session by the old id alone, so that it has to be rewritten.

        Few ids of bookings are those of their sessions, too: they stay as they are.
        """
        return sort_key(self.session_id) != key


class KnownIds(Protocol):
    """Which values are ids of bookings.

    Ids are equal as MongoDB has it; each has one sort key (`bson.order`). Nothing is remembered between calls.

    Raises:
        ConnectionProblem, NotPermitted, UnusablePlace: a collection cannot be read (any method).
    """

    def known(self, ids: Sequence[Any]) -> set[bytes]:
        """Return the sort keys of those decoded values that are ids of bookings, migrated or not.

        ``ids`` holds at most some ten thousand values, no two of them equal.
        """


class OldIds(KnownIds, Protocol):
    """What the ids of old bookings stand for, before a migration and after it."""

    def resolve(self, ids: Sequence[Any]) -> Mapping[bytes, NewIds | BookingState]:
        """Return what each of these decoded values stands for, by its sort key; limits as for `known`."""

    def existing(
        self, session_ids: Sequence[Any], document_ids: Sequence[Any]
    ) -> tuple[set[bytes], set[bytes]]:
        """Return the sort keys of those `sessionId` that a session has, and of those `_id` that a client document has.

        Limits as for `known`. Sessions are found by an index only if one has their ids; so a caller may ask for fifty thousand
        of them at once.
        """

    def other_sessions(self, ids: Sequence[Any]) -> set[bytes]:
        """Return the sort keys of those values that are a `sessionId` which no ObjectId of a booking leads to.

        The application has made them, or they are of bookings whose `_id` is of another type. Limits as for `known`; of more
        than a million such sessions the others are not known.
        """

    def documents_of_clients(self, ids: Sequence[Any]) -> set[bytes]:
        """Return the sort keys of those ObjectIds that are the `_id` which a client's new document has, of clients with old bookings.

        Limits as for `known`; of more than a million clients whose `clientId` is not an ObjectId the others are not known.
        """


class ReferringCollection(Protocol):
    """A collection that may hold ids of bookings, as it is read.

    Raises:
        ConnectionProblem, NotPermitted, UnusablePlace: it cannot be read (any method).
    """

    name: str
    database: str
    """The name of its database."""

    def scan(self, after: bytes | None = None, fields: Sequence[str] = ()) -> Iterator[list[bytes]]:
        """Yield the documents in the order of `_id`, whole, in batches that are bounded in number and in bytes.

        Each is yielded once, elections and lost connections notwithstanding. What is inserted or deleted meanwhile may come or not.

        Args:
            after: the BSON of ``{_id}`` of the document after which to begin (`bson.document.identity_of`); None: at the first.
            fields: paths of fields; documents that have none of them are left out, arrays in arrays are entered. Empty: all
                documents.
        """

    def one_with(self, field: str) -> bytes | None:
        """Return a document that has a field, at any depth of arrays; None if none has it."""

    def sample(self, size: int) -> Iterator[bytes]:
        """Yield this number of documents by chance, or all if there are fewer; whole."""

    def find(self, ids: Sequence[Any]) -> Sequence[bytes]:
        """Return the documents that have one of these decoded `_id` values, whole, in any order."""

    def facts(self) -> CollectionFacts | None:
        """Return what the server says about it: indexes, options with the validator, counts; None if it does not exist."""
