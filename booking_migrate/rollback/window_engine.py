"""Derive what a rollback would restore for a few clients, while the application writes.

The clients that are derived together are a closed set: if a document belongs to different clients on the two sides, or did
when it was derived last, all of them are included. So `restored_clients` gives the same result for them as for the whole
collection.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from itertools import chain
from typing import Any

from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from booking_migrate.bson.document import value_in
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.carried_changes import ChangesSince, document_with_sessions
from booking_migrate.domain.ids import booking_of_session, client_of_document
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.errors import DuplicateKeys, WindowStopped, WriteFailed
from booking_migrate.follow.engine import Handled
from booking_migrate.follow.part import Kept
from booking_migrate.follow.selection import LoadedReader, Selection, groups
from booking_migrate.rollback.relocations import id_key, id_of
from booking_migrate.rollback.restored_clients import NO_CLIENT, RestorationPlaces, restored_clients
from booking_migrate.stores.changes import Change, Dirty
from booking_migrate.stores.open_window import Related, WindowPlaces

_KNOWN = 100_000
"""For how many documents the digest of the last write is kept. Others are derived again when the feed shows that write."""

_ATTEMPTS = 5
"""How often a document is written until it is read back as written: others may write to it in between."""


@dataclass(slots=True)
class _Group:
    """Clients that are derived together, with their documents of both sides."""

    selection: Selection
    kept: LoadedReader
    current: LoadedReader


@dataclass(slots=True)
class _Derived:
    """What a rollback restores for a group."""

    documents: dict[bytes, bytes] = field(default_factory=dict)
    """By the sort key of `_id`."""

    since: dict[bytes, ChangesSince] = field(default_factory=dict)
    """The changes, by the client's key."""

    staying: dict[bytes, tuple[Any, dict[bytes, Any]]] = field(default_factory=dict)
    """The `_id` that sessions booked since would have as old bookings, and their clients; another document may have it."""


class WindowEngine:
    """Handles what is dirty in the live collection; see `follow.follower.Handler`."""

    def __init__(self, places: WindowPlaces, whole: RestorationPlaces, confirm: Callable[[], None]) -> None:
        """Take the parts.

        Args:
            places: what is read and written.
            whole: the places of a rollback without a window.
            confirm: checks, before each write, that the lock is still held.
        """
        self._places = places
        self._whole = whole
        self._confirm = confirm
        self._written: dict[bytes, bytes | None] = {}
        """The digests of what was written last, by the key of `_id`; None: it was removed. It is limited."""

    def is_settled(self, change: Change) -> bool:
        """Return False: every change is handled."""
        _ = change
        return False

    def handle(self, dirty: Dirty, time: Timestamp, *, verified: bool, kept: Kept | None = None) -> Handled:
        """Derive the clients that dirty entries concern, as of one cluster time, and update the restored collection.

        Doing it again is harmless. All is durable when it returns.

        Args:
            dirty: the documents of the live collection and of the restored one that changed, and clients.
            time: at which time it is read; not before the newest of the changes.
            verified: whether what was written is read back.
            kept: ignored.

        Raises:
            WindowStopped: two documents would have the same `_id`.
        """
        # The kept copy does not change.
        _ = kept
        self._places.read_at(time)
        selection = self._selected(dirty, self._foreign(dirty))
        if not (selection.clients or selection.bookings):
            return Handled()
        while True:
            group = self._closed(selection)
            derived = self._derive(group)
            there = self._there(group, derived)
            # A session that became a booking may have come from another client. If it no longer becomes one, a session of
            # another client may take its `_id`.
            gone = [id_of(raw) for key, raw in there.items() if key not in derived.documents]
            found = chain(map(_client, there.values()), self._places.notes.clients_of(gone) if gone else ())
            before = len(selection.clients)
            selection.clients.update((sort_key(value), value) for value in found if is_client_id(value))
            if before == len(selection.clients):
                return self._write(group, derived, there, verified=verified)

    def _foreign(self, dirty: Dirty) -> dict[bytes, Any]:
        """Return the changed documents of the restored collection that differ from the last write of this program."""
        foreign = {}
        for some in groups(dirty.copies.values()):
            there = {id_key(raw): sha256(raw).digest() for raw in self._places.restored.find(some)}
            for value in some:
                key = sort_key(value)
                if key not in self._written or self._written[key] != there.get(key):
                    foreign[key] = value
        return foreign

    def _selected(self, dirty: Dirty, foreign: Mapping[bytes, Any]) -> Selection:
        """Return the clients of dirty entries: the current ones, on each side, and earlier ones."""
        places = self._places
        selection = Selection(dict(dirty.clients), {**dirty.bookings, **foreign})
        for some in groups(selection.bookings.values()):
            documents = chain(places.current.find(some), places.kept.find(some), places.restored.find(some))
            own = (client_of_document(value) for value in some if type(value) is ObjectId)
            found = chain(map(_client, documents), own, places.notes.clients_of(some))
            selection.clients.update((sort_key(value), value) for value in found if is_client_id(value))
        return selection

    def _closed(self, selection: Selection) -> _Group:
        """Load both sides of some clients, and of the clients that have to be derived with them."""
        places = self._places
        while True:
            group = _Group(
                selection,
                LoadedReader(places.kept, selection, selection.bookings),
                LoadedReader(places.current, selection, selection.bookings),
            )
            before = len(selection.clients), len(selection.bookings)
            for raw in self._belonging(group):
                client = _client(raw)
                if is_client_id(client):
                    selection.clients[sort_key(client)] = client
                else:
                    selection.bookings[id_key(raw)] = id_of(raw)
            if before == (len(selection.clients), len(selection.bookings)):
                return group

    def _belonging(self, group: _Group) -> Iterator[bytes]:
        """Yield the documents of the other side that belong to another client there."""
        kept = {id_key(raw): id_of(raw) for raw in _documents(group.kept)}
        current: dict[bytes, Any] = {}
        for raw in _documents(group.current):
            current.update(_held(raw))
        foreign = [value for key, value in current.items() if key not in kept]
        absent = [value for key, value in kept.items() if key not in current]
        for some in groups(foreign):
            yield from self._places.kept.find(some)
        for some in groups(absent):
            yield from self._places.current.find(some)
            yield from self._places.links.documents_of_bookings(some)

    def _derive(self, group: _Group) -> _Derived:
        ids = [id_of(raw) for raw in _documents(group.kept)]
        derived = _Derived()
        with closing(self._places.rejected_of(ids)) as rejected:
            places = replace(self._whole, kept=group.kept, current=group.current, rejected=rejected)
            for client in restored_clients(places):
                client.count_in(derived.since.setdefault(client.key, ChangesSince()))
                owner = group.selection.clients.get(client.key)
                for value in client.staying if owner is not None else ():
                    if type(value) is ObjectId:
                        booking_id = booking_of_session(value)
                        _, owners = derived.staying.setdefault(sort_key(booking_id), (booking_id, {}))
                        owners[client.key] = owner
                for raw in client.documents:
                    key = id_key(raw)
                    if derived.documents.setdefault(key, raw) != raw:
                        shown = display_id(id_of(raw))
                        raise WindowStopped(f"several documents would have the _id {shown}")
        return derived

    def _there(self, group: _Group, derived: _Derived) -> dict[bytes, bytes]:
        """Return the documents of the restored collection for a group, and those with an `_id` that it needs."""
        places = self._places
        loaded = LoadedReader(places.restored, group.selection, group.selection.bookings)
        there = {id_key(raw): raw for raw in _documents(loaded)}
        for some in groups(id_of(raw) for key, raw in derived.documents.items() if key not in there):
            there.update((id_key(raw), raw) for raw in places.restored.find(some))
        return there

    def _write(
        self, group: _Group, derived: _Derived, there: dict[bytes, bytes], *, verified: bool
    ) -> Handled:
        places, clients = self._places, group.selection.clients
        changed = [raw for key, raw in derived.documents.items() if there.get(key) != raw]
        gone = [id_of(raw) for key, raw in there.items() if key not in derived.documents]
        ids = [*map(id_of, changed), *gone]
        self._confirm()
        # First: the relations must be known if the document changes again before this is complete.
        waiting = [Related(value, list(owners.values())) for value, owners in derived.staying.values()]
        # If others delete an old booking that the kept copy does not have, only this note says whose it was.
        before = {id_key(raw) for raw in _documents(group.kept)}
        new = [(id_of(raw), _client(raw)) for raw in changed if id_key(raw) not in before]
        owned = [Related(value, [client], client) for value, client in new if is_client_id(client)]
        places.notes.relate([*self._relations(group), *waiting, *owned])
        differing = self._written_and_checked(ids, changed, verified=verified) if ids else ()
        self._note_written(changed, gone)
        facts = {key: asdict(each) for key, each in derived.since.items() if not each.is_nothing}
        unowned = (NO_CLIENT + key for key in group.selection.bookings)
        places.notes.count([*clients, *unowned], facts)
        return Handled(frozenset(clients), len(ids), differing=tuple(differing))

    def _written_and_checked(
        self, ids: Sequence[Any], changed: Sequence[bytes], *, verified: bool
    ) -> Sequence[Any]:
        """Write documents, and again what differs when it is read back; return the `_id` values that still differ."""
        copy, left = self._places.copy, ids
        for _ in range(_ATTEMPTS):
            try:
                copy.update(left, changed)
            except (DuplicateKeys, WriteFailed) as error:
                raise WindowStopped(error.message) from None
            left = copy.differing(left, changed) if verified else ()
            if not left:
                break
        return left

    def _note_written(self, changed: Sequence[bytes], gone: Sequence[Any]) -> None:
        if len(self._written) > _KNOWN:
            self._written.clear()
        self._written.update((id_key(raw), sha256(raw).digest()) for raw in changed)
        self._written.update((sort_key(value), None) for value in gone)

    @staticmethod
    def _relations(group: _Group) -> Iterator[Related]:
        """Yield the clients that each live document affects, unless its `_id` implies them."""
        owners = {id_key(raw): _client(raw) for raw in _documents(group.kept)}
        for raw in _documents(group.current):
            value, own = id_of(raw), _client(raw)
            found = [own, *(owners[key] for key in _held(raw) if key in owners)]
            clients = {sort_key(each): each for each in found if is_client_id(each)}
            implied = client_of_document(value) if type(value) is ObjectId else None
            if clients and clients.keys() != {sort_key(implied)}:
                yield Related(value, list(clients.values()), own if is_client_id(own) else None)


def _documents(reader: LoadedReader) -> Iterator[bytes]:
    return (scanned.raw for scanned in reader.scan_by_client())


def _client(raw: bytes) -> Any:
    return value_in(raw, b"clientId")


def _held(raw: bytes) -> dict[bytes, Any]:
    """Return the `_id` of a live document, and those of the bookings of its sessions, by sort key."""
    document = document_with_sessions(raw)
    held = [
        session.fields["legacyBookingId"]
        for session in (document.sessions if document else ())
        if session.legacy_key
    ]
    return {sort_key(value): value for value in (id_of(raw), *held)}
