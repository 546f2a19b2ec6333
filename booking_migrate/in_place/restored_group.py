"""Plan what a rollback in place restores for some clients: bookings with what the application has changed since.

A booking is restored once, whichever document has its session. So a group includes every client whose document has a session
of a booking of the group, and every client whose booking has a session in a document of the group.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

from booking_migrate.bson.document import Element, elements, identity_of, value_in, wrap
from booking_migrate.bson.format import Difference, differences
from booking_migrate.bson.order import id_key, sort_key
from booking_migrate.domain.carried_changes import Change, ChangesSince, carry
from booking_migrate.domain.client_document import (
    ClientDocument,
    StoredSession,
    compose,
    read_client_document,
)
from booking_migrate.domain.reversal import reverse
from booking_migrate.domain.session import OWNER_NAMES
from booking_migrate.fastpath.flat import FlatClients, FlatRules
from booking_migrate.in_place.archive import client_documents
from booking_migrate.in_place.noted import NotedClients, client_key_of
from booking_migrate.stores.in_place import Unit, Writes
from booking_migrate.stores.ports import Replacement

_NULL = 0x0A
_FLAT = FlatClients(FlatRules())
"""Under the default rules; under others, a document is compared session by session."""


@dataclass(slots=True)
class RestorePlan(Writes):
    """What a unit of work writes for a group of clients, and what the application had changed."""

    since: ChangesSince = field(default_factory=ChangesSince)

    @property
    def restored(self) -> int:
        """Return how many bookings leave the archive."""
        return len(self.unarchived) + len(self.rearchived)


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """How bookings are restored."""

    discards_changes: bool = False
    """Whether changes of the application are dropped instead of kept. They are counted in either case."""

    counts_for_earlier_runs: bool = False
    """Whether earlier runs are undone next: they count the changes to documents that they wrote, too."""

    searches_all: bool = True
    """Whether sessions are looked for in the documents of other clients."""


class _SessionLocation(NamedTuple):
    """The session of a booking, and the document that has it."""

    session: StoredSession
    document: ClientDocument


@dataclass(slots=True)
class _Client:
    """One client now, and before the run."""

    client_id: Any
    originals: list[bytes] = field(default_factory=list)
    superseded: set[bytes] = field(default_factory=set)
    """Bookings of which it had a session until a conflict was decided for the booking; other clients have them now."""

    has_earlier: bool = False
    """Whether the archive has bookings of earlier runs too."""

    document: ClientDocument | None = None
    has_lost_document: bool = False
    """Whether its earlier document was transferred to another client, and it has a new one."""


class RestoredGroup:
    """Some clients in one unit of work, with all others that have sessions of their bookings."""

    def __init__(self, unit: Unit, noted: NotedClients, options: RestoreOptions) -> None:
        """Take the parts."""
        self._unit = unit
        self._noted = noted
        self._options = options
        self._clients: dict[bytes, _Client] = {}
        self._owner: dict[bytes, bytes] = {}
        self._owned: dict[bytes, set[bytes]] = {}
        self._present: dict[bytes, bytes] = {}

    def read(self, client_ids: Sequence[Any]) -> None:
        """Read these clients and all that belongs to them."""
        wanted = client_ids
        while wanted:
            wanted = self._load(wanted)

    @property
    def originals(self) -> Mapping[bytes, Sequence[bytes]]:
        """Return the bookings to restore, by the sort key of the client."""
        return {key: client.originals for key, client in self._clients.items()}

    def _load(self, client_ids: Sequence[Any]) -> Sequence[Any]:
        """Read clients; return the ids of those that have to be read with them."""
        loaded = {sort_key(each): _Client(each) for each in client_ids}
        self._clients.update(loaded)
        self._noted.cover(loaded)
        ids: list[Any] = []
        related: dict[bytes, Any] = {}
        for raw in self._unit.archived_of(client_ids):
            client, key = loaded.get(client_key_of(raw) or b""), id_key(raw)
            if client is None:
                continue
            if not self._noted.is_moved(key, raw):
                client.has_earlier = True
                continue
            client.originals.append(raw)
            ids.append(value_in(raw, b"_id"))
            self._owner[key] = sort_key(client.client_id)
            self._owned.setdefault(self._owner[key], set()).add(key)
            superseded = self._noted.superseded(key)
            if superseded is not None and (loser := client_key_of(superseded)) is not None:
                related[loser] = value_in(superseded, b"clientId")
        further = self._take_documents(loaded, self._unit.find(client_ids))
        related.update(self._clients_of_transferred_documents(loaded))
        if ids:
            found = self._unit.present(ids)
            self._present.update((id_key(raw), raw) for raw in found)
        if self._options.searches_all:
            related.update(self._clients_of_sessions(ids, [*loaded.values(), *further]))
        return [client_id for key, client_id in related.items() if key not in self._clients]

    def _take_documents(
        self, loaded: Mapping[bytes, _Client], documents: Sequence[bytes]
    ) -> Sequence[_Client]:
        """Assign documents to clients; return the additional documents of clients that have several.

        Without the unique index the application may have created them. Each is treated like the document of a client without
        bookings to restore.
        """
        found: dict[bytes, list[ClientDocument]] = {}
        for document in client_documents(documents):
            found.setdefault(sort_key(document.client_id), []).append(document)
        further: list[_Client] = []
        for key, client in loaded.items():
            several = sorted(found.get(key, ()), key=lambda each: not self._noted.knows(each))
            client.document = several[0] if several else None
            for each in several[1:]:
                beside = self._clients[key + id_key(each.raw)] = _Client(client.client_id, document=each)
                further.append(beside)
        return further

    def _clients_of_transferred_documents(
        self, loaded: Mapping[bytes, _Client]
    ) -> Iterable[tuple[bytes, Any]]:
        """Find the clients that have documents which belonged to others before the runs."""
        lacking = []
        for key, client in loaded.items():
            before = self._noted.before(key)
            own = None if client.document is None else identity_of(client.document.raw)
            if before is not None and identity_of(before) != own:
                lacking.append(value_in(before, b"_id"))
        for document in client_documents(self._unit.present(lacking) if lacking else ()):
            yield sort_key(document.client_id), document.client_id

    def _clients_of_sessions(
        self, ids: Sequence[Any], loaded: Iterable[_Client]
    ) -> Iterable[tuple[bytes, Any]]:
        """Find the clients that have sessions of these bookings, and those whose bookings these have sessions of."""
        for document in client_documents(self._unit.claiming(ids) if ids else ()):
            yield sort_key(document.client_id), document.client_id
        foreign = [
            session.fields["legacyBookingId"]
            for client in loaded
            for session in (client.document.sessions if client.document else ())
            if session.legacy_key is not None and session.legacy_key not in self._owner
        ]
        for raw in self._unit.archived(foreign) if foreign else ():
            client_id = value_in(raw, b"clientId")
            yield sort_key(client_id), client_id

    def plan(self) -> RestorePlan:
        """Plan the restoration of the clients. Nothing is written."""
        plan = RestorePlan()
        for original in (each for client in self._clients.values() for each in client.originals):
            key = id_key(original)
            superseded = self._noted.superseded(key)
            if superseded is None:
                plan.unarchived.append(original)
            else:
                plan.rearchived.append(Replacement(original, superseded))
                loser = self._clients.get(client_key_of(superseded) or b"")
                if loser is not None:
                    loser.superseded.add(key)
        self._return_documents(plan)
        locations = self._locations()
        unchanged = self._unchanged()
        for key, client in self._clients.items():
            if client.document is not None and unchanged.get(key) == client.document.raw:
                for original in client.originals:
                    changes, _ = self._restore_booking(original, original, (), plan)
                    plan.since.add(changes=changes)
                plan.gone.append(client.document.raw)
            else:
                self._plan_client(key, client, locations, plan)
        return plan

    def _unchanged(self) -> Mapping[bytes, bytes]:
        """Return the documents that the bookings of flat clients alone make, by the clients' sort keys."""
        flat = [
            raw
            for key, client in self._clients.items()
            if client.document is not None
            and not client.superseded
            and not client.has_lost_document
            and self._noted.before(key) is None
            for raw in client.originals
        ]
        offsets = [0, *accumulate(map(len, flat))]
        built = _FLAT.build(b"".join(flat), offsets)
        return {client.key: client.document for client in built.clients}

    def _return_documents(self, plan: RestorePlan) -> None:
        """Return documents from before the runs, whose `clientId` was changed, to their clients.

        A client that has a new document keeps that instead.
        """
        holders = {
            identity_of(each.document.raw): each
            for each in self._clients.values()
            if each.document is not None
        }
        for key, client in self._clients.items():
            before = self._noted.before(key)
            holder = None if before is None else holders.get(identity_of(before))
            if holder is None or holder is client or holder.document is None:
                continue
            if client.document is not None and not self._options.discards_changes:
                client.has_lost_document = True
                continue
            if client.document is not None:
                plan.gone.append(client.document.raw)
                plan.since.add(later=sum(one.legacy_key is None for one in client.document.sessions))
            client.document, holder.document = holder.document, None

    def _locations(self) -> Mapping[bytes, _SessionLocation]:
        """Return the session from which each booking is restored: that in its client's document, if any."""
        locations: dict[bytes, _SessionLocation] = {}
        for key, client in sorted(self._clients.items()):
            if client.document is None:
                continue
            for session in client.document.sessions:
                claimed = session.legacy_key
                if claimed is None or claimed not in self._owner:
                    continue
                if self._owner[claimed] == key or claimed not in locations:
                    locations[claimed] = _SessionLocation(session, client.document)
        return locations

    def _plan_client(
        self, key: bytes, client: _Client, locations: Mapping[bytes, _SessionLocation], plan: RestorePlan
    ) -> None:
        now = client.document
        own = self._owned.get(key, set())
        rest, copies = _without_foreign(now, {each for each in locations if each not in own}, locations)
        before = None if client.has_lost_document else self._noted.before(key)
        is_unaffected = not (client.originals or client.superseded)
        if is_unaffected:
            self._remove_foreign_sessions(now, rest, plan)
            plan.since.add(lost=copies)
            return
        reversal = reverse(
            None if rest is None else rest.raw,
            client.originals,
            () if before is None else (before,),
            discard_later=self._options.discards_changes,
            superseded=client.superseded,
        )
        ours, others = _split(reversal.changes, own)
        missing = {sort_key(each): each for each in reversal.missing}
        lost = [*copies, *reversal.lost]
        for original, booking in zip(client.originals, reversal.bookings, strict=True):
            booking_key = id_key(original)
            place = locations.get(booking_key)
            changes = ours.pop(booking_key, [])
            carried = booking
            if place is not None and not (place.document is now and sort_key(now.client_id) == key):
                missing.pop(booking_key, None)
                carried, changes = _transferred(original, value_in(original, b"_id"), place)
                carried = original if self._options.discards_changes else carried
            if booking_key in self._present:
                missing.pop(booking_key, None)
            kept, dropped = self._restore_booking(original, carried, changes, plan)
            plan.since.add(changes=kept)
            lost += dropped
        is_empty = rest is not None and not rest.sessions and before is None
        self._replace_document(now, () if is_empty else reversal.documents, plan)
        is_counted_next = self._options.counts_for_earlier_runs and client.has_earlier
        if is_counted_next and not self._options.discards_changes:
            missing = {each: value for each, value in missing.items() if each in own}
        else:
            plan.since.add(changes=others, later=reversal.later, staying=reversal.staying)
        plan.since.add(missing=missing.values(), lost=lost)

    def _restore_booking(
        self, original: bytes, carried: bytes, changes: Sequence[Change], plan: RestorePlan
    ) -> tuple[Sequence[Change], Sequence[Change]]:
        """Restore a booking; return the changes that are kept in it, or dropped on request, and those that are lost.

        A booking that was stored again with other content is newer than its session.
        """
        there = self._present.get(id_key(original))
        if there is None:
            plan.new.append(carried)
            return changes, ()
        if there == carried:
            return changes, ()
        again = [
            Change(value_in(original, b"_id"), each) for each in differences(expected=original, found=there)
        ]
        if there == original or self._options.discards_changes:
            plan.changed.append(Replacement(there, carried))
            return [*changes, *again], ()
        return again, changes

    def _replace_document(
        self, now: ClientDocument | None, documents: Iterable[bytes], plan: RestorePlan
    ) -> None:
        """Replace the current document by others."""
        kept = {identity_of(raw): raw for raw in documents}
        own = None if now is None else kept.pop(identity_of(now.raw), None)
        if now is not None and own is None:
            plan.gone.append(now.raw)
        elif now is not None and own is not None and own != now.raw:
            plan.changed.append(Replacement(now.raw, own))
        plan.new += kept.values()

    def _remove_foreign_sessions(
        self, now: ClientDocument | None, rest: ClientDocument | None, plan: RestorePlan
    ) -> None:
        """Remove sessions of other clients' bookings from a document that the runs did not write for this client."""
        if now is None or rest is None or rest is now:
            return
        is_ours = self._noted.has_created(now)
        if is_ours and rest.sessions:
            staying = [session.fields.get("sessionId") for session in rest.sessions]
            plan.since.add(later=len(staying), staying=staying)
        is_dropped = is_ours and (self._options.discards_changes or not rest.sessions)
        self._replace_document(now, () if is_dropped else (rest.raw,), plan)


def _without_foreign(
    document: ClientDocument | None, foreign: Iterable[bytes], locations: Mapping[bytes, _SessionLocation]
) -> tuple[ClientDocument | None, Sequence[Change]]:
    """Return a document without sessions of other clients' bookings, and those of them that are taken from elsewhere."""
    keys = set(foreign)
    dropped = {
        index: session
        for index, session in enumerate(document.sessions if document else ())
        if session.legacy_key in keys
    }
    if document is None or not dropped:
        return document, ()
    copies = [
        Change(document.document_id, Difference(f"sessions.{index}", session.element, None))
        for index, session in dropped.items()
        if locations[session.legacy_key or b""].session is not session
    ]
    rest = read_client_document(compose(document, (), dropped=dropped))
    return (rest if isinstance(rest, ClientDocument) else None), copies


def _transferred(original: bytes, document_id: Any, place: _SessionLocation) -> tuple[bytes, list[Change]]:
    """Return a booking whose session was transferred to another client, with that client's fields."""
    carried, unlike = carry(original, place.session)
    theirs = {part.name: part for part in place.document.parts if part.name in OWNER_NAMES}
    parts: list[Element] = []
    for part in elements(carried):
        new = theirs.get(part.name, part)
        if new == part or new.kind == _NULL:
            parts.append(part)
            continue
        unlike.append(Difference(part.name.decode(), part, new))
        parts.append(new)
    return wrap(parts), [Change(document_id, each) for each in unlike]


def _split(changes: Iterable[Change], own: Iterable[bytes]) -> tuple[dict[bytes, list[Change]], list[Change]]:
    """Split changes into those of bookings, by the sort key of `_id`, and those of documents."""
    ours: dict[bytes, list[Change]] = {key: [] for key in own}
    others: list[Change] = []
    for change in changes:
        ours.get(sort_key(change.document_id), others).append(change)
    return ours, others
