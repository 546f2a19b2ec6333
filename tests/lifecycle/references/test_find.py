"""`references find` on a real server: all forms, no decoys, before and after a cut-over, with a user who only reads."""

import json
import subprocess
import tomllib
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.bson.document import identity_of
from booking_migrate.bson.order import id_key
from booking_migrate.domain.ids import client_document_id, session_id
from booking_migrate.events import NullListener
from booking_migrate.references import find as finder
from booking_migrate.references.remaining import Why, remaining_references
from booking_migrate.stores.connection import Connection, open_inspector
from booking_migrate.stores.mongo import referring
from booking_migrate.stores.open_references import open_references
from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.conftest import BOOKINGS, GONE, IDS
from tests.support.booking_lines import booking, client
from tests.support.server import Server, environment_of, guarded_server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

PLACES = ("--target", "clients")
FIND = ("references", "find", *PLACES)
EXPECTED = [
    ("calendar", "entries.ref.$id", 12, 12, {"dbref": 12}),
    ("calendar", "ids", 12, 0, {"object-id": 12}),
    ("chats", "about.bookings", 12, 12, {"text": 12}),
    ("chats", "lines.text", 12, 0, {"embedded": 12}),
    ("chats", "payload", 12, 0, {"embedded": 12}),
    ("payments", "bookingId", 12, 1, {"object-id": 12}),
    ("payments", "itemId", 6, 7, {"object-id": 6}),
    ("reviews", "_id", 5, 0, {"document-id": 5}),
]
"""Collection, path, ids of bookings, ids of none, forms."""


def find(command: Run, *arguments: str) -> dict[str, Any]:
    """The report of a search."""
    ended = command(*FIND, *arguments, "--json")
    assert 0 == ended.returncode, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


def fields_in(report: dict[str, Any]) -> list[Any]:
    """The fields of a report as `EXPECTED` has them."""
    return [
        (each["collection"], each["field"], each["hits"], each["misses"], each["forms"])
        for each in report["fields"]
    ]


@pytest.mark.usefixtures("shop")
def test_every_form_is_found(command: Run) -> None:
    """Every form in every collection is found with its numbers, and nothing that only looks like one."""
    report = find(command)

    assert fields_in(report) == EXPECTED
    assert {"calendar", "chats", "decoys", "payments", "reviews"} == {
        each["name"] for each in report["searched"]
    }


@pytest.mark.usefixtures("shop")
def test_forgetting_changes_nothing(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was looked up is remembered to save time only: in batches of three and with two ids remembered the same is found."""
    monkeypatch.setattr(finder, "_REMEMBERED", 2)
    monkeypatch.setattr(finder, "_AT_ONCE", 5)
    monkeypatch.setattr(referring, "_BATCH_SIZE", 3)

    assert fields_in(find(command)) == EXPECTED


@pytest.mark.usefixtures("shop")
def test_the_type_is_found_in_the_data(command: Run) -> None:
    """Of a polymorphic field, the sibling that says the type is named: beside it, and within a DBRef."""
    conditions = {
        f"{each['collection']}.{each['field']}": each["condition"] for each in find(command)["fields"]
    }

    assert {"field": "type", "values": ["booking"], "others": 7} == conditions["payments.itemId"]
    assert {"field": "entries.ref.$ref", "values": ["bookings"], "others": 12} == conditions[
        "calendar.entries.ref.$id"
    ]
    assert conditions["chats.payload"] is None


def test_indexes_and_validators_are_named(shop: Db, command: Run) -> None:
    """An index that serves the field, a unique one that a rewrite may break, and a validator's rule are named."""
    shop.payments.create_index("bookingId", name="by_booking", unique=True)
    shop.command("collMod", "payments", validator={"itemId": {"$type": "objectId"}})
    # As of old ids, whose last digits count.
    pattern = {"bsonType": "object", "properties": {"payload": {"pattern": "65f1a0000000000000"}}}
    shop.command("collMod", "chats", validator={"$jsonSchema": pattern})
    given = ("--collection", "payments", "--collection", "chats")
    found = {each["field"]: each for each in find(command, *given)["fields"]}

    assert "by_booking" == found["bookingId"]["index"]
    assert ["unique-index"] == [each["kind"] for each in found["bookingId"]["obstacles"]]
    assert (None, ["validator"]) == (
        found["itemId"]["index"],
        [each["kind"] for each in found["itemId"]["obstacles"]],
    )
    assert [str(GONE)] == found["bookingId"]["dangling"]
    assert ["the server accepts them", "the server refuses them"] == [
        found[name]["obstacles"][0]["detail"].rpartition(", ")[2].rstrip(".")
        for name in ("itemId", "payload")
    ]


@pytest.mark.usefixtures("shop")
def test_the_section_is_a_config_file(command: Run, tmp_path: Path) -> None:
    """The file that is written is taken as the config file, and has one table for each field, with its condition."""
    path = tmp_path / "references.toml"
    first = find(command, "--output", str(path))
    tables = tomllib.loads(path.read_text("utf-8"))["references"]

    assert [(each[0], each[1]) for each in EXPECTED] == [
        (each["collection"], each["field"]) for each in tables
    ]
    assert [{"type": "booking"}] == [each["when"] for each in tables if each["field"] == "itemId"]
    assert fields_in(find(command, "--config", str(path))) == EXPECTED
    rewrite = f"booking-migrate references rewrite --config {path}"
    commands = [each["command"] for each in first["next_steps"]]
    assert ["booking-migrate migrate --target clients", rewrite] == commands
    again = command(*FIND, "--output", str(path))
    assert (5, True) == (again.returncode, "--overwrite" in again.stderr)


@pytest.mark.usefixtures("shop")
def test_the_section_is_appended_to_the_config_file_in_use(command: Run, tmp_path: Path) -> None:
    """With a config file, the next step appends the tables to it, and the rewrite reads the settings of both."""
    own, path = tmp_path / "platform.toml", tmp_path / "references.toml"
    own.write_text('users = "people"\n', encoding="utf-8")
    report = find(command, "--config", str(own), "--output", str(path))
    append, _, rewrite = [each["command"] for each in report["next_steps"]]
    subprocess.run(append, shell=True, check=True)
    merged = tomllib.loads(own.read_text("utf-8"))

    assert f"booking-migrate references rewrite --config {own}" == rewrite
    assert ("people", len(EXPECTED)) == (merged["users"], len(merged["references"]))
    report = find(command, "--config", str(own), "--output", str(path), "--overwrite")
    step = report["next_steps"][0]
    assert (None, True) == (step["command"], f"into {own}, in place of the [[references]]" in step["text"])


def test_after_a_cut_over(shop: Db, command: Run) -> None:
    """After a cut-over the same is found by the kept copy, after finalize by the sessions."""
    steps = (("migrate", *PLACES), ("verify", *PLACES), ("cutover", *PLACES, "--yes"))
    assert [0, 0, 0] == [command(*each).returncode for each in steps]
    assert fields_in(find(command)) == EXPECTED

    assert 0 == command("finalize", "--yes").returncode
    assert not [name for name in shop.list_collection_names() if name.startswith("bookings_legacy")]
    assert fields_in(find(command)) == EXPECTED


def test_new_ids_are_distinguished(shop: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of sessions and of client documents are counted beside old ones; a field with nothing else is not proposed."""
    steps = (("migrate", *PLACES), ("verify", *PLACES), ("cutover", *PLACES, "--yes"))
    assert [0, 0, 0] == [command(*each).returncode for each in steps]
    own = ObjectId()
    shop.bookings.update_one({}, {"$push": {"sessions": {"sessionId": own, "status": "pending"}}})
    shop.payments.update_many({}, {"$set": {"both": new_id(1), "client": client_document_id(client(0))}})
    shop.payments.update_one({"bookingId": IDS[3]}, {"$set": {"bookingId": new_id(3)}})
    shop.payments.update_one({"bookingId": IDS[4]}, {"$set": {"bookingId": own}})
    shop.payments.update_one({"bookingId": IDS[5]}, {"$set": {"bookingId": client_document_id(client(1))}})
    shop.chats.insert_one({"lines": [{"text": f"/sessions/{own}"}, {"text": f"/sessions/{new_id(2)}"}]})
    report = find(command, "--collection", "payments", "--collection", "chats")

    counts = ("hits", "misses", "sessions", "client_documents", "others")
    by_name = {
        f"{each['collection']}.{each['field']}": tuple(each[name] for name in counts)
        for each in (*report["fields"], *report["only_new"])
    }
    assert (9, 4, 2, 1, 1) == by_name["payments.bookingId"]
    assert (12, 2, 2, 0, 0) == by_name["chats.lines.text"]
    # The shop's clients have ids that their documents have, too.
    assert ["both", "client", "payer"] == [each["field"] for each in report["only_new"]]
    assert ((0, 13, 13, 0, 0), (0, 13, 0, 13, 0)) == (by_name["payments.both"], by_name["payments.client"])
    assert not any('"both"' in line for line in report["section"])
    # What was passed over at first, because the field seemed to be of something else, is read again.
    monkeypatch.setattr(finder, "_FIRST_DISTINGUISHED", 0)
    monkeypatch.setattr(referring, "_BATCH_SIZE", 2)
    again = find(command, "--collection", "payments", "--collection", "chats")
    assert (report["fields"], report["only_new"]) == (again["fields"], again["only_new"])


def new_id(number: int) -> ObjectId:
    """The id of the session of a booking."""
    return session_id(IDS[number], 0)


def test_in_place(shop: Db, command: Run) -> None:
    """After a migration in place the same is found by archive and sessions; the archive is not searched."""
    assert 0 == command("migrate", "--in-place").returncode
    report = find(command)

    assert fields_in(report) == EXPECTED
    assert "bookings_legacy" in shop.list_collection_names()


@pytest.mark.usefixtures("shop")
def test_a_sample_is_said_to_be_one(command: Run) -> None:
    """With --sample at most so many documents are read, and the page says that some may be missed and names the command that reads all."""
    report = find(command, "--sample", "3")
    shown = command(*FIND, "--sample", "3").stdout

    assert "Read every document:\n    booking-migrate references find --target clients\n" in shown
    assert {3} == {each["documents"] for each in report["searched"]}
    assert "a field that holds ids rarely may be missing" in " ".join(shown.split())


def test_the_terminal_shows_fields_and_tables(shop: Db, command: Run) -> None:
    """The page names each field, what is to be known of it, and the tables for the config file."""
    shop.drop_collection("chats")
    shown = " ".join(command(*FIND).stdout.split())

    assert "5 fields of 3 collections hold ids of bookings" in shown
    assert "payments.itemId refers to bookings where type is booking" in shown
    assert "[[references]]" in shown
    assert "booking-migrate references find --target clients --output references.toml" in shown
    assert 'field = "entries.ref.$id"' in shown


@pytest.mark.usefixtures("shop")
def test_wrong_collections_are_refused(command: Run) -> None:
    """A collection that is not there, or holds the bookings, is refused by name."""
    absent, own = (command(*FIND, "--collection", name) for name in ("paymnts", "bookings"))

    assert (2, True) == (
        absent.returncode,
        "'paymnts' is not a collection" in " ".join(absent.stderr.split()),
    )
    assert (2, True) == (
        own.returncode,
        "bookings holds the bookings themselves" in " ".join(own.stderr.split()),
    )


def test_ids_of_mixed_types_are_scanned_once(database: Db, server_uri: str) -> None:
    """A scan that begins behind any document yields all that follow, each once, whatever the types of `_id`."""
    ids: list[Any] = [7, 3.5, "b", "a", *IDS[:3], {"x": 1}, True, None, b"\x01"]
    database.mixed.insert_many([{"_id": each} for each in ids])
    connection = Connection(server_uri, database.name)
    mixed = open_inspector(connection, "mixed").referring("mixed")
    try:
        everything = [raw for batch in mixed.scan() for raw in batch]
        rest = [[raw for batch in mixed.scan(identity_of(after)) for raw in batch] for after in everything]
    finally:
        connection.close()

    assert len(ids) == len(everything)
    assert sorted(everything, key=id_key) == everything
    assert [everything[number + 1 :] for number in range(len(ids))] == rest


def test_a_user_who_only_reads(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The role read is enough; collections that a user may not read are named, and the others are searched."""
    with guarded_server() as server:
        _fill(server)
        for user, unreadable in (("reader", []), ("clerk", ["secrets"])):
            uri = server.uri.replace("admin:secret", f"{user}:pw").replace(
                "authSource=admin", "authSource=shop"
            )
            for name, value in environment_of(uri, "shop").items():
                monkeypatch.setenv(name, value)
            ended = command(*FIND, "--uri", uri, "--db", "shop", "--json")
            report = json.loads(ended.stdout)

            assert 0 == ended.returncode, ended.stderr
            assert unreadable == report["unreadable"]
            assert ("payments", "bookingId", BOOKINGS) in [
                (each["collection"], each["field"], each["hits"]) for each in report["fields"]
            ]
            with closing(Connection(uri, "shop")) as connection:
                places = open_references(connection, source="bookings", target="clients")
                left = remaining_references(
                    (), places.others, (), places.referring, places.ids, listener=NullListener()
                )
            named = [each.collections for each in left.unseen if each.why is Why.UNREADABLE]
            assert [tuple(unreadable)] * len(unreadable) == named


def _fill(server: Server) -> None:
    """Bookings, payments and a collection that only one of two users may read."""
    shop = server.client()["shop"]
    shop.bookings.insert_many(map(booking, range(BOOKINGS)))
    shop.payments.insert_many([{"bookingId": each} for each in IDS])
    shop.secrets.insert_many([{"bookingId": each} for each in IDS])
    shop.command("createUser", "reader", pwd="pw", roles=["read"])
    reads = [
        {"resource": {"db": "shop", "collection": name}, "actions": ["find", "listIndexes"]}
        for name in ("bookings", "payments", "booking_migrate_runs")
    ]
    lists = [{"resource": {"db": "shop", "collection": ""}, "actions": ["listCollections"]}]
    shop.command("createRole", "clerk", privileges=reads + lists, roles=[])
    shop.command("createUser", "clerk", pwd="pw", roles=["clerk"])


def test_time_series_are_named(shop: Db, command: Run) -> None:
    """Time series are not searched, and the report names them."""
    shop.create_collection("metrics", timeseries={"timeField": "at", "metaField": "m"})
    shop.metrics.insert_one({"at": datetime(2026, 1, 1, tzinfo=UTC), "m": {"bookingId": IDS[0]}})
    done = command("references", "find", "--json")
    page = command("references", "find")

    assert ["metrics"] == json.loads(done.stdout)["time_series"]
    assert "metrics: a time series" in page.stdout


@pytest.mark.usefixtures("shop")
def test_a_source_that_does_not_exist_is_refused(command: Run) -> None:
    """A misspelled source is not taken for a database without references."""
    done = command("references", "find", "--source", "bokings", "--json")

    assert 5 == done.returncode
    assert "bookings" in json.loads(done.stdout)["error"]["hint"]
