"""Units of work in place: as a transaction, or step by step on a server without transactions.

A transaction is repeated while what keeps it from succeeding is passing (manual, core/transactions-in-applications): with
the label TransientTransactionError as a whole, and with UnknownTransactionCommitResult its commit alone.
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pymongo import ReplaceOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from typing_extensions import override

from booking_migrate.bson.format import display_id
from booking_migrate.errors import Contended, ServerUnreachable, TargetChanged
from booking_migrate.stores.in_place import Move, Result, Unit
from booking_migrate.stores.mongo import retry
from booking_migrate.stores.mongo.codes import (
    DUPLICATE_KEY,
    INTERRUPTED,
    LOCK_TIMEOUT,
    TRANSIENT_TRANSACTION,
    UNKNOWN_COMMIT,
    WRITE_CONFLICT,
)
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import write
from booking_migrate.stores.mongo.journal import MongoJournal
from booking_migrate.stores.mongo.journal_notes import WrittenRange
from booking_migrate.stores.mongo.raw import (
    SIMPLE,
    any_of,
    as_driver_document,
    find_all,
    find_raw,
    id_of,
    insert_absent,
    replacing,
)
from booking_migrate.stores.mongo.refusals import is_on
from booking_migrate.stores.ports import Replacement

_PAUSE = 0.2


class InPlacePlaces(NamedTuple):
    """Where a unit of work writes."""

    collection: DriverCollection
    """Where old bookings and client documents are."""

    archive: DriverCollection
    """Where old bookings go."""

    runs: DriverCollection
    """The runs' records."""

    journal: MongoJournal
    """The journal; here it is written within transactions."""

    is_guarded: bool = False
    """Whether documents are written to the collection past its validator, which takes the privilege `bypassDocumentValidation`."""


class _MongoUnit(Unit):
    """What both kinds of a unit have in common."""

    def __init__(self, places: InPlacePlaces) -> None:
        self._collection, self._archive, self._runs, self._journal, self._is_guarded = places

    @abstractmethod
    def _find(self, collection: DriverCollection, condition: Mapping[str, Any]) -> Sequence[bytes]:
        """Return the documents of a collection that meet a condition."""

    @override
    def find(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        return self._find(self._collection, any_of("clientId", client_ids))

    @override
    def archived_of(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        return self._find(self._archive, any_of("clientId", client_ids))

    @override
    def archived(self, ids: Sequence[Any]) -> Sequence[bytes]:
        return self._find(self._archive, any_of("_id", ids))

    @override
    def present(self, ids: Sequence[Any]) -> Sequence[bytes]:
        return self._find(self._collection, any_of("_id", ids))

    @override
    def claiming(self, ids: Sequence[Any], but: Sequence[Any] = ()) -> Sequence[bytes]:
        claims: Mapping[str, Any] = any_of("sessions.legacyBookingId", ids)
        if but:
            # As an expression: the server would try the index on `clientId`, too.
            claims = {
                "$and": [claims, {"$expr": {"$not": [{"$in": ["$clientId", {"$literal": list(but)}]}]}}]
            }
        return self._find(self._collection, claims)

    def _note(self, move: Move, insert: Callable[[WrittenRange], None]) -> str | None:
        """Write a move's notes; return the name of the last one."""
        last: str | None = None
        for noted in move.notes:
            for written in self._journal.written(move.run_id, move.token, noted):
                insert(written)
                last = written.fields["_id"]
        return last

    def _save(self, move: Move, noted: str | None, session: ClientSession | None = None) -> None:
        """Write a move's progress into the run's record, with the name of its last note if it has any."""
        progress = {**move.progress, "noted": noted} if noted else move.progress
        fields: Mapping[str, Any] = {name: {"$literal": value} for name, value in progress.items()}
        self._runs.update_one(
            {"_id": move.run_id}, [{"$set": {**fields, "heartbeat_at": "$$NOW"}}], session=session
        )


class Transaction(_MongoUnit):
    """A unit of work in a transaction. The driver's errors pass through untouched."""

    def __init__(self, places: InPlacePlaces, session: ClientSession) -> None:
        super().__init__(places)
        self._session = session

    @override
    def _find(self, collection: DriverCollection, condition: Mapping[str, Any]) -> Sequence[bytes]:
        return list(find_raw(collection, condition, session=self._session))

    @override
    def take(self, move: Move) -> None:
        move.confirm()
        # Bookings go before documents come: an index may be unique over both.
        writes = move.writes
        self._insert(self._archive, writes.archived)
        self._delete(self._collection, writes.gone, writes.gone_of)
        self._delete(self._collection, writes.removed)
        self._replace(self._collection, writes.changed, bypasses=self._is_guarded)
        self._replace(self._archive, writes.rearchived)
        self._insert(self._collection, writes.new, bypasses=self._is_guarded)
        self._delete(self._archive, writes.unarchived, writes.unarchived_of)
        last = self._note(move, lambda written: self._journal.insert(written, self._session))
        if move.slot is None:
            self._save(move, last, self._session)
        else:
            self._journal.keep_progress(move.run_id, move.slot, move.progress, self._session)

    def _insert(
        self, collection: DriverCollection, documents: Sequence[bytes], *, bypasses: bool = False
    ) -> None:
        if documents:
            collection.insert_many(
                map(as_driver_document, documents),
                bypass_document_validation=bypasses or None,
                session=self._session,
            )

    def _replace(
        self, collection: DriverCollection, changes: Sequence[Replacement], *, bypasses: bool = False
    ) -> None:
        if changes:
            collection.bulk_write(
                _replacements(changes), bypass_document_validation=bypasses or None, session=self._session
            )

    def _delete(
        self, collection: DriverCollection, documents: Sequence[bytes], clients: Sequence[Any] = ()
    ) -> None:
        if not documents:
            return
        condition = any_of("clientId", clients) if clients else _ids_of(documents)
        deleted = collection.delete_many(condition, collation=SIMPLE, session=self._session).deleted_count
        if clients and deleted != len(documents):
            # Both are of one snapshot.
            raise TargetChanged(collection.name, display_id(clients[0]))


class StepByStep(_MongoUnit):
    """A unit of work whose steps can be taken again. Other processes must not write to these documents meanwhile.

    A process that was suspended between two steps, or has waited for its server, may have lost the lock since: another one has
    then completed or undone the unit, and what would follow here would delete what that has restored.
    """

    @override
    def _find(self, collection: DriverCollection, condition: Mapping[str, Any]) -> Sequence[bytes]:
        return find_all(collection, condition)

    @override
    def take(self, move: Move) -> None:
        # At every moment a booking is somewhere, and until the deletion it may be seen twice.
        writes, confirm = move.writes, move.confirm
        confirm()
        last = self._note(move, self._journal.put)
        insert_missing(self._archive, writes.archived, confirm)
        _replace(self._archive, writes.rearchived, confirm)
        insert_missing(self._collection, writes.new, confirm, bypasses=self._is_guarded)
        _replace(self._collection, writes.changed, confirm, bypasses=self._is_guarded)
        _remove(self._collection, [*writes.gone, *writes.removed], confirm)
        _remove(self._archive, writes.unarchived, confirm)
        _confirmed(self._runs, confirm, lambda: self._save(move, last))


def insert_missing(
    collection: DriverCollection,
    documents: Sequence[bytes],
    confirm: Callable[[], None],
    *,
    bypasses: bool = False,
) -> None:
    """Insert documents, some of which may be there since a step was cut off.

    ``confirm`` checks that the lock is still held, and is called right before; ``bypasses`` as of `insert_absent`.

    Raises:
        TargetChanged: another one is there instead: another process is writing.
    """
    if not documents:
        return
    confirm()
    if insert_absent(collection, documents, bypasses=bypasses):
        return
    there = set(find_all(collection, _ids_of(documents)))
    other = next((raw for raw in documents if raw not in there), None)
    if other is not None:
        raise TargetChanged(collection.name, display_id(id_of(other)))


def _replace(
    collection: DriverCollection,
    changes: Sequence[Replacement],
    confirm: Callable[[], None],
    *,
    bypasses: bool = False,
) -> None:
    if changes:
        replaced = _replacements(changes)
        past = bypasses or None
        _confirmed(
            collection, confirm, lambda: collection.bulk_write(replaced, bypass_document_validation=past)
        )


def _remove(collection: DriverCollection, documents: Sequence[bytes], confirm: Callable[[], None]) -> None:
    if documents:
        condition = _ids_of(documents)
        _confirmed(collection, confirm, lambda: collection.delete_many(condition, collation=SIMPLE))


def _confirmed(
    collection: DriverCollection, confirm: Callable[[], None], action: Callable[[], object]
) -> None:
    """Write, and check right before each attempt that the lock is held: what is waited for may take longer than a lease."""

    def confirmed() -> None:
        confirm()
        action()

    write(collection, confirmed)


def _replacements(changes: Sequence[Replacement]) -> list[ReplaceOne[Any] | UpdateOne]:
    """Return the operations that replace documents by others with the same `_id`."""
    return [replacing(_ids_of([change.after]), change.after) for change in changes]


def _ids_of(documents: Sequence[bytes]) -> Mapping[str, Any]:
    """Return the query for documents with the `_id` of these."""
    return any_of("_id", list(map(id_of, documents)))


def transact(
    session: ClientSession, collection: DriverCollection, work: Callable[[ClientSession], Result]
) -> Result:
    """Run a unit of work in a transaction with snapshot reads and majority writes; it may be called more than once.

    Raises:
        Contended: another client wrote to the same documents; nothing was done.
        PyMongoError: anything else, or what should have been passing has not passed.
    """
    deadline = time.monotonic() + retry.RETRY_TIMEOUT
    while True:
        try:
            return _once(session, work, deadline)
        except (PyMongoError, ServerUnreachable) as error:
            if _is_contention(error):
                raise Contended(collection.name) from None
            if not _is_passing(error) or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)


def _once(session: ClientSession, work: Callable[[ClientSession], Result], deadline: float) -> Result:
    result = retry.begun(session, work, ReadConcern("snapshot"))
    while True:
        try:
            session.commit_transaction()
        except PyMongoError as error:
            is_unknown = error.has_error_label(UNKNOWN_COMMIT) or _is_interrupted(error)
            if not is_unknown or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return result


def _is_passing(error: Exception) -> bool:
    if isinstance(error, ServerUnreachable) or _is_interrupted(error):
        return True
    return isinstance(error, PyMongoError) and error.has_error_label(TRANSIENT_TRANSACTION)


def _is_interrupted(error: Exception) -> bool:
    """Return whether the operation or its session was killed; the transaction is aborted then, or was committed."""
    return isinstance(error, OperationFailure) and error.code == INTERRUPTED


def _is_contention(error: Exception) -> bool:
    """Return whether other processes write to the same clients.

    A duplicate in the index on `clientId` is a client document that the application has just made. In any other unique
    index it will not pass.
    """
    if not isinstance(error, OperationFailure):
        return False
    details = error.details or {}
    problems = [{**details, "code": error.code}, *details.get("writeErrors", ())]
    return any(
        problem.get("code") in (LOCK_TIMEOUT, WRITE_CONFLICT)
        or (problem.get("code") == DUPLICATE_KEY and is_on(problem, "clientId"))
        for problem in problems
    )
