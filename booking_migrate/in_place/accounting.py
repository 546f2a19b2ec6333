"""One pass through a collection that is migrated in place, and the outcome for every document that it met, by `_id`.

What a pass has met is moved, rejected, left for the next pass, or gone by the application's own doing. Nothing else is
possible, so a booking that was left is known until it is moved or rejected.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from booking_migrate.bson.document import value_in
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.errors import BookingsLeft
from booking_migrate.in_place.group import GroupPlan
from booking_migrate.migrate.counts import SAMPLES, MigrationCounts
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.rejects import RejectsKeeper

_SESSIONS = b"sessions\x00"


@dataclass(slots=True)
class Progress:
    """What the run has moved, in this process or before it was interrupted."""

    tally: MigrationCounts
    written: int = 0
    changed: int = 0

    @classmethod
    def of(cls, run: RunRecord) -> "Progress":
        """Return the progress that a run's record has."""
        progress = cls(MigrationCounts(), run.tally.get("written", 0), run.tally.get("changed", 0))
        progress.tally.add(run.tally.get("moved", {}))
        return progress

    def saved(self) -> dict[str, Any]:
        """As values of BSON."""
        return {"moved": self.tally.saved(), "written": self.written, "changed": self.changed}

    def after(self, settlement: GroupPlan) -> "Progress":
        """Return the progress with this settlement carried out."""
        tally = MigrationCounts()
        tally.add(self.tally.saved())
        tally.add(settlement.tally.saved())
        return Progress(tally, self.written + len(settlement.new), self.changed + len(settlement.changed))


@dataclass(slots=True)
class Pass:
    """One pass through the collection."""

    rejects: RejectsKeeper
    rejected: MigrationCounts = field(default_factory=MigrationCounts)
    moved: int = 0
    left: dict[bytes, Any] = field(default_factory=dict)
    """The clients of documents that are neither moved nor rejected, by the sort key of the documents' `_id`."""

    @property
    def is_last(self) -> bool:
        """Return whether nothing that could be converted was found."""
        return not self.moved and not self.left

    def done(self, settlement: GroupPlan) -> None:
        """Take note of what is moved or rejected."""
        self.moved += len(settlement.gone)
        if self.left:
            for key in _keys(settlement):
                self.left.pop(key, None)

    def leave(self, client_id: Any, document_ids: Iterable[Any]) -> None:
        """Take note of a client's documents that are left for the next pass."""
        self.left.update((sort_key(document_id), client_id) for document_id in document_ids)

    def account(
        self,
        met: Sequence[Any],
        settlements: Sequence[GroupPlan],
        find: Callable[[Sequence[Any]], Sequence[bytes]],
    ) -> None:
        """Account for documents that were met, and leave those that other processes have changed meanwhile.

        Args:
            met: the `_id` of each.
            settlements: what is moved or rejected of them.
            find: finds documents of the collection by `_id`.
        """
        settled = {key for settlement in settlements for key in _keys(settlement)}
        unsettled = [each for each in met if sort_key(each) not in settled]
        if not unsettled:
            return
        for raw in find(unsettled):
            is_document = _SESSIONS in raw and isinstance(read_client_document(raw), ClientDocument)
            if not is_document:
                self.leave(value_in(raw, b"clientId"), [value_in(raw, b"_id")])

    def check(self, place: str, passes: int) -> None:
        """Make sure that nothing is left.

        Raises:
            BookingsLeft: documents are.
        """
        if not self.left:
            return
        clients = {sort_key(client_id): client_id for client_id in self.left.values()}
        sample = [display_id(clients[key]) for key in sorted(clients)[:SAMPLES]]
        raise BookingsLeft(place, len(self.left), len(clients), sample, passes)


def _keys(settlement: GroupPlan) -> Iterable[bytes]:
    yield from (sort_key(value_in(raw, b"_id")) for raw in settlement.gone)
    yield from (sort_key(rejection.document_id) for rejection in settlement.rejected)
