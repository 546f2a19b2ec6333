"""A place's fingerprint: what changes when its documents do. Only read, and without holding any of it."""

import hashlib

from booking_migrate.errors import UnusablePlace
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.files.opening import open_bytes
from booking_migrate.stores.places import CollectionPlace, Place, StreamPlace

_BLOCK = 1 << 18


def fingerprint(place: Place, connection: Connection, *, only_count: bool = False) -> dict[str, str | int]:
    """Return what identifies the data of a place.

    Args:
        place: a file: its size and the SHA-256 of its bytes; a collection: how many documents, and the newest.
        connection: the server and database of collections.
        only_count: of a collection, only count the documents: logins change users continuously.

    Raises:
        PlaceNotFound, UnusablePlace, NotPermitted, ConnectionProblem: it cannot be read; standard input never can,
            since it comes only once.
    """
    if isinstance(place, StreamPlace):
        raise UnusablePlace("-", "standard input comes only once, so a plan cannot refer to it")
    if isinstance(place, CollectionPlace):
        collection = connection.collection(place.name)
        from booking_migrate.stores.mongo.fingerprint import collection_fingerprint  # noqa: PLC0415 - slow to import

        return collection_fingerprint(collection, only_count=only_count)
    with open_bytes(place) as stream:
        digest, size = hashlib.sha256(), 0
        while block := stream.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return {"bytes": size, "SHA-256": digest.hexdigest()}
