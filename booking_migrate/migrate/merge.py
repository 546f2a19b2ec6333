"""Merging a batch with what the target holds of its clients: consolidate, count, decide what is written."""

from collections.abc import Mapping

from booking_migrate.domain.consolidate import ClientCase, Consolidation, consolidate
from booking_migrate.fastpath.build import FlatClient
from booking_migrate.migrate.batches import Batch, BatchReader, ClientBookings, FlatEntry, Origin
from booking_migrate.migrate.counts import MigrationCounts
from booking_migrate.migrate.existing import Changes, StandingDocument, find_standing, parsed
from booking_migrate.migrate.observer import Observer
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.provenance import TargetHistory
from booking_migrate.stores.ports import TargetWriter

_ABSENT = StandingDocument(b"", None, None, None)

_CLIENTS_PER_QUERY = 1000
"""How many clients one query of the target names; the port allows a few thousand."""


class TargetMerge:
    """Merges batches with a target."""

    def __init__(
        self,
        plan: MigrationPlan,
        reader: BatchReader,
        target: TargetWriter,
        history: TargetHistory,
        *,
        counts: MigrationCounts,
        observer: Observer,
    ) -> None:
        """Prepare the merge.

        Args:
            plan: the size limit and the conflict policy.
            reader: converts clients again whose documents in the target have to be taken apart.
            target: where the client documents stand.
            history: which of them runs of this tool wrote.
            counts: counts the result for every client.
            observer: notified of every client, in client order.
        """
        self._rules = plan.rules
        self._reader = reader
        self._target = target
        self._history = history
        self._counts = counts
        self._observer = observer

    def merge(self, batch: Batch) -> Changes:
        """Consolidate the clients of a batch with their documents in the target.

        Returns:
            What has to be written; rejected bookings are added to the batch.

        Raises:
            TargetInOldShape: a document of the target is not a client document.
        """
        standing = self._standing(batch)
        self._reconvert_standing(batch, standing)
        for origin in batch.origins:
            for collected in origin.collected:
                self._observer.on_flat_bookings(collected)
        self._counts.reject(batch.rejected)
        clients: list[FlatEntry | ClientBookings] = [*batch.flat, *batch.clients]
        clients.sort(key=_key)
        changes = Changes()
        for client in clients:
            there = standing.get(client.key, _ABSENT)
            if isinstance(client, FlatEntry):
                self._counts.take_flat(client.built, is_new=there.found is None)
                self._observer.on_flat_client(client.built)
                changes.add(client.key, there, client.built.document)
            else:
                result = self._consolidate(batch, client, there)
                changes.add(client.key, there, result.document, is_adopted=bool(result.kept))
        return changes

    def _standing(self, batch: Batch) -> dict[bytes, StandingDocument]:
        """Return the target's documents of a batch's clients, by the sort key of `clientId`."""
        clients: list[FlatEntry | ClientBookings] = [*batch.flat, *batch.clients]
        ids = [client.client_id for client in clients]
        documents = {}
        for start in range(0, len(ids), _CLIENTS_PER_QUERY):
            for each in find_standing(self._target, self._history, ids[start : start + _CLIENTS_PER_QUERY]):
                documents[each.key] = each
        return documents

    def _reconvert_standing(self, batch: Batch, standing: Mapping[bytes, StandingDocument]) -> None:
        """Move flat clients to the reference path whose document in the target has to be taken apart.

        That is so if others wrote it, or if the sessions that an earlier run's document had already have to be counted.
        """
        flat: list[FlatEntry] = []
        again: dict[Origin, dict[bytes, FlatClient]] = {}
        for client in batch.flat:
            there = standing.get(client.key, _ABSENT)
            is_same = there.raw == client.built.document and there.found in (None, there.raw)
            if is_same or (there.baseline is None and there.found is None):
                flat.append(client)
            else:
                again.setdefault(client.origin, {})[client.built.object_id] = client.built
        batch.flat = flat
        for origin, clients in again.items():
            self._reader.reconvert(batch, origin, clients)

    def _consolidate(self, batch: Batch, client: ClientBookings, there: StandingDocument) -> Consolidation:
        """Consolidate a client's bookings and documents, and count the result."""
        found = None if there.found is there.baseline else parsed(there.found)
        before = there.baseline if client.sessions else there.remainder
        case = ClientCase(client.sessions, client.documents, parsed(before), found)
        is_session = self._reader.converter.is_session
        consolidation = consolidate(case, self._rules, is_session)
        self._counts.take(client.client_id, consolidation)
        self._observer.on_client(client.client_id, consolidation)
        batch.rejected += [*consolidation.rejected, *consolidation.contradicting, *consolidation.kept]
        return consolidation


def _key(client: FlatEntry | ClientBookings) -> bytes:
    return client.key
