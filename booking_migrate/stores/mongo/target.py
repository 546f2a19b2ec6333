"""A collection as a `TargetWriter`."""

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, OperationFailure
from pymongo.read_concern import ReadConcern
from typing_extensions import override

from booking_migrate.bson.document import MAXIMUM_SIZE, Document, identity_of, value_in
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.rejection import Rejection
from booking_migrate.errors import (
    DocumentIdTaken,
    TargetChanged,
    TargetInOldShape,
    UnusablePlace,
)
from booking_migrate.stores.chunks import by_size
from booking_migrate.stores.mongo.administration import (
    client_index_name,
    create_like,
    ensure_client_index,
    has_client_index,
)
from booking_migrate.stores.mongo.codes import DUPLICATE_KEY, ILLEGAL_OPERATION
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import read, reading, write, writing
from booking_migrate.stores.mongo.raw import (
    SIMPLE,
    any_of,
    as_driver_document,
    delete_versions,
    find_all,
    find_raw,
    id_of,
    replacing,
    same_version,
    same_version_roughly,
    same_version_within_limits,
    stores_any,
)
from booking_migrate.stores.mongo.reader import CLIENT_DOCUMENT_FIELDS, HAS_SESSIONS, OLD_SHAPE
from booking_migrate.stores.mongo.refusals import duplicates as duplicate_keys
from booking_migrate.stores.mongo.rejects import CollectionRejects
from booking_migrate.stores.mongo.retry import (
    attempts,
    in_transaction,
    is_transient,
    settled,
    with_retry,
)
from booking_migrate.stores.mongo.scan import clients_along, find_documents
from booking_migrate.stores.ports import Replacement, TargetWriter, stores_any_bson
from booking_migrate.stores.rejects import RejectsKeeper

_GROUP_BYTES = 8 * 1024 * 1024
_OPERATION_OVERHEAD = 4096
"""More than the names and flags around the two documents of a replacement take, in bytes."""


class MongoTarget(TargetWriter):
    """Writes client documents to a collection; see `TargetWriter` for the promises."""

    def __init__(
        self,
        collection: DriverCollection,
        rejects: RejectsKeeper,
        *,
        model: DriverCollection | None = None,
        is_live: bool = False,
    ) -> None:
        """Take the parts.

        Args:
            collection: where the client documents go.
            rejects: who gets the rejected bookings.
            model: the collection of the bookings, if it is in the same database. If the target is not there yet, it is
                made with this one's default collation, which can only be chosen then: after a cut-over the
                application's queries compare as before.
            is_live: whether it is the live collection after a swap, which has rejected bookings too if they were carried.
        """
        self._collection = collection
        self._is_live = is_live
        self._model = model
        self._rejects = rejects
        self._changed = False
        self.was_empty = False
        """Whether the collection had no document when it was checked."""

        self._is_shared = False
        self._sent = 0
        """How many documents this run has inserted, or tried to."""
        self.name = self._collection.name
        self.rejects_name = self._rejects.name
        self.can_store = stores_any_bson

    @override
    def prepare(self) -> None:
        # Only reads if the unique index is already there.
        self.check()
        if self._model is not None:
            self._changed |= create_like(self._collection, self._model)
        self._changed |= ensure_client_index(self._collection)

    def check(self) -> None:
        """Refuse what `prepare` would refuse, without writing anything.

        Raises:
            TargetInOldShape, UnusablePlace, NotPermitted, ConnectionProblem: as `prepare`.
        """
        self._rejects.prepare()
        self._refuse_other_kinds()
        self._refuse_old_shape()
        self.was_empty = not read(self._collection, lambda: stores_any(self._collection))

    @property
    def shares_rejects(self) -> bool:
        """Return whether other processes can write rejected bookings, too: to a collection, not to a file."""
        return isinstance(self._rejects, CollectionRejects)

    def expect(self, *, was_empty: bool) -> None:
        """Write beside other processes of the same run, which prepared the collection.

        Args:
            was_empty: whether to take it that each client is new, without asking. If one is not, writing it raises DuplicateKeys.
        """
        self._is_shared, self.was_empty = True, was_empty

    def drain(self) -> bool:
        """Return whether anything was written since the last call."""
        changed, self._changed = self._changed, False
        return changed

    def include(self, *, changed: bool, record_ids: Sequence[str]) -> None:
        """Count to this run what another process of it has written: whether it changed anything, and which rejected records are this run's."""
        self._changed |= changed
        if record_ids and isinstance(self._rejects, CollectionRejects):
            self._rejects.include(record_ids)

    def settle(self) -> None:
        """Wait until whatever the primary has taken is seen by a majority read."""
        write(self._collection, lambda: settled(self._collection))

    @override
    def scan_client_documents(self) -> Iterator[bytes]:
        with reading(self._collection):
            yield from find_documents(
                self._collection, HAS_SESSIONS, fields=CLIENT_DOCUMENT_FIELDS, by_client=True
            )

    @override
    def scan_clients(self) -> Iterator[Any]:
        with reading(self._collection):
            index = client_index_name(self._collection)
            if index is not None:
                yield from clients_along(self._collection, index)
                return
            for raw in find_documents(self._collection, {}, fields={"clientId": 1}, by_client=True):
                yield value_in(raw, b"clientId")

    @override
    def may_repeat_clients(self) -> bool:
        return not has_client_index(self._collection)

    @override
    def find_client_documents(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        with reading(self._collection):
            if self._holds_nothing_else():
                return
            wanted: Mapping[str, Any] = any_of("clientId", client_ids)
            if self._is_live:
                wanted = {"$and": [wanted, HAS_SESSIONS]}
            yield from find_documents(self._collection, wanted)

    def _holds_nothing_else(self) -> bool:
        """Return whether only this run has inserted documents: those that are looked up next cannot exist.

        The server's own count costs it nothing. Where it is too small, the unique index still prevents a second document.
        """
        if self._is_shared:
            # The count is that of all processes. What others inserted is refused as a duplicate; see `expect`.
            return self.was_empty
        return self.was_empty and with_retry(self._collection.estimated_document_count) <= self._sent

    @override
    def join(self, changed: Replacement, removed: Sequence[bytes]) -> None:
        self._replace([changed])
        for raw in removed:
            with writing(self._collection):
                deleted = self._collection.delete_one(same_version(raw), collation=SIMPLE).deleted_count
            if not deleted:
                raise TargetChanged(self.name, display_id(id_of(raw)))

    @override
    def refuse_taken_ids(self, documents: Sequence[bytes], freed: Container[bytes]) -> None:
        for some in by_size(documents, len, _GROUP_BYTES):
            there = {
                identity: raw
                for raw in find_all(self._collection, any_of("_id", list(map(id_of, some))))
                if (identity := identity_of(raw)) not in freed
            }
            for raw in some:
                client, other = (
                    value_in(each, b"clientId") for each in (raw, there.get(identity_of(raw), raw))
                )
                if sort_key(client) != sort_key(other):
                    shown = map(display_id, (id_of(raw), client, other))
                    raise DocumentIdTaken(self.name, 1, *shown)

    @override
    def write(
        self,
        new: Sequence[bytes],
        changed: Sequence[Replacement],
        rejected: Sequence[Rejection],
        removed: Sequence[bytes] = (),
    ) -> None:
        # Rejects go first, so that one too large stops the batch before its clients.
        for rejection in rejected:
            self._rejects.add(rejection)
        self._rejects.flush()
        kept: list[Replacement] = []
        taken_over: list[Replacement] = []
        for change in changed:
            (kept if id_of(change.before) == id_of(change.after) else taken_over).append(change)
        for changes in by_size(kept, _replacement_size, _GROUP_BYTES):
            self._replace(changes)
        # An `_id` may pass from one client to another: it is free before it is taken again.
        for group in by_size(removed, len, _GROUP_BYTES):
            self._remove(group)
        for changes in by_size(taken_over, _replacement_size, _GROUP_BYTES):
            self._exchange(changes)
        duplicates: list[Document] = []
        for group in by_size(new, len, _GROUP_BYTES):
            duplicates += self._insert(group)
        if duplicates:
            raise duplicate_keys(self.name, duplicates)

    def _remove(self, documents: Sequence[bytes]) -> None:
        """Delete documents that still are these versions.

        Raises:
            TargetChanged: one of them was changed in the meantime.
        """
        delete_versions(self._collection, documents, same_version_within_limits)
        self._changed = True
        left = find_all(self._collection, any_of("_id", list(map(id_of, documents))))
        if left:
            raise TargetChanged(self.name, display_id(id_of(left[0])))

    @override
    def finish(self) -> bool:
        # Documents are durable already.
        rejects_changed = self._rejects.finish()
        return self._changed or rejects_changed

    @override
    def abandon(self) -> None:
        # Documents that were written stay: the next run finds them.
        self._rejects.abandon()

    def _refuse_other_kinds(self) -> None:
        listed = describe(self._collection)
        if listed is None:
            return
        if listed["type"] != "collection":
            raise UnusablePlace(self.name, f"it is a {listed['type']}")
        if listed.get("options", {}).get("capped"):
            raise UnusablePlace(self.name, "it is a capped collection")

    def _refuse_old_shape(self) -> None:
        found = read(
            self._collection, lambda: next(find_raw(self._collection, OLD_SHAPE, fields={"_id": 1}), None)
        )
        if found is not None:
            raise TargetInOldShape(self.name, display_id(id_of(found)))

    def _insert(self, documents: list[bytes]) -> list[Document]:
        """Insert what can be inserted; return the server's notes on duplicate keys."""
        self._sent += len(documents)
        with writing(self._collection):
            try:
                for attempt in attempts():
                    with attempt:
                        left = documents if attempt.num == 1 else self._lacking(documents)
                        if left:
                            self._collection.insert_many(map(as_driver_document, left), ordered=False)
            except BulkWriteError as error:
                refused = error.details["writeErrors"]
                self._changed |= len(refused) < len(documents)
                others = [problem for problem in refused if problem["code"] != DUPLICATE_KEY]
                if is_transient(error) or others or error.details["writeConcernErrors"]:
                    raise
                return list(refused)
        self._changed = True
        return []

    def _lacking(self, documents: Sequence[bytes]) -> list[bytes]:
        """Return those of these documents that are not there, after a write whose outcome is not known."""
        settled(self._collection)
        there = set(find_raw(self._collection, any_of("_id", list(map(id_of, documents)))))
        return [raw for raw in documents if raw not in there]

    def _replace(self, changes: list[Replacement]) -> None:
        with writing(self._collection):
            for attempt in attempts():
                with attempt:
                    left = changes if attempt.num == 1 else self._unreplaced(changes)
                    matched = self._replace_once(left) if left else 0
        self._changed = True
        if matched < len(left):
            raise TargetChanged(self.name, self._first_unreplaced(changes))

    def _replace_once(self, changes: Sequence[Replacement]) -> int:
        operations = [replacing(_unchanged_since(change), change.after) for change in changes]
        return self._collection.bulk_write(operations, ordered=False).matched_count

    def _unreplaced(self, changes: Sequence[Replacement]) -> list[Replacement]:
        """Return those of these changes that are still to be made, after a write whose outcome is not known."""
        lacking = set(self._lacking([change.after for change in changes]))
        return [change for change in changes if change.after in lacking]

    def _exchange(self, changes: Sequence[Replacement]) -> None:
        """Replace documents by ones with other `_id`, in one transaction: the unique index allows one of a client."""
        with writing(self._collection), self._collection.database.client.start_session() as session:

            def exchange(transaction: ClientSession) -> None:
                for change in changes:
                    before = same_version(change.before)
                    found = self._collection.delete_one(before, collation=SIMPLE, session=transaction)
                    if not found.deleted_count:
                        raise TargetChanged(self.name, display_id(id_of(change.before)))
                documents = [as_driver_document(change.after) for change in changes]
                self._collection.insert_many(documents, session=transaction)

            try:
                in_transaction(session, exchange, ReadConcern("snapshot"))
            except OperationFailure as error:
                if error.code != ILLEGAL_OPERATION:
                    raise
                raise UnusablePlace(self.name, "joining its client documents needs a replica set") from None
        self._changed = True

    def _first_unreplaced(self, changes: list[Replacement]) -> str:
        ids = [id_of(change.after) for change in changes]
        there = set(find_all(self._collection, any_of("_id", ids)))
        unreplaced = (
            document_id for document_id, change in zip(ids, changes, strict=True) if change.after not in there
        )
        return display_id(next(unreplaced, ids[0]))


def _replacement_size(change: Replacement) -> int:
    return len(change.before) + len(change.after)


def _unchanged_since(change: Replacement) -> Any:
    # Query and new version travel as one document, which has MongoDB's limit too.
    if _replacement_size(change) + _OPERATION_OVERHEAD > MAXIMUM_SIZE:
        return same_version_roughly(change.before)
    return same_version(change.before)
