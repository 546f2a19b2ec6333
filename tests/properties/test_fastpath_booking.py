"""The fast path for flat bookings never says anything else than the reference path."""

import struct

import bson
import pytest
from hypothesis import given

from booking_migrate.bson.document import CODEC, Element, elements, wrap
from booking_migrate.domain.contract import FIELDS
from booking_migrate.domain.rejection import Rejection
from booking_migrate.domain.session import Converter, People, read_booking
from booking_migrate.fastpath.flat import FlatReader
from tests.properties.test_migration import Document, bookings
from tests.support.bookings import BREAKING, raw

CONVERTER = Converter()


def short_cut(booking: bytes) -> object:
    """What the fast path makes of a booking that it has met nothing like before."""
    return FlatReader().convert(booking)


def thorough(booking: bytes) -> object:
    """What the reference path makes of a booking."""
    return CONVERTER.convert(read_booking(booking), People())


@given(bookings())
def test_the_short_cut_agrees_with_the_reference_path(documents: list[Document]) -> None:
    """Either the fast path has no answer, or it has that of the reference path."""
    flat = FlatReader()
    for document in documents:
        booking = bson.encode(document, codec_options=CODEC)
        session = flat.convert(booking)

        assert session is None or thorough(booking) == session


def test_the_flat_booking_takes_the_short_cut() -> None:
    """A complete booking of the second generation is converted by the fast path."""
    session = short_cut(raw())

    assert session is not None
    assert thorough(raw()) == session


def test_every_field_with_rules_has_a_value_that_breaks_one() -> None:
    """A field that gets rules is checked below, and for the proof."""
    assert {field.name for field in FIELDS if field.rules} == BREAKING.keys()


@pytest.mark.parametrize("name", BREAKING)
def test_a_value_that_breaks_a_rule_takes_the_reference_path(name: str) -> None:
    """The fast path checks every field that has rules, whatever its kind."""
    booking = raw(**{name: BREAKING[name]})

    assert isinstance(thorough(booking), Rejection)
    assert short_cut(booking) is None


@pytest.mark.parametrize(
    "odd",
    [
        Element(0x0E, b"extra", struct.pack("<i", 4) + b"abc\x00"),
        Element(0x0E, b"\x0eextra", struct.pack("<i", 4) + b"abc\x00"),
        Element(0x0E, b"", struct.pack("<i", 3) + b"hi\x00"),
        Element(0x06, b"extra", b""),
        Element(0x10, b"price", struct.pack("<i", 1)),
        Element(0x10, b"_id", struct.pack("<i", 1)),
        Element(0x02, b"notes", struct.pack("<i", 2) + b"\xe9\x00"),
        Element(0x10, b"sessionId", struct.pack("<i", 1)),
    ],
    ids=[
        "symbol",
        "symbol in the name",
        "symbol without a name",
        "undefined",
        "name twice",
        "id twice",
        "latin 1",
        "reserved",
    ],
)
def test_what_could_hide_takes_the_reference_path(odd: Element) -> None:
    """A document in which something may hide from Python has no answer from the fast path."""
    assert short_cut(wrap([*elements(raw()), odd])) is None
    assert short_cut(wrap([odd, *elements(raw())])) is None


def test_a_lost_field_does_not_hide_behind_an_added_one() -> None:
    """A name that occurs twice is found even if the state to be added is just as long as what it would lose."""
    twice = Element(0x02, b"x", struct.pack("<i", 13) + b"a" * 12 + b"\x00")
    without_state = [part for part in elements(raw()) if part.name != b"status"]

    assert short_cut(wrap([*without_state, twice, twice])) is None
