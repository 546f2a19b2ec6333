"""What a user writes, and which place it is."""

import subprocess
import sys
from pathlib import Path

import pytest

from booking_migrate.errors import BadPlace, MissingUri
from booking_migrate.stores.connection import Connection, open_journal
from booking_migrate.stores.open import open_reader, open_target
from booking_migrate.stores.places import (
    CollectionPlace,
    FileFormat,
    FilePlace,
    Place,
    StreamPlace,
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
        ("A.JSON", FilePlace("A.JSON", FileFormat.JSON_ARRAY)),
        ("A.BSON.GZ", FilePlace("A.BSON.GZ", FileFormat.BSON, gzip=True)),
        ("a.NDJson.gz", FilePlace("a.NDJson.gz", FileFormat.JSON_LINES, gzip=True)),
        ("events.log", CollectionPlace("events.log")),
        ("fs.files", CollectionPlace("fs.files")),
        ("bookings_2024.old", CollectionPlace("bookings_2024.old")),
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


@pytest.mark.parametrize(
    "suffix", ["csv", "tsv", "xlsx", "txt", "xml", "parquet", "bak", "archive", "zip", "zst"]
)
@pytest.mark.parametrize("end", ["", ".gz"])
def test_the_name_of_another_kind_of_file_is_asked_back(suffix: str, end: str) -> None:
    """A name with the suffix of a file that is not written is not taken for a collection, in capitals neither."""
    for name in (
        f"clients.{suffix}{end}",
        f"CLIENTS.{suffix.upper()}{end.upper()}",
        f"./clients.{suffix}{end}",
    ):
        with pytest.raises(BadPlace) as caught:
            parse_place(name)

        assert caught.value.text == name
        assert caught.value.hint.startswith("For a file write ")
        assert ".jsonl;" in caught.value.hint


@pytest.mark.parametrize("text", ["/dev/stdin", "/dev/stdout", "/dev/fd/0", "/dev/fd/63", "/proc/self/fd/0"])
def test_a_stream_by_its_path_is_named(text: str) -> None:
    """Standard input by its path has no suffix: it is written as a dash."""
    with pytest.raises(BadPlace) as caught:
        parse_place(text)

    assert "Write -, which is JSON lines." == caught.value.hint


def test_a_file_that_is_there_comes_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a file of another kind that exists, the hint is the command that makes a readable one."""
    monkeypatch.chdir(tmp_path)
    commands = {
        "clients.csv": 'mongoexport --uri="$MONGODB_URI" --collection=clients --jsonFormat=canonical --out=clients.jsonl',
        "dump.archive.gz": 'mongodump --uri="$MONGODB_URI" --collection=bookings --out=dump',
        "my bookings.bson.zst": "zstd -dc 'my bookings.bson.zst' > 'my bookings.bson'",
    }
    for name, command in commands.items():
        Path(name).touch()
        with pytest.raises(BadPlace) as caught:
            parse_place(name)
        assert caught.value.hint.endswith(command)


def test_a_folder_is_named_with_a_file_in_it(tmp_path: Path) -> None:
    """For a folder that mongodump made, the hint names the bookings' file in it."""
    for name in ("experts.bson", "bookings.metadata.json", "bookings.bson.gz"):
        (tmp_path / "dump" / "shop" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "dump" / "shop" / name).touch()

    for folder in (f"{tmp_path}/dump", f"{tmp_path}/dump/", f"{tmp_path}/dump/shop"):
        with pytest.raises(BadPlace) as caught:
            parse_place(folder)
        assert "it is a folder" == caught.value.problem
        assert f"Name one file in it, such as {tmp_path}/dump/shop/bookings.bson.gz." == caught.value.hint


def test_a_collection_needs_a_server_and_a_database() -> None:
    """Without one of them the message says which."""
    for connection, lacking in ((Connection(), "server"), (Connection("mongodb://127.0.0.1:1"), "database")):
        with pytest.raises(MissingUri) as caught:
            open_reader(CollectionPlace("bookings"), connection)
        assert lacking == caught.value.lacking
        with pytest.raises(MissingUri):
            open_target(CollectionPlace("bookings"), connection, source_name="a.jsonl")


def test_a_collection_of_the_program_s_own_is_not_what_lacks_a_server() -> None:
    """What only opens the program's own records says that a server or database is lacking, and names no private collection."""
    for connection, lacking in ((Connection(), "server"), (Connection("mongodb://127.0.0.1:1"), "database")):
        with pytest.raises(MissingUri) as caught:
            open_journal(connection)
        assert f"no {lacking} was given" == caught.value.message
        assert "file" not in str(caught.value.hint)


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
        "import sys; from booking_migrate.stores.open import Connection, parse_place;"
        "Connection('mongodb://h/d'); parse_place('a'); parse_place('-');"
        "sys.exit(any(name in sys.modules for name in ('pymongo', 'sqlite3')))"
    )

    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode
