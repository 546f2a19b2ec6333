"""What a migration within one collection reads and writes while the application runs. The docstrings are promises.

One group of clients is moved at a time, as one unit of work: its client documents are written, its old bookings are moved to
the archive, and the journal records it, all at once. A reader sees each booking in one shape only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from bson.objectid import ObjectId

from booking_migrate.bson.order import OBJECT_ID_KEY, sort_key
from booking_migrate.errors import BadConfiguration, NameTooLong
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.journal import RangeNote
from booking_migrate.stores.own_collections import BEFORE, RANGES, REJECTS_COLLECTION, RUNS, refuse_own
from booking_migrate.stores.places import CollectionPlace, parse_place
from booking_migrate.stores.ports import ComparedReader, Replacement

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.in_place import MongoInPlace

Result = TypeVar("Result")


CLAIMED_BOOKINGS = "sessions.legacyBookingId_1"
"""The name of the index by which the sessions of a booking are found in any client's documents."""


class PendingDocument(NamedTuple):
    """A document that is to be moved or rejected, as a pass finds it."""

    client_key: bytes
    """The sort key of its `clientId`; that of null if it has none."""

    key: bytes
    """The sort key of its `_id`."""

    size: int
    """In bytes."""

    ids: tuple[Any, Any] | None = None
    """Its `clientId` and its `_id`, decoded; None if both are ObjectIds: then the keys have them."""

    @classmethod
    def of(cls, client_id: Any, document_id: Any, size: int) -> "PendingDocument":
        """Return a document of these ids, which may be of any type."""
        return cls(sort_key(client_id), sort_key(document_id), size, (client_id, document_id))

    @property
    def client_id(self) -> Any:
        """Return its `clientId`, decoded; None if it has none."""
        return ObjectId(self.client_key[len(OBJECT_ID_KEY) :]) if self.ids is None else self.ids[0]

    @property
    def document_id(self) -> Any:
        """Return its `_id`, decoded."""
        return ObjectId(self.key[len(OBJECT_ID_KEY) :]) if self.ids is None else self.ids[1]


@dataclass(slots=True)
class Writes:
    """What one unit of work writes to a collection and its archive."""

    gone: list[bytes] = field(default_factory=list)
    """Bookings to delete from the collection, as they were read."""

    archived: list[bytes] = field(default_factory=list)
    """Documents to put into the archive."""

    changed: list[Replacement] = field(default_factory=list)
    """Documents of the collection to replace. They keep their `_id`."""

    new: list[bytes] = field(default_factory=list)
    """Documents to insert into the collection."""

    removed: list[bytes] = field(default_factory=list)
    """Client documents to delete from the collection, as they were read."""

    unarchived: list[bytes] = field(default_factory=list)
    """Documents to delete from the archive."""

    rearchived: list[Replacement] = field(default_factory=list)
    """Documents of the archive to replace. They keep their `_id`."""

    gone_of: Sequence[Any] = ()
    """The ids of clients if `gone` is everything that the collection has of them; deleting by client takes less work than by
    `_id`. Empty: not known."""

    unarchived_of: Sequence[Any] = ()
    """The same for `unarchived` and the archive."""


@dataclass(frozen=True, slots=True)
class Move:
    """What one unit of work writes, all of it or nothing."""

    writes: Writes
    run_id: str
    token: int
    """The token of the run's lock, under which its notes are kept."""

    progress: Mapping[str, Any]
    """Fields of the run's record that are written with it."""

    confirm: Callable[[], None]
    """Checks that the run's lock is still held; raises if it is not."""

    notes: Sequence[RangeNote] = ()
    """The notes of the journal about it."""

    slot: int | None = None
    """The number under which the progress is kept, so that concurrent units do not conflict; None: in the run's record.

    Without transactions it is always in the run's record.
    """


class Unit(Protocol):
    """One unit of work: its reads come from one snapshot, and its writes are atomic."""

    def find(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        """Return the collection's documents of these clients, in any order; others may come too (see `ComparedReader`)."""

    def archived_of(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        """Return the archive's documents of these clients; others may come too."""

    def archived(self, ids: Sequence[Any]) -> Sequence[bytes]:
        """Return the archive's documents with these `_id` values."""

    def present(self, ids: Sequence[Any]) -> Sequence[bytes]:
        """Return the collection's documents with these `_id` values."""

    def claiming(self, ids: Sequence[Any], but: Sequence[Any] = ()) -> Sequence[bytes]:
        """Return the collection's documents with a session of one of these bookings, without those of some clients.

        Without the index that `MongoInPlace.index_claims` makes, the whole collection is read.
        """

    def take(self, move: Move) -> None:
        """Write everything. It becomes visible and durable (majority) when the unit ends.

        Without transactions it is written step by step, each of which is durable before the next one, and idempotent:
        notes, archive, client documents, deletions, progress. Before each of them it is checked again that the lock is held.

        Raises:
            LeaseLost: another process has taken the lock over.
        """


def open_in_place(
    connection: Connection, *, source: str, archive: str, has_transactions: bool = True
) -> "MongoInPlace":
    """Return a collection with its archive. Nothing is contacted before they are used.

    Without ``has_transactions`` other processes must not write.

    Raises:
        BadPlace: a collection that the program keeps for itself, or no collection.
        BadConfiguration: both are one, or the connection string cannot be used.
        MissingUri: no server or no database is given.
        NameTooLong: the archive cannot have its name.
    """
    _check(source, archive)
    # Here and not above: the driver is slow to import.
    from booking_migrate.stores.mongo import in_place, journal  # noqa: PLC0415
    from booking_migrate.stores.mongo import in_place_units as units  # noqa: PLC0415

    runs, ranges, before = (connection.collection(name) for name in (RUNS, RANGES, BEFORE))
    try:
        old = connection.collection(archive)
    except NameTooLong as error:
        raise replace(error, option="--archive ARCHIVE") from None
    places = units.InPlacePlaces(
        connection.collection(source),
        old,
        runs,
        journal.MongoJournal(runs, ranges, before),
    )
    return in_place.MongoInPlace(
        places, connection.collection(REJECTS_COLLECTION), has_transactions=has_transactions
    )


class Proof(NamedTuple):
    """A collection that was migrated in place, as the two sides that a verification compares."""

    old: ComparedReader
    new: ComparedReader
    has_client_index: Callable[[], bool]
    """Whether an index keeps a client from having two client documents."""

    superseded: frozenset[bytes] = frozenset()
    """After a cut-over: the sort keys of the `_id` values of bookings that were migrated later in another version."""


def open_proof(connection: Connection, *, source: str, archive: str) -> Proof:
    """Open both sides for reading. Nothing is contacted before they are used.

    Raises:
        BadPlace, BadConfiguration, MissingUri: as `open_in_place`.
    """
    _check(source, archive)
    # Here and not above: the driver is slow to import.
    from booking_migrate.stores.mongo.administration import CLIENT_DOCUMENTS_ONLY, has_index  # noqa: PLC0415
    from booking_migrate.stores.mongo.in_place_scan import open_new_side, open_old_side  # noqa: PLC0415

    collection = connection.collection(source)
    return Proof(
        open_old_side(collection, connection.collection(archive)),
        open_new_side(collection),
        partial(has_index, collection, CLIENT_DOCUMENTS_ONLY),
    )


def open_cut_over_proof(
    connection: Connection, *, live: str, kept: str, archives: Sequence[str] = ()
) -> Proof:
    """Open both sides of a cut-over for reading: the kept copy of the old collection, and the live one, without old bookings in it.

    ``archives`` are those of later runs in place in the live collection.
    """
    # Here and not above: the driver is slow to import.
    from booking_migrate.stores.mongo.administration import (  # noqa: PLC0415
        CLIENT_DOCUMENTS_ONLY,
        has_client_index,
        has_index,
    )
    from booking_migrate.stores.mongo.in_place_scan import (  # noqa: PLC0415
        find_moved,
        open_kept_side,
        open_live_side,
    )
    from booking_migrate.stores.mongo.reader import MongoReader  # noqa: PLC0415

    collection, copy = connection.collection(live), connection.collection(kept)
    reader = MongoReader(copy, required=True, address=connection.address(kept))
    collections = [connection.collection(archive) for archive in archives]
    moved = find_moved(copy, collections)
    return Proof(
        open_kept_side(reader, copy, collections, moved),
        open_live_side(collection),
        lambda: has_client_index(collection) or has_index(collection, CLIENT_DOCUMENTS_ONLY),
        frozenset(map(sort_key, moved)),
    )


def _check(source: str, archive: str) -> None:
    for option, name in (("--source", source), ("--archive", archive)):
        if not isinstance(parse_place(name), CollectionPlace):
            raise BadConfiguration(option, f"in place takes a collection, and {name!r} does not name one")
        refuse_own(name)
    if source == archive:
        raise BadConfiguration("--archive", f"{archive} is the collection itself")
