"""A database as a `DatabaseInspector`: commands that only read (MongoDB manual, reference/command)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, cast

from pymongo import ReadPreference
from pymongo.errors import OperationFailure
from typing_extensions import override

from booking_migrate.bson.document import Document
from booking_migrate.stores.blocks import split
from booking_migrate.stores.destination import Destination
from booking_migrate.stores.inspection import (
    CollectionFacts,
    DatabaseInspector,
    Disk,
    IndexFacts,
    Privilege,
    ServerFacts,
    Topology,
)
from booking_migrate.stores.mongo.connection import DECODED, DriverCollection, describe
from booking_migrate.stores.mongo.destination import MongoDestination, find_ends
from booking_migrate.stores.mongo.failures import reading
from booking_migrate.stores.mongo.servers import can_acknowledge, members_of

_OPLOG = "oplog.rs"


class MongoInspector(DatabaseInspector):
    """Looks at the database of a collection; see `DatabaseInspector` for the promises."""

    def __init__(self, anchor: DriverCollection) -> None:
        """Take any collection of the database; it need not exist."""
        self._anchor = anchor
        self._database = anchor.database.with_options(codec_options=DECODED)

    @property
    @override
    def database(self) -> str:
        return self._database.name

    @override
    def server(self) -> ServerFacts:
        with reading(self._anchor):
            hello = self._database.command("hello")
            version = self._database.command("buildInfo")["version"]
        if hello.get("msg") == "isdbgrid":
            return ServerFacts(version, Topology.SHARDED)
        return ServerFacts(version, Topology.REPLICA_SET if "setName" in hello else Topology.STANDALONE)

    @override
    def collection(self, name: str) -> CollectionFacts | None:
        collection = self._database[name]
        listed = describe(collection, waits=False)
        if listed is None:
            return None
        kind = listed["type"]
        if kind == "view":
            return CollectionFacts(name, kind)
        statistics = self._told("collStats", name) or {}
        return CollectionFacts(
            name=name,
            kind=kind,
            documents=_whole(statistics.get("count")),
            data_bytes=_whole(statistics.get("size")),
            storage_bytes=_whole(statistics.get("storageSize")),
            index_bytes=_whole(statistics.get("totalIndexSize")),
            id_index_bytes=_whole(statistics.get("indexSizes", {}).get("_id_")),
            indexes=self._indexes(collection),
            has_validator=bool(listed.get("options", {}).get("validator")),
            options=listed.get("options", {}),
        )

    @override
    def other_collections(self, known: Collection[str]) -> Sequence[str]:
        with reading(self._anchor):
            listed = list(self._database.list_collections(authorizedCollections=True))
        return sorted(
            each["name"]
            for each in listed
            if each["type"] == "collection"
            and each["name"] not in known
            and not each["name"].startswith(("system.", "booking_migrate_"))
        )

    @override
    def sample(self, name: str, size: int) -> Iterator[bytes]:
        with reading(self._database[name]):
            for batch in self._database[name].aggregate_raw_batches([{"$sample": {"size": size}}]):
                # The driver's annotation says document; what comes is the bytes of a whole batch.
                yield from split(cast("bytes", batch)).documents()

    @override
    def ends(self, name: str, count: int) -> Sequence[bytes]:
        return find_ends(self._anchor.database[name], count)

    @override
    def destination(self, name: str) -> Destination:
        return MongoDestination(self._anchor.database[name], self._anchor)

    @override
    def missing(self, wanted: Sequence[Privilege]) -> Sequence[Privilege] | None:
        status = self._told("connectionStatus", 1, showPrivileges=True)
        if status is None:
            return None
        known = status["authInfo"]
        if not known["authenticatedUsers"]:
            return ()
        granted = known["authenticatedUserPrivileges"]
        return tuple(one for one in wanted if not any(self._covers(grant, one) for grant in granted))

    @override
    def disk(self) -> Disk | None:
        statistics = self._told("dbStats", 1) or {}
        if "fsTotalSize" not in statistics:
            return None
        return Disk(int(statistics["fsTotalSize"]), int(statistics["fsUsedSize"]))

    @override
    def oplog_seconds(self) -> float | None:
        local = self._database.client.get_database("local", read_preference=ReadPreference.PRIMARY)
        oplog = local[_OPLOG]
        with reading(self._anchor):
            try:
                ends = [oplog.find_one({}, {"ts": 1}, sort=[("$natural", order)]) for order in (1, -1)]
            except OperationFailure:
                # A user with the role read on one database may not read `local`.
                return None
        times = [end["ts"].time for end in ends if end is not None]
        return float(times[-1] - times[0]) if times else None

    @override
    def members_without_majority(self) -> Sequence[str]:
        members = members_of(self._database.client)
        return () if can_acknowledge(members) else tuple(map(str, members))

    def _indexes(self, collection: Any) -> tuple[IndexFacts, ...]:
        with reading(collection):
            return tuple(
                IndexFacts(
                    name=index["name"],
                    keys=tuple(index["key"]),
                    unique=bool(index.get("unique")),
                    is_partial=bool(index.get("sparse")) or "partialFilterExpression" in index,
                    expires="expireAfterSeconds" in index,
                )
                for index in collection.list_indexes()
            )

    def _told(self, command: str, value: Any, **options: Any) -> Document | None:
        """Return the answer to a command, or None if the user may not ask."""
        with reading(self._anchor):
            try:
                return dict(self._database.command(command, value, **options))
            except OperationFailure:
                return None

    def _covers(self, grant: Mapping[str, Any], wanted: Privilege) -> bool:
        """Return whether a privilege that the user has includes one that is wanted.

        Source: MongoDB manual, reference/resource-document: an empty name stands for all of them.
        """
        if wanted.action not in grant["actions"]:
            return False
        resource = grant["resource"]
        if resource.get("anyResource"):
            return True
        if "db" not in resource or resource["db"] not in ("", self._database.name):
            return False
        return resource["collection"] in ("", wanted.collection)


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
