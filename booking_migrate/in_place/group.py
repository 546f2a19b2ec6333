"""What becomes of a group of clients that is moved in one unit of work.

It means what `migrate.pipeline` means: the same conversion, the same consolidation. What differs is that everything of a
client stands in one collection, and that its converted bookings leave it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from booking_migrate.bson.document import value_in
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.booking import Booking, read_booking
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.domain.consolidate import ClientCase, Consolidation, consolidate
from booking_migrate.domain.contract import is_client_id
from booking_migrate.domain.rejection import Fault, Reason, Rejection
from booking_migrate.domain.session import Converter, Session
from booking_migrate.fastpath.flat import FlatReader
from booking_migrate.migrate.counts import MigrationCounts
from booking_migrate.migrate.lookup import Directory
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.stores.in_place import Unit
from booking_migrate.stores.notes import DocumentNote, NoteKind, RangeNote, identity_of
from booking_migrate.stores.ports import Replacement

_SESSIONS = b"sessions\x00"
_ARCHIVED_OTHERWISE = Fault(Reason.DUPLICATE_ID, "_id", "the archive has this _id with other content")


@dataclass(slots=True)
class Client:
    """One client of a group, as it stands."""

    client_id: Any
    sessions: list[Session] = field(default_factory=list)
    document: ClientDocument | None = None


@dataclass(slots=True)
class GroupPlan:
    """What is to be done about a group of clients."""

    new: list[bytes] = field(default_factory=list)
    changed: list[Replacement] = field(default_factory=list)
    gone: list[bytes] = field(default_factory=list)
    archived: list[bytes] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    tally: MigrationCounts = field(default_factory=MigrationCounts)
    continued: list[ClientDocument] = field(default_factory=list)
    """The client documents that were there, of clients some of whose bookings are moved."""

    keys: list[bytes] = field(default_factory=list)
    """The sort keys of the clients some of whose bookings are moved."""

    untouched: list[bytes] = field(default_factory=list)
    """The client documents that hold all of their clients' bookings already."""

    def reject(self, rejection: Rejection) -> None:
        """Take note of a document that cannot be converted."""
        self.rejected.append(rejection)
        self.tally.reject([rejection])

    @property
    def notes(self) -> Sequence[RangeNote]:
        """What the journal has to know to undo it."""
        if not self.gone:
            return ()
        written = [
            *(DocumentNote(identity_of(raw), sha256(raw).digest(), None) for raw in self.new),
            *(
                DocumentNote(identity_of(one.after), sha256(one.after).digest(), one.before)
                for one in self.changed
            ),
            *(DocumentNote(identity_of(raw), sha256(raw).digest(), raw) for raw in self.untouched),
        ]
        moved = [DocumentNote(identity_of(raw), None, None) for raw in self.gone]
        ends = min(self.keys), max(self.keys)
        return [
            RangeNote(NoteKind.DOCUMENTS, *ends, written),
            RangeNote(NoteKind.MOVED, *ends, moved),
        ]


class GroupPlanner:
    """Finds out what becomes of clients, under one plan."""

    def __init__(self, plan: MigrationPlan, directory: Directory) -> None:
        """Take the rules and whom to ask for people."""
        self._converter = Converter(plan.contract, plan.accepted)
        self._usual = FlatReader(plan.contract, plan.accepted)
        self._limit = plan.maximum_document_size
        self._on_conflict = plan.on_conflict
        self._directory = directory

    def settle(self, unit: Unit, client_ids: Sequence[Any]) -> GroupPlan:
        """Read everything of these clients and work out what becomes of it. Nothing is written.

        Args:
            unit: where to read.
            client_ids: the clients, no two of them equal.
        """
        result = GroupPlan()
        clients = {sort_key(each): Client(each) for each in client_ids}
        sessions = self._take(unit.find(client_ids), clients, result)
        present = self._archived(unit, sessions)
        for session in sessions:
            there = present.get(session.id_key)
            if there is not None and there != session.booking:
                result.reject(Rejection(session.booking, (_ARCHIVED_OTHERWISE,), session.legacy_id))
            else:
                clients[sort_key(session.client_id)].sessions.append(session)
        earlier = self._earlier(unit, clients)
        for key in sorted(clients):
            self._plan_client(clients[key], earlier.get(key, []), present, result)
        return result

    def convert(self, documents: Iterable[bytes], result: GroupPlan) -> list[Session]:
        """Convert bookings; what cannot be converted is added to the rejected. Everything is counted."""
        converted: list[Session] = []
        waiting: list[Booking] = []
        for raw in documents:
            result.tally.scanned += 1
            session = self._usual.convert(raw)
            if session is not None:
                converted.append(session)
                continue
            booking = read_booking(raw)
            if booking.is_client_document:
                document = read_client_document(raw)
                if isinstance(document, Fault):
                    result.reject(Rejection(raw, (document,), booking.document_id))
                else:
                    result.tally.scanned -= 1
            else:
                waiting.append(booking)
        people = self._directory.find(
            booking for booking in waiting if booking.lacks_client() or booking.lacks_expert()
        )
        for booking in waiting:
            outcome = self._converter.convert(booking, people)
            if isinstance(outcome, Session):
                converted.append(outcome)
            else:
                result.reject(outcome)
        return converted

    def _take(
        self, documents: Sequence[bytes], clients: Mapping[bytes, Client], result: GroupPlan
    ) -> list[Session]:
        """Give the clients their documents, and return the bookings that can be converted."""
        bookings = []
        for raw in documents:
            client_id = value_in(raw, b"clientId")
            client = clients.get(sort_key(client_id)) if is_client_id(client_id) else None
            if client is None:
                # The query also matches an array that holds such a value.
                continue
            document = read_client_document(raw) if _SESSIONS in raw else None
            if isinstance(document, ClientDocument):
                client.document = document
            else:
                bookings.append(raw)
        return self.convert(bookings, result)

    def _archived(self, unit: Unit, sessions: Sequence[Session]) -> dict[bytes, bytes]:
        ids = [session.legacy_id for session in sessions]
        found = unit.archived(ids) if ids else ()
        return {sort_key(value_in(raw, b"_id")): raw for raw in found}

    def _earlier(self, unit: Unit, clients: Mapping[bytes, Client]) -> dict[bytes, list[Session]]:
        """The bookings of these clients that an earlier pass or run has moved, converted again.

        With them it can be told whether a client document is still what was made of them; then it does not matter which
        bookings came first.
        """
        wanted = {
            key: client for key, client in clients.items() if client.document is not None and client.sessions
        }
        earlier: dict[bytes, list[Session]] = {}
        if wanted:
            documents = unit.archived_of([client.client_id for client in wanted.values()])
            for session in self.convert(documents, GroupPlan()):
                key = sort_key(session.client_id)
                if key in wanted:
                    earlier.setdefault(key, []).append(session)
        return earlier

    def _plan_client(
        self,
        client: Client,
        earlier: Sequence[Session],
        archived: Mapping[bytes, bytes],
        result: GroupPlan,
    ) -> None:
        consolidation = self._consolidate(client, earlier)
        result.tally.take(client.client_id, consolidation)
        result.rejected += consolidation.rejected
        moved = [*consolidation.migrated, *consolidation.already_migrated]
        result.gone += [session.booking for session in moved]
        result.archived += [session.booking for session in moved if session.id_key not in archived]
        after, before = consolidation.document, client.document
        if not moved or after is None:
            return
        result.keys.append(sort_key(client.client_id))
        if before is None:
            result.new.append(after)
            return
        result.continued.append(before)
        if before.raw == after:
            result.untouched.append(after)
        else:
            result.changed.append(Replacement(before.raw, after))

    def _consolidate(self, client: Client, earlier: Sequence[Session]) -> Consolidation:
        known = {session.id_key for session in earlier}
        if earlier and known.isdisjoint(session.id_key for session in client.sessions):
            whole = consolidate(
                ClientCase([*earlier, *client.sessions], in_target=client.document),
                self._limit,
                self._on_conflict,
            )
            if not whole.rejected:
                own = [session for session in whole.already_migrated if session.id_key not in known]
                return replaced(whole, own)
        case = ClientCase(client.sessions, in_target=client.document)
        return consolidate(case, self._limit, self._on_conflict)


def replaced(whole: Consolidation, already: Sequence[Session]) -> Consolidation:
    """A consolidation that counts only these as already migrated."""
    return replace(whole, already_migrated=already)
