"""Notices when a client's servers have no primary: the driver waits for one inside of its calls and says nothing."""

from pymongo.monitoring import (
    TopologyClosedEvent,
    TopologyDescriptionChangedEvent,
    TopologyListener,
    TopologyOpenedEvent,
)
from typing_extensions import override

from booking_migrate.stores.mongo import retry
from booking_migrate.stores.mongo.codes import Trouble
from booking_migrate.stores.waits import WAITS, Wait

_SINGLE = "Single"


class PrimaryWatch(TopologyListener):
    """Enters in `WAITS` that a primary is waited for, from the moment on at which the driver knows of none."""

    def __init__(self) -> None:
        """Begin with a client that was not yet used."""
        self._wait: Wait | None = None
        self._is_found = False

    @override
    def opened(self, event: TopologyOpenedEvent) -> None:
        pass

    @override
    def description_changed(self, event: TopologyDescriptionChangedEvent) -> None:
        there = event.new_description
        if there.has_writable_server():
            self._is_found = True
            self._end()
        # Before the first contact the driver's own limit counts, and that is short.
        elif self._is_found and self._wait is None:
            is_single = there.topology_type_name == _SINGLE
            about = Trouble.SERVER if is_single else Trouble.PRIMARY
            self._wait = WAITS.begin(about, retry.RETRY_TIMEOUT)

    @override
    def closed(self, event: TopologyClosedEvent) -> None:
        self._end()

    def _end(self) -> None:
        if self._wait is not None:
            WAITS.end(self._wait)
            self._wait = None
