"""dry-run on a real server: a user who may only read is enough, and nothing is written."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from pymongo import MongoClient, monitoring
from pymongo.database import Database

from tests.support.booking_lines import EXPERT, booking, client
from tests.support.bookings import ABSENT
from tests.support.dry_run import dry_run
from tests.support.sent_commands import SentCommands
from tests.support.server import Server, guarded_server

Db = Database[dict[str, Any]]
Run = Callable[..., Any]

READING = {
    "aggregate", "buildInfo", "buildinfo", "collStats", "connectionStatus", "count", "dbStats", "endSessions", "find",
    "getMore", "hello", "isMaster", "ismaster", "killCursors", "listCollections", "listIndexes", "ping",
    "replSetGetStatus", "saslContinue", "saslStart",
}  # fmt: skip


def fill(database: Db) -> None:
    """A few bookings, some of them of the first generation, one wrong, one migrated before; and the people."""
    absent = dict.fromkeys(("clientUserId", "clientEmail", "expertUserId", "expertEmail"), ABSENT)
    database["bookings"].insert_many(
        [booking(0, **absent), booking(4, **absent), booking(1), booking(2), booking(3, currency="rupees")]
    )
    database["bookings"].create_index([("expertId", 1)], name="by_expert")
    database["users"].insert_one({"_id": client(0), "user_id": "1111", "email": "u@example.org"})
    database["experts"].insert_one({"_id": EXPERT, "userId": client(0)})
    database["payments"].insert_one({"bookingId": booking(1)["_id"]})


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server that asks for a password, with a user who may read one database."""
    with guarded_server() as server:
        admin = server.client()
        fill(admin["shop"])
        admin["shop"].command("createUser", "reader", pwd="open sesame", roles=["read"])
        yield server


@pytest.fixture
def reader(guarded: Server) -> dict[str, str]:
    """The variables that name the guarded server, as a user who may only read."""
    uri = guarded.uri.replace("admin:secret", "reader:open%20sesame").replace(
        "authSource=admin", "authSource=shop"
    )
    return {"MONGODB_URI": uri, "BOOKING_MIGRATE_DB": "shop"}


def hashes(database: Db) -> dict[str, Any]:
    """What the server says the database holds, to the byte."""
    found: dict[str, Any] = database.command("dbHash")["collections"]
    return found


def test_a_user_who_may_only_read(run: Run, guarded: Server, reader: dict[str, str]) -> None:
    """With the role `read` it ends as for anybody else, names the privileges that are missing, and changes nothing."""
    before = guarded.client()["shop"].list_collection_names()
    result = run("dry-run", "--json", env=reader)
    report = json.loads(result.stdout)
    missing = {
        (one["command"], one["privilege"]["action"])
        for one in report["dry_run"]["needs"]["missing_privileges"]
    }

    assert (3, "") == (result.exit_code, result.stderr)
    assert (5, 4, 1) == tuple(report["counts"][name] for name in ("scanned", "migrated", "rejected"))
    assert {
        ("migrate", "insert"),
        ("migrate", "createIndex"),
        ("cutover", "dropCollection"),
    } <= missing
    assert {("rollback", "remove"), ("cutover", "collMod")} <= missing
    assert "find" not in {action for _, action in missing}
    assert "sesame" not in result.stdout
    assert sorted(before) == sorted(guarded.client()["shop"].list_collection_names())


def test_a_user_who_may_read_few_collections(run: Run, guarded: Server, reader: dict[str, str]) -> None:
    """Collections that the user may not read are named, and nothing fails for them."""
    shop = guarded.client()["shop"]
    readable = [
        {"resource": {"db": "shop", "collection": name}, "actions": ["find"]}
        for name in ("bookings", "users", "experts", "bookings_consolidated")
    ]
    listing = {"resource": {"db": "shop", "collection": ""}, "actions": ["listCollections", "listIndexes"]}
    shop.command("createRole", "few", privileges=[*readable, listing], roles=[])
    shop.command("createUser", "clerk", pwd="open sesame", roles=["few"])
    clerk = {**reader, "MONGODB_URI": reader["MONGODB_URI"].replace("reader:", "clerk:")}
    result = run("dry-run", "--json", env=clerk)
    report = json.loads(result.stdout)
    findings = {finding["kind"]: finding["sample_ids"] for finding in report["findings"]}

    assert (3, None) == (result.exit_code, report["dry_run"]["needs"]["disk"])
    assert ["payments"] == findings["collections-unreadable"]
    assert report["dry_run"]["gains"]["index_bytes_before"] is None


def test_a_user_who_may_read_few_collections_tries_a_validator_out(
    run: Run, guarded: Server, reader: dict[str, str]
) -> None:
    """A validator is tried out through a collection that the user may read; nothing needs a further privilege."""
    shop = guarded.client()["shop"]
    shop.create_collection("strict", validator={"$jsonSchema": {"required": ["phone"]}})
    readable = [
        {"resource": {"db": "shop", "collection": name}, "actions": ["find"]}
        for name in ("bookings", "users", "experts", "strict")
    ]
    listing = {"resource": {"db": "shop", "collection": ""}, "actions": ["listCollections", "listIndexes"]}
    shop.command("createRole", "fewer", privileges=[*readable, listing], roles=[])
    shop.command("createUser", "trainee", pwd="open sesame", roles=["fewer"])
    trainee = {**reader, "MONGODB_URI": reader["MONGODB_URI"].replace("reader:", "trainee:")}
    result = run("dry-run", "--target", "strict", "--json", env=trainee)
    shop.drop_collection("strict")

    (blocker,) = json.loads(result.stdout)["dry_run"]["blockers"]
    assert (5, "UnfitPlace") == (result.exit_code, blocker["kind"])
    assert "refuses 3 of 3 client documents that were tested" in blocker["message"]


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        (
            {"MONGODB_URI": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50"},
            10,
            "no MongoDB server answers",
        ),
        ({"BOOKING_MIGRATE_SOURCE": "nothing_here"}, 5, "nothing_here does not exist"),
    ],
)
def test_bad_places(run: Run, reader: dict[str, str], changes: dict[str, str], code: int, said: str) -> None:
    """A server that is down and a collection that is not there end as for migrate."""
    result = run("dry-run", env={**reader, **changes})

    assert code == result.exit_code
    assert said in result.stderr


def test_a_wrong_password(run: Run, reader: dict[str, str]) -> None:
    """A wrong password is told as such, and not shown."""
    result = run("dry-run", env={**reader, "MONGODB_URI": reader["MONGODB_URI"].replace("sesame", "barley")})

    assert 10 == result.exit_code
    assert "barley" not in result.output


def test_the_profiler_sees_no_write(run: Run, guarded: Server, reader: dict[str, str]) -> None:
    """The server's own profiler, at its finest, has no write and no change of schema by this user."""
    shop = guarded.client()["shop"]
    shop.command("profile", 2)
    try:
        result = run("dry-run", env=reader)
    finally:
        shop.command("profile", 0)
    seen = [entry for entry in shop["system.profile"].find() if entry.get("appName") == "booking-migrate"]
    shop["system.profile"].drop()

    assert result.exit_code == 3
    assert seen
    assert set() == {entry["op"] for entry in seen} - {"query", "getmore", "command"}
    assert set() == {next(iter(entry["command"])) for entry in seen} - READING


class Commands(SentCommands):
    """Remembers the names of all commands."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.names.add(event.command_name)


def test_the_driver_sends_no_write(database: Db, server_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command that the driver sends only reads, and the database is the same to the byte afterwards."""
    fill(database)
    commands = Commands()
    before = hashes(database)

    def listening(uri: str) -> MongoClient[dict[str, Any]]:
        return MongoClient(uri, event_listeners=[commands])

    monkeypatch.setattr("booking_migrate.stores.mongo.connection.make_client", listening)
    dry_run("bookings", "clients", uri=server_uri, db=database.name)

    assert {"find", "aggregate", "connectionStatus"} <= commands.names
    assert set() == commands.names - READING
    assert before == hashes(database)


def test_needs_of_a_replica_set(run: Run, database: Db, server: Server) -> None:
    """Where nobody has to log in nothing is missing, and a replica set can migrate in place."""
    fill(database)
    result = run("dry-run", "--json", env={"MONGODB_URI": server.uri, "BOOKING_MIGRATE_DB": database.name})
    part = json.loads(result.stdout)["dry_run"]
    needs, gains = part["needs"], part["gains"]

    assert "replica set" == needs["server"]["topology"]
    assert [("side by side", True), ("in place", True)] == [
        (mode["name"], mode["possible"]) for mode in needs["modes"]
    ]
    assert ([], False, False) == (
        needs["missing_privileges"],
        needs["has_source_index"],
        needs["has_unique_index"],
    )
    assert needs["disk"]["total"] > needs["disk"]["used"] > 0
    assert needs["oplog_seconds"] >= 0
    assert (True, None) == (needs["cutover"]["is_followed"], needs["cutover"]["reason"])
    assert 0 < needs["cutover"]["outage_seconds"] <= 0.5
    assert needs["target_bytes"] > 0
    assert (5, 3) == (gains["documents_before"], gains["documents_after"])
    assert [("payments", "bookingId")] == [(one["collection"], one["field"]) for one in part["references"]]


def test_needs_of_a_server_alone(run: Run, reader: dict[str, str]) -> None:
    """A server alone has no transactions, so in-place migration is not possible; its oplog cannot be seen."""
    needs = json.loads(run("dry-run", "--json", env=reader).stdout)["dry_run"]["needs"]

    assert "standalone" == needs["server"]["topology"]
    assert ["in place"] == [mode["name"] for mode in needs["modes"] if not mode["possible"]]
    assert needs["oplog_seconds"] is None
    assert (False, "it takes a replica set") == (
        needs["cutover"]["is_followed"],
        needs["cutover"]["reason"],
    )


def test_a_target_in_the_old_shape_is_a_blocker(run: Run, database: Db, server: Server) -> None:
    """A target with bookings in it stands in the way; everything else is told too."""
    fill(database)
    database["clients"].insert_one({"_id": "a booking"})
    env = {"MONGODB_URI": server.uri, "BOOKING_MIGRATE_DB": database.name}
    result = run("dry-run", "--target", "clients", "--json", env=env)
    report = json.loads(result.stdout)

    assert 5 == result.exit_code
    assert ["TargetInOldShape"] == [blocker["kind"] for blocker in report["dry_run"]["blockers"]]
    assert 5 == report["counts"]["scanned"]


@pytest.mark.parametrize(("options", "code"), [((), 5), (("--merge-client-documents",), 3)])
def test_two_client_documents(
    run: Run, database: Db, server: Server, options: tuple[str, ...], code: int
) -> None:
    """Two client documents of a client stand in the way, unless they are to be joined; then counts are migrate's."""
    fill(database)
    database["clients"].insert_many(
        [
            {"_id": number, "clientId": client(0), "sessions": [{"sessionId": number}], "totalSessions": 1}
            for number in (1, 2)
        ]
    )
    env = {"MONGODB_URI": server.uri, "BOOKING_MIGRATE_DB": database.name}
    before = hashes(database)
    told = run("dry-run", "--target", "clients", "--json", *options, env=env)
    assert before == hashes(database)
    report = json.loads(told.stdout)
    done = json.loads(
        run("migrate", "--target", "clients", "--json", "--merge-client-documents", env=env).stdout
    )

    assert code == told.exit_code
    assert (code == 5) == bool(report["dry_run"]["blockers"])
    assert done["counts"] == report["counts"]


def test_a_sample(run: Run, database: Db, server: Server) -> None:
    """A sample of whole clients, chosen by the server, estimates the whole; asked for more than there is, it is all."""
    database["bookings"].insert_many(
        [booking(number, clientId=client(number // 5)) for number in range(2000)]
    )
    env = {"MONGODB_URI": server.uri, "BOOKING_MIGRATE_DB": database.name}
    part = json.loads(run("dry-run", "--json", "--sample", "400", env=env).stdout)
    whole = json.loads(run("dry-run", "--json", "--sample", "2000", env=env).stdout)

    assert 0 < part["dry_run"]["sampled"] < 1000
    assert 0 == part["dry_run"]["sampled"] % 5
    assert (2000, 400) == (part["counts"]["scanned"], part["counts"]["clients"])
    assert (None, 2000) == (whole["dry_run"]["sampled"], whole["counts"]["scanned"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda shop: shop["bookings"].insert_one(booking(99)),
            "source has changed: documents 5 then, 6 now",
        ),
        (
            lambda shop: shop["bookings"].update_one(
                {}, {"$set": {"updatedAt": DatetimeMS(1_793_488_640_000)}}
            ),
            "Z then, 2026-10-31T23:17:20Z now",
        ),
        (lambda shop: shop["users"].insert_one({"_id": 1}), "users has changed: documents 1 then, 2 now"),
    ],
)
def test_a_plan_over_a_collection_in_use(
    run: Run, database: Db, server: Server, change: Callable[[Db], object], said: str
) -> None:
    """A plan is followed although the application goes on; what has changed since is said in plain words."""
    fill(database)
    env = {"MONGODB_URI": server.uri, "BOOKING_MIGRATE_DB": database.name}
    run("dry-run", "--plan", "plan.json", env=env)
    change(database)
    followed = run("migrate", "--plan", "plan.json", env=env)

    assert 3 == followed.exit_code, followed.output
    assert "warning: since plan.json was made, " in followed.stderr
    assert said in followed.stderr


def test_a_plan_over_a_collection_that_did_not_change(run: Run, database: Db, server: Server) -> None:
    """What was expected is said, and no change where nothing has changed."""
    fill(database)
    env = {"MONGODB_URI": server.uri, "BOOKING_MIGRATE_DB": database.name}
    run("dry-run", "--plan", "plan.json", env=env)

    followed = run("migrate", "--plan", "plan.json", env=env)

    assert "plan.json expects " in followed.stderr
    assert "warning" not in followed.stderr


@pytest.mark.parametrize(("tolerance", "code"), [("30", 3), ("10", 5)])
def test_a_tolerance_of_a_plan(run: Run, database: Db, server: Server, tolerance: str, code: int) -> None:
    """With --plan-tolerance, a source that has changed by more than that is refused; what was planned is in the report."""
    fill(database)
    env = {"MONGODB_URI": server.uri, "BOOKING_MIGRATE_DB": database.name}
    planned = run("dry-run", "--plan", "plan.json", env=env)
    documents = database.bookings.estimated_document_count()
    database.bookings.insert_many([booking(1000 + number) for number in range(documents // 5)])
    followed = run("migrate", "--plan", "plan.json", "--plan-tolerance", tolerance, "--json", env=env)
    report = json.loads(followed.stdout)

    assert code == followed.exit_code, followed.output
    assert "plan written to plan.json; it expects " in planned.stderr
    if code == 3:
        assert report["planned"]["scanned"] + documents // 5 == report["counts"]["scanned"]
    else:
        assert f"source had {documents} documents and has" in report["error"]["message"]


@pytest.mark.parametrize("place", ["bookings", "users"])
def test_a_plan_over_an_emptied_collection(run: Run, database: Db, server: Server, place: str) -> None:
    """A collection that has lost all of its documents is not what was planned, nor are other options."""
    fill(database)
    env = {"MONGODB_URI": server.uri, "BOOKING_MIGRATE_DB": database.name}
    run("dry-run", "--plan", "plan.json", env=env)
    database[place].delete_many({})
    refused = run("migrate", "--plan", "plan.json", env=env)

    assert 5 == refused.exit_code
    assert "and has none" in refused.stderr
    assert "bookings_consolidated" not in database.list_collection_names()


def test_an_index_with_a_collation_does_not_serve(run: Run, database: Db, server: Server) -> None:
    """Clients are compared by their bytes: an index that compares otherwise is not one on `clientId`."""
    fill(database)
    environment = {"MONGODB_URI": server.uri, "BOOKING_MIGRATE_DB": database.name}
    served = []
    for collation in ({"locale": "en"}, {"locale": "simple"}):
        database.bookings.create_index("clientId", name=collation["locale"], collation=collation)
        report = json.loads(run("dry-run", "--json", env=environment).stdout)
        served.append(report["dry_run"]["needs"]["has_source_index"])

    assert [False, True] == served
