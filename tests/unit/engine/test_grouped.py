"""What can be told of a client document without decoding its sessions."""

from decimal import Decimal

import bson
import pytest
from bson.objectid import ObjectId

from booking_migrate.domain.booking import read_booking
from booking_migrate.domain.bson_document import CODEC, Element, elements, wrap
from booking_migrate.domain.client_document import compose
from booking_migrate.domain.contract import Contract
from booking_migrate.domain.conversion import Converter, Session
from booking_migrate.domain.people import People
from booking_migrate.engine.grouped import read_grouped
from booking_migrate.stores.journal import identity_of
from tests.support.bookings import decoded, raw, session_of

DOCUMENT = compose(None, [session_of(price=20), session_of(_id=ObjectId(bytes(12)), price=1.5)])


def test_what_is_told() -> None:
    """Identity, client, number of sessions, currency and sum are those of the document."""
    document = read_grouped(DOCUMENT)

    assert document is not None
    assert (identity_of(DOCUMENT), decoded(DOCUMENT)["clientId"]) == document[:2]
    assert (2, "INR", Decimal("21.5")) == document[2:]


def test_a_session_that_python_cannot_decode() -> None:
    """A session with text that is no UTF-8 is counted like any other."""
    first, *others = elements(raw(price=7))
    broken = wrap([first, Element(0x02, b"extra", b"\x02\x00\x00\x00\xff\x00"), *others])
    session = Converter(Contract()).convert(read_booking(broken), People())
    assert isinstance(session, Session)
    document = read_grouped(compose(None, [session]))

    assert document is not None
    assert (1, "INR", Decimal(7)) == document[2:]


@pytest.mark.parametrize(
    "changes",
    [{"_id": ObjectId(bytes(12))}, {"clientUserId": 7}, {"sessions": []}, {"clientId": "client"}],
    ids=lambda changes: f"{next(iter(changes))}",
)
def test_documents_of_others(changes: dict[str, object]) -> None:
    """A document that the server cannot have made is not read."""
    assert read_grouped(bson.encode({**decoded(DOCUMENT), **changes}, codec_options=CODEC)) is None
