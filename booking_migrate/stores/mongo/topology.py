"""Notices when a client's servers have no primary: the driver waits for one inside of its calls and says nothing.

The driver's state is looked at now and then. Its events would say it at once, but with a listener for them a client takes
half a second to close.
"""

from typing import Any
from weakref import ref

from pymongo import MongoClient

from booking_migrate.stores.mongo import retry
from booking_migrate.stores.mongo.codes import Trouble
from booking_migrate.stores.waits import WAITS, Gone

_WITHOUT_PRIMARY = "ReplicaSetNoPrimary"


def watch_primary(client: MongoClient[Any]) -> None:
    """Have it entered in `WAITS` that a primary is waited for, as long as the driver knows of none."""
    client_of = ref(client)
    is_found = False

    def waited_for() -> tuple[str, float] | None:
        nonlocal is_found
        watched = client_of()
        if watched is None or getattr(watched, "_closed", False):
            raise Gone
        there = watched.topology_description
        if there.has_writable_server():
            is_found = True
            return None
        if there.topology_type_name == _WITHOUT_PRIMARY:
            return Trouble.PRIMARY, retry.RETRY_TIMEOUT
        if is_found:
            return Trouble.SERVER, retry.RETRY_TIMEOUT
        # At the first contact the driver's own limit counts. A client that was not used yet waits for nothing.
        has_failed = any(each.error for each in there.server_descriptions().values())
        return (Trouble.SERVER, watched.options.server_selection_timeout) if has_failed else None

    WAITS.watch(waited_for)
