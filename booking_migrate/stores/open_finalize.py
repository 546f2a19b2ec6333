"""What a finalize asks before it drops anything: whether a collection exists, and whether its user may do all of it."""

from collections.abc import Iterator, Sequence

from booking_migrate.errors import NotPermitted
from booking_migrate.stores.connection import Connection, open_inspector, open_legacy_index
from booking_migrate.stores.destination import Privilege


def collection_exists(connection: Connection, name: str) -> bool:
    """Return whether a collection exists.

    Raises:
        ConnectionProblem, NotPermitted: the server cannot be asked.
    """
    # Here and not above: the driver is slow to import.
    from booking_migrate.stores.mongo.connection import describe  # noqa: PLC0415

    return describe(connection.collection(name)) is not None


def check_finalize_privileges(
    connection: Connection,
    source: str,
    dropped: Sequence[str],
    *,
    drops_legacy_ids: bool,
    keeps_index: bool,
) -> None:
    """Refuse a finalize that the server would not permit to the end.

    Args:
        connection: the server and the database.
        source: the live collection.
        dropped: the collections that are dropped.
        drops_legacy_ids: whether client documents are updated.
        keeps_index: whether the index by which old ids are found is made, if it is lacking.

    Raises:
        NotPermitted: the user lacks a privilege.
        ConnectionProblem: the server cannot be asked.
    """
    wanted = list(_wanted(connection, source, dropped, drops_legacy_ids=drops_legacy_ids))
    if keeps_index and open_legacy_index(connection, source).found() is None:
        wanted.append(Privilege("createIndex", source))
    inspector = open_inspector(connection, source)
    for privilege in inspector.missing(wanted) or ():
        problem = f"the user lacks the action {privilege.action} there, and nothing was changed"
        raise NotPermitted(privilege.collection, problem, inspector.database)


def _wanted(
    connection: Connection, source: str, dropped: Sequence[str], *, drops_legacy_ids: bool
) -> Iterator[Privilege]:
    from booking_migrate.stores.mongo import dirty, journal  # noqa: PLC0415
    from booking_migrate.stores.mongo.administration import options_of  # noqa: PLC0415
    from booking_migrate.stores.mongo.live_swap import is_guarded  # noqa: PLC0415

    if is_guarded(options_of(connection.collection(source))):
        yield Privilege("collMod", source)
    for name in dropped:
        yield Privilege("dropCollection", name)
    if drops_legacy_ids:
        yield Privilege("update", source)
    yield Privilege("update", journal.RUNS)
    for name in (journal.RANGES, journal.BEFORE, dirty.COLLECTION):
        yield Privilege("remove", name)
