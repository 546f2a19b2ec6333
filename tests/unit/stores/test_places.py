"""What a user writes, and which place it is."""

import subprocess
import sys

import pytest

from booking_migrate.errors import BadPlace, MissingUri
from booking_migrate.stores.locate import (
    CollectionPlace,
    Connection,
    FileFormat,
    FilePlace,
    Place,
    StreamPlace,
    open_reader,
    open_target,
    parse_place,
)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("bookings", CollectionPlace("bookings")),
        ("app.bookings", CollectionPlace("app.bookings")),
        ("bookings.gz", CollectionPlace("bookings.gz")),
        ("-", StreamPlace()),
        ("a.jsonl", FilePlace("a.jsonl", FileFormat.JSON_LINES)),
        ("a.ndjson", FilePlace("a.ndjson", FileFormat.JSON_LINES)),
        ("./a.json", FilePlace("./a.json", FileFormat.JSON_ARRAY)),
        ("x/a.bson", FilePlace("x/a.bson", FileFormat.BSON)),
        ("a.bson.gz", FilePlace("a.bson.gz", FileFormat.BSON, gzip=True)),
        ("a.jsonl.gz", FilePlace("a.jsonl.gz", FileFormat.JSON_LINES, gzip=True)),
    ],
)
def test_a_place_is_told_by_its_spelling(text: str, place: Place) -> None:
    """A separator or a known suffix makes a file, ``-`` a stream, anything else a collection."""
    assert place == parse_place(text)
    assert text == place.name


@pytest.mark.parametrize(
    "text",
    ["", "./bookings", "a/b.csv", "dir/", "system.users", "a$b", "a\x00b", "a\x00.jsonl", ".a", "a.", "a..b"],
)
def test_what_is_no_place_is_refused(text: str) -> None:
    """An unknown kind of file and a name that no collection can have are usage errors."""
    with pytest.raises(BadPlace):
        parse_place(text)


def test_a_collection_needs_a_server_and_a_database() -> None:
    """Without one of them the message says which."""
    for connection, lacking in ((Connection(), "uri"), (Connection("mongodb://127.0.0.1:1"), "db")):
        with pytest.raises(MissingUri) as caught:
            open_reader(CollectionPlace("bookings"), connection)
        assert lacking == caught.value.lacking
        with pytest.raises(MissingUri):
            open_target(CollectionPlace("bookings"), connection, source_name="a.jsonl")


def test_a_directory_that_need_not_exist_is_empty_without_a_server() -> None:
    """Users and experts that nobody named are looked up in vain, not refused."""
    reader = open_reader(CollectionPlace("users"), Connection(), required=False)
    reader.check()

    assert "users" == reader.name
    assert 0 == reader.estimate_count()
    assert [] == [*reader.find([1]), *reader.scan_by_client(), *reader.scan_client_documents()]
    reader.close()


def test_the_driver_is_imported_late() -> None:
    """Places can be parsed, and connections described, without importing the driver or bson."""
    code = (
        "import sys; from booking_migrate.stores.locate import Connection, parse_place;"
        "Connection('mongodb://h/d'); parse_place('a'); parse_place('-');"
        "sys.exit(any(name in sys.modules for name in ('pymongo', 'sqlite3')))"
    )

    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode
