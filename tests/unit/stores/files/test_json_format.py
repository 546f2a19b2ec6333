"""Whether a JSON file is plain or Extended JSON, and what is refused because it could be either."""

import json
from pathlib import Path
from typing import Any

import pytest
from bson import encode
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from booking_migrate.bson.document import CODEC
from booking_migrate.errors import BrokenDocument
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.places import JsonFormat, parse_place

HEX = "68b6134f8e21e1ae686349f7"


STRINGIFIED: dict[str, Any] = {
    "_id": HEX,
    "clientId": HEX,
    "price": {"$numberDecimal": "20.00"},
    "createdAt": "2025-08-29T10:00:00.000Z",
}


def read_file(path: Path, *documents: Any, json_format: JsonFormat | None = None) -> list[bytes]:
    """Write documents as JSON lines and read them."""
    path.write_text("".join(f"{json.dumps(document)}\n" for document in documents))
    reader = open_reader(parse_place(str(path)), Connection(), json_format=json_format)
    try:
        return [document.raw for document in reader.scan_by_client()]
    finally:
        reader.close()


def test_documents_made_by_stringify_are_plain_with_decimals(tmp_path: Path) -> None:
    """Plain ids and dates beside ``$numberDecimal`` are ids, dates and decimals, whichever document has the decimal."""
    plain = {**STRINGIFIED, "price": 20}
    moment = DatetimeMS(1756461600000)
    expected = [
        encode(
            {"_id": ObjectId(HEX), "clientId": ObjectId(HEX), "price": price, "createdAt": moment},
            codec_options=CODEC,
        )
        for price in (Decimal128("20.00"), 20)
    ]

    assert expected == read_file(tmp_path / "a.jsonl", STRINGIFIED, plain)
    assert expected[::-1] == read_file(tmp_path / "a.jsonl", plain, STRINGIFIED)


@pytest.mark.parametrize("price", [{"$numberInt": "20"}, {"$numberDouble": "20.0"}])
def test_plain_dates_beside_canonical_numbers_are_named(tmp_path: Path, price: Any) -> None:
    """Plain dates beside wrappers that only Extended JSON has could mean either: it has to be said."""
    document = {**STRINGIFIED, "price": price}

    with pytest.raises(
        BrokenDocument, match=f"plain dates beside \\{min(price)} wrappers; say --json-format"
    ):
        read_file(tmp_path / "a.jsonl", document)

    (raw,) = read_file(tmp_path / "a.jsonl", document, json_format=JsonFormat.EXTENDED)
    assert HEX.encode() in raw


@pytest.mark.parametrize("late", [{"$oid": HEX}, {"$numberInt": "5"}, {"$regex": "a", "$options": "i"}])
def test_a_late_wrapper_is_named_in_a_plain_file(tmp_path: Path, late: Any) -> None:
    """A wrapper that plain files do not have is refused further down, with its line, path and name."""
    name = next(iter(late))
    for first in (STRINGIFIED, {"_id": HEX}):
        with pytest.raises(BrokenDocument) as caught:
            read_file(tmp_path / "a.jsonl", first, {"_id": 2, "value": late})

        assert "line 2" == caught.value.position
        assert caught.value.problem.startswith(f"$.value: a {name} wrapper in a file")
        assert "--json-format" in caught.value.problem


def test_an_unknown_dollar_name_does_not_make_a_file_extended(tmp_path: Path) -> None:
    """A file is plain if its first document has no wrapper: an application's own ``$`` names are none."""
    documents: list[dict[str, Any]] = [
        {"_id": HEX, "change": {"$set": 1}},
        {"_id": 2, "change": {"$inc": {"$regex": "a"}}},
    ]

    assert [
        encode({"_id": ObjectId(HEX), "change": {"$set": 1}}),
        encode(documents[1]),
    ] == read_file(tmp_path / "a.jsonl", *documents)
