"""Departed clients: the target has them, and the source has no booking and no client document of them any more."""

from collections.abc import Iterator, Sequence
from typing import Any

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.migrate.existing import Changes, Effects, find_standing
from booking_migrate.runs.provenance import TargetHistory
from booking_migrate.stores.ports import TargetWriter

_CLIENTS_PER_WRITE = 500
"""How many departed clients are handled at a time."""


class DepartedClients:
    """Finds departed clients by a merge join of the target's clients with those of the source, both in client order.

    What a run wrote for them is removed, or what stood there before is put back; documents of others stay.
    """

    def __init__(self, target: TargetWriter, history: TargetHistory) -> None:
        """Begin with the first client of the target; a target that no run has written to has no departed clients."""
        self._target = target
        self._history = history
        self._clients = _clients(target) if history.has_runs else iter(())
        self._next = next(self._clients, None)
        self._gone: list[Any] = []

    def reconcile(self, keys: Sequence[bytes]) -> Effects:
        """Reconcile the departed clients up to the last of these clients of the source.

        Args:
            keys: the sort keys of the next clients of the source, in order.
        """
        effects = Effects()
        for key in keys:
            while self._next is not None and self._next[0] < key:
                effects = effects.plus(self._depart(self._next[1]))
            if self._next is not None and self._next[0] == key:
                self._next = next(self._clients, None)
        return effects

    def reconcile_rest(self) -> Effects:
        """Reconcile the remaining clients of the target after the last one of the source."""
        effects = Effects()
        while self._next is not None:
            effects = effects.plus(self._depart(self._next[1]))
        return effects.plus(self._apply())

    def _depart(self, client_id: Any) -> Effects:
        self._gone.append(client_id)
        self._next = next(self._clients, None)
        return self._apply() if len(self._gone) >= _CLIENTS_PER_WRITE else Effects()

    def _apply(self) -> Effects:
        gone, self._gone = self._gone, []
        changes = Changes()
        for there in sorted(find_standing(self._target, self._history, gone) if gone else ()):
            changes.add(there.key, there, there.remainder)
        if changes.changed or changes.removed:
            self._target.write([], changes.changed, [], changes.removed)
        return changes.effects


def _clients(target: TargetWriter) -> Iterator[tuple[bytes, Any]]:
    for raw in target.scan_client_documents():
        document = read_client_document(raw)
        if isinstance(document, ClientDocument):
            yield sort_key(document.client_id), document.client_id
