"""The port of a migration within one collection, beside a running application. The docstrings are promises.

One group of clients is moved at a time, as one unit of work: its client documents are written, its old bookings go to the
archive and out of the collection, and the journal says so, all at once. A reader sees each booking in one shape only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from booking_migrate.stores.destination import PlaceFinding
from booking_migrate.stores.notes import RangeNote
from booking_migrate.stores.ports import Replacement
from booking_migrate.stores.rejects import RejectsKeeper

Result = TypeVar("Result")

CLAIMED_BOOKINGS = "sessions.legacyBookingId_1"
"""The name of the index by which the sessions of a booking are found, whatever client they stand with."""


class Waiting(NamedTuple):
    """A document that is to be moved or rejected, as the way through the collection finds it."""

    client_id: Any
    """Its `clientId`, decoded; None if it has none."""

    document_id: Any
    """Its `_id`, decoded."""

    size: int
    """In bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What one unit of work writes, all of it or nothing."""

    gone: Sequence[bytes]
    """Documents to delete from the collection, as they were read."""

    archived: Sequence[bytes] = ()
    """Documents to put into the archive."""

    changed: Sequence[Replacement] = ()
    """Documents of the collection to replace. They keep their `_id`."""

    new: Sequence[bytes] = ()
    """Documents to insert into the collection."""

    unarchived: Sequence[bytes] = ()
    """Documents to delete from the archive."""

    rearchived: Sequence[Replacement] = ()
    """Documents of the archive to replace. They keep their `_id`."""

    notes: Sequence[RangeNote] = ()
    """What the journal is to know of it."""

    progress: Mapping[str, Any]
    """Fields of the run's record that are to be true with it."""

    run_id: str
    token: int
    """The token of the run's lock, under which its notes are kept."""


class Unit(Protocol):
    """What one unit of work sees, and how it writes. All of its reads come from one snapshot."""

    def find(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        """Return the collection's documents of these clients, in any order; others may come too (see `ComparedReader`)."""

    def archived_of(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        """Return the archive's documents of these clients; others may come too."""

    def archived(self, ids: Sequence[Any]) -> Sequence[bytes]:
        """Return the archive's documents with these `_id` values."""

    def standing(self, ids: Sequence[Any]) -> Sequence[bytes]:
        """Return the collection's documents with these `_id` values."""

    def claiming(self, ids: Sequence[Any]) -> Sequence[bytes]:
        """Return the collection's documents with a session of one of these bookings.

        Without the index that `InPlaceCollection.index_claims` makes, the whole collection is read.
        """

    def take(self, move: Move) -> None:
        """Write everything. It becomes visible and durable (majority) when the unit ends, and not before.

        Without transactions it is written step by step, each of which is durable before the next one and can be taken again:
        notes, archive, client documents, deletions, progress.
        """


class InPlaceCollection(Protocol):
    """A collection that is migrated in place, with its archive.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed, UnusablePlace: it cannot be read or written (any method).
    """

    @property
    def name(self) -> str:
        """Return what to call the collection in messages and reports."""

    @property
    def archive_name(self) -> str:
        """Return the name of the collection that keeps the old bookings whole."""

    @property
    def has_transactions(self) -> bool:
        """Return whether a unit of work is atomic; if not, the application must be stopped."""

    def check(self) -> None:
        """Refuse, before anything is written, what cannot be migrated in place.

        Raises:
            PlaceNotFound, UnusablePlace: the collection or the archive is a view, capped, a time series, or not there.
            NoTransactions: they are to be used, and the server does not support them.
        """

    def ends(self, count: int) -> Sequence[bytes]:
        """Return its first and its last ``count`` documents in the order of `_id`, each once."""

    def examine(self, documents: Sequence[bytes]) -> Sequence[PlaceFinding]:
        """Find what its indexes and options do to client documents; see `stores.destination.examine`."""

    def estimate_count(self) -> int:
        """Return how many documents the collection holds, roughly and at once."""

    def archive_exists(self) -> bool:
        """Return whether the archive exists."""

    def is_archive_empty(self) -> bool:
        """Return whether the archive has no document, or does not exist."""

    def lacking_indexes(self) -> Sequence[str]:
        """Return the names of the indexes of the collection that `prepare` would create."""

    def prepare(self) -> None:
        """Make the archive and the indexes that are lacking; among them the unique one over client documents.

        Raises:
            DuplicateClientDocuments: clients have more than one client document; nothing was made.
        """

    def waiting(self) -> Iterator[Waiting]:
        """Yield what is left to be moved or rejected: every document that is not a sound client document.

        First what has no client, in the order of `_id`; then, client after client in MongoDB's order of their ids, the
        rest. It continues by itself after an election or a lost cursor. What comes into the collection meanwhile may be
        seen or not.
        """

    def find(self, ids: Sequence[Any]) -> Sequence[bytes]:
        """Return the collection's documents with these `_id` values."""

    def archived(self, ids: Sequence[Any]) -> Sequence[bytes]:
        """Return the archive's documents with these `_id` values."""

    def find_by_client(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        """Return the collection's documents of these clients; others may come too."""

    def server_session(self) -> bytes:
        """Return the id of the server session of this process's units of work; always the same. The server is contacted."""

    def end_session(self, server_session: bytes) -> None:
        """End the unit of work that a killed process left open, which blocks writes to its documents."""

    def work(self, on: Callable[[Unit], Result]) -> Result:
        """Run one unit of work; it is durable (majority) when this returns. ``on`` may be called more than once.

        Raises:
            Contended: the application wrote to these documents at the same time; nothing was done.
        """

    def lacks_claims_index(self) -> str | None:
        """Return the name of the index by which the sessions of a booking are found; None if the collection has one."""

    def index_claims(self) -> None:
        """Make that index."""

    def drop_indexes(self, names: Sequence[str]) -> bool:
        """Drop those indexes of the collection that exist; return whether any did."""

    def drop_archive(self, *, only_if_empty: bool) -> bool:
        """Drop the archive; return whether it was dropped."""

    def drop_legacy_ids(self) -> Iterator[int]:
        """Remove `legacyBookingId` from all sessions, batch by batch; yield how many client documents each batch changed."""

    def rejects(self) -> RejectsKeeper:
        """Return a new keeper of the rejected bookings, for one pass through the collection."""
