"""Merge a batch with the target's documents of its clients: consolidate, count, decide what is written.

Clients that the source no longer has are departed: what runs wrote for them is undone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.domain.consolidate import ClientCase, Consolidation, consolidate
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.domain.rejection import Fault
from booking_migrate.domain.session import read_booking
from booking_migrate.errors import TargetInOldShape
from booking_migrate.fastpath.flat import FlatClient
from booking_migrate.migrate.batches import Batch, BatchReader, ClientBookings, FlatEntry, Origin
from booking_migrate.migrate.counts import MigrationCounts, Observer
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.provenance import TargetHistory, client_key_of
from booking_migrate.stores.ports import Replacement, TargetWriter


class ExistingDocument(NamedTuple):
    """A client's document in the target; without one, `raw`, `found` and `baseline` stay None."""

    key: bytes
    """The sort key of `clientId`."""

    raw: bytes | None
    """The current document."""

    found: bytes | None
    """The document before the current run; None if it did not exist."""

    baseline: bytes | None
    """The document before any run of this tool; None if it did not exist, or if it need not be known: see `find_existing`."""

    is_created: bool = False
    """Whether a run of this tool created it."""

    @property
    def remainder(self) -> bytes | None:
        """Return the document to restore when its client no longer has any booking; None: it is deleted.

        A document that a run created and that others have emptied since holds nothing of theirs.
        """
        before = parsed(self.baseline)
        is_empty = before is not None and not before.sessions
        return None if self.is_created and is_empty else self.baseline


class Effects(NamedTuple):
    """How many client documents differ from those before the run."""

    written: int = 0
    changed: int = 0
    removed: int = 0

    def plus(self, other: "Effects") -> "Effects":
        """Return the sums of both."""
        return Effects(*(one + more for one, more in zip(self, other, strict=True)))


@dataclass(slots=True)
class Changes:
    """What is written for some clients, each part in client order."""

    new: list[bytes] = field(default_factory=list)
    changed: list[Replacement] = field(default_factory=list)
    removed: list[bytes] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    """The sort keys of all the clients."""

    effects: Effects = field(default_factory=Effects)
    """Compared with the documents from before the run, even if an interrupted run has written some already."""

    def add(
        self, key: bytes, there: ExistingDocument, document: bytes | None, *, is_adopted: bool = False
    ) -> None:
        """Add one client.

        Args:
            key: the sort key of `clientId`.
            there: the client's document in the target.
            document: the document to write; None if the client gets none.
            is_adopted: whether a document that others changed is kept by a decision. It is written unchanged, so that the
                journal has it as a document that the migration keeps.
        """
        self.keys.append(key)
        if document != there.found:
            self.effects = self.effects.plus(
                Effects(
                    written=there.found is None,
                    changed=document is not None and there.found is not None,
                    removed=document is None,
                )
            )
        if document == there.raw and not (is_adopted and there.baseline is there.raw):
            return
        if there.raw is None and document is not None:
            self.new.append(document)
        elif there.raw is not None and document is None:
            self.removed.append(there.raw)
        elif there.raw is not None and document is not None:
            self.changed.append(Replacement(there.raw, document))


_NONE: Mapping[bytes, bytes] = {}


def find_existing(
    target: TargetWriter,
    history: TargetHistory,
    client_ids: Sequence[Any],
    derived: Mapping[bytes, bytes] = _NONE,
) -> Iterator[ExistingDocument]:
    """Find the documents of clients in the target.

    Args:
        target: where they are.
        history: which of them runs of this tool wrote.
        client_ids: the clients.
        derived: the documents that the fast path derived from the bookings of clients, by their sort keys. An equal document
            in the target is kept, regardless of who wrote it, and its baseline is not looked up.

    Raises:
        TargetInOldShape: one of the documents is not a client document.
    """
    documents, same = list[bytes](), list[bytes]()
    for raw in target.find_client_documents(client_ids):
        (same if derived.get(client_key_of(raw)) == raw else documents).append(raw)
    for raw, found in zip(same, history.found(same), strict=True):
        if found is None or found is raw:
            yield ExistingDocument(client_key_of(raw), raw, found, None)
        else:
            documents.append(raw)
    for raw, trace in zip(documents, history.trace(documents), strict=True):
        document = read_client_document(raw)
        if isinstance(document, Fault):
            raise TargetInOldShape(target.name, display_id(read_booking(raw).document_id))
        yield ExistingDocument(
            sort_key(document.client_id), raw, trace.found, trace.baseline, trace.is_created
        )


def parsed(raw: bytes | None) -> ClientDocument | None:
    """Return a client document that was in the target; None if it was not, or is not a valid one."""
    document = None if raw is None else read_client_document(raw)
    return document if isinstance(document, ClientDocument) else None


_ABSENT = ExistingDocument(b"", None, None, None)

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
            reader: converts clients again whose documents in the target have to be parsed.
            target: where the client documents are.
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
        existing = self._find_existing(batch)
        self._reconvert_existing(batch, existing)
        for origin in batch.origins:
            for collected in origin.collected:
                self._observer.on_flat_bookings(collected)
        self._counts.reject(batch.rejected)
        clients: list[FlatEntry | ClientBookings] = [*batch.flat, *batch.clients]
        clients.sort(key=_key)
        changes = Changes()
        for client in clients:
            there = existing.get(client.key, _ABSENT)
            if isinstance(client, FlatEntry):
                self._counts.take_flat(client.built, is_new=there.found is None)
                self._observer.on_flat_client(client.built)
                changes.add(client.key, there, client.built.document)
            else:
                result = self._consolidate(batch, client, there)
                changes.add(client.key, there, result.document, is_adopted=bool(result.kept))
        return changes

    def _find_existing(self, batch: Batch) -> dict[bytes, ExistingDocument]:
        """Return the target's documents of a batch's clients, by the sort key of `clientId`."""
        clients: list[FlatEntry | ClientBookings] = [*batch.flat, *batch.clients]
        ids = [client.client_id for client in clients]
        derived = {client.key: client.built.document for client in batch.flat}
        documents = {}
        for start in range(0, len(ids), _CLIENTS_PER_QUERY):
            some = ids[start : start + _CLIENTS_PER_QUERY]
            for each in find_existing(self._target, self._history, some, derived):
                documents[each.key] = each
        return documents

    def _reconvert_existing(self, batch: Batch, existing: Mapping[bytes, ExistingDocument]) -> None:
        """Move flat clients to the reference path if their document in the target has to be parsed.

        That is so if others wrote it, or if the sessions that an earlier run's document had already have to be counted.
        """
        flat: list[FlatEntry] = []
        again: dict[Origin, dict[bytes, FlatClient]] = {}
        for client in batch.flat:
            there = existing.get(client.key, _ABSENT)
            is_same = there.raw == client.built.document and there.found in (None, there.raw)
            if is_same or (there.baseline is None and there.found is None):
                flat.append(client)
            else:
                again.setdefault(client.origin, {})[client.built.object_id] = client.built
        batch.flat = flat
        for origin, clients in again.items():
            self._reader.reconvert(batch, origin, clients)

    def _consolidate(self, batch: Batch, client: ClientBookings, there: ExistingDocument) -> Consolidation:
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


_CLIENTS_PER_WRITE = 500
"""How many departed clients are handled at a time."""


class DepartedClients:
    """Finds departed clients by a merge join of the target's clients with those of the source, both in client order.

    What a run wrote for them is removed, or the earlier document is restored; documents of others stay.
    """

    def __init__(self, target: TargetWriter, history: TargetHistory) -> None:
        """Begin with the first client of the target; a target that no run has written to has no departed clients."""
        self._target = target
        self._history = history
        self._clients = clients_in(target) if history.has_runs else iter(())
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
        changes = Changes()
        gone, self._gone = self._gone, []
        for there in departed_documents(self._target, self._history, gone):
            changes.add(there.key, there, there.remainder)
        if changes.changed or changes.removed:
            self._target.write([], changes.changed, [], changes.removed)
        return changes.effects


def departed_documents(
    target: TargetWriter, history: TargetHistory, client_ids: Sequence[Any]
) -> list[ExistingDocument]:
    """Return the documents that departed clients have in a target, in client order; what stays of each is its `remainder`.

    Only valid client documents are among them; others wrote the rest, and it stays as it is.
    """
    documents = map(read_client_document, target.find_client_documents(client_ids) if client_ids else ())
    clients = [each.client_id for each in documents if isinstance(each, ClientDocument)]
    return sorted(find_existing(target, history, clients)) if clients else []


def clients_in(target: TargetWriter) -> Iterator[tuple[bytes, Any]]:
    """Yield the clients that a target has documents of, in client order: the sort key of each `clientId`, and its value."""
    for value in target.scan_clients():
        if is_client_id(value):
            yield sort_key(value), value
