"""What a rollback writes to: the target of a run that is undone, and the collection of the restored bookings."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from typing import Any, Final

from bson import json_util
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError

from booking_migrate.errors import Contended
from booking_migrate.stores.cutover import IndexNote, options_of_index, written
from booking_migrate.stores.mongo.administration import (
    FOLLOWED,
    client_index_name,
    comment_for,
    create,
    create_index,
    drop,
    end_own_commands,
    has_same_hash,
    identity,
)
from booking_migrate.stores.mongo.codes import DUPLICATE_KEY
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.exclusive import drop_index, drop_indexes, rename_over, validate
from booking_migrate.stores.mongo.failures import read, reading, write
from booking_migrate.stores.mongo.in_place_units import transact
from booking_migrate.stores.mongo.kept_copy import copy_into, find_without_id
from booking_migrate.stores.mongo.raw import (
    SIMPLE,
    any_of,
    as_driver_document,
    delete_versions,
    find_raw,
    id_of,
    insert_absent,
    same_version_within_limits,
    stores_any,
)
from booking_migrate.stores.mongo.rejects import find_records
from booking_migrate.stores.mongo.scan import find_documents
from booking_migrate.stores.mongo.sessions import Sessions
from booking_migrate.stores.ports import Replacement, TargetWriter
from booking_migrate.stores.validators import NO_VALIDATION, validation_of

_IDS_PER_DELETE = 1000
_EXPIRES = "expireAfterSeconds"
"""The option of a TTL index, and of a clustered collection whose documents expire."""


class MongoUndo:
    """A target collection and its rejected records, as rollback needs them."""

    def __init__(
        self, collection: DriverCollection, rejects: DriverCollection, writer: TargetWriter, *, source: str
    ) -> None:
        """Take the target, the rejected records of all runs, the target as a migration writes it, and the source's name in those records."""
        self.name: Final = collection.name
        """What to call the place in messages and reports."""

        self._collection = collection
        self._rejects = rejects
        self._writer = writer
        self._source = source
        self._sessions = Sessions(collection)
        self._has_transactions: bool | None = None

    def exists(self) -> bool:
        """Return whether it is there."""
        return describe(self._collection) is not None

    def has_client_index(self) -> bool:
        """Return whether it has a unique index on `clientId`."""
        return client_index_name(self._collection) is not None

    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the documents with these `_id` values, whole, in any order; at most a few thousand values."""
        with reading(self._collection):
            yield from find_documents(self._collection, any_of("_id", ids))

    def remove(self, documents: Sequence[bytes]) -> None:
        """Delete documents that still are these versions; others stay."""
        if documents:
            delete_versions(self._collection, documents, same_version_within_limits)

    def server_sessions(self, count: int) -> bytes | None:
        """Return the ids of the server sessions of `remove_own`, at most this number at a time; None: the server has no transactions."""
        if self._has_transactions is None:
            hello = read(self._collection, lambda: self._collection.database.command("hello"))
            self._has_transactions = "setName" in hello or hello.get("msg") == "isdbgrid"
        return self._sessions.ids(count) if self._has_transactions else None

    def end_sessions(self, server_sessions: bytes) -> None:
        """End the transactions that a killed process left open."""
        self._sessions.end(server_sessions)

    def remove_own(
        self, ids: Sequence[Any], is_own: Callable[[bytes], bool], confirm: Callable[[], None]
    ) -> int:
        """Delete those documents with these `_id` values that are the caller's own as they are; return how many these were.

        In a transaction the server makes sure that a document is still what was read. Several threads may do so at a time, for
        other documents, if `server_sessions` was asked for as many.

        Args:
            ids: at most a few thousand.
            is_own: says of a document whether to delete it.
            confirm: called right before something is deleted.
        """
        if self.server_sessions(1) is not None:

            def remove(session: ClientSession) -> int:
                found = find_raw(self._collection, any_of("_id", ids), session=session)
                own = [id_of(raw) for raw in found if is_own(raw)]
                if own:
                    confirm()
                    self._collection.delete_many(any_of("_id", own), collation=SIMPLE, session=session)
                return len(own)

            with suppress(Contended), self._sessions.one() as lent:
                return write(self._collection, lambda: transact(lent, self._collection, remove))
        # Without transactions, or if others write to these documents, the server compares them with what was read.
        own = [raw for raw in self.find(ids) if is_own(raw)]
        if own:
            confirm()
            self.remove(own)
        return len(own)

    def holds_nothing(self) -> bool:
        """Return whether the collection has no document, or does not exist."""
        return not read(self._collection, lambda: stores_any(self._collection))

    def restore(self, changes: Sequence[Replacement]) -> None:
        """Put older versions (``after``) back in the place of documents that still are ``before``.

        Raises:
            TargetChanged: one of them was changed in the meantime.
        """
        if changes:
            self._writer.write([], changes, [])

    def insert(self, documents: Sequence[bytes]) -> None:
        """Insert removed documents again. One that exists already stays."""
        insert_absent(self._collection, documents)

    def drop_client_index(self) -> None:
        """Remove the unique index on `clientId`, if there is one."""
        name = client_index_name(self._collection)
        if name is not None:
            drop_index(self._collection, name)

    def drop_followed_index(self) -> None:
        """Remove the index that following has made, if it has; one of others that serves it as well stays."""
        drop_indexes(self._collection, [FOLLOWED.name])

    def drop_if_empty(self) -> bool:
        """Drop the collection if it is empty; return whether it was dropped."""
        return drop(self._collection)

    def rejects(self) -> Iterator[bytes]:
        """Yield the rejected records of this source and target, whole."""
        return find_records(self._rejects, source=self._source, target=self.name)

    def remove_rejects(self, kept: Collection[bytes]) -> None:
        """Delete the rejected records of this source and target whose SHA-256 is not among these."""
        surplus = (raw for raw in self.rejects() if sha256(raw).digest() not in kept)
        while some := list(islice(surplus, _IDS_PER_DELETE)):
            delete_versions(self._rejects, some)

    def insert_rejects(self, records: Sequence[bytes]) -> None:
        """Insert removed records again. One that exists already stays."""
        insert_absent(self._rejects, records)

    def drop_rejects_if_empty(self) -> None:
        """Drop the collection of rejected records if nothing is left in it of any run."""
        drop(self._rejects)

    def close(self) -> None:
        """Release everything. May be called twice."""
        self._writer.abandon()


class MongoRestored:
    """The collection in which the old bookings come together again, until it takes the live one's name."""

    def __init__(self, collection: DriverCollection, live: DriverCollection) -> None:
        self.name: Final = collection.name
        self._collection = collection
        self._live = live

    def identity(self) -> str | None:
        """Return what identifies it, whatever is called so later; None if it does not exist."""
        return identity(self._collection)

    def has_become_live(self, built: str) -> bool:
        """Return whether the live collection is the one of this `identity`: a rename takes that along."""
        return identity(self._live) == built

    def begin(self, settings: str) -> None:
        """Create it again, empty, with the options of the old collection (see `MongoLive.settings`).

        Its validator has to wait until everything is in: documents of the new shape may be among the old bookings. Its
        expiry waits until it is live.
        """
        self.drop()
        options: dict[str, Any] = json_util.loads(settings)["options"]
        kept = {name: value for name, value in options.items() if name not in {*NO_VALIDATION, _EXPIRES}}
        create(self._collection, **kept)

    def insert(self, documents: Sequence[bytes]) -> None:
        """Insert documents durably. One that exists already with the same bytes is accepted: an earlier reply may have been lost."""
        write(self._collection, lambda: self._insert(documents))

    def _insert(self, documents: Sequence[bytes]) -> None:
        try:
            self._collection.insert_many(map(as_driver_document, documents), ordered=False)
        except BulkWriteError as error:
            problems = error.details["writeErrors"]
            others = [problem for problem in problems if problem["code"] != DUPLICATE_KEY]
            if others or not problems or not self._holds([documents[each["index"]] for each in problems]):
                raise

    def _holds(self, documents: Sequence[bytes]) -> bool:
        """Return whether all of these are there, byte for byte."""
        ids = [id_of(raw) for raw in documents]
        return set(documents) <= set(find_raw(self._collection, any_of("_id", ids)))

    def copy(self, kept: str, settings: str) -> None:
        """Create it again as a copy of another collection; `settings` as of `begin`."""
        source = self._collection.database[kept]
        comment = comment_for(self._collection)

        def copied() -> None:
            # Tried again, it starts over, and what was sent before must not write into it.
            end_own_commands(self._collection)
            self.begin(settings)
            source.aggregate(copy_into(self._collection), comment=comment).close()

        write(self._collection, copied)
        if left_out := list(find_without_id(source)):
            self.insert(left_out)

    def end_copying(self) -> None:
        """End what a process that is gone, or has stopped waiting, has asked the server to `copy`."""
        end_own_commands(self._collection)

    def complete(self, settings: str) -> Sequence[IndexNote]:
        """Create the old collection's indexes and validator. An index that the data does not allow is left out and named."""
        notes = self.create_indexes(settings)
        self.validate(settings)
        return notes

    def create_indexes(self, settings: str, *, with_unique: bool = True) -> Sequence[IndexNote]:
        """Create the old collection's indexes, or those that refuse no document; see `complete`. May be repeated.

        The server deletes by a TTL index in any collection, so those wait for `begin_expiry`.
        """
        indexes: Sequence[Mapping[str, Any]] = json_util.loads(settings)["indexes"]
        return [
            _created(self._collection, index, self._live.name)
            for index in indexes
            if _EXPIRES not in index and dict(index["key"]) != {"_id": 1}
            if with_unique or not index.get("unique")
        ]

    def begin_expiry(self, settings: str) -> Sequence[IndexNote]:
        """Let documents expire as in the old collection, by its TTL indexes; only after `swap`. May be repeated."""
        kept = json_util.loads(settings)
        if _EXPIRES in kept["options"]:
            validate(self._live, {_EXPIRES: kept["options"][_EXPIRES]})
        return [
            _created(self._live, index, self._live.name) for index in kept["indexes"] if _EXPIRES in index
        ]

    def validate(self, settings: str) -> None:
        """Set the old collection's validator, if that had one; behind it, documents of the new shape may be refused."""
        validation = validation_of(json_util.loads(settings)["options"])
        if validation:
            validate(self._collection, {**NO_VALIDATION, **validation})

    def unvalidate(self, settings: str) -> None:
        """Take that off again."""
        if validation_of(json_util.loads(settings)["options"]):
            validate(self._collection, NO_VALIDATION)

    def count(self) -> int:
        """Return the number of documents it holds."""
        return read(self._collection, lambda: self._collection.count_documents({}))

    def is_same(self, other: str) -> bool:
        """Return whether another collection holds exactly its documents, by the server's hash of them."""
        return has_same_hash(self._collection, other)

    def swap(self, seconds: float) -> None:
        """Take the live collection's place and name in one atomic rename. The live collection is gone then.

        Args:
            seconds: how long every reader of the live collection may wait, while others hold it.

        Raises:
            FenceBlocked: they have held it for longer. Whether it happened is to be asked.
        """
        rename_over(self._collection, self._live, seconds)

    def drop(self) -> None:
        """Drop it, if it is there."""
        write(self._collection, self._collection.drop)


def _created(collection: DriverCollection, index: Mapping[str, Any], live: str) -> IndexNote:
    """Create an index of the old collection; if it is refused, the reason has the command to create it later.

    ``index`` as the server lists it; ``live`` is the name that the collection has later.
    """
    keys = tuple(dict(index["key"]).items())
    reason = create_index(collection, keys, options_of_index(index))
    shown = written(keys)
    if reason is not None:
        of, how = (
            json_util.dumps(each, json_options=json_util.RELAXED_JSON_OPTIONS)
            for each in (dict(keys), options_of_index(index))
        )
        make = f"db.getCollection({json.dumps(live)}).createIndex({of}, {how})"
        reason = f"{reason}; {make} creates it when nothing prevents that any more"
    return IndexNote(index["name"], shown, None if reason else shown, reason)
