"""Bookings to measure with: many clients, about ten bookings each, in no order, 440 bytes a booking."""

import random
import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import bson
from bson.json_util import CANONICAL_JSON_OPTIONS, dumps
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from booking_migrate.bson.document import CODEC
from tests.support.bookings import a_booking

BOOKINGS_A_CLIENT = 10
_INSERTED_AT_ONCE = 10_000
_SEED = 7
_EXPERTS = 200
_START = 1_700_000_000
_ID = slice(9, 21)
CLIENT = slice(31, 43)
"""Where a booking has its `clientId`."""

_EXPERT = slice(53, 65)


def bookings(count: int) -> Iterator[bytes]:
    """So many bookings of a tenth as many clients, as BSON. The same ones every time."""
    template = bytearray(bson.encode(a_booking(_id=ObjectId(bytes(12)), clientId=ObjectId(bytes(12)))))
    price = template.index(b"\x10price\x00") + 7
    chance = random.Random(_SEED)
    clients = max(1, count // BOOKINGS_A_CLIENT)
    experts = [chance.randbytes(12) for _ in range(_EXPERTS)]
    for number in range(count):
        client = chance.randrange(clients)
        template[_ID] = struct.pack(">I5sxH", _START + number, b"bench", number % 65536)
        template[CLIENT] = struct.pack(">I4sI", _START, b"user", client)
        template[_EXPERT] = chance.choice(experts)
        template[price : price + 4] = struct.pack("<i", chance.randrange(2000))
        yield bytes(template)


def insert_bookings(collection: Collection[Any], count: int) -> None:
    """Put so many bookings into a collection."""
    remaining = map(RawBSONDocument, bookings(count))
    while some := list(islice(remaining, _INSERTED_AT_ONCE)):
        collection.insert_many(some, ordered=False)


def client_ids(count: int) -> list[ObjectId]:
    """Return the clients of so many bookings."""
    return [
        ObjectId(struct.pack(">I4sI", _START, b"user", number))
        for number in range(max(1, count // BOOKINGS_A_CLIENT))
    ]


def write_dump(path: Path, count: int) -> None:
    """Write bookings as a BSON dump."""
    with path.open("wb") as file:
        file.writelines(bookings(count))


def write_lines(path: Path, count: int) -> None:
    """Write bookings as canonical Extended JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{text}\n" for text in _texts(count))


def write_array(path: Path, count: int) -> None:
    """Write bookings as an array of canonical Extended JSON."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{',' if number else '['}{text}\n" for number, text in enumerate(_texts(count)))
        file.write("]\n")


def _texts(count: int) -> Iterator[str]:
    for raw in bookings(count):
        yield dumps(bson.decode(raw, CODEC), json_options=CANONICAL_JSON_OPTIONS)
