"""BSON is read and written without changing a value."""

import struct

import bson
import pytest

from booking_migrate.bson.document import (
    Element,
    MalformedBson,
    Opaque,
    check_structure,
    depth,
    elements,
    read_exactly,
    read_fields,
    wrap,
    write_fields,
)

SYMBOL = Element(0x0E, b"s", struct.pack("<i", 2) + b"a\x00")


def test_elements_take_a_document_apart() -> None:
    """The elements of a document, put together again, are the document."""
    raw = bson.encode({"a": 1, "b": {"c": [1, "x"]}, "d": None, "e": b"123", "f": 1.5})

    assert raw == wrap(list(elements(raw)))


def test_what_python_would_retype_becomes_opaque() -> None:
    """A symbol is no string after reading, and is written back as it was."""
    raw = wrap([SYMBOL, Element(0x0A, b"n", b"")])

    assert read_exactly(raw) is None
    assert {"s": Opaque(0x0E, SYMBOL.value), "n": None} == read_fields(raw)
    assert raw == write_fields(read_fields(raw))


def test_the_place_of_the_id_is_kept() -> None:
    """A document with `_id` in the middle is written with `_id` in the middle."""
    raw = wrap(
        [Element(0x10, b"a", b"\1\0\0\0"), Element(0x10, b"_id", b"\2\0\0\0"), Element(0x0A, b"b", b"")]
    )

    assert ["a", "_id", "b"] == list(read_fields(raw))
    assert raw == write_fields(read_fields(raw))


def test_names_that_are_no_utf8_are_kept() -> None:
    """A field name in another encoding comes back byte for byte."""
    raw = wrap([Element(0x10, b"caf\xe9", b"\1\0\0\0")])

    assert raw == write_fields(read_fields(raw))


def test_depth_counts_documents_and_arrays() -> None:
    """The document itself is the first level."""
    assert 1 == depth(bson.encode({"a": 1}))
    assert 4 == depth(bson.encode({"a": 1, "b": [{"c": {}}]}))
    assert 3 == depth(bson.encode({"a": bson.code.Code("x", {"b": {}})}))


@pytest.mark.parametrize(
    ("raw", "position"),
    [
        (b"", 0),
        (b"\x05\x00\x00\x00", 0),
        (b"\x06\x00\x00\x00\x00", 0),
        (struct.pack("<i", 8) + b"\x10ab\x00", 4),
        (struct.pack("<i", 9) + b"\x10a\x00\x01\x00", 7),
        (struct.pack("<i", 8) + b"\x44a\x00\x00", 7),
        (bson.encode({"a": {"b": "text"}}).replace(b"\x05\x00\x00\x00text", b"\x09\x00\x00\x00text"), 14),
        (bson.encode({"a": "text"}).replace(b"\x05\x00\x00\x00text", b"\x00\x00\x00\x00text"), 7),
    ],
)
def test_broken_bytes_are_told_with_their_position(raw: bytes, position: int) -> None:
    """Wrong lengths, missing ends and unknown types are found at every level, at their place."""
    with pytest.raises(MalformedBson) as caught:
        check_structure(raw)

    assert position == caught.value.position


def test_odd_but_sound_documents_pass() -> None:
    """Deprecated types and invalid UTF-8 are no broken structure."""
    latin = Element(0x02, b"t", struct.pack("<i", 2) + b"\xe9\x00")
    raw = wrap([SYMBOL, latin, Element(0x03, b"d", wrap([latin]))])

    check_structure(raw)
    with pytest.raises(MalformedBson):
        check_structure(raw[:-1])
