"""What old ids stand for, before a migration, after it, after a cut-over, and when nothing is kept."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.ids import client_document_id, session_id
from booking_migrate.errors import OldIdsNotIndexed
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.mongo import old_ids
from booking_migrate.stores.open_references import OpenReferences, open_references
from booking_migrate.stores.references import BookingState, NewIds
from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.conftest import GONE, IDS
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

PLACES = ("--target", "clients")
REJECTED = ObjectId("65f1a0000000000000eeeeee")


@pytest.fixture
def opened(shop: Db, server_uri: str) -> Iterator[Callable[[], OpenReferences]]:
    """A function that opens what ids stand for; one booking more is to be rejected."""
    shop.bookings.insert_one(booking(13, _id=REJECTED, duration=5))
    connections: list[Connection] = []

    def begin() -> OpenReferences:
        connections.append(Connection(server_uri, shop.name))
        return open_references(connections[-1], source="bookings", target="clients")

    yield begin
    for each in connections:
        each.close()


def new_ids(number: int) -> NewIds:
    """What a booking is called after a migration."""
    client_id = client(number % 4)
    return NewIds(session_id(IDS[number], 0), client_document_id(client_id), client_id)


def states(opened: Callable[[], OpenReferences], *ids: ObjectId) -> list[Any]:
    """What ids stand for, in their order."""
    found = opened().ids.resolve(ids)
    return [found[sort_key(each)] for each in ids]


def test_before_a_migration(opened: Callable[[], OpenReferences]) -> None:
    """Before a migration an id is that of a booking, or of none; the collections of both sides are not searched."""
    expected = [BookingState.UNMIGRATED, BookingState.UNMIGRATED, BookingState.UNKNOWN]

    assert expected == states(opened, IDS[0], REJECTED, GONE)
    assert {sort_key(IDS[0]), sort_key(REJECTED)} == opened().ids.known([IDS[0], REJECTED, GONE])
    assert ["calendar", "chats", "decoys", "payments", "reviews"] == list(opened().others)


def test_in_the_life_of_a_run(shop: Db, command: Run, opened: Callable[[], OpenReferences]) -> None:
    """Migrated, cut over and finalized, an id has its new ids; a rejected booking is known as long as it is kept."""
    expected = [new_ids(0), new_ids(5), BookingState.REJECTED, BookingState.UNKNOWN]
    asked = (IDS[0], IDS[5], REJECTED, GONE)
    for step in (
        ("migrate", *PLACES),
        ("verify", *PLACES),
        ("cutover", *PLACES, "--yes", "--rejected", "leave"),
    ):
        assert command(*step).returncode in (0, 3)
        if step[0] != "verify":
            assert expected == states(opened, *asked), step
            assert 3 == len(opened().ids.known(asked))
    assert not [name for name in opened().others if name.startswith(("bookings", "clients"))]

    shop.drop_collection(
        next(name for name in shop.list_collection_names() if name.startswith("bookings_legacy"))
    )
    assert [*expected[:2], BookingState.UNKNOWN, BookingState.UNKNOWN] == states(opened, *asked)


def test_existing_new_ids(command: Run, opened: Callable[[], OpenReferences]) -> None:
    """Session ids and client documents are found as such, and a client document is no session."""
    assert command("migrate", *PLACES).returncode in (0, 3)
    session, document, _ = new_ids(2)
    sessions, documents = opened().ids.existing([session, document, GONE], [session, document, GONE])

    assert ({sort_key(session)}, {sort_key(document)}) == (sessions, documents)


def test_ids_of_client_documents_are_no_bookings(
    shop: Db, command: Run, opened: Callable[[], OpenReferences]
) -> None:
    """After a cut-over the live collection has client documents under the bookings' name: their `_id` is no old id."""
    for step in (
        ("migrate", *PLACES),
        ("verify", *PLACES),
        ("cutover", *PLACES, "--yes", "--rejected", "leave"),
    ):
        assert command(*step).returncode in (0, 3)
    ids = [each["_id"] for each in shop.bookings.find({}, {"_id": 1})]

    assert set() == opened().ids.known(ids)


def test_without_an_index(
    shop: Db, command: Run, opened: Callable[[], OpenReferences], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With many client documents, no index and nothing kept, the search is refused and says which index helps."""
    monkeypatch.setattr(old_ids, "_FEW", 2)
    for step in (
        ("migrate", *PLACES),
        ("verify", *PLACES),
        ("cutover", *PLACES, "--yes", "--rejected", "leave"),
    ):
        assert command(*step).returncode in (0, 3)
    shop.drop_collection(
        next(name for name in shop.list_collection_names() if name.startswith("bookings_legacy"))
    )
    for index in shop.bookings.list_indexes():
        if "sessions.legacyBookingId" in index["key"]:
            shop.bookings.drop_index(index["name"])
    with pytest.raises(OldIdsNotIndexed, match="has no index"):
        opened().ids.known(IDS)

    shop.bookings.create_index("sessions.legacyBookingId")
    assert len(IDS) == len(opened().ids.known(IDS))
