"""What some clients have again when a run in place is undone: bookings from the archive, and what happened since.

A booking comes back once, wherever its session stands by now. So a group of clients takes in every client whose document
has a session of a booking of the group, and every client whose booking has a session in a document of the group.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

from booking_migrate.bson.document import (
    Element,
    elements,
    identity_of,
    value_in,
    wrap,
)
from booking_migrate.bson.format import Difference, differences
from booking_migrate.bson.order import (
    id_key,
    sort_key,
)
from booking_migrate.domain.carried_changes import Change, ChangesSince, carry
from booking_migrate.domain.client_document import (
    ClientDocument,
    StoredSession,
    compose,
    read_client_document,
)
from booking_migrate.domain.reversal import reverse
from booking_migrate.domain.session import CLIENT_FIELDS
from booking_migrate.fastpath.flat import FlatClients, FlatRules
from booking_migrate.in_place.archive import client_documents
from booking_migrate.in_place.noted import NotedClients, client_key_of
from booking_migrate.stores.in_place import Unit, Writes
from booking_migrate.stores.ports import Replacement

_OF_CLIENT = frozenset(name.encode() for name in ("clientId", *CLIENT_FIELDS))
_NULL = 0x0A
_FLAT = FlatClients(FlatRules())
"""Under the usual rules; where others held, a document is compared session by session."""


@dataclass(slots=True)
class Return(Writes):
    """What is to be done about a group of clients, and what had happened to them since."""

    since: ChangesSince = field(default_factory=ChangesSince)

    @property
    def restored(self) -> int:
        """Return how many bookings leave the archive."""
        return len(self.unarchived) + len(self.rearchived)


@dataclass(frozen=True, slots=True)
class Manner:
    """How bookings are given back."""

    discards: bool = False
    """Whether what happened since is dropped instead of kept. It is counted all the same."""

    hands_down: bool = False
    """Whether earlier runs are undone next: they count what happened to documents that they wrote too."""

    searches: bool = True
    """Whether sessions are looked for in the documents of other clients."""


class _Place(NamedTuple):
    """Where the session of a booking stands."""

    session: StoredSession
    document: ClientDocument


@dataclass(slots=True)
class _Client:
    """One client now, and before the run."""

    client_id: Any
    originals: list[bytes] = field(default_factory=list)
    superseded: set[bytes] = field(default_factory=set)
    """Bookings of which it had a session before a decision for the booking, which others have now."""

    has_earlier: bool = False
    """Whether the archive has bookings of earlier runs too."""

    document: ClientDocument | None = None
    has_given_away: bool = False
    """Whether its document from before is another client's now, and it has got a new one."""


class Group:
    """Some clients in one unit of work, with all others that have sessions of their bookings."""

    def __init__(self, unit: Unit, noted: NotedClients, manner: Manner) -> None:
        """Take the parts."""
        self._unit = unit
        self._noted = noted
        self._manner = manner
        self._clients: dict[bytes, _Client] = {}
        self._owner: dict[bytes, bytes] = {}
        self._owned: dict[bytes, set[bytes]] = {}
        self._standing: dict[bytes, bytes] = {}

    def read(self, client_ids: Sequence[Any]) -> None:
        """Read these clients and all that belongs to them."""
        wanted = client_ids
        while wanted:
            wanted = self._load(wanted)

    @property
    def originals(self) -> Mapping[bytes, Sequence[bytes]]:
        """Return the bookings that come back, by the sort key of the client."""
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
        related.update(self._passed_documents(loaded))
        if ids:
            found = self._unit.standing(ids)
            self._standing.update((id_key(raw), raw) for raw in found)
        if self._manner.searches:
            related.update(self._search(ids, [*loaded.values(), *further]))
        return [client_id for key, client_id in related.items() if key not in self._clients]

    def _take_documents(
        self, loaded: Mapping[bytes, _Client], documents: Sequence[bytes]
    ) -> Sequence[_Client]:
        """Give clients their documents; return those that a client has beside the one that the runs know.

        Without the index that forbids it the application may have made them. Each is held like that of a client who has no
        bookings that come back.
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

    def _passed_documents(self, loaded: Mapping[bytes, _Client]) -> Iterable[tuple[bytes, Any]]:
        """Find the clients whose documents were others' before the runs."""
        lacking = []
        for key, client in loaded.items():
            before = self._noted.before(key)
            own = None if client.document is None else identity_of(client.document.raw)
            if before is not None and identity_of(before) != own:
                lacking.append(value_in(before, b"_id"))
        for document in client_documents(self._unit.standing(lacking) if lacking else ()):
            yield sort_key(document.client_id), document.client_id

    def _search(self, ids: Sequence[Any], loaded: Iterable[_Client]) -> Iterable[tuple[bytes, Any]]:
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

    def give_back(self) -> Return:
        """Work out what the clients have again. Nothing is written."""
        returned = Return()
        for original in (each for client in self._clients.values() for each in client.originals):
            key = id_key(original)
            superseded = self._noted.superseded(key)
            if superseded is None:
                returned.unarchived.append(original)
            else:
                returned.rearchived.append(Replacement(original, superseded))
                loser = self._clients.get(client_key_of(superseded) or b"")
                if loser is not None:
                    loser.superseded.add(key)
        self._follow_documents(returned)
        places = self._places()
        unchanged = self._unchanged()
        for key, client in self._clients.items():
            if client.document is not None and unchanged.get(key) == client.document.raw:
                for original in client.originals:
                    changes, _ = self._put(original, original, (), returned)
                    returned.since.add(changes=changes)
                returned.gone.append(client.document.raw)
            else:
                self._give_back(key, client, places, returned)
        return returned

    def _unchanged(self) -> Mapping[bytes, bytes]:
        """Return the documents that flat clients have if nothing but their bookings came into them, by the clients' sort keys."""
        flat = [
            raw
            for key, client in self._clients.items()
            if client.document is not None
            and not client.superseded
            and not client.has_given_away
            and self._noted.before(key) is None
            for raw in client.originals
        ]
        offsets = [0, *accumulate(map(len, flat))]
        built = _FLAT.build(b"".join(flat), offsets)
        return {client.key: client.document for client in built.clients}

    def _follow_documents(self, returned: Return) -> None:
        """Find the documents from before the runs whose `clientId` was changed.

        One is taken for that of the client that it was of, unless this client has got another one, which is kept.
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
            if client.document is not None and not self._manner.discards:
                client.has_given_away = True
                continue
            if client.document is not None:
                returned.gone.append(client.document.raw)
                returned.since.add(later=sum(one.legacy_key is None for one in client.document.sessions))
            client.document, holder.document = holder.document, None

    def _places(self) -> Mapping[bytes, _Place]:
        """Return where the session of each booking is taken from: its client's document if that has one."""
        places: dict[bytes, _Place] = {}
        for key, client in sorted(self._clients.items()):
            if client.document is None:
                continue
            for session in client.document.sessions:
                claimed = session.legacy_key
                if claimed is None or claimed not in self._owner:
                    continue
                if self._owner[claimed] == key or claimed not in places:
                    places[claimed] = _Place(session, client.document)
        return places

    def _give_back(
        self, key: bytes, client: _Client, places: Mapping[bytes, _Place], returned: Return
    ) -> None:
        now = client.document
        own = self._owned.get(key, set())
        rest, copies = _without_foreign(now, {each for each in places if each not in own}, places)
        before = None if client.has_given_away else self._noted.before(key)
        is_bystander = not (client.originals or client.superseded)
        if is_bystander:
            self._clear(now, rest, returned)
            returned.since.add(lost=copies)
            return
        reversal = reverse(
            None if rest is None else rest.raw,
            client.originals,
            () if before is None else (before,),
            discard_later=self._manner.discards,
            superseded=client.superseded,
        )
        ours, others = _split(reversal.changes, own)
        missing = {sort_key(each): each for each in reversal.missing}
        lost = [*copies, *reversal.lost]
        for original, booking in zip(client.originals, reversal.bookings, strict=True):
            booking_key = id_key(original)
            place = places.get(booking_key)
            changes = ours.pop(booking_key, [])
            carried = booking
            if place is not None and not (place.document is now and sort_key(now.client_id) == key):
                missing.pop(booking_key, None)
                carried, changes = _passed_on(original, value_in(original, b"_id"), place)
                carried = original if self._manner.discards else carried
            if booking_key in self._standing:
                missing.pop(booking_key, None)
            kept, dropped = self._put(original, carried, changes, returned)
            returned.since.add(changes=kept)
            lost += dropped
        is_empty = rest is not None and not rest.sessions and before is None
        self._replace(now, () if is_empty else reversal.documents, returned)
        if self._manner.hands_down and client.has_earlier and not self._manner.discards:
            missing = {each: value for each, value in missing.items() if each in own}
            returned.since.add(missing=missing.values(), lost=lost)
        else:
            returned.since.add(changes=others, missing=missing.values(), lost=lost, later=reversal.later)

    def _put(
        self, original: bytes, carried: bytes, changes: Sequence[Change], returned: Return
    ) -> tuple[Sequence[Change], Sequence[Change]]:
        """Put a booking back; return the changes that are kept in it, or dropped as asked, and those that are lost.

        A booking that was stored again with other content is newer than its session.
        """
        there = self._standing.get(id_key(original))
        if there is None:
            returned.new.append(carried)
            return changes, ()
        if there == carried:
            return changes, ()
        again = [
            Change(value_in(original, b"_id"), each) for each in differences(expected=original, found=there)
        ]
        if there == original or self._manner.discards:
            returned.changed.append(Replacement(there, carried))
            return [*changes, *again], ()
        return again, changes

    def _replace(self, now: ClientDocument | None, documents: Iterable[bytes], returned: Return) -> None:
        """Put documents in the place of the one that is there."""
        kept = {identity_of(raw): raw for raw in documents}
        own = None if now is None else kept.pop(identity_of(now.raw), None)
        if now is not None and own is None:
            returned.gone.append(now.raw)
        elif now is not None and own is not None and own != now.raw:
            returned.changed.append(Replacement(now.raw, own))
        returned.new += kept.values()

    def _clear(self, now: ClientDocument | None, rest: ClientDocument | None, returned: Return) -> None:
        """Take sessions of other clients' bookings out of a document that the runs did not write for this client."""
        if now is None or rest is None or rest is now:
            return
        is_ours = self._noted.has_created(now)
        if is_ours and rest.sessions:
            returned.since.add(later=len(rest.sessions))
        is_dropped = is_ours and (self._manner.discards or not rest.sessions)
        self._replace(now, () if is_dropped else (rest.raw,), returned)


def _without_foreign(
    document: ClientDocument | None, foreign: Iterable[bytes], places: Mapping[bytes, _Place]
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
        if places[session.legacy_key or b""].session is not session
    ]
    rest = read_client_document(compose(document, (), dropped=dropped))
    return (rest if isinstance(rest, ClientDocument) else None), copies


def _passed_on(original: bytes, document_id: Any, place: _Place) -> tuple[bytes, list[Change]]:
    """Return a booking whose session was moved to another client: it is of that client now."""
    carried, unlike = carry(original, place.session)
    theirs = {part.name: part for part in place.document.parts if part.name in _OF_CLIENT}
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
