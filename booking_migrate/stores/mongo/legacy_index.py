"""The index on `sessions.legacyBookingId`, by which an old id finds its session."""

from booking_migrate.stores.mongo.administration import FOLLOWED, indexes_of, make_index
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import read


class MongoLegacyIndex:
    """The index of one collection.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: the server does not say, or does not do it (any method).
    """

    name = FOLLOWED.name
    """What `make` calls it."""

    def __init__(self, collection: DriverCollection) -> None:
        self._collection = collection
        self.collection_name = collection.name

    def found(self) -> str | None:
        """Return the name of an index that does what it does; None if the collection lacks one."""
        there = (index for index in indexes_of(self._collection) if FOLLOWED.is_served_by(index))
        return next((str(index["name"]) for index in there), None)

    def has_old_ids(self) -> bool:
        """Return whether any session has a `legacyBookingId`; without an index, the server reads documents until one has."""
        condition = {"sessions.legacyBookingId": {"$exists": True}}
        return read(self._collection, lambda: self._collection.find_one(condition, {"_id": 1})) is not None

    def make(self) -> None:
        """Make it; reads and writes continue meanwhile."""
        make_index(self._collection, FOLLOWED)
