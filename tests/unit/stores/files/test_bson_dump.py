"""BSON files: what is broken is named by its byte, what is merely odd is passed on."""

import struct
from pathlib import Path

import pytest
from bson import encode

from booking_migrate.errors import BrokenDocument
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.places import parse_place

WHOLE = encode({"_id": 1, "clientId": "a"})


@pytest.mark.parametrize(
    ("data", "byte"),
    [
        (WHOLE[:-1], 0),
        (WHOLE + WHOLE[:3], len(WHOLE)),
        (WHOLE + WHOLE[:9], len(WHOLE)),
        (WHOLE + struct.pack("<i", 4) + b"\x00", len(WHOLE)),
        (WHOLE + struct.pack("<i", -1) + b"\x00", len(WHOLE)),
        (WHOLE + struct.pack("<i", 16 * 1024 * 1024 + 16 * 1024 + 1) + b"\x00", len(WHOLE)),
        (WHOLE[:-1] + b"\x01", 0),
        (b'{"_id":1}\n', 0),
    ],
)
def test_a_broken_dump_is_named(tmp_path: Path, data: bytes, byte: int) -> None:
    """A wrong length, and a file that ends too early, are refused at the document's first byte."""
    path = tmp_path / "bookings.bson"
    path.write_bytes(data)

    with pytest.raises(BrokenDocument) as caught:
        open_reader(parse_place(str(path)), Connection()).check()

    assert (str(path), f"byte {byte}") == (caught.value.place, caught.value.position)


def test_a_broken_value_is_named(tmp_path: Path) -> None:
    """A wrong length inside a document is refused at its own byte."""
    raw = encode({"_id": 1, "text": "abc"})
    start = raw.index(b"text\x00") + 5
    path = tmp_path / "bookings.bson"
    path.write_bytes(WHOLE + raw[:start] + struct.pack("<i", 1000) + raw[start + 4 :])

    with pytest.raises(BrokenDocument) as caught:
        open_reader(parse_place(str(path)), Connection()).check()

    assert f"byte {len(WHOLE) + start}" == caught.value.position
