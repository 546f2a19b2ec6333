"""The changes of a database's collections, as the server's change stream has them (manual, changeStreams)."""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo import ReadPreference
from pymongo.change_stream import DatabaseChangeStream
from pymongo.errors import OperationFailure
from typing_extensions import override

from booking_migrate.bson.document import elements, read_fields, value_in
from booking_migrate.errors import HistoryLost, NotPermitted, StreamUnavailable
from booking_migrate.stores.changes import Change, ChangeBatch, ChangeFeed, Position, Role
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import reading
from booking_migrate.stores.mongo.raw import RAW_OPTIONS
from booking_migrate.stores.mongo.retry import attempts, with_retry

_LOST_CODES = frozenset({136, 286})
"""CappedPositionLost, ChangeStreamHistoryLost."""

_UNUSABLE_TOKEN_CODES = frozenset({50811, 260, 280})
"""InvalidResumeToken and ChangeStreamFatalError: the oplog may have what a token of another pipeline does not find."""

_REPLICA_SET = "it takes a replica set"
_NOT_KNOWN = "the server does not have change streams"
_NO_STREAMS: Mapping[int, str] = {
    40573: _REPLICA_SET,
    # UnrecognizedStage, CommandNotFound, CommandNotSupported, ReadConcernMajorityNotEnabled
    40324: _NOT_KNOWN,
    59: _NOT_KNOWN,
    115: _NOT_KNOWN,
    148: "the server has majority reads switched off",
    # IDLUnknownField, of the option showExpandedEvents
    40415: "it takes MongoDB 6.0",
}
"""What the server's codes say about why it has no change streams. Any other code is an error, and not one of these causes."""

_DOCUMENT = 0x03
_COLLECT_SECONDS = 0.03
"""How long changes are collected after the first one."""

_TIME_FIRST = "82"
"""A token is a key string; a cluster time stands first, and this is its type."""

_FIELDS: Mapping[str, Any] = {
    "operationType": 1,
    "clusterTime": 1,
    "ns": 1,
    "documentKey": 1,
    "updateDescription.updatedFields.clientId": 1,
}
"""What is needed of an event. It never grows with a document, which may have 16 MB."""


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
    ) -> None:
        """Take the parts; the stream is opened by the first `read`.

        Args:
            collection: any collection of the database, for messages.
            names: what the watched collections are, by name.
            begin: where to begin; a cluster time is inclusive.
            await_milliseconds: how long the server waits for an event before it says how far it has come.
            is_whole: whether changes come with the whole new document.
        """
        self._collection = collection
        self._database = collection.database.with_options(codec_options=RAW_OPTIONS)
        self._names = names
        self._begin = begin
        self._await = await_milliseconds
        self._is_whole = is_whole
        self._stream: DatabaseChangeStream[RawBSONDocument] | None = None

    @override
    def check(self) -> None:
        with reading(self._collection):
            with_retry(self._open)

    @override
    def read(self, seconds: float, *, limit: int = 5000) -> ChangeBatch:
        changes: list[Change] = []
        with reading(self._collection):
            for attempt in attempts():
                with attempt:
                    if attempt.num > 1:
                        # Whatever was read of this batch comes again.
                        self.close()
                        changes = []
                    position = self._fill(changes, seconds, limit)
        self._begin = position
        return ChangeBatch(changes, position)

    def _fill(self, changes: list[Change], seconds: float, limit: int) -> Position:
        deadline = monotonic() + seconds
        stream = self._open()
        while len(changes) < limit:
            try:
                event = stream.try_next()
            except OperationFailure as error:
                raise self._lost(error) or error from None
            if event is not None:
                if not changes:
                    # Beside a busy application there is always one more.
                    deadline = monotonic() + _COLLECT_SECONDS
                changes += self._changes_of(event)
            if (event is None and changes) or monotonic() >= deadline:
                break
        token = stream.resume_token
        if token is None:
            raise RuntimeError("a change stream that was read has a resume token")
        return Position(*_decoded(token))

    def _open(self) -> DatabaseChangeStream[RawBSONDocument]:
        if self._stream is not None:
            return self._stream
        begin = self._begin
        if isinstance(begin, Position):
            try:
                return self._opened(resume_after=begin.token)
            except OperationFailure as error:
                if error.code not in _UNUSABLE_TOKEN_CODES:
                    raise self._lost(error) or error from None
                # Deriving again is harmless, so the time is as good a beginning as the token.
                begin = begin.time
        try:
            return self._opened(start_at_operation_time=begin)
        except OperationFailure as error:
            raise self._lost(error) or error from None

    def _opened(self, **begin: Any) -> DatabaseChangeStream[RawBSONDocument]:
        pipeline: Sequence[Mapping[str, Any]] = [
            {"$match": {"ns.coll": {"$in": list(self._names)}}},
            {
                "$project": {
                    **_FIELDS,
                    **({"fullDocument": 1} if self._is_whole else {"fullDocument.clientId": 1}),
                }
            },
        ]
        self._stream = self._database.watch(
            pipeline, max_await_time_ms=self._await, batch_size=1000, show_expanded_events=True, **begin
        )
        return self._stream

    def _lost(self, error: OperationFailure) -> HistoryLost | StreamUnavailable | None:
        if error.code in _LOST_CODES:
            return HistoryLost(self._collection.database.name)
        reason = _NO_STREAMS.get(error.code or 0)
        return None if reason is None else StreamUnavailable(self._collection.database.name, reason)

    def _changes_of(self, event: RawBSONDocument) -> list[Change]:
        # Part by part: a document that would change on being decoded must not hide the others.
        raw = bytes(event.raw)
        role = self._names.get(_value(raw, b"ns", b"coll") or "")
        if role is None:
            return []
        named = (
            _value(raw, b"fullDocument", b"clientId"),
            _value(raw, b"updateDescription", b"updatedFields", b"clientId"),
        )
        return [
            Change(
                role,
                _value(raw, b"operationType"),
                _value(raw, b"documentKey", b"_id"),
                tuple(value for value in named if value is not None),
                _value(raw, b"clusterTime"),
                _part(raw, b"fullDocument") if self._is_whole else None,
            )
        ]

    @override
    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


def _part(raw: bytes, name: bytes) -> bytes | None:
    """Return a document inside a document, BSON; None if it is not there, or is not one."""
    found = next((part for part in elements(raw) if part.name == name), None)
    return found.value if found is not None and found.kind == _DOCUMENT else None


def _value(raw: bytes, *path: bytes) -> Any:
    """Return a value inside nested documents, decoded or `Opaque`; None if it is not there."""
    inner: bytes | None = raw
    for name in path[:-1]:
        inner = None if inner is None else _part(inner, name)
    return None if inner is None else value_in(inner, path[-1])


def _decoded(token: Mapping[str, Any]) -> tuple[Mapping[str, Any], Timestamp]:
    """Return a resume token as a plain mapping, and its cluster time."""
    plain = read_fields(bytes(token.raw)) if isinstance(token, RawBSONDocument) else dict(token)
    data = str(plain["_data"])
    if not data.startswith(_TIME_FIRST):
        raise RuntimeError(f"a resume token of an unknown kind: {data[:2]}")
    return plain, Timestamp(int(data[2:10], 16), int(data[10:18], 16))


def cluster_time(collection: DriverCollection, *, waits: bool = True) -> Timestamp:
    """Return the cluster time of the newest write that the primary has taken.

    Args:
        collection: any collection, for messages.
        waits: whether to wait for a server to be found; not at the first contact.

    Raises:
        StreamUnavailable: the server is not part of a replica set.
        ConnectionProblem, NotPermitted: the server cannot be asked.
    """
    with reading(collection):
        answer = with_retry(lambda: collection.database.command("ping"), waits=waits)
    time = answer.get("operationTime")
    if time is None:
        raise StreamUnavailable(collection.database.name, _REPLICA_SET)
    return time  # type: ignore[no-any-return]


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
    """Return the cluster time of the oldest entry of the oplog; None if the user may not read it.

    Raises:
        ConnectionProblem: the server does not answer.
    """
    local = collection.database.client.get_database("local", read_preference=ReadPreference.PRIMARY)
    oplog = local.get_collection("oplog.rs")
    try:
        with reading(collection):
            first = with_retry(lambda: oplog.find_one({}, {"ts": 1}, sort=[("$natural", 1)]))
    except NotPermitted:
        return None
    return None if first is None else first["ts"]
