"""What old ids stand for in a database; see `stores.references.OldIds` for the promises."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from time import time
from typing import Any

from bson.objectid import ObjectId
from typing_extensions import override

from booking_migrate.bson.document import read_fields, value_in
from booking_migrate.bson.order import OBJECT_ID_KEY, id_key, sort_key
from booking_migrate.domain.ids import booking_of_session, client_document_id, client_of_document
from booking_migrate.errors import OldIdsNotIndexed
from booking_migrate.stores.mongo.administration import FOLLOWED, has_index
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import read
from booking_migrate.stores.mongo.links import LEGACY_FIELD
from booking_migrate.stores.mongo.raw import any_of, documents_in, find_raw
from booking_migrate.stores.references import BookingState, NewIds, OldIds

_FEW = 1000
"""How many client documents may be read for each look-up."""

_ONLY_OBJECT_ID = 22
"""The size of a document with nothing but an ObjectId as `_id`."""

_IN_SESSIONS: Mapping[str, Any] = {"clientId": 1, "sessions.sessionId": 1, LEGACY_FIELD: 1}
_SESSION = rb"\x03\d+\x00\x39\x00\x00\x00\x07sessionId\x00(.{12})\x07legacyBookingId\x00(.{12})\x00"
_FLAT = re.compile(
    rb".{4}\x07_id\x00(.{12})\x07clientId\x00(.{12})\x04sessions\x00.{4}((?:"
    + _SESSION.replace(b"(", b"(?:")
    + rb")*)\x00\x00",
    re.DOTALL,
).fullmatch
"""A client document, as far as it is asked for, in which each id is an ObjectId: nothing of it has to be decoded."""

_FLAT_SESSIONS = re.compile(_SESSION, re.DOTALL).findall

_WITHOUT_OBJECT_ID: Mapping[str, Any] = {
    "$or": [
        {LEGACY_FIELD: None},
        {
            LEGACY_FIELD: {
                "$type": ["string", "binData", "int", "long", "double", "decimal", "date", "object"]
            }
        },
    ]
}
"""Client documents with sessions that the application has made, or of bookings with other ids; the index on old ids serves it."""

_MOST_OTHER_SESSIONS = _MOST_OTHER_CLIENTS = 1_000_000
_OTHER_CLIENTS: Mapping[str, Any] = {"clientId": {"$type": ["string", "int", "long", "binData"]}}
_CLOCKS_DIFFER_SECONDS = 300
"""By how much the clock of an application may be behind."""

_OF_BOOKING: Mapping[str, Any] = {"_id": 1, "sessions.sessionId": 1}


@dataclass(frozen=True, slots=True)
class OldIdPlaces:
    """Where bookings and sessions are."""

    bookings: tuple[DriverCollection, ...]
    """Collections that have old bookings: the source, the kept copy, the archive. They may have client documents, too."""

    clients: DriverCollection | None
    """The collection of client documents, if bookings are migrated; None before that."""

    is_complete: bool
    """Whether ``bookings`` has every old booking, so that no session has to be asked whether an id is one."""


class MongoOldIds(OldIds):
    """The old ids of one database."""

    def __init__(self, places: OldIdPlaces) -> None:
        self._places = places
        self._is_checked = False
        self._other_sessions: set[bytes] | None = None
        self._read_at = 0.0
        """When these were read."""

        self._documents: set[bytes] | None = None
        """The `_id` of new documents of clients whose `clientId` is not an ObjectId."""

    @override
    def known(self, ids: Sequence[Any]) -> set[bytes]:
        found: set[bytes] = set()
        for collection in self._places.bookings:
            found |= set(self._bookings_in(collection, ids))
        if self._places.clients is None or self._places.is_complete:
            return found
        rest = [value for value in ids if sort_key(value) not in found]
        return found | self._sessions_of(rest).keys()

    @override
    def resolve(self, ids: Sequence[Any]) -> Mapping[bytes, NewIds | BookingState]:
        found: dict[bytes, NewIds | BookingState] = dict(self._sessions_of(ids))
        rest = [value for value in ids if sort_key(value) not in found]
        left = BookingState.UNMIGRATED if self._places.clients is None else BookingState.REJECTED
        for collection in self._places.bookings:
            found |= dict.fromkeys(self._bookings_in(collection, rest), left)
        return {**{sort_key(value): BookingState.UNKNOWN for value in rest}, **found}

    @override
    def existing(
        self, session_ids: Sequence[Any], document_ids: Sequence[Any]
    ) -> tuple[set[bytes], set[bytes]]:
        clients = self._places.clients
        if clients is None:
            return set(), set()
        wanted = {sort_key(value) for value in session_ids}
        sessions: set[bytes] = set()
        for raw in self._find(clients, "sessions.sessionId", session_ids, _OF_BOOKING):
            sessions |= wanted & {
                sort_key(each["sessionId"]) for each in _sessions(raw) if "sessionId" in each
            }
        documents = self._find(clients, "_id", document_ids, {"_id": 1, "sessions": {"$slice": 1}})
        return sessions, {id_key(raw) for raw in documents if "sessions" in read_fields(raw)}

    @override
    def other_sessions(self, ids: Sequence[Any]) -> set[bytes]:
        clients = self._places.clients
        if clients is None or not ids:
            return set()
        if self._other_sessions is None:
            self._read_at = time()
            query = partial(find_raw, clients, _WITHOUT_OBJECT_ID, fields=_IN_SESSIONS)
            self._other_sessions = read(
                clients, lambda: set(islice(_others_in(query()), _MOST_OTHER_SESSIONS))
            )
        asked = {sort_key(value): value for value in ids}
        found = self._other_sessions & asked.keys()
        since = self._read_at - _CLOCKS_DIFFER_SECONDS
        # Sessions that the application has made since; their ids have the time.
        late = [
            value
            for key, value in asked.items()
            if key not in found and type(value) is ObjectId and value.generation_time.timestamp() >= since
        ]
        if late and has_index(clients, FOLLOWED):
            made = {"$and": [{LEGACY_FIELD: None}, any_of("sessions.sessionId", late)]}
            since_then = read(clients, lambda: set(_others_in(find_raw(clients, made, fields=_IN_SESSIONS))))
            found |= since_then & asked.keys()
        return found

    @override
    def documents_of_clients(self, ids: Sequence[Any]) -> set[bytes]:
        if self._documents is None:
            known = islice(self._clients(_OTHER_CLIENTS), _MOST_OTHER_CLIENTS)
            self._documents = {sort_key(client_document_id(each)) for each in known}
        asked = {sort_key(value) for value in ids}
        named = self._clients(any_of("clientId", [client_of_document(each) for each in ids]))
        return asked & (self._documents | {sort_key(client_document_id(each)) for each in named})

    def _clients(self, condition: Any) -> Iterator[Any]:
        """Yield the `clientId` of old bookings, each once for each collection."""
        stages = [{"$match": condition}, {"$group": {"_id": "$clientId"}}]
        for each in self._places.bookings:
            yield from read(each, partial(_grouped, each, stages))

    def _bookings_in(self, collection: DriverCollection, ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the sort keys of those ids that old bookings in a collection have."""
        # Of bookings nothing but the `_id`, of client documents the names in the sessions as well, by which they are known.
        for raw in self._find(collection, "_id", ids, {"_id": 1, "sessions.sessionId": 1}):
            if len(raw) == _ONLY_OBJECT_ID or "sessions" not in read_fields(raw):
                yield id_key(raw)

    def _sessions_of(self, ids: Sequence[Any]) -> dict[bytes, NewIds]:
        """Return the new ids of those bookings that have a session, by the sort keys of the old ones."""
        clients = self._places.clients
        if clients is None or not ids:
            return {}
        self._check_index(clients)
        wanted = {sort_key(value) for value in ids}
        found: dict[bytes, NewIds] = {}
        for raw in self._find(clients, LEGACY_FIELD, ids, _IN_SESSIONS):
            flat = _FLAT(raw)
            if flat is not None:
                found.update(_flat_sessions(flat, wanted))
                continue
            document = read_fields(raw)
            for session in _sessions(raw):
                key = sort_key(session["legacyBookingId"]) if "legacyBookingId" in session else b""
                if key in wanted:
                    found[key] = NewIds(session.get("sessionId"), document["_id"], document.get("clientId"))
        return found

    def _check_index(self, clients: DriverCollection) -> None:
        """Refuse to read all client documents for each look-up."""
        if self._is_checked:
            return
        if not has_index(clients, FOLLOWED):
            count = read(clients, clients.estimated_document_count)
            if count > _FEW:
                raise OldIdsNotIndexed(clients.name, count)
        self._is_checked = True

    @staticmethod
    def _find(
        collection: DriverCollection, field: str, values: Sequence[Any], fields: Mapping[str, Any]
    ) -> Sequence[bytes]:
        if not values:
            return ()
        return read(collection, lambda: list(find_raw(collection, any_of(field, values), fields=fields)))


def _grouped(collection: DriverCollection, stages: Sequence[Mapping[str, Any]]) -> Sequence[Any]:
    """Return the values by which an aggregation groups documents."""
    groups = documents_in(collection.aggregate_raw_batches(stages, allowDiskUse=True))
    return [value_in(raw, b"_id") for raw in groups]


def _flat_sessions(found: "re.Match[bytes]", wanted: set[bytes]) -> Iterator[tuple[bytes, NewIds]]:
    """Yield those sessions of a client document whose old ids are asked for, by the sort keys of these."""
    document, client, sessions = found.groups()
    ids: tuple[ObjectId, ObjectId] | None = None
    for session, old in _FLAT_SESSIONS(sessions):
        key = OBJECT_ID_KEY + old
        if key in wanted:
            ids = ids or (ObjectId(document), ObjectId(client))
            yield key, NewIds(ObjectId(session), *ids)


def _others_in(documents: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the sort keys of the ids of those sessions that no ObjectId of a booking leads to."""
    for raw in documents:
        for session in _sessions(raw):
            made, old = session.get("sessionId"), session.get("legacyBookingId")
            if made is not None and not (
                type(made) is type(old) is ObjectId and booking_of_session(made) == old
            ):
                yield sort_key(made)


def _sessions(raw: bytes) -> Iterator[Mapping[str, Any]]:
    """Yield the sessions of a client document, decoded."""
    sessions = read_fields(raw).get("sessions")
    for each in sessions if isinstance(sessions, list) else ():
        if isinstance(each, dict):
            yield each
