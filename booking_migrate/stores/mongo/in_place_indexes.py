"""The indexes of a collection that holds old bookings and client documents side by side."""

from collections.abc import Mapping
from typing import Any

from pymongo.errors import DuplicateKeyError

from booking_migrate.stores.in_place import CLAIMED_BOOKINGS
from booking_migrate.stores.mongo.client_index import duplicates_of
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import reading, writing
from booking_migrate.stores.mongo.majority import build_index
from booking_migrate.stores.mongo.raw import SIMPLE
from booking_migrate.stores.mongo.retry import attempts, with_retry

CLIENT_DOCUMENTS_ONLY = "clientId_1_sessions"
"""The unique index that keeps a client from having two client documents."""

EVERY_DOCUMENT = "clientId_1_every"
"""The index by which all documents of a client are found."""

_CLAIM = "sessions.legacyBookingId"

IS_CLIENT_DOCUMENT: Mapping[str, Any] = {"sessions": {"$type": "array"}}
"""A document whose `sessions` is not an array is rejected, and must not conflict with its client's document."""

_SUFFICIENT = (None, IS_CLIENT_DOCUMENT, {"sessions": {"$exists": True}})
"""The filters of an index that keeps a client from having two client documents; None: it has no filter."""

_ADVICE = "In place they are not joined: join them in the application, or migrate side by side with --merge-client-documents."


def has_client_documents_index(collection: DriverCollection) -> bool:
    """Return whether an index keeps a client from having two client documents.

    Raises:
        NotPermitted, ConnectionProblem: the server does not say.
    """
    return any(
        _is_on_client(index)
        and bool(index.get("unique"))
        and not index.get("sparse")
        and index.get("partialFilterExpression") in _SUFFICIENT
        for index in _indexes(collection)
    )


def has_client_index(collection: DriverCollection) -> bool:
    """Return whether an index finds all documents of a client.

    Raises:
        NotPermitted, ConnectionProblem: the server does not say.
    """
    return any(_is_on_client(index) and _is_whole(index) for index in _indexes(collection))


def make_client_documents_index(collection: DriverCollection) -> None:
    """Make the unique index over client documents.

    Raises:
        DuplicateClientDocuments: clients have more than one; the index was not made.
        NotPermitted, WriteFailed, ConnectionProblem: the server does not create it.
    """
    with writing(collection):
        try:
            for attempt in attempts():
                with attempt:
                    build_index(
                        collection,
                        [("clientId", 1)],
                        unique=True,
                        collation=SIMPLE,
                        name=CLIENT_DOCUMENTS_ONLY,
                        partialFilterExpression=IS_CLIENT_DOCUMENT,
                    )
        except DuplicateKeyError:
            raise duplicates_of(collection, IS_CLIENT_DOCUMENT, advice=_ADVICE) from None


def make_client_index(collection: DriverCollection) -> None:
    """Make the index that finds all documents of a client.

    Raises:
        NotPermitted, WriteFailed, ConnectionProblem: the server does not create it.
    """
    with writing(collection):
        for attempt in attempts():
            with attempt:
                build_index(collection, [("clientId", 1)], collation=SIMPLE, name=EVERY_DOCUMENT)


def has_claims_index(collection: DriverCollection) -> bool:
    """Whether an index finds the sessions of a booking.

    Raises:
        NotPermitted, ConnectionProblem: the server does not say.
    """
    return any(_is_on(index, _CLAIM) and _is_whole(index) for index in _indexes(collection))


def make_claims_index(collection: DriverCollection) -> None:
    """Make the index that finds the sessions of a booking.

    Raises:
        NotPermitted, WriteFailed, ConnectionProblem: the server does not create it.
    """
    with writing(collection):
        for attempt in attempts():
            with attempt:
                build_index(collection, [(_CLAIM, 1)], collation=SIMPLE, name=CLAIMED_BOOKINGS)


def drop_index(collection: DriverCollection, name: str) -> bool:
    """Drop an index by its name; return whether it existed.

    Raises:
        NotPermitted, WriteFailed, ConnectionProblem: the server does not drop it.
    """
    if name not in [index["name"] for index in _indexes(collection)]:
        return False
    with writing(collection):
        for attempt in attempts():
            with attempt:
                collection.drop_index(name)
    return True


def _indexes(collection: DriverCollection) -> list[Mapping[str, Any]]:
    if describe(collection) is None:
        return []
    with reading(collection):
        return with_retry(lambda: list(collection.list_indexes()))


def _is_whole(index: Mapping[str, Any]) -> bool:
    return "partialFilterExpression" not in index and not index.get("sparse")


def _is_on_client(index: Mapping[str, Any]) -> bool:
    return _is_on(index, "clientId")


def _is_on(index: Mapping[str, Any], field: str) -> bool:
    return (
        dict(index["key"]) in ({field: 1}, {field: -1})
        and index.get("collation", {"locale": "simple"})["locale"] == "simple"
    )
