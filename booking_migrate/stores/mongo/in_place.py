"""A collection and its archive as an `InPlaceCollection`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from bson.binary import UUID_SUBTYPE, Binary
from bson.errors import BSONError
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure, PyMongoError
from typing_extensions import override

from booking_migrate.bson.document import value_in
from booking_migrate.errors import NoTransactions, PlaceNotFound, UnusablePlace, WriteFailed
from booking_migrate.stores.destination import PlaceFinding, examine
from booking_migrate.stores.in_place import CLAIMED_BOOKINGS, InPlaceCollection, Move, Result, Unit, Waiting
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.destination import MongoDestination, find_ends
from booking_migrate.stores.mongo.failures import reading, translated, writing
from booking_migrate.stores.mongo.in_place_indexes import (
    CLIENT_DOCUMENTS_ONLY,
    EVERY_DOCUMENT,
    drop_index,
    has_claims_index,
    has_client_documents_index,
    has_client_index,
    make_claims_index,
    make_client_documents_index,
    make_client_index,
)
from booking_migrate.stores.mongo.in_place_steps import CLAIM, StepByStep, replacements
from booking_migrate.stores.mongo.journal import MongoJournal
from booking_migrate.stores.mongo.pending import waiting
from booking_migrate.stores.mongo.raw import SIMPLE, any_of, as_driver_document, find_raw, stores_any
from booking_migrate.stores.mongo.rejects import CollectionRejects
from booking_migrate.stores.mongo.retry import attempts, with_retry
from booking_migrate.stores.mongo.servers import hosts_of
from booking_migrate.stores.mongo.transactions import transact
from booking_migrate.stores.rejects import RejectsKeeper

_AT_ONCE = 200
"""How many client documents one statement changes."""


class MongoInPlace(InPlaceCollection):
    """See `InPlaceCollection` for the promises."""

    def __init__(
        self,
        collection: DriverCollection,
        archive: DriverCollection,
        rejects: DriverCollection,
        runs: DriverCollection,
        journal: MongoJournal,
        *,
        has_transactions: bool,
    ) -> None:
        """Take the parts.

        Args:
            collection: where old bookings and client documents are.
            archive: where old bookings go.
            rejects: the collection of rejected records, which all runs of the database share.
            runs: the collection of the runs' records.
            journal: the journal; here it is written within transactions.
            has_transactions: whether they may be used.
        """
        self._collection = collection
        self._archive = archive
        self._rejects = rejects
        self._runs: Final = runs
        self._journal = journal
        self._has_transactions = has_transactions
        self._session: ClientSession | None = None

    @property
    @override
    def name(self) -> str:
        return self._collection.name

    @property
    @override
    def archive_name(self) -> str:
        return self._archive.name

    @property
    @override
    def has_transactions(self) -> bool:
        return self._has_transactions

    @override
    def check(self) -> None:
        if describe(self._collection) is None:
            raise PlaceNotFound(self.name, self._collection.database.name, hosts_of(self._collection))
        for collection in (self._collection, self._archive):
            problem = _unfit(collection)
            if problem is not None:
                raise UnusablePlace(collection.name, problem)
        if not self._has_transactions:
            return
        with reading(self._collection):
            hello = with_retry(lambda: self._collection.database.command("hello"))
        if "setName" not in hello and hello.get("msg") != "isdbgrid":
            raise NoTransactions(hosts_of(self._collection))

    @override
    def ends(self, count: int) -> Sequence[bytes]:
        return find_ends(self._collection, count)

    @override
    def examine(self, documents: Sequence[bytes]) -> Sequence[PlaceFinding]:
        return examine(
            MongoDestination(self._collection),
            documents,
            in_place=True,
            has_transactions=self._has_transactions,
        )

    @override
    def estimate_count(self) -> int:
        with reading(self._collection):
            return with_retry(self._collection.estimated_document_count)

    @override
    def archive_exists(self) -> bool:
        return describe(self._archive) is not None

    @override
    def is_archive_empty(self) -> bool:
        with reading(self._archive):
            return with_retry(lambda: self._archive.find_one({}, {"_id": 1})) is None

    @override
    def lacking_indexes(self) -> Sequence[str]:
        needed = {
            CLIENT_DOCUMENTS_ONLY: has_client_documents_index,
            EVERY_DOCUMENT: has_client_index,
        }
        return [name for name, is_there in needed.items() if not is_there(self._collection)]

    @override
    def prepare(self) -> None:
        # The unique index comes first: it refuses.
        lacking = self.lacking_indexes()
        if CLIENT_DOCUMENTS_ONLY in lacking:
            make_client_documents_index(self._collection)
        if EVERY_DOCUMENT in lacking:
            make_client_index(self._collection)
        if not has_client_index(self._archive):
            make_client_index(self._archive)

    @override
    def waiting(self) -> Iterator[Waiting]:
        with reading(self._collection):
            yield from waiting(self._collection)

    @override
    def find(self, ids: Sequence[Any]) -> Sequence[bytes]:
        return _found(self._collection, any_of("_id", ids))

    @override
    def archived(self, ids: Sequence[Any]) -> Sequence[bytes]:
        return _found(self._archive, any_of("_id", ids))

    @override
    def find_by_client(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        return _found(self._collection, any_of("clientId", client_ids))

    @override
    def server_session(self) -> bytes:
        return bytes(self._own_session().session_id["id"])

    @override
    def end_session(self, server_session: bytes) -> None:
        # Every user may end sessions of their own (manual, killSessions).
        identity = {"id": Binary(server_session, UUID_SUBTYPE)}
        try:
            self._collection.database.client.admin.command("killSessions", [identity])
        except OperationFailure:
            # Then it ends by itself, after the server's limit on the life of a transaction.
            return
        except PyMongoError as error:
            raise translated(error, self._collection, WriteFailed) from None

    def _own_session(self) -> ClientSession:
        if self._session is None:
            with reading(self._collection):
                self._session = self._collection.database.client.start_session()
        return self._session

    @override
    def work(self, on: Callable[[Unit], Result]) -> Result:
        session = self._own_session() if self._has_transactions else None
        try:
            if session is None:
                return on(StepByStep(self._collection, self._archive, self._runs, self._journal))
            return transact(session, self._collection, lambda transaction: on(self._unit(transaction)))
        except (PyMongoError, BSONError) as error:
            raise translated(error, self._collection, WriteFailed) from None

    def _unit(self, session: ClientSession) -> "_Transaction":
        return _Transaction(self._collection, self._archive, self._runs, self._journal, session)

    @override
    def lacks_claims_index(self) -> str | None:
        return None if has_claims_index(self._collection) else CLAIMED_BOOKINGS

    @override
    def index_claims(self) -> None:
        make_claims_index(self._collection)

    @override
    def drop_indexes(self, names: Sequence[str]) -> bool:
        dropped = [name for name in names if drop_index(self._collection, name)]
        return bool(dropped)

    @override
    def drop_archive(self, *, only_if_empty: bool) -> bool:
        # The server lacks a conditional drop, so documents that come after the check are dropped, too.
        if not self.archive_exists():
            return False
        with reading(self._archive):
            if only_if_empty and stores_any(self._archive):
                return False
        with writing(self._archive):
            for attempt in attempts():
                with attempt:
                    self._archive.drop()
        return True

    @override
    def drop_legacy_ids(self) -> Iterator[int]:
        # An element of `sessions` that is not a document is left alone.
        has_claim = {"sessions.legacyBookingId": {"$exists": True}}
        while True:
            with reading(self._collection):
                raws = find_raw(self._collection, has_claim, fields={"_id": 1})
                ids = [_id_of(raw) for raw in islice(raws, _AT_ONCE)]
            if not ids:
                return
            with writing(self._collection):
                for attempt in attempts():
                    with attempt:
                        changed = self._collection.update_many(
                            any_of("_id", ids),
                            {"$unset": {"sessions.$[session].legacyBookingId": ""}},
                            array_filters=[{"session.legacyBookingId": {"$exists": True}}],
                            collation=SIMPLE,
                        )
            yield changed.modified_count

    @override
    def rejects(self) -> RejectsKeeper:
        return CollectionRejects(self._rejects, source=self.name, target=self.name)


def _found(collection: DriverCollection, condition: Mapping[str, Any]) -> Sequence[bytes]:
    with reading(collection):
        for attempt in attempts():
            with attempt:
                found = list(find_raw(collection, condition))
    return found


def _unfit(collection: DriverCollection) -> str | None:
    """Return why a collection cannot be migrated in place; None if it can, or does not exist."""
    listed = describe(collection)
    if listed is None:
        return None
    kinds = {"view": "it is a view", "timeseries": "it is a time series"}
    if listed["type"] != "collection":
        return kinds.get(listed["type"], f"it is a {listed['type']}")
    return "it is a capped collection" if listed.get("options", {}).get("capped") else None


class _Transaction(Unit):
    """A unit of work in a transaction; see `Unit` for the promises. The driver's errors pass through untouched."""

    def __init__(
        self,
        collection: DriverCollection,
        archive: DriverCollection,
        runs: DriverCollection,
        journal: MongoJournal,
        session: ClientSession,
    ) -> None:
        self._collection = collection
        self._archive = archive
        self._runs = runs
        self._journal = journal
        self._session = session

    @override
    def find(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        return list(find_raw(self._collection, any_of("clientId", client_ids), session=self._session))

    @override
    def archived_of(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        return list(find_raw(self._archive, any_of("clientId", client_ids), session=self._session))

    @override
    def archived(self, ids: Sequence[Any]) -> Sequence[bytes]:
        return list(find_raw(self._archive, any_of("_id", ids), session=self._session))

    @override
    def standing(self, ids: Sequence[Any]) -> Sequence[bytes]:
        return list(find_raw(self._collection, any_of("_id", ids), session=self._session))

    @override
    def claiming(self, ids: Sequence[Any]) -> Sequence[bytes]:
        return list(find_raw(self._collection, any_of(CLAIM, ids), session=self._session))

    @override
    def take(self, move: Move) -> None:
        # Bookings go before documents come: an index may be unique over both.
        if move.archived:
            self._archive.insert_many(map(as_driver_document, move.archived), session=self._session)
        if move.gone:
            ids = [_id_of(raw) for raw in move.gone]
            self._collection.delete_many(any_of("_id", ids), collation=SIMPLE, session=self._session)
        if move.changed:
            self._collection.bulk_write(replacements(move.changed), session=self._session)
        if move.rearchived:
            self._archive.bulk_write(replacements(move.rearchived), session=self._session)
        if move.new:
            self._collection.insert_many(map(as_driver_document, move.new), session=self._session)
        if move.unarchived:
            ids = [_id_of(raw) for raw in move.unarchived]
            self._archive.delete_many(any_of("_id", ids), collation=SIMPLE, session=self._session)
        self._note(move)

    def _note(self, move: Move) -> None:
        progress = dict(move.progress)
        for noted in move.notes:
            for written in self._journal.written(move.run_id, move.token, noted):
                self._journal.insert(written, self._session)
                progress["noted"] = written.fields["_id"]
        fields: Mapping[str, Any] = {name: {"$literal": value} for name, value in progress.items()}
        self._runs.update_one(
            {"_id": move.run_id}, [{"$set": {**fields, "heartbeat_at": "$$NOW"}}], session=self._session
        )


def _id_of(raw: bytes) -> Any:
    return value_in(raw, b"_id")
