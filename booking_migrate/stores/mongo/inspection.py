"""What is looked at of a database and its collections, with commands that only read (MongoDB manual, reference/command)."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from pymongo import ReadPreference
from pymongo.errors import OperationFailure

from booking_migrate.bson.document import Document
from booking_migrate.bson.order import id_key, sort_key
from booking_migrate.errors import PlaceNotFound, Refused
from booking_migrate.stores.chunks import by_size
from booking_migrate.stores.destination import (
    CollectionFacts,
    Disk,
    IndexFacts,
    PlaceFacts,
    ServerFacts,
    Topology,
)
from booking_migrate.stores.mongo.booking_map import is_map
from booking_migrate.stores.mongo.change_feed import unavailable_reason
from booking_migrate.stores.mongo.codes import UNAUTHORIZED, UNRECOGNIZED_STAGE
from booking_migrate.stores.mongo.connection import APP_NAME, DECODED, DriverCollection, describe
from booking_migrate.stores.mongo.failures import absent, logged_in, read, reading
from booking_migrate.stores.mongo.raw import any_of, as_driver_document, documents_in, find_raw
from booking_migrate.stores.mongo.referring import MongoReferring
from booking_migrate.stores.mongo.retry import is_transient, with_retry
from booking_migrate.stores.mongo.servers import can_acknowledge, members_of
from booking_migrate.stores.mongo.validator_rules import rules_broken
from booking_migrate.stores.own_collections import is_own
from booking_migrate.stores.privilege import Privilege, not_granted

T = TypeVar("T")

_OPLOG = "oplog.rs"

_ENTRIES = 2000
"""How many of the oplog's newest entries are looked at for the rate of changes."""

_COMMAND_BYTES = 12 * 1024 * 1024
"""Of documents in one command, which has MongoDB's limit on documents too."""

_OF_SERVERS = re.compile("^(NetworkInterface|MongoDB Internal)")
"""How the drivers are named by which servers are connected with each other."""


class MongoInspector:
    """Looks at the database of a collection, and needs no more than the built-in role `read` on it.

    What the user may not know comes as None, never as an error.
    """

    def __init__(self, anchor: DriverCollection) -> None:
        """Take any collection of the database; it need not exist."""
        self._anchor = anchor
        self._database = anchor.database.with_options(codec_options=DECODED)
        self.database: Final = self._database.name
        """The database's name."""

    def server(self) -> ServerFacts:
        """Return what the server is."""
        with reading(self._anchor):
            hello = self._database.command("hello")
            version = self._database.command("buildInfo")["version"]
        if hello.get("msg") == "isdbgrid":
            return ServerFacts(version, Topology.SHARDED)
        return ServerFacts(version, Topology.REPLICA_SET if "setName" in hello else Topology.STANDALONE)

    def absent(self, name: str) -> PlaceNotFound:
        """Return the error for a collection that does not exist, which has the names that are near to it."""
        return absent(self._database[name])

    def collection(self, name: str) -> CollectionFacts | None:
        """Return what the server says about a collection; None if it does not exist."""
        collection = self._database[name]
        listed = describe(collection, waits=False)
        if listed is None:
            return None
        kind = listed["type"]
        if kind == "view":
            return CollectionFacts(name, kind)
        statistics = self._answer("collStats", name) or {}
        return CollectionFacts(
            name=name,
            kind=kind,
            documents=_whole(statistics.get("count")),
            data_bytes=_whole(statistics.get("size")),
            storage_bytes=_whole(statistics.get("storageSize")),
            index_bytes=_whole(statistics.get("totalIndexSize")),
            id_index_bytes=_whole(statistics.get("indexSizes", {}).get("_id_")),
            indexes=self._indexes(collection),
            options=listed.get("options", {}),
        )

    def other_collections(self, known: Collection[str]) -> Sequence[str]:
        """Return the names of the collections of others that hold data, sorted; a map of old ids is not one of them."""
        listed = read(
            self._anchor,
            lambda: list(self._database.list_collections(authorizedCollections=True)),
            waits=False,
        )
        return sorted(
            each["name"]
            for each in listed
            if each["type"] == "collection" and each["name"] not in known
            if not (each["name"].startswith("system.") or is_own(each["name"]))
            if not is_map(each.get("options", {}))
        )

    def time_series(self) -> Sequence[str]:
        """Return the names of the time series, sorted."""
        chosen = {"type": "timeseries"}
        return sorted(
            read(
                self._anchor,
                lambda: self._database.list_collection_names(filter=chosen, authorizedCollections=True),
                waits=False,
            )
        )

    def referring(self, name: str) -> MongoReferring:
        """Return a collection that may hold ids of bookings, or what these are ids of."""
        return MongoReferring(self._anchor.database[name], self.collection)

    def other_databases(self) -> Sequence[str]:
        """Return the names of the server's other databases, but for its own; none if the user may not know."""
        with reading(self._anchor):
            try:
                names = self._database.client.list_database_names()
            except OperationFailure:
                return ()
        return sorted(set(names) - {self.database, "admin", "config", "local"})

    def ends(self, name: str, count: int) -> Sequence[bytes]:
        """Return this number of documents at the start and at the end of a collection in the order of `_id`, each once."""
        return find_ends(self._anchor.database[name], count)

    def destination(self, name: str) -> "MongoDestination":
        """Return a collection as a place that client documents are written to."""
        return MongoDestination(self._anchor.database[name], self._anchor)

    def missing(self, wanted: Sequence[Privilege]) -> Sequence[Privilege] | None:
        """Return those of these privileges that the user lacks; None if the server does not say."""
        status = self._answer("connectionStatus", 1, showPrivileges=True)
        return None if status is None else not_granted(status, self.database, wanted)

    def user(self) -> tuple[str, str]:
        """Return who is logged in, and where that user was created; empty if the server does not say."""
        return logged_in(self._anchor)

    def disk(self) -> Disk | None:
        """Return the file system of the server's data; None if the server does not say."""
        statistics = self._answer("dbStats", 1) or {}
        # Of a database that does not exist yet, it answers with zeros.
        if not statistics.get("fsTotalSize"):
            return None
        return Disk(int(statistics["fsTotalSize"]), int(statistics["fsUsedSize"]))

    def oplog_seconds(self) -> float | None:
        """Return how far back the oplog reaches; None if the user may not read it, or the server does not have one."""
        local = self._database.client.get_database("local", read_preference=ReadPreference.PRIMARY)
        oplog = local[_OPLOG]
        # A user with the role read on one database may not read `local`.
        ends = self._if_allowed(
            lambda: [oplog.find_one({}, {"ts": 1}, sort=[("$natural", order)]) for order in (1, -1)]
        )
        times = [end["ts"].time for end in ends or () if end is not None]
        return float(times[-1] - times[0]) if times else None

    def not_followed(self, name: str) -> str | None:
        """Return why the changes of a collection cannot be followed; None if they can."""
        try:
            return unavailable_reason(self._anchor.database[name])
        except Refused as error:
            return error.message

    def changes_per_second(self, name: str) -> float | None:
        """Return how many changes of a collection the end of the oplog has a second; None if the user may not read it."""
        local = self._database.client.get_database("local", read_preference=ReadPreference.PRIMARY)
        fields, newest = {"ts": 1, "ns": 1, "wall": 1}, [("$natural", -1)]
        entries = self._if_allowed(lambda: list(local[_OPLOG].find({}, fields, sort=newest, limit=_ENTRIES)))
        if not entries:
            return None
        seconds: float = (entries[0]["wall"] - entries[-1]["wall"]).total_seconds()
        full_name = f"{self._database.name}.{name}"
        changes = len([entry for entry in entries if entry.get("ns") == full_name])
        return changes / max(seconds, 1.0)

    def applications(self) -> Mapping[str, int] | None:
        """Return how many connections other programs have, by the name that they give; None if the user may not see them."""
        looked: list[Mapping[str, Any]] = [
            {"$currentOp": {"allUsers": True, "idleConnections": True}},
            {
                "$match": {
                    "client": {"$exists": True},
                    "appName": {"$ne": APP_NAME},
                    "clientMetadata.driver.name": {"$not": _OF_SERVERS},
                }
            },
            {
                "$group": {
                    "_id": {"$ifNull": ["$appName", "$clientMetadata.driver.name"]},
                    "count": {"$sum": 1},
                }
            },
            {"$sort": {"_id": 1}},
        ]
        found = self._if_allowed(lambda: list(self._database.client.admin.aggregate(looked)))
        counts = ((str(each["_id"] or "without a name"), each["count"]) for each in found or ())
        return None if found is None else dict(counts)

    def members_without_majority(self) -> Sequence[str]:
        """Return the members of the replica set with their states, if too few are up to acknowledge writes; else none."""
        members = members_of(self._database.client)
        return () if can_acknowledge(members) else tuple(map(str, members))

    def _indexes(self, collection: Any) -> tuple[IndexFacts, ...]:
        indexes = read(collection, lambda: list(collection.list_indexes()), waits=False)
        return tuple(
            IndexFacts(
                name=index["name"],
                keys=tuple(index["key"]),
                unique=bool(index.get("unique")),
                is_partial=bool(index.get("sparse")) or "partialFilterExpression" in index,
                expires="expireAfterSeconds" in index,
                collates=index.get("collation", {"locale": "simple"})["locale"] != "simple",
            )
            for index in indexes
        )

    def _answer(self, command: str, value: Any, **options: Any) -> Document | None:
        """Return the answer to a command, or None if the user may not ask."""
        return self._if_allowed(lambda: dict(self._database.command(command, value, **options)))

    def _if_allowed(self, action: Callable[[], T]) -> T | None:
        """Return what was read, or None if the user may not, or the server does not do it.

        What fails for a passing reason is tried again, batches of a cursor included, which the driver does not retry.
        """
        with reading(self._anchor):
            try:
                return with_retry(action, waits=False)
            except OperationFailure as error:
                if is_transient(error):
                    raise
                return None


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


class MongoDestination:
    """A collection that client documents are to be written to; here it is only read."""

    def __init__(self, collection: DriverCollection, beside: DriverCollection | None = None) -> None:
        """Take the collection, and another one that the user may read, for users who may read single collections only."""
        self.name: Final = collection.name
        self._collection = collection
        self._beside = beside
        self._facts: PlaceFacts | None = None

    def facts(self) -> PlaceFacts | None:
        """Return its options and indexes; None if it does not exist."""
        # A view has neither indexes nor documents of its own.
        listed = describe(self._collection, waits=False)
        if listed is None or listed["type"] != "collection":
            return None
        indexes = read(self._collection, lambda: list(self._collection.list_indexes()))
        self._facts = PlaceFacts(listed.get("options", {}), indexes)
        return self._facts

    def matching(self, condition: Mapping[str, Any], documents: Sequence[bytes]) -> Sequence[bytes] | None:
        """Return those of some documents, which need not be in it, that meet a query as the collection would compare them.

        None if the server cannot evaluate it.
        """
        # The server compares by the collection's default collation, as it does on a write.
        options = self._facts.options if self._facts is not None else {}
        collation = options.get("collation", {"locale": "simple"})
        matching: set[bytes] = set()
        with reading(self._collection):
            for group in by_size(documents, len, _COMMAND_BYTES):
                found = self._matching_ids(condition, group, collation)
                if found is None:
                    return None
                matching.update(found)
        return [raw for raw in documents if id_key(raw) in matching]

    def broken_rules(self, validator: Mapping[str, Any], document: bytes) -> Sequence[str]:
        """Return which rules of a validator a document breaks, in plain words; none if that is not known."""

        def holds(rule: Mapping[str, Any]) -> bool | None:
            try:
                matching = self.matching(rule, [document])
            except Refused:
                # It means nothing without the rules around it.
                return None
            return None if matching is None else bool(matching)

        return rules_broken(validator, holds)

    def holding(self, field: str, values: Sequence[Any]) -> Sequence[bytes]:
        """Return its documents that have one of these values in a field, with `_id` and the field at least."""
        fields = {"_id": 1, field: 1}
        return read(
            self._collection, lambda: list(find_raw(self._collection, any_of(field, values), fields=fields))
        )

    def _matching_ids(
        self, condition: Mapping[str, Any], documents: Sequence[bytes], collation: Mapping[str, Any]
    ) -> set[bytes] | None:
        tried_out: list[Mapping[str, Any]] = [{"$match": condition}, {"$project": {"_id": 1}}]
        listed = [{"$literal": as_driver_document(raw)} for raw in documents]
        database = self._collection.database
        try:
            return with_retry(
                lambda: _ids(database.aggregate([{"$documents": listed}, *tried_out], collation=collation))
            )
        except OperationFailure as error:
            # A user who may not ask, and a server before 5.1, which does not have `$documents`.
            if error.code not in (UNAUTHORIZED, UNRECOGNIZED_STAGE):
                raise
        # A user who may read a collection may have the server compute documents from its content.
        made: list[Mapping[str, Any]] = [
            {"$limit": 1},
            {"$project": {"_id": 0, "made": listed}},
            {"$unwind": "$made"},
            {"$replaceRoot": {"newRoot": "$made"}},
        ]
        for readable in (self._collection, self._beside):
            if readable is not None and readable.find_one({}, {"_id": 1}) is not None:
                return _ids(readable.aggregate([*made, *tried_out], collation=collation))
        return None


def _ids(found: Iterable[Mapping[str, Any]]) -> set[bytes]:
    return {sort_key(each["_id"]) for each in found}


def find_ends(collection: DriverCollection, count: int) -> Sequence[bytes]:
    """Return this number of documents at the start and at the end of a collection in the order of `_id`, each once.

    They are of both generations, where there are two, and cost nothing that grows with the collection.
    """
    found: dict[bytes, bytes] = {}
    # This may be the first contact: where no server answers, waiting for one does not help.
    if describe(collection, waits=False) is None:
        return ()

    def end(direction: int) -> list[bytes]:
        return list(documents_in(collection.find_raw_batches({}, sort=[("_id", direction)], limit=count)))

    for direction in (1, -1):
        found.update((id_key(raw), raw) for raw in read(collection, partial(end, direction)))
    return list(found.values())
