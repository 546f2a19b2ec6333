"""What can be told of a client document without decoding its sessions."""

from decimal import Decimal

import bson
import pytest
from bson.objectid import ObjectId

from booking_migrate.domain.bson_document import CODEC
from booking_migrate.domain.client_document import compose
from booking_migrate.engine.grouped import read_grouped
from booking_migrate.stores.journal import identity_of
from tests.support.bookings import decoded, session_of

DOCUMENT = compose(None, [session_of(price=20), session_of(_id=ObjectId(bytes(12)), price=1.5)])


def test_what_is_told() -> None:
    """Identity, client, number of sessions, currency and sum are those of the document."""
    document = read_grouped(DOCUMENT)

    assert document is not None
    assert (identity_of(DOCUMENT), decoded(DOCUMENT)["clientId"]) == document[:2]
    assert (2, "INR", Decimal("21.5")) == document[2:]


@pytest.mark.parametrize(
    "changes",
    [{"_id": ObjectId(bytes(12))}, {"clientUserId": 7}, {"sessions": []}, {"clientId": "client"}],
    ids=lambda changes: f"{next(iter(changes))}",
)
def test_documents_of_others(changes: dict[str, object]) -> None:
    """A document that the server cannot have made is not read."""
    assert read_grouped(bson.encode({**decoded(DOCUMENT), **changes}, codec_options=CODEC)) is None
