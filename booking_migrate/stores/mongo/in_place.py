"""A collection that is migrated in place, and its archive."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, Self

from bson.errors import BSONError
from pymongo.errors import PyMongoError

from booking_migrate.bson.order import id_key
from booking_migrate.errors import NoTransactions, UnusablePlace, WriteFailed
from booking_migrate.stores.destination import PlaceFinding, examine
from booking_migrate.stores.in_place import PendingDocument, Result, Unit
from booking_migrate.stores.mongo.administration import (
    CLAIMS,
    CLIENT_DOCUMENTS_ONLY,
    EVERY_DOCUMENT,
    FOLLOWED,
    HAS_CLAIM,
    count_client_documents,
    drop,
    has_claims,
    has_index,
    indexes_of,
    make_index,
    options_of,
)
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.exclusive import drop_indexes
from booking_migrate.stores.mongo.failures import absent, read, reading, translated, write
from booking_migrate.stores.mongo.in_place_scan import located, pending
from booking_migrate.stores.mongo.in_place_units import InPlacePlaces, StepByStep, Transaction, transact
from booking_migrate.stores.mongo.inspection import MongoDestination, find_ends
from booking_migrate.stores.mongo.live_swap import guard
from booking_migrate.stores.mongo.raw import SIMPLE, any_of, find_all, find_raw, id_of, stores_any
from booking_migrate.stores.mongo.rejects import CollectionRejects
from booking_migrate.stores.mongo.servers import hosts_of
from booking_migrate.stores.mongo.sessions import Sessions, count_sessions
from booking_migrate.stores.rejects import RejectsKeeper
from booking_migrate.stores.validators import is_guarded

_EXPIRES = "expireAfterSeconds"
"""The option of a TTL index, and of a clustered collection whose documents expire."""

_NEEDED = (CLIENT_DOCUMENTS_ONLY, EVERY_DOCUMENT)
"""The indexes of the collection. The unique one comes first: it refuses."""

_DOCUMENTS_PER_UPDATE = 200
"""How many client documents one statement changes."""


class MongoInPlace:
    """A collection that is migrated in place, with its archive."""

    def __init__(self, places: InPlacePlaces, rejects: DriverCollection, *, has_transactions: bool) -> None:
        """Take what units of work write to, the rejected records of all runs of the database, and whether transactions may be used."""
        self._places: Final = places
        self._collection = places.collection
        self._archive = places.archive
        self._rejects = rejects
        self._sessions = Sessions(places.collection)
        self.name: Final = places.collection.name
        """What to call the collection in messages and reports."""

        self.archive_name: Final = places.archive.name
        """The name of the collection that keeps the old bookings whole."""

        self.has_transactions: Final = has_transactions
        """Whether a unit of work is atomic; if not, the application must be stopped."""

    def check(self) -> None:
        """Refuse, before anything is written, what cannot be migrated in place.

        Raises:
            PlaceNotFound, UnusablePlace: the collection or the archive is a view, capped, a time series, or not there.
            NoTransactions: they are to be used, and the server does not support them.
        """
        if describe(self._collection) is None:
            raise absent(self._collection)
        for collection in (self._collection, self._archive):
            problem = _unfit(collection)
            if problem is not None:
                raise UnusablePlace(collection.name, problem)
        expiring = _expiring(self._archive)
        if expiring is not None:
            raise UnusablePlace(self.archive_name, *expiring)
        if not self.has_transactions:
            return
        hello = read(self._collection, lambda: self._collection.database.command("hello"))
        if "setName" not in hello and hello.get("msg") != "isdbgrid":
            raise NoTransactions(hosts_of(self._collection))

    def ends(self, count: int) -> Sequence[bytes]:
        """Return its first and its last ``count`` documents in the order of `_id`, each once."""
        return find_ends(self._collection, count)

    def examine(self, documents: Sequence[bytes]) -> Sequence[PlaceFinding]:
        """Find what its indexes and options do to client documents; see `stores.destination.examine`."""
        return examine(
            MongoDestination(self._collection),
            documents,
            in_place=True,
            has_transactions=self.has_transactions,
        )

    def estimate_count(self) -> int:
        """Return how many documents the collection holds, roughly and at once."""
        return read(self._collection, self._collection.estimated_document_count)

    def count_client_documents(self) -> int:
        """Return how many client documents the collection holds; the server reads all of it."""
        return count_client_documents(self._collection)

    def estimate_archived(self) -> int:
        """Return how many documents the archive holds, roughly and at once."""
        return read(self._archive, self._archive.estimated_document_count)

    def archive_exists(self) -> bool:
        """Return whether the archive exists."""
        return describe(self._archive) is not None

    def is_archive_empty(self) -> bool:
        """Return whether the archive has no document, or does not exist."""
        return not read(self._archive, lambda: stores_any(self._archive))

    def lacking_indexes(self) -> Sequence[str]:
        """Return the names of the indexes of the collection that `prepare` would create."""
        return [index.name for index in _NEEDED if not has_index(self._collection, index)]

    def prepare(self) -> None:
        """Make the archive and the indexes that are lacking; among them the unique one over client documents.

        Raises:
            DuplicateClientDocuments: clients have more than one client document; nothing was made.
        """
        for index in _NEEDED:
            make_index(self._collection, index)
        make_index(self._archive, EVERY_DOCUMENT)

    def pending(self) -> Iterator[PendingDocument]:
        """Yield what is left to be moved or rejected: every document that is not a sound client document.

        First what has no client, in the order of `_id`; then, client after client in MongoDB's order of their ids, the
        rest. It continues automatically after an election or a lost cursor. What comes into the collection meanwhile may be
        seen or not.
        """
        with reading(self._collection):
            yield from pending(self._collection)

    def find(self, ids: Sequence[Any]) -> Sequence[bytes]:
        """Return the collection's documents with these `_id` values."""
        return find_all(self._collection, any_of("_id", ids))

    def archived(self, ids: Sequence[Any]) -> Sequence[bytes]:
        """Return the archive's documents with these `_id` values."""
        return find_all(self._archive, any_of("_id", ids))

    def claiming(self, ids: Sequence[Any]) -> Sequence[bytes]:
        """Return the collection's documents with a session of one of these bookings; see `index_claims`."""
        return find_all(self._collection, any_of("sessions.legacyBookingId", ids))

    def has_claims(self) -> bool:
        """Return whether any document of the collection has a session of a booking."""
        return has_claims(self._collection)

    def present(self, ids: Sequence[Any]) -> set[bytes]:
        """Return the sort keys of those of these `_id` values that the collection has; no document is read for it."""
        found = partial(
            find_raw, self._collection, any_of("_id", ids), fields={"_id": 1}, at_once=len(ids) + 1
        )
        return set(map(id_key, read(self._collection, lambda: list(found()))))

    def located(self, ids: Sequence[Any], *, archived: bool = False) -> Sequence[PendingDocument]:
        """Return which documents with these `_id` values the collection has, or the archive, and of which clients they are."""
        collection = self._archive if archived else self._collection
        return read(collection, lambda: located(collection, ids))

    def server_sessions(self, count: int = 1) -> bytes:
        """Return the ids of the server sessions in which units of work run, at most this number at a time. The server is contacted."""
        return self._sessions.ids(count)

    def end_units(self, run_id: str, server_sessions: bytes) -> None:
        """End the units of work that another process left open, which block writes to their documents.

        A process that only was suspended continues later. The server ends sessions of the same user alone; so the documents of
        progress are changed too, which every unit writes: one that has read before that cannot commit any more.
        """
        self._sessions.end(server_sessions)
        if self.has_transactions:
            self._places.journal.touch_progress(run_id, count_sessions(server_sessions))

    def work(self, on: Callable[[Unit], Result]) -> Result:
        """Run one unit of work; it is durable (majority) when this returns. ``on`` may be called more than once.

        Several may run at the same time, on threads, if `server_sessions` was asked for as many.

        Raises:
            Contended: the application wrote to these documents at the same time; nothing was done.
        """
        try:
            if not self.has_transactions:
                return on(StepByStep(self._places))
            with self._sessions.one() as lent:
                return transact(
                    lent, self._collection, lambda session: on(Transaction(self._places, session))
                )
        except (PyMongoError, BSONError) as error:
            raise translated(error, self._collection, WriteFailed) from None

    def lacks_claims_index(self) -> str | None:
        """Return the name of the index by which the sessions of a booking are found; None if the collection has one."""
        return None if has_index(self._collection, CLAIMS) else CLAIMS.name

    def index_claims(self) -> None:
        """Make that index."""
        make_index(self._collection, CLAIMS)

    def drop_indexes(self, names: Sequence[str]) -> bool:
        """Drop those indexes of the collection that exist; return whether any did."""
        return drop_indexes(self._collection, names)

    def drop_archive(self, *, only_if_empty: bool) -> bool:
        """Drop the archive; return whether it was dropped."""
        return drop(self._archive, only_if_empty=only_if_empty)

    def guard(self) -> None:
        """Let the collection refuse old bookings that come, beside its own validator. May be repeated."""
        guard(self._collection, is_lenient=True)

    def is_guarded(self) -> bool:
        """Return whether the collection has the validator of `guard`."""
        return is_guarded(options_of(self._collection))

    def past_guard(self) -> Self:
        """Return the same, whose units of work store old bookings past the guard, if there is one; it stays for all others.

        The server then does not check them against the collection's own validator either.
        """
        places = self._places._replace(is_guarded=self.is_guarded())
        return type(self)(places, self._rejects, has_transactions=self.has_transactions)

    def drop_legacy_indexes(self) -> tuple[Sequence[str], Sequence[str]]:
        """Drop the program's own indexes on `legacyBookingId`; return their names, and those of others, which stay."""
        field = FOLLOWED.field
        there = [str(index["name"]) for index in indexes_of(self._collection) if field in index["key"]]
        own = [name for name in there if name in (FOLLOWED.name, CLAIMS.name)]
        self.drop_indexes(own)
        return own, [name for name in there if name not in own]

    def drop_legacy_ids(self) -> Iterator[int]:
        """Remove `legacyBookingId` from all sessions, batch by batch; yield how many client documents each batch changed."""
        # An element of `sessions` that is not a document is left alone.
        while True:
            with reading(self._collection):
                raws = find_raw(self._collection, HAS_CLAIM, fields={"_id": 1})
                ids = [id_of(raw) for raw in islice(raws, _DOCUMENTS_PER_UPDATE)]
            if not ids:
                return
            yield self._drop_legacy_ids(any_of("_id", ids))

    def _drop_legacy_ids(self, condition: Mapping[str, Any]) -> int:
        changed = write(
            self._collection,
            lambda: self._collection.update_many(
                condition,
                {"$unset": {"sessions.$[session].legacyBookingId": ""}},
                array_filters=[{"session.legacyBookingId": {"$exists": True}}],
                collation=SIMPLE,
            ),
        )
        return changed.modified_count

    def rejects(self) -> RejectsKeeper:
        """Return a new keeper of the rejected bookings, for one pass through the collection."""
        return CollectionRejects(self._rejects, source=self.name, target=self.name)


def _expiring(archive: DriverCollection) -> tuple[str, str] | None:
    """Return what makes the server delete old bookings of an archive, and the command that ends it; None if nothing does."""
    if _EXPIRES in options_of(archive):
        off = f'db.runCommand({{collMod: "{archive.name}", {_EXPIRES}: "off"}})'
        return "its documents expire, so that no rollback could restore them", f"In the server's shell: {off}"
    index = next((each for each in indexes_of(archive) if _EXPIRES in each), None)
    if index is None:
        return None
    problem = (
        f"its index {index['name']} makes the server delete documents, so that no rollback could restore them"
    )
    return problem, f'In the server\'s shell: db.getCollection("{archive.name}").dropIndex("{index["name"]}")'


def _unfit(collection: DriverCollection) -> str | None:
    """Return why a collection cannot be migrated in place; None if it can, or does not exist."""
    listed = describe(collection)
    if listed is None:
        return None
    kinds = {"view": "it is a view", "timeseries": "it is a time series"}
    if listed["type"] != "collection":
        return kinds.get(listed["type"], f"it is a {listed['type']}")
    return "it is a capped collection" if listed.get("options", {}).get("capped") else None
