"""Files that hold something else than their names say: each is named, with the command that makes a readable one."""

import bz2
import gzip
import io
import json
import lzma
import shlex
import subprocess
import zipfile
from pathlib import Path

import pytest
from bson import encode

from booking_migrate.errors import BrokenDocument, Refused, UnusablePlace
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.files.opening import looked_ahead
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.places import parse_place

DOCUMENTS = [{"_id": number, "text": "čtyři"} for number in range(3)]
LINES = "".join(f"{json.dumps(document, ensure_ascii=False)}\n" for document in DOCUMENTS)
PRETTY = "\n".join(json.dumps(document, indent=2, ensure_ascii=False) for document in DOCUMENTS) + "\n"
ARRAY = json.dumps(DOCUMENTS, ensure_ascii=False)
BSON = b"".join(map(encode, DOCUMENTS))
ZSTD = b"\x28\xb5\x2f\xfd" + bytes(60)
LZ4 = b"\x04\x22\x4d\x18" + bytes(60)
ARCHIVE = b"\x6d\xe2\x99\x81" + encode({"concurrent_collections": 4, "version": "0.1"})


def count(path: Path) -> int:
    """How many documents a file has."""
    reader = open_reader(parse_place(str(path)), Connection())
    try:
        return len(list(reader.scan_by_client()))
    finally:
        reader.close()


def zipped(text: str) -> bytes:
    """A zip archive of one file."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("bookings.jsonl", text)
    return data.getvalue()


@pytest.mark.parametrize("name", ["a.json", "A.JSON", "a.json.gz", "A.JSON.GZ"])
@pytest.mark.parametrize("text", [LINES, PRETTY, ARRAY, "\ufeff" + LINES, "\n \n" + PRETTY, LINES.strip()])
def test_the_first_character_tells_an_array_from_documents(tmp_path: Path, name: str, text: str) -> None:
    """A .json file may hold an array, one document a line, or documents of several lines."""
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.lower().endswith(".gz") else data)

    assert 3 == count(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson.gz"])
@pytest.mark.parametrize("text", [PRETTY, "\ufeff\r\n" + PRETTY.replace("\n", "\r\n")])
def test_pretty_printed_documents_are_read(tmp_path: Path, name: str, text: str) -> None:
    """A file whose first line is a mere brace cannot be one document a line, whatever its name: it is read all the same."""
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())

    assert 3 == count(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "text", "position"),
    [
        ("a.jsonl", PRETTY[:-5], "document 3, line 11"),
        ("a.json", LINES[:-5], "document 3, line 3"),
        ("a.jsonl", LINES[:-5], "line 3"),
        ("a.jsonl", '{ "_id": 1,\n  "a": 2 }\n', "line 1"),
    ],
)
def test_a_document_that_is_cut_off_is_named(tmp_path: Path, name: str, text: str, position: str) -> None:
    """A file or a line that ends within a document says so, with the command that exports it again."""
    (tmp_path / name).write_text(text)

    with pytest.raises(BrokenDocument, match="ends within") as caught:
        count(tmp_path / name)

    assert position == caught.value.position
    assert "mongoexport " in caught.value.hint


UTF16 = LINES.encode("utf-16")
RENAMED = {
    "BSON as .json": ("a.json", BSON, "BSON, not JSON", "a.bson"),
    "BSON as .jsonl.gz": ("a.jsonl.gz", gzip.compress(BSON), "BSON, not JSON", "a.bson.gz"),
    "JSON lines as .bson": ("a.bson", LINES.encode(), "JSON, not BSON", "a.json"),
    "JSON array as .BSON": ("a.BSON", b"\n" + ARRAY.encode(), "JSON, not BSON", "a.json"),
    "pretty JSON as .bson.gz": (
        "a.bson.gz",
        gzip.compress(PRETTY.encode()),
        "JSON, not BSON",
        "a.json.gz",
    ),
    "array as .jsonl": ("a.jsonl", ARRAY.encode(), "an array", "a.json"),
    "gzip as .jsonl": ("a.jsonl", gzip.compress(LINES.encode()), "gzip data", "a.jsonl.gz"),
    "gzip as .bson": ("a.bson", gzip.compress(BSON), "gzip data", "a.bson.gz"),
    "no gzip as .gz": ("a.jsonl.gz", LINES.encode(), "no gzip data", "a.jsonl"),
    "no gzip as .GZ": ("a.BSON.GZ", BSON, "no gzip data", "a.BSON"),
    "a name with a blank": ("my file.json", BSON, "BSON", "my file.bson"),
}
CONVERTED = {
    "UTF-16 with a mark": ("a.jsonl", UTF16, "UTF-16 text"),
    "UTF-16 without": ("a.json", LINES.encode("utf-16-le"), "UTF-16LE text"),
    "UTF-16, big end first": ("a.jsonl", LINES.encode("utf-16-be"), "UTF-16BE text"),
    "UTF-16 array as .json.gz": ("a.json.gz", gzip.compress(ARRAY.encode("utf-16")), "UTF-16 text"),
    "UTF-32": ("a.jsonl", LINES.encode("utf-32"), "UTF-32 text"),
    "UTF-32 without a mark": ("a.jsonl", LINES.encode("utf-32-be"), "UTF-32BE text"),
    "xz": ("a.jsonl", lzma.compress(LINES.encode()), "xz data"),
    "xz as .gz": ("a.bson.gz", lzma.compress(BSON), "xz data"),
    "bzip2": ("a.bson", bz2.compress(BSON), "bzip2 data"),
    "gzip twice": ("a.jsonl.gz", gzip.compress(gzip.compress(LINES.encode())), "compressed twice"),
}
NAMED = {
    "zstd": ("a.jsonl", ZSTD, "zstd data", "zstd -dc a.jsonl > a.decompressed.jsonl"),
    "zstd as .gz": ("a.bson.gz", ZSTD, "zstd data", "zstd -dc a.bson.gz > a.decompressed.bson"),
    "lz4": ("a.json", LZ4, "lz4 data", "lz4 -dc a.json > a.decompressed.json"),
    "zip": ("a.json", zipped(LINES), "zip data", "funzip a.json > a.decompressed.json"),
    "archive": ("a.bson", ARCHIVE, "an archive of mongodump", "--collection=a --out=dump"),
    "archive as .gz": ("a.bson.gz", ARCHIVE, "an archive of mongodump", "--collection=a --out=dump"),
    "archive in gzip": ("a.jsonl.gz", gzip.compress(ARCHIVE), "an archive of mongodump", "--out=dump"),
    "CSV": ("clients.jsonl", b"_id,clientId\n1,2\n", "(CSV)", "--collection=clients"),
    "CSV with quotes": ("a.json", b'\xef\xbb\xbf"_id";"clientId"\n1;2\n', "(CSV)", "--jsonFormat=canonical"),
    "TSV": ("a.bson", b"_id\tclientId\n1\t2\n", "tab-separated", "--out=a.jsonl"),
    "XML": ("a.json", b'<?xml version="1.0"?><a/>', "XML or HTML", "mongoexport"),
    "Parquet": ("a.bson", b"PAR1" + bytes(40), "Parquet", "mongoexport"),
    "SQLite": ("a.json", b"SQLite format 3\x00", "SQLite", "mongoexport"),
    "shell commands": (
        "a.json",
        b"db.bookings.insertMany([\n])",
        "commands of the mongo shell",
        "mongoexport",
    ),
}


def refusal(folder: Path, name: str, data: bytes) -> tuple[str, str]:
    """What a file is refused for, and the hint, the folder being left out of both."""
    path = folder / name
    path.write_bytes(data)
    with pytest.raises(Refused) as caught:
        count(path)
    assert isinstance(caught.value, BrokenDocument | UnusablePlace)
    assert str(path) == caught.value.place
    return caught.value.problem, caught.value.hint.replace(f"{folder}/", "")


@pytest.mark.parametrize("case", RENAMED)
def test_a_file_under_a_wrong_name_is_renamed(tmp_path: Path, case: str) -> None:
    """The hint is a command that gives the file the right name: after it, the file is read."""
    name, data, content, renamed = RENAMED[case]

    problem, hint = refusal(tmp_path, name, data)
    _words, _, command = hint.partition("Rename it: ")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)

    assert content in problem
    assert ["mv", name, renamed] == shlex.split(command)
    assert 3 == count(tmp_path / renamed)


@pytest.mark.parametrize("case", CONVERTED)
def test_another_encoding_is_converted(tmp_path: Path, case: str) -> None:
    """The hint is a command that writes a readable file beside the other one."""
    name, data, content = CONVERTED[case]

    problem, hint = refusal(tmp_path, name, data)
    _words, _, command = hint.partition("Convert it: ")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)

    assert content in problem
    assert 3 == count(next(path for path in tmp_path.iterdir() if path.name != name))


@pytest.mark.parametrize("case", NAMED)
def test_another_kind_of_file_is_named(tmp_path: Path, case: str) -> None:
    """What cannot be read is named, with the command that makes a readable file."""
    name, data, content, command = NAMED[case]

    problem, hint = refusal(tmp_path, name, data)

    assert content in problem
    assert command in hint


SHELL_DOCUMENTS = [
    '{ "_id" : ObjectId("68b6134f8e21e1ae686349f7") }',
    '{ "_id" : 1, "at" : ISODate("2025-08-29T10:00:00Z") }',
    '{ "_id" : 1, "n" : NumberLong(5) }',
    '{ "_id" : 1, "n" : new Date(0) }',
    '{ "_id" : 1, "r" : /a/i }',
    "{ _id: 1, a: 'b' }",
    "{ '_id': 1 }",
    '{ "_id" : 1, "u" : undefined }',
]


@pytest.mark.parametrize("text", SHELL_DOCUMENTS)
def test_shell_syntax_is_named(tmp_path: Path, text: str) -> None:
    """What the mongo shell prints is named on its line, with the command that exports JSON, in every kind of JSON file."""
    files = {
        "lines.jsonl": ('{"_id":1}\n' + text + "\n", "line 2"),
        "lines.json": ('{"_id":1}\n' + text + "\n", "document 2, line 2"),
        "array.json": ('[{"_id":1},\n' + text + "]", "document 2, line 2"),
        "pretty.jsonl": (PRETTY + text.replace("{", "{\n", 1), "document 4, line 14"),
    }
    for name, (content, position) in files.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(BrokenDocument, match="mongo shell syntax") as caught:
            count(tmp_path / name)
        assert position == caught.value.position
        assert "--jsonFormat=canonical" in caught.value.hint


@pytest.mark.parametrize("first", [123, 91, 0x20, 0x1F, 0x50, 0x2C, 0x42])
def test_a_bson_file_is_known_whatever_its_first_byte(tmp_path: Path, first: int) -> None:
    """A document whose length begins like JSON, a table or a compressed file is BSON all the same."""
    padding = first - len(encode({"": ""}))
    raw = encode({"": "x" * (padding if padding >= 0 else padding + 256)})
    (tmp_path / "a.bson").write_bytes(raw)

    assert first == raw[0]
    assert 1 == count(tmp_path / "a.bson")


@pytest.mark.parametrize("time", [1, 7, 0x65420303, 0x69616103])
def test_gzip_and_bson_of_a_like_start_are_told_apart(tmp_path: Path, time: int) -> None:
    """The start of a gzip stream may be a BSON document's length and first element, and the other way round."""
    (tmp_path / "gzip.bson").write_bytes(gzip.compress(BSON, mtime=time))
    (tmp_path / "plain.bson").write_bytes(encode({"aia": "x" * (0x00088B1F - 15)}))

    with pytest.raises(BrokenDocument, match="gzip data"):
        count(tmp_path / "gzip.bson")
    assert b"\x1f\x8b\x08\x00" == (tmp_path / "plain.bson").read_bytes()[:4]
    assert 1 == count(tmp_path / "plain.bson")


def test_a_folder_and_an_empty_archive_are_named(tmp_path: Path) -> None:
    """A folder with a file's name, and a .gz file without a byte, are refused as what they are."""
    (tmp_path / "folder.bson" / "shop").mkdir(parents=True)
    (tmp_path / "folder.bson" / "shop" / "bookings.bson").touch()
    (tmp_path / "empty.jsonl.gz").touch()

    with pytest.raises(UnusablePlace, match="it is a folder") as caught:
        count(tmp_path / "folder.bson")
    assert f"{tmp_path}/folder.bson/shop/bookings.bson" in caught.value.hint
    with pytest.raises(UnusablePlace, match="it is empty"):
        count(tmp_path / "empty.jsonl.gz")


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 600_000])
def test_looking_ahead_takes_nothing_away(size: int) -> None:
    """The stream still has the bytes that were looked at."""
    data = bytes(number % 251 for number in range(size))

    head, stream = looked_ahead(io.BytesIO(data))

    assert data[:4096] == head
    assert data == stream.read()
