"""What only a real server can show: indexes, concerns, other kinds of collections, other writers, failures."""

from collections.abc import Iterator
from typing import Any

import pytest
from bson import decode, encode
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure
from pymongo.monitoring import CommandStartedEvent

from booking_migrate.bson.document import CODEC
from booking_migrate.domain.rejection import Rejection
from booking_migrate.errors import (
    AuthenticationFailed,
    BadConfiguration,
    BookingMigrateError,
    DuplicateClientDocuments,
    DuplicateKeys,
    NotPermitted,
    PlaceNotFound,
    RecordTooLarge,
    ServerUnreachable,
    TargetChanged,
    TargetInOldShape,
    UnusablePlace,
    ValidationFailed,
)
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.mongo.connection import open_collection
from booking_migrate.stores.mongo.failures import translated
from booking_migrate.stores.mongo.rejects import CollectionRejects
from booking_migrate.stores.mongo.target import MongoTarget
from booking_migrate.stores.open import open_reader, open_target
from booking_migrate.stores.places import CollectionPlace
from booking_migrate.stores.ports import Replacement
from tests.support.sent_commands import SentCommands
from tests.support.server import Server
from tests.support.targets import TargetPlace, client_document, collection_target, rejection, run

Data = Database[dict[str, Any]]
WRITES = {
    "insert",
    "update",
    "delete",
    "create",
    "createIndexes",
    "dropIndexes",
    "collMod",
    "drop",
    "findAndModify",
}


@pytest.fixture
def place(server: Server, database: Data) -> Iterator[TargetPlace]:
    """A target collection that does not exist yet."""
    target = collection_target(server, database)
    yield target
    target.connection.close()


class Commands(SentCommands):
    """Notes the commands that a client sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def started(self, event: CommandStartedEvent) -> None:
        """Note one."""
        self.sent.append((event.command_name, dict(event.command)))


def run_watched(
    server: Server, database: Data, documents: list[bytes], rejected: list[Rejection]
) -> list[tuple[str, dict[str, Any]]]:
    """Make one run; return the commands that it sent."""
    commands = Commands()
    with server.client(event_listeners=[commands]) as client:
        rejects = CollectionRejects(
            open_collection(client, database.name, "booking_migrate_rejected"),
            source="bookings",
            target="consolidated",
        )
        target = MongoTarget(open_collection(client, database.name, "consolidated"), rejects)
        run(target, documents, rejected)
    return commands.sent


def test_a_second_run_sends_no_write(server: Server, database: Data) -> None:
    """The same run again only reads; the first one writes with majority, and the index first."""
    documents, rejected = [client_document(n) for n in range(9)], [rejection(n) for n in range(4)]

    first = run_watched(server, database, documents, rejected)
    second = run_watched(server, database, documents, rejected)

    writes = [(name, command) for name, command in first if name in WRITES]
    assert "createIndexes" == writes[0][0]
    assert {"majority"} == {command["writeConcern"]["w"] for _name, command in writes}
    assert {"majority"} == {
        command["readConcern"]["level"] for name, command in second if name in ("find", "aggregate")
    }
    assert [] == [name for name, _command in second if name in WRITES]


def test_the_index_comes_before_the_first_document(place: TargetPlace) -> None:
    """`prepare` leaves a unique index on `clientId`, under the name that the application would choose."""
    writer = place.open()
    writer.prepare()
    writer.abandon()

    assert place.database is not None
    assert place.database["consolidated"].index_information()["clientId_1"]["unique"]


def test_a_plain_index_does_not_pass_for_a_unique_one(place: TargetPlace) -> None:
    """An index that allows duplicates, or sees only some documents, is not taken for the one that is needed."""
    assert place.database is not None
    collection = place.database["consolidated"]
    collection.create_index("clientId")

    writer = place.open()
    writer.prepare()
    writer.abandon()

    assert [None, None, True] == [index.get("unique") for index in collection.list_indexes()]


def test_a_default_collation_does_not_merge_clients(place: TargetPlace) -> None:
    """In a collection that compares without case, ``a`` and ``A`` are two clients all the same."""
    assert place.database is not None
    place.database.create_collection("consolidated", collation={"locale": "en", "strength": 1})
    documents = [encode({"_id": n, "clientId": client, "sessions": []}) for n, client in enumerate("Aa")]

    run(place.open(), documents)

    assert documents == place.documents()
    assert 1 == len(list(place.open().find_client_documents(["a"])))


def test_duplicate_clients_are_counted_and_named(place: TargetPlace) -> None:
    """Clients with two documents refuse the run, by name."""
    assert place.database is not None
    place.database["consolidated"].insert_many(
        [{"_id": n, "clientId": n % 7, "sessions": []} for n in range(14)]
    )

    with pytest.raises(DuplicateClientDocuments) as caught:
        place.open().prepare()

    assert 7 == caught.value.count
    assert "0 has those with _id 0 and 7" == caught.value.clients[0]
    assert 5 == len(caught.value.clients)


def test_a_target_of_bookings_is_refused(place: TargetPlace) -> None:
    """A collection with a document without sessions is no target."""
    assert place.database is not None
    place.database["consolidated"].insert_one({"_id": "b1", "clientId": 1})

    with pytest.raises(TargetInOldShape, match="b1"):
        place.open().prepare()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("view", {"viewOn": "bookings"}),
        ("timeseries", {"timeseries": {"timeField": "t"}}),
        ("capped collection", {"capped": True, "size": 4096}),
    ],
)
def test_other_kinds_of_targets_are_refused(place: TargetPlace, kind: str, options: dict[str, Any]) -> None:
    """A view, a time series and a capped collection cannot take client documents."""
    assert place.database is not None
    place.database.create_collection("consolidated", **options)

    with pytest.raises(UnusablePlace, match=kind):
        place.open().prepare()


def test_a_view_and_a_capped_collection_can_be_read(server: Server, database: Data) -> None:
    """A source may be anything that holds documents."""
    database.create_collection("capped", capped=True, size=4096)
    database["capped"].insert_many([{"_id": n, "clientId": -n} for n in range(5)])
    database.create_collection("view", viewOn="capped", pipeline=[{"$match": {"_id": {"$gt": 1}}}])
    connection = Connection(server.uri, database.name)

    for name, expected in (("capped", [4, 3, 2, 1, 0]), ("view", [4, 3, 2])):
        reader = open_reader(CollectionPlace(name), connection)
        reader.check()
        assert expected == [decode(document.raw)["_id"] for document in reader.scan_by_client()]
        assert len(expected) == reader.estimate_count()
        assert [] == list(reader.scan_client_documents())
    connection.close()


def test_an_absent_collection_is_refused_if_required(server: Server, database: Data) -> None:
    """A source has to exist; a directory of users need not."""
    connection = Connection(server.uri, database.name)
    host = server.uri.split("/")[2]
    for use in ("check", "estimate_count"):
        with pytest.raises(PlaceNotFound, match=f"database {database.name} at {host}"):
            getattr(open_reader(CollectionPlace("bookings"), connection), use)()

    users = open_reader(CollectionPlace("users"), connection, required=False)
    users.check()
    assert [] == list(users.find([1]))
    connection.close()


def test_duplicate_keys_are_counted_and_the_rest_is_written(place: TargetPlace) -> None:
    """Documents that somebody else wrote meanwhile are an error with a count; the others arrive."""
    writer = place.open()
    writer.prepare()
    assert place.database is not None
    place.database["consolidated"].insert_many(
        [{"_id": f"theirs {n}", "clientId": n, "sessions": []} for n in (2, 3)]
    )

    with pytest.raises(DuplicateKeys, match="clientId") as caught:
        writer.write([client_document(n) for n in range(6)], [], [])

    assert 2 == caught.value.count
    assert 6 == len(place.documents())
    writer.abandon()


@pytest.mark.parametrize(
    "change",
    [
        {"$set": {"updatedAt": 5}},
        {"$unset": {"updatedAt": 1}},
        {"$push": {"sessions": {"n": 2}}},
        {"$set": {"sessions.0.n": 9}},
    ],
)
def test_a_changed_document_is_not_replaced(place: TargetPlace, change: dict[str, Any]) -> None:
    """A document that is no longer the one that was read stays as somebody else made it."""
    before = [client_document(n, updatedAt=DatetimeMS(n)) for n in range(4)]
    after = [client_document(n, updatedAt=DatetimeMS(n), totalSessions=1) for n in range(4)]
    run(place.open(), before)
    assert place.database is not None
    place.database["consolidated"].update_one({"clientId": 2}, change)
    changed = place.documents()[2]
    writer = place.open()

    with pytest.raises(TargetChanged, match="document 2"):
        writer.write([], [Replacement(*pair) for pair in zip(before, after, strict=True)], [])

    assert [after[0], after[1], changed, after[3]] == place.documents()
    writer.abandon()


def test_large_documents_are_replaced(place: TargetPlace) -> None:
    """Two versions too large to travel together are replaced nevertheless, and guarded by their sessions' number."""
    before = client_document(1, updatedAt=DatetimeMS(1), text="x" * 9_000_000)
    after = client_document(1, updatedAt=DatetimeMS(2), text="y" * 9_000_000)
    run(place.open(), [before])
    writer = place.open()

    writer.write([], [Replacement(before, after)], [])

    assert [after] == place.documents()
    with pytest.raises(TargetChanged):
        writer.write([], [Replacement(before, before)], [])
    writer.abandon()


def test_client_documents_are_joined(place: TargetPlace) -> None:
    """The joined document takes the place of one, the others go; one that changed meanwhile stays."""
    assert place.database is not None
    documents = [encode({"_id": n, "clientId": 7, "sessions": [{"n": n}]}) for n in range(3)]
    place.database["consolidated"].insert_many([decode(raw) for raw in documents])
    joined = encode({"_id": 0, "clientId": 7, "sessions": [{"n": n} for n in range(3)]})
    place.database["consolidated"].update_one({"_id": 2}, {"$set": {"sessions": []}})
    writer = place.open()

    with pytest.raises(TargetChanged, match="2"):
        writer.join(Replacement(documents[0], joined), documents[1:])

    assert [joined, encode({"_id": 2, "clientId": 7, "sessions": []})] == sorted(
        place.documents(), reverse=True
    )
    writer.abandon()


def test_a_record_too_large_stops_the_batch(place: TargetPlace) -> None:
    """A rejected booking that fits only without its reason is named, and its batch is not written."""
    writer = place.open()
    writer.prepare()

    with pytest.raises(RecordTooLarge, match="17"):
        writer.write([client_document(1)], [], [rejection(17, text="x" * (16 * 1024 * 1024 - 100))])

    assert [] == place.documents()
    writer.abandon()


def test_a_validator_is_a_failed_write_without_content(place: TargetPlace) -> None:
    """What the server says is passed on; what the documents hold is not."""
    assert place.database is not None
    place.database.create_collection("consolidated", validator={"secret": {"$exists": False}})

    with pytest.raises(
        ValidationFailed, match="the validator of consolidated refuses document document 1"
    ) as caught:
        run(place.open(), [client_document(1, secret="hunter2")])

    assert "hunter2" not in str(caught.value)


def test_records_of_other_targets_stay(place: TargetPlace) -> None:
    """A run removes stale records of its own source and target only."""
    other = open_target(CollectionPlace("other"), place.connection, source_name="bookings")
    run(other, [], [rejection(1)])
    run(place.open(), [], [rejection(2), rejection(3)])

    assert run(place.open(), [], [rejection(Int64(3))])

    kept = {(record["target"], record["bookingId"]) for record in map(decode, place.rejects())}
    assert {("other", 1), ("consolidated", 3)} == kept


def test_a_server_that_is_down_is_named_without_the_password() -> None:
    """The host is named; user and password are not."""
    connection = Connection("mongodb://me:hunter2@127.0.0.1:1/shop?serverSelectionTimeoutMS=100")
    reader = open_reader(CollectionPlace("bookings"), connection)

    with pytest.raises(ServerUnreachable) as caught:
        reader.check()

    assert "127.0.0.1:1" == caught.value.hosts
    assert "hunter2" not in str(caught.value)
    connection.close()


@pytest.mark.parametrize(
    "uri",
    ["mongodb://me:hunter2/@h/shop", "mongodb://me:hun%ter2@h/shop", "http://me:hunter2@h", "mongodb://"],
)
def test_a_bad_connection_string_is_not_quoted(uri: str) -> None:
    """A string that the driver cannot use is a configuration error that says nothing of the password."""
    with pytest.raises(BadConfiguration) as caught:
        open_reader(CollectionPlace("bookings"), Connection(uri, "shop"))

    assert "--uri" == caught.value.where
    assert "hun" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (18, "Authentication failed.", AuthenticationFailed),
        (8000, "bad auth : authentication failed", AuthenticationFailed),
        (13, 'not authorized on shop to execute command { insert: "hunter2" }', NotPermitted),
        (96, "operation failed: {secret: hunter2}", UnusablePlace),
    ],
)
def test_refusals_of_the_server_are_told_apart(
    code: int, text: str, expected: type[BookingMigrateError]
) -> None:
    """Authentication, privileges and the rest have their own errors, none of which quotes a command."""
    failure = OperationFailure(text, code, {"errmsg": text, "code": code, "codeName": "Name"})

    with MongoClient[Any]("127.0.0.1", 1, connect=False, serverSelectionTimeoutMS=1) as client:
        error = translated(failure, open_collection(client, "shop", "bookings"), UnusablePlace)

    assert expected is type(error)
    assert "hunter2" not in str(error)


def test_an_id_elsewhere_than_first_is_moved_by_the_server_only(place: TargetPlace) -> None:
    """The driver sends bytes as they are; documents with `_id` first come back byte for byte, duplicates included."""
    twice = encode({"_id": 1, "clientId": 1, "sessions": [], "a": 1, "b": 2}, codec_options=CODEC).replace(
        b"\x10b\x00", b"\x10a\x00"
    )

    run(place.open(), [twice])

    assert [twice] == place.documents()
