"""The map of old ids is one, whether it is made of bookings or of client documents."""

from collections import Counter
from typing import Any

from bson.objectid import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.database import Database

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.ids import client_document_id, session_id
from tests.properties.test_migration import CLIENTS, IDS, bookings
from tests.support.booking_map import comparable, derived_map, read_map
from tests.support.examples import examples
from tests.support.migration import migrate

Document = dict[str, Any]

_NAMES = ("bookings", "clients", "booking_migrate_rejected")

FEW = settings(
    max_examples=examples(12, one_of=4), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def fill(database: Database[Document], bookings: list[Document], clients: list[Document]) -> None:
    """Put bookings into the source and client documents into the target, and nothing else anywhere."""
    for name in _NAMES:
        database[name].drop()
    database.create_collection("bookings")
    for name, documents in (("bookings", bookings), ("clients", clients)):
        if documents:
            database[name].insert_many(documents)


@st.composite
def client_documents(draw: st.DrawFn) -> list[Document]:
    """Documents of some clients that the application has written, with sessions of its own and of an earlier migration."""
    clients = draw(st.lists(st.sampled_from(CLIENTS), max_size=3, unique_by=sort_key))
    session = st.fixed_dictionaries({"sessionId": st.builds(ObjectId)}, optional={"legacyBookingId": IDS})
    return [
        {"_id": ObjectId(), "clientId": client, "sessions": draw(st.lists(session, max_size=3))}
        for client in clients
    ]


@FEW
@given(documents=bookings(), batch=st.integers(1, 5))
def test_before_and_after(
    database: Database[Document], server_uri: str, documents: list[Document], batch: int
) -> None:
    """Derived before the migration, read from the target, and derived again after a cut-over: entry by entry it is one map."""
    fill(database, documents, [])
    place: dict[str, Any] = {"uri": server_uri, "db": database.name}
    before = derived_map("bookings", "clients", **place, batch_bookings=batch)
    migrate("bookings", "clients", **place)
    after = read_map("clients", **place)
    database["clients"].rename("bookings", dropTarget=True)

    assert comparable(before) == comparable(after)
    assert comparable(before) == comparable(derived_map("bookings", "clients", **place))
    assert comparable(before) == comparable(read_map("bookings", **place))


@FEW
@given(documents=bookings())
def test_it_is_a_function_of_the_booking(
    database: Database[Document], server_uri: str, documents: list[Document]
) -> None:
    """Each booking that is not rejected has one entry, with the ids that its own `_id`, `createdAt` and client give it."""
    fill(database, documents, [])
    place: dict[str, Any] = {"uri": server_uri, "db": database.name}
    found = {sort_key(entry.legacy_id): entry for entry in derived_map("bookings", "clients", **place)}
    migrate("bookings", "clients", **place)
    rejected = Counter(map(sort_key, database["booking_migrate_rejected"].distinct("bookingId")))

    assert {sort_key(one["_id"]) for one in documents} == {*found, *rejected}
    assert not found.keys() & rejected.keys()
    for one in documents:
        if (entry := found.get(sort_key(one["_id"]))) is not None:
            assert sort_key(one["clientId"]) == sort_key(entry.client_id)
            assert client_document_id(one["clientId"]) == entry.document_id
            if isinstance(one["_id"], ObjectId):
                assert session_id(one["_id"], 0) == entry.session_id


@FEW
@given(documents=bookings(), there=client_documents())
def test_documents_that_are_there_keep_their_ids(
    database: Database[Document], server_uri: str, documents: list[Document], there: list[Document]
) -> None:
    """With client documents of the application in the target, also of clients without bookings, it is one map all the same."""
    fill(database, documents, there)
    place: dict[str, Any] = {"uri": server_uri, "db": database.name}
    before = derived_map("bookings", "clients", **place)
    migrate("bookings", "clients", **place)

    assert sorted(comparable(before)) == sorted(comparable(read_map("clients", **place)))
    ids = {sort_key(one["clientId"]): one["_id"] for one in there}
    assert all(
        ids[sort_key(entry.client_id)] == entry.document_id
        for entry in before
        if sort_key(entry.client_id) in ids
    )
