"""Inserting documents of which some may be there already, since an earlier attempt was cut off."""

from collections.abc import Sequence

from pymongo.errors import BulkWriteError

from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import DUPLICATE_KEY, is_on, write_failure, writing
from booking_migrate.stores.mongo.raw import as_driver_document
from booking_migrate.stores.mongo.retry import attempts, is_transient


def insert_absent(collection: DriverCollection, documents: Sequence[bytes]) -> bool:
    """Insert documents; those whose `_id` is there already are left out, whatever stands there.

    Returns:
        Whether the server has refused none of them. If not, the caller has to look what is there, if that matters.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed, DuplicateKeys: the server refuses one of them for another cause.
    """
    if not documents:
        return True
    with writing(collection):
        try:
            for attempt in attempts():
                with attempt:
                    collection.insert_many(map(as_driver_document, documents), ordered=False)
        except BulkWriteError as error:
            if is_transient(error):
                raise
            problems = error.details["writeErrors"]
            is_id_there = all(each["code"] == DUPLICATE_KEY and is_on(each, "_id") for each in problems)
            if not is_id_there or error.details["writeConcernErrors"]:
                raise write_failure(collection.name, error) from None
            return False
    return True
