"""The old bookings in a live collection after a cut-over: carried along by it, or written by an old application since."""

from collections.abc import Callable, Iterable

from pymongo.errors import ExecutionTimeout

from booking_migrate.bson.order import sort_key
from booking_migrate.stores.cutover import OldBookings
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import reading
from booking_migrate.stores.mongo.raw import SIMPLE, documents_in, id_of

_EXAMPLES = 5
_OLD_SHAPE = {"sessions": {"$exists": False}}


def find_old_bookings(
    collection: DriverCollection, carried: Callable[[], Iterable[bytes]], *, seconds: float | None = None
) -> OldBookings | None:
    """Return the old bookings in a live collection; None if finding them takes longer than allowed.

    Args:
        collection: the live collection, which is read once by the server.
        carried: returns the old bookings that a cut-over has carried along.
        seconds: how long the server may take; None: as long as it needs.

    Raises:
        ConnectionProblem, NotPermitted: the collection cannot be read.
    """
    with reading(collection):
        try:
            cursor = collection.find_raw_batches(
                _OLD_SHAPE,
                projection={"_id": 1},
                collation=SIMPLE,
                max_time_ms=None if seconds is None else round(seconds * 1000),
            )
            found = [id_of(raw) for raw in documents_in(cursor)]
        except ExecutionTimeout:
            return None
    if not found:
        return OldBookings()
    known = {sort_key(id_of(raw)) for raw in carried()}
    later = [each for each in found if sort_key(each) not in known]
    along = [each for each in found if sort_key(each) in known]
    return OldBookings(len(along), len(later), tuple(along[:_EXAMPLES]), tuple(later[:_EXAMPLES]))
