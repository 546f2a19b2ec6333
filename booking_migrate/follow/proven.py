"""Which changes of target and kept copy need not be looked at: those before a document was read back and found to be right.

Nearly all of them are this program's own writes, whose documents would be read once more otherwise.
"""

from collections import OrderedDict
from collections.abc import Iterable

from bson.timestamp import Timestamp

from booking_migrate.bson.order import sort_key
from booking_migrate.stores.changes import Change, Role

_AT_MOST = 200_000
"""How many documents are remembered; the changes of others are looked at."""


class ProvenDocuments:
    """Documents of the target or of the kept copy that were right, each as of a cluster time."""

    def __init__(self, role: Role) -> None:
        """Take where they are, and begin with none."""
        self._role = role
        self._times: OrderedDict[bytes, Timestamp] = OrderedDict()

    def add(self, keys: Iterable[bytes], time: Timestamp) -> None:
        """Add documents.

        Args:
            keys: the sort keys of their `_id` values.
            time: as of when they were read; not before the time of any that was added.
        """
        for key in keys:
            self._times[key] = time
            self._times.move_to_end(key)
        while len(self._times) > _AT_MOST:
            self._times.popitem(last=False)

    def covers(self, change: Change) -> bool:
        """Return whether a document was right after this change; changes are asked about in the order of their times.

        That holds for changes of others, too: what one of them wrote was right, or was overwritten with what is right.
        """
        if change.role is not self._role or not change.is_of_document:
            return False
        while self._times:
            key, time = next(iter(self._times.items()))
            if time >= change.time:
                break
            # Neither this change nor a later one.
            del self._times[key]
        time = self._times.get(sort_key(change.document_id), _NEVER)
        return change.time <= time


_NEVER = Timestamp(0, 0)
