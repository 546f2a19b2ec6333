"""The index on `sessions.legacyBookingId`, by which an old id finds its session."""

from booking_migrate.stores.mongo.administration import FOLLOWED, has_claims, indexes_of, make_index
from booking_migrate.stores.mongo.connection import DriverCollection


class MongoLegacyIndex:
    """The index of one collection."""

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
        """Return whether any session has one."""
        return has_claims(self._collection)

    def make(self) -> None:
        """Make it; reads and writes continue meanwhile."""
        make_index(self._collection, FOLLOWED)
