"""The client documents that a migration would leave in its target, one after the other, and nothing written.

They are those that it makes of the bookings, with the documents that are there already, and those of clients that only the target has.
"""

from collections.abc import Callable
from typing import Any

from typing_extensions import override

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.consolidate import Consolidation
from booking_migrate.domain.rejection import Rejection
from booking_migrate.domain.session import Session
from booking_migrate.events import Listener
from booking_migrate.fastpath.flat import FlatClient
from booking_migrate.migrate import pipeline
from booking_migrate.migrate.counts import Observer
from booking_migrate.migrate.merge import clients_in, departed_documents
from booking_migrate.runs.plan import MigrationOutcome, MigrationPlan
from booking_migrate.runs.provenance import NoHistory, TargetHistory
from booking_migrate.stores.ports import DocumentReader
from booking_migrate.stores.preview import PreviewTarget

_AT_ONCE = 500
"""How many clients one query of the target names."""

Take = Callable[[bytes], None]


class _DocumentWatch(Observer):
    """Passes each client's document on, and between them those of clients that only the target has."""

    collector = None

    def __init__(self, target: PreviewTarget, history: TargetHistory, take: Take) -> None:
        self._target = target
        self._history = history
        self._take = take
        self._clients = clients_in(target)
        self._next: tuple[bytes, Any] | None = None
        self._has_begun = False
        self._only_there: list[Any] = []

    @override
    def on_booking(self, result: Session | Rejection) -> None:
        """Ignore the booking: its client's document has its session."""

    @override
    def on_flat_bookings(self, collected: Any) -> None:
        """Ignore the bookings likewise."""

    @override
    def on_client(self, client_id: Any, consolidation: Consolidation) -> None:
        self._pass_up_to(sort_key(client_id))
        if consolidation.document is not None:
            self._take(consolidation.document)

    @override
    def on_flat_client(self, client: FlatClient) -> None:
        self._pass_up_to(client.key)
        self._take(client.document)

    @override
    def on_end(self) -> None:
        # What the target has behind the last client of the source.
        self._pass_up_to(None)
        self._pass_on()

    def _pass_up_to(self, key: bytes | None) -> None:
        """Pass on what clients up to one of the source have in the target alone; None: all that are left.

        They are looked up some at a time, so they may come a little later than their place in client order.
        """
        if not self._has_begun:
            # Not before the pipeline has checked the target.
            self._has_begun = True
            self._next = next(self._clients, None)
        while self._next is not None and (key is None or self._next[0] <= key):
            if self._next[0] != key:
                self._only_there.append(self._next[1])
            self._next = next(self._clients, None)
            if len(self._only_there) >= _AT_ONCE:
                self._pass_on()

    def _pass_on(self) -> None:
        clients, self._only_there = self._only_there, []
        for there in departed_documents(self._target, self._history, clients):
            if there.remainder is not None:
                self._take(there.remainder)


def derive_documents(
    plan: MigrationPlan,
    source: DocumentReader,
    target: PreviewTarget,
    take: Take,
    *,
    users: DocumentReader | None = None,
    experts: DocumentReader | None = None,
    listener: Listener | None = None,
    history: TargetHistory | None = None,
) -> MigrationOutcome:
    """Pass on every client document that would be in the target after a migration; return what the migration would report.

    It is the same pipeline, so each document has the bytes that it would write. Documents of clients that the source has come in
    client order.

    Args:
        plan: what a migration would do.
        source: where the bookings are.
        target: where it would write to; it writes nothing.
        take: takes one document, as BSON.
        users: as for `migrate.pipeline.migrate`.
        experts: likewise.
        listener: likewise.
        history: likewise.

    Raises:
        Refused: the source cannot be read, or the target cannot be one; or a client has several documents.
        ConnectionProblem: the server does not answer.
    """
    watch = _DocumentWatch(target, history or NoHistory(), take)
    outcome = pipeline.migrate(
        plan,
        source,
        target,
        users=users,
        experts=experts,
        listener=listener,
        observer=watch,
        history=history,
    )
    for refusal in target.refusals():
        raise refusal
    return outcome
