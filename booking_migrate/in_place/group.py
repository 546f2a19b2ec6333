"""The plan for a group of clients that is moved in one unit of work.

It means what `migrate.pipeline` means: the same conversion, the same consolidation. What differs is that bookings and client
documents share one collection, and that converted bookings are removed from it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from hashlib import sha256
from typing import Any

from booking_migrate.bson.document import identity_of, value_in
from booking_migrate.bson.format import differences, display_id
from booking_migrate.bson.order import OBJECT_ID_KEY, id_key, sort_key
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.domain.ids import client_document_id
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.domain.rejection import ConflictPolicy, Fault, Reason, Rejection
from booking_migrate.domain.session import Booking, Converter, Session, read_booking
from booking_migrate.fastpath.flat import FlatReader
from booking_migrate.in_place.archive import Client, claimed, claims_of, client_documents, derive
from booking_migrate.in_place.flat_clients import FlatGroups, FlatPart
from booking_migrate.migrate.counts import MigrationCounts
from booking_migrate.migrate.lookup import Directory
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.provenance import TargetHistory, Trace
from booking_migrate.stores.in_place import Unit, Writes
from booking_migrate.stores.journal import DocumentNote, NoteKind, RangeNote
from booking_migrate.stores.ports import Replacement

_SESSIONS = b"sessions\x00"


@dataclass(slots=True)
class GroupPlan(Writes):
    """What a unit of work writes for a group of clients.

    `removed` has the documents that lose their last session to another client.
    """

    moved: list[DocumentNote] = field(default_factory=list)
    """The bookings that are moved and that a rollback restores, with what the archive had under their `_id`."""

    rejected: list[Rejection] = field(default_factory=list)
    counts: MigrationCounts = field(default_factory=MigrationCounts)
    continued: list[ClientDocument] = field(default_factory=list)
    """The existing client documents of clients whose bookings are moved."""

    keys: list[bytes] = field(default_factory=list)
    """The sort keys of the clients whose documents or bookings are noted."""

    untouched: list[bytes] = field(default_factory=list)
    """The client documents that hold all of their clients' bookings already."""

    left: list[Any] = field(default_factory=list)
    """The ids of clients that were not planned, because they are not flat."""

    def take_flat(self, part: FlatPart) -> None:
        """Plan flat clients, whose bookings become a new document."""
        if part.is_whole and part.clients and not self.gone:
            self.gone_of = [client.client_id for client in part.clients]
        for client, bookings in zip(part.clients, part.bookings, strict=True):
            self.gone += bookings
            self.archived += bookings
            self.moved += [DocumentNote(identity_of(raw), None, None) for raw in bookings]
            self.new.append(client.document)
            self.keys.append(client.key)
            self.counts.scanned += client.sessions
            self.counts.take_flat(client, is_new=True)

    def reject(self, rejection: Rejection) -> None:
        """Count a document that cannot be converted."""
        self.rejected.append(rejection)
        self.counts.reject([rejection])

    @property
    def notes(self) -> Sequence[RangeNote]:
        """Return the notes by which a rollback undoes it."""
        if not self.keys:
            return ()
        written = [
            *(DocumentNote(identity_of(raw), sha256(raw).digest(), None) for raw in self.new),
            *(
                DocumentNote(identity_of(one.after), sha256(one.after).digest(), one.before)
                for one in self.changed
            ),
            *(DocumentNote(identity_of(raw), sha256(raw).digest(), raw) for raw in self.untouched),
            *(DocumentNote(identity_of(raw), None, raw) for raw in self.removed),
        ]
        ends = min(self.keys), max(self.keys)
        return [
            RangeNote(NoteKind.DOCUMENTS, *ends, written),
            RangeNote(NoteKind.MOVED, *ends, self.moved, clients=self._packed_keys()),
        ]

    def _packed_keys(self) -> bytes:
        """Return the ids of the noted clients, twelve bytes each; nothing if one of them is not an ObjectId."""
        if not all(key.startswith(OBJECT_ID_KEY) for key in self.keys):
            return b""
        return b"".join([key[len(OBJECT_ID_KEY) :] for key in self.keys])


class PlanMode(Enum):
    """How much is looked up before a plan is written."""

    THOROUGH = auto()
    """Everything."""

    OPTIMISTIC = auto()
    """Nothing for flat clients: if the id of a new document is taken, the insertion fails."""

    FLAT = auto()
    """As before, and clients that are not flat are left out."""


class GroupPlanner:
    """Plans units of work, under one migration plan."""

    def __init__(self, plan: MigrationPlan, directory: Directory) -> None:
        """Take the rules and where users and experts are looked up."""
        self._converter = Converter(plan.rules)
        self._flat_reader = FlatReader(plan.rules)
        self._flat = FlatGroups(plan.rules)
        self._rules = plan.rules
        self._directory = directory

    def plan(
        self,
        unit: Unit,
        client_ids: Sequence[Any],
        history: TargetHistory,
        *,
        mode: PlanMode = PlanMode.THOROUGH,
    ) -> GroupPlan:
        """Read everything of these clients and plan their unit of work. Nothing is written.

        Args:
            unit: where to read.
            client_ids: the clients, no two of them equal.
            history: which client documents runs of this tool wrote.
            mode: what is looked up before it is written.
        """
        result = GroupPlan()
        documents = unit.find(client_ids)
        match mode:
            case PlanMode.THOROUGH:
                is_looked_up = True
            case PlanMode.OPTIMISTIC | PlanMode.FLAT:
                part = self._flat.part(documents, client_ids)
                result.take_flat(part)
                documents, client_ids = part.rest, part.others
                is_looked_up = mode is PlanMode.OPTIMISTIC
        if not is_looked_up:
            result.left += client_ids
        elif client_ids:
            result.gone_of = ()
            self._plan_clients(unit, documents, client_ids, history, result)
        return result

    def _plan_clients(
        self,
        unit: Unit,
        documents: Sequence[bytes],
        client_ids: Sequence[Any],
        history: TargetHistory,
        result: GroupPlan,
    ) -> None:
        clients = {sort_key(each): Client(each) for each in client_ids}
        sessions = self._take(documents, clients, result)
        archived = self._archived(unit, sessions)
        superseded = self._distribute(unit, sessions, archived, clients, result)
        for refused in self._refuse_taken(unit, clients, result):
            superseded.pop(refused.id_key, None)
        self._add_clients_losing_sessions(unit, superseded, clients)
        earlier = self._earlier(unit, clients)
        traces = _traces(history, clients)
        for key in sorted(clients):
            if clients[key].is_concerned:
                self._plan_client(clients[key], earlier.get(key, []), traces.get(key), archived, result)

    def convert(self, documents: Iterable[bytes], result: GroupPlan) -> list[Session]:
        """Convert bookings; what cannot be converted is added to the rejected. Everything is counted."""
        converted: list[Session] = []
        pending: list[Booking] = []
        bookings = list(documents)
        for raw, session in zip(bookings, self._flat_reader.convert_all(bookings), strict=True):
            result.counts.scanned += 1
            if session is not None:
                converted.append(session)
                continue
            booking = read_booking(raw)
            if booking.is_client_document:
                document = read_client_document(raw)
                if isinstance(document, Fault):
                    result.reject(Rejection(raw, (document,), booking.document_id))
                else:
                    result.counts.scanned -= 1
            else:
                pending.append(booking)
        people = self._directory.find(
            booking for booking in pending if booking.lacks_client() or booking.lacks_expert()
        )
        for booking in pending:
            outcome = self._converter.convert(booking, people)
            if isinstance(outcome, Session):
                converted.append(outcome)
            else:
                result.reject(outcome)
        return converted

    def _take(
        self, documents: Sequence[bytes], clients: Mapping[bytes, Client], result: GroupPlan
    ) -> list[Session]:
        """Assign the clients their documents, and return the bookings that can be converted."""
        bookings = []
        for raw in documents:
            client_id = value_in(raw, b"clientId")
            client = clients.get(sort_key(client_id))
            if client is None:
                # The query also matches an array that holds such a value.
                continue
            document = read_client_document(raw) if _SESSIONS in raw else None
            if isinstance(document, ClientDocument):
                client.document = document
                continue
            if document is not None and document.reason is not Reason.SESSIONS_NOT_AN_ARRAY:
                # The unique index holds it: it is for all documents with an array.
                client.obstacle = raw
            if is_client_id(client_id):
                bookings.append(raw)
        return self.convert(bookings, result)

    def _archived(self, unit: Unit, sessions: Sequence[Session]) -> dict[bytes, bytes]:
        ids = [session.legacy_id for session in sessions]
        found = unit.archived(ids) if ids else ()
        return {sort_key(value_in(raw, b"_id")): raw for raw in found}

    def _distribute(
        self,
        unit: Unit,
        sessions: Sequence[Session],
        archived: Mapping[bytes, bytes],
        clients: Mapping[bytes, Client],
        result: GroupPlan,
    ) -> dict[bytes, Session]:
        """Sort out which bookings are new, and which were stored again under an `_id` that the archive has.

        Returns:
            Those of the latter that are to replace what the archive has, by the sort key of `_id`.
        """
        again: list[tuple[Client, Session]] = []
        superseded: dict[bytes, Session] = {}
        for session in sessions:
            client = clients[sort_key(session.client_id)]
            there = archived.get(session.id_key)
            if there == session.booking:
                again.append((client, session))
            elif there is None:
                client.sessions.append(session)
            else:
                match self._rules.on_conflict:
                    case ConflictPolicy.SOURCE:
                        client.sessions.append(session)
                        superseded[session.id_key] = session
                    case ConflictPolicy.REJECT | ConflictPolicy.TARGET:
                        result.reject(
                            Rejection(session.booking, (_conflict(session, there),), session.legacy_id)
                        )
        elsewhere = [session for client, session in again if session.id_key not in client.claims]
        present = claimed(unit.claiming([each.legacy_id for each in elsewhere])) if elsewhere else set()
        for client, session in again:
            is_copy = session.id_key in client.claims or session.id_key in present
            (client.copies if is_copy else client.sessions).append(session)
        return superseded

    @staticmethod
    def _refuse_taken(unit: Unit, clients: Mapping[bytes, Client], result: GroupPlan) -> Iterator[Session]:
        """Reject the bookings of clients for whom no document can be inserted; yield them.

        The application has transferred it to another client, or it is not sound.
        """
        without = [each for each in clients.values() if each.document is None and each.sessions]
        ids = [client_document_id(each.client_id) for each in without]
        new = {sort_key(document_id): each for document_id, each in zip(ids, without, strict=True)}
        for raw in unit.present(ids) if ids else ():
            new[id_key(raw)].obstacle = raw
        for client in without:
            fault = None if client.obstacle is None else _obstacle(client, client.obstacle)
            if fault is None:
                continue
            for session in client.sessions:
                result.reject(Rejection(session.booking, (fault,), session.legacy_id))
                yield session
            client.sessions = []

    @staticmethod
    def _add_clients_losing_sessions(
        unit: Unit, superseded: Mapping[bytes, Session], clients: dict[bytes, Client]
    ) -> None:
        """Add the clients whose documents have sessions of bookings that belong to another client now."""
        moved = [
            session
            for key, session in superseded.items()
            if key not in clients[sort_key(session.client_id)].claims
        ]
        claiming = unit.claiming([session.legacy_id for session in moved]) if moved else ()
        for document in client_documents(claiming):
            loser = clients.setdefault(sort_key(document.client_id), Client(document.client_id))
            loser.document = document
            loser.lost |= claims_of(document).keys() & {session.id_key for session in moved}

    def _earlier(self, unit: Unit, clients: Mapping[bytes, Client]) -> dict[bytes, list[Session]]:
        """Return the bookings of these clients that an earlier pass or run has moved, converted again."""
        wanted = {
            key: client
            for key, client in clients.items()
            if client.document is not None and (client.sessions or client.lost)
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
        trace: Trace | None,
        archived: Mapping[bytes, bytes],
        result: GroupPlan,
    ) -> None:
        consolidation = derive(client, earlier, trace, self._rules)
        result.counts.take(client.client_id, consolidation)
        result.rejected += consolidation.rejected
        settled = [*consolidation.migrated, *consolidation.already_migrated]
        copies = {session.id_key for session in client.copies}
        moved = [session for session in settled if session.id_key not in copies]
        result.gone += [session.booking for session in settled]
        for session in moved:
            _archive(session, archived.get(session.id_key), result)
        after, before = consolidation.document, client.document
        if settled and before is not None:
            result.continued.append(before)
        if not moved and not client.lost:
            return
        result.keys.append(sort_key(client.client_id))
        if before is None:
            result.new += [] if after is None else [after]
        elif after is None:
            result.removed.append(before.raw)
        elif before.raw == after:
            result.untouched.append(after)
        else:
            result.changed.append(Replacement(before.raw, after))


def _archive(session: Session, there: bytes | None, result: GroupPlan) -> None:
    """Archive a booking that is moved, unless the archive has it."""
    superseded = there if there != session.booking else None
    if there is None:
        result.archived.append(session.booking)
    elif superseded is not None:
        result.rearchived.append(Replacement(superseded, session.booking))
    result.moved.append(DocumentNote(identity_of(session.booking), None, superseded))


def _traces(history: TargetHistory, clients: Mapping[bytes, Client]) -> Mapping[bytes, Trace]:
    """Return the provenance of the client documents that change."""
    wanted = {
        key: client.document.raw
        for key, client in clients.items()
        if client.document is not None and (client.sessions or client.lost)
    }
    return dict(zip(wanted, history.trace(list(wanted.values())), strict=True))


def _obstacle(client: Client, raw: bytes) -> Fault | None:
    """Return why a client's bookings cannot be migrated while this document is there; None if they can."""
    document = read_client_document(raw)
    if isinstance(document, Fault):
        found = display_id(value_in(raw, b"_id"))
        detail = f"the client's document {found} is not sound: {document.field}: {document.detail}"
        return Fault(Reason.CONFLICT, "sessions", detail)
    if sort_key(document.client_id) == sort_key(client.client_id):
        # A unit of work is repeated that was interrupted between its steps.
        return None
    detail = f"the client's document is one of client {display_id(document.client_id)} now"
    return Fault(Reason.CONFLICT, "clientId", detail)


def _conflict(session: Session, there: bytes) -> Fault:
    unlike = differences(expected=session.booking, found=there)
    return Fault(Reason.CONFLICT, unlike[0].field, "; ".join(map(str, unlike[:3])))
