"""The changes of a database's collections, as the server's change stream has them (manual, changeStreams)."""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from bson.timestamp import Timestamp
from pymongo import ReadPreference
from pymongo.errors import OperationFailure
from typing_extensions import override

from booking_migrate.bson.document import read_fields
from booking_migrate.errors import HistoryLost, NotPermitted, StreamUnavailable
from booking_migrate.stores.changes import Change, ChangeBatch, ChangeFeed, Position, Role
from booking_migrate.stores.mongo.change_events import EventReader
from booking_migrate.stores.mongo.codes import (
    COMMAND_NOT_FOUND,
    HISTORY_LOST,
    UNRECOGNIZED_STAGE,
    UNUSABLE_TOKEN,
)
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import read, reading
from booking_migrate.stores.mongo.raw_cursor import RawCursor
from booking_migrate.stores.mongo.retry import attempts, is_transient

_REPLICA_SET = "it takes a replica set"
_NOT_KNOWN = "the server does not have change streams"
_NO_STREAMS: Mapping[int, str] = {
    40573: _REPLICA_SET,
    # CommandNotSupported, ReadConcernMajorityNotEnabled
    UNRECOGNIZED_STAGE: _NOT_KNOWN,
    COMMAND_NOT_FOUND: _NOT_KNOWN,
    115: _NOT_KNOWN,
    148: "the server has majority reads switched off",
    # IDLUnknownField, of the option showExpandedEvents
    40415: "it takes MongoDB 6.0",
}
"""What the server's codes say about why it has no change streams. Any other code is an error, and not one of these causes."""

_BATCH_SIZE = 1000
_COLLECT_SECONDS = 0.03
"""How long changes are collected after the first one."""

_SHORTEST_MILLISECONDS = 1
"""How long the server waits for an event if none is awaited; it knows no shorter time; 0 stands for any."""

_TIME_FIRST = "82"
"""A token is a key string; a cluster time comes first, and this is its type."""

_FIELDS: Mapping[str, Any] = {
    "operationType": 1,
    "clusterTime": 1,
    "ns": 1,
    "to": 1,
    "documentKey": 1,
    "updateDescription.updatedFields.clientId": 1,
}
"""What is needed of an event. It never grows with a document, which may have 16 MB."""


def _is_resumable(error: Exception) -> bool:
    """Return whether the stream can be opened again where it was (specification of change streams, resumable errors)."""
    return is_transient(error) or (
        isinstance(error, OperationFailure) and error.has_error_label("ResumableChangeStreamError")
    )


class MongoChangeFeed(ChangeFeed):
    """See `ChangeFeed` for the promises. One stream for the whole database: a rename does not end it."""

    def __init__(
        self,
        collection: DriverCollection,
        names: Mapping[str, Role],
        begin: Position | Timestamp,
        *,
        await_milliseconds: int = 20,
        is_whole: bool = False,
        without_new: Sequence[str] = (),
    ) -> None:
        """Take the parts; the stream is opened by the first `read`.

        Args:
            collection: any collection of the database, for messages.
            names: what the watched collections are, by name.
            begin: where to begin; a cluster time is inclusive.
            await_milliseconds: how long the server waits for an event before it says how far it has come.
            is_whole: whether changes of the source come with the whole new document.
            without_new: the collections whose new documents are left out.
        """
        self._collection = collection
        self._names = names
        self._events = EventReader(names, is_whole=is_whole)
        self._begin = begin
        self._await = await_milliseconds
        self._is_whole = is_whole
        self._without_new = without_new
        self._stream: RawCursor | None = None

    @override
    def check(self) -> None:
        read(self._collection, self._open)

    @override
    def read(self, seconds: float, *, limit: int = 5000, until: Timestamp | None = None) -> ChangeBatch:
        changes: list[Change] = []
        with reading(self._collection):
            for attempt in attempts(_is_resumable):
                with attempt:
                    if attempt.num > 1:
                        # Whatever was read of this batch comes again.
                        self.close()
                        changes = []
                    position = self._fill(changes, seconds, limit, until)
        self._begin = position
        return ChangeBatch(changes, position)

    def _fill(self, changes: list[Change], seconds: float, limit: int, until: Timestamp | None) -> Position:
        deadline = monotonic() + seconds
        stream = self._open()
        # Otherwise the server would wait for a next event although it has none up to that time.
        options = {} if until is None else {"maxTimeMS": _SHORTEST_MILLISECONDS}
        goes_on = True
        while goes_on:
            try:
                events = stream.next(**options)
            except OperationFailure as error:
                raise self._lost(error) or error from None
            if events and not changes:
                # Beside a busy application there is always one more.
                deadline = monotonic() + _COLLECT_SECONDS
            is_full = len(changes) + len(events) >= limit
            goes_on = not is_full and monotonic() < deadline and bool(events or not changes)
            if until is not None and stream.resume_token is not None:
                goes_on = goes_on and _position(stream.resume_token).time <= until
            if goes_on and events:
                stream.ask_ahead(**options)
            changes += filter(None, map(self._events.change_of, events))
        if stream.resume_token is None:
            raise RuntimeError("a change stream that was read has a resume token")
        return _position(stream.resume_token)

    def _open(self) -> RawCursor:
        if self._stream is not None:
            return self._stream
        begin = self._begin
        if isinstance(begin, Position):
            try:
                return self._opened(resumeAfter=begin.token)
            except OperationFailure as error:
                if error.code not in UNUSABLE_TOKEN:
                    raise self._lost(error) or error from None
                # Deriving again is harmless, so the time is as good a beginning as the token.
                begin = begin.time
        try:
            return self._opened(startAtOperationTime=begin)
        except OperationFailure as error:
            raise self._lost(error) or error from None

    def _opened(self, **begin: Any) -> RawCursor:
        whole = {"fullDocument": self._whole()} if self._is_whole else {"fullDocument.clientId": 1}
        stages: Sequence[Mapping[str, Any]] = [
            {"$changeStream": {"showExpandedEvents": True, **begin}},
            {"$match": self._condition()},
            {"$project": {**_FIELDS, **whole}},
        ]
        command = {
            "aggregate": 1,
            "pipeline": stages,
            "cursor": {"batchSize": _BATCH_SIZE},
            "readConcern": {"level": "majority"},
        }
        more = {"batchSize": _BATCH_SIZE, "maxTimeMS": self._await}
        self._stream = RawCursor(self._collection, command, more)
        return self._stream

    def _whole(self) -> Mapping[str, Any]:
        """Return the projection of whole documents: of the source only, since that of this program's own may fill an event."""
        sources = [name for name, role in self._names.items() if role is Role.SOURCE]
        return {"$cond": [{"$in": ["$ns.coll", sources]}, "$fullDocument", "$$REMOVE"]}

    def _condition(self) -> Mapping[str, Any]:
        names = {"$in": list(self._names)}
        # Under its former name for a collection that takes the place of a watched one.
        watched = {"$or": [{"ns.coll": names}, {"to.coll": names}]}
        if not self._without_new:
            return watched
        new = {"ns.coll": {"$in": list(self._without_new)}, "operationType": "insert"}
        return {**watched, "$nor": [new]}

    def _lost(self, error: OperationFailure) -> HistoryLost | StreamUnavailable | None:
        if error.code in HISTORY_LOST:
            return HistoryLost(self._collection.database.name)
        reason = _NO_STREAMS.get(error.code or 0)
        return None if reason is None else StreamUnavailable(self._collection.database.name, reason)

    @override
    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


def _position(token: bytes) -> Position:
    """Return the place in the feed that a resume token stands for."""
    plain = read_fields(token)
    data = str(plain["_data"])
    if not data.startswith(_TIME_FIRST):
        raise RuntimeError(f"a resume token of an unknown kind: {data[:2]}")
    return Position(plain, Timestamp(int(data[2:10], 16), int(data[10:18], 16)))


def cluster_time(collection: DriverCollection, *, waits: bool = True) -> Timestamp:
    """Return the cluster time of the newest write that the primary has taken.

    A server to be found is waited for if ``waits``; not at the first contact.

    Raises:
        StreamUnavailable: the server is not part of a replica set.
    """
    answer = read(collection, lambda: collection.database.command("ping"), waits=waits)
    time: Timestamp | None = answer.get("operationTime")
    if time is None:
        raise StreamUnavailable(collection.database.name, _REPLICA_SET)
    return time


def unavailable_reason(collection: DriverCollection) -> str | None:
    """Return why the changes of a database cannot be followed; None if they can.

    Raises:
        ConnectionProblem, UnusablePlace, HistoryLost: the server cannot be asked, or answers with an error that does not
            mean that it has no change streams: then nothing may be done in another way.
    """
    try:
        feed = MongoChangeFeed(
            collection, {collection.name: Role.SOURCE}, cluster_time(collection, waits=False)
        )
        feed.check()
        feed.close()
    except StreamUnavailable as error:
        return error.reason
    except NotPermitted:
        return "the user lacks the privilege changeStream on the database"
    return None


def oldest_in_oplog(collection: DriverCollection) -> Timestamp | None:
    """Return the cluster time of the oldest entry of the oplog; None if the user may not read it."""
    local = collection.database.client.get_database("local", read_preference=ReadPreference.PRIMARY)
    oplog = local.get_collection("oplog.rs")
    try:
        first = read(collection, lambda: oplog.find_one({}, {"ts": 1}, sort=[("$natural", 1)]))
    except NotPermitted:
        return None
    return None if first is None else first["ts"]
