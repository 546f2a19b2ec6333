"""Deriving again what a rollback would restore of a few clients, while the application writes.

The clients that are derived together are closed: whatever stands at another client than on the other side, or did when it
was derived last, has that client among them. So `restored_clients` comes to the same for them as for the whole collection.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import Any

from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from booking_migrate.bson.document import value_in
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.carried_changes import ChangesSince, document_with_sessions
from booking_migrate.domain.contract import is_client_id
from booking_migrate.domain.session import booking_of_session, client_of_document
from booking_migrate.errors import DuplicateKeys, WindowStopped, WriteFailed
from booking_migrate.follow.engine import Handled, Kept
from booking_migrate.follow.selection import LoadedReader, Selection, groups
from booking_migrate.rollback.relocations import id_key, id_of
from booking_migrate.rollback.restored_clients import NO_CLIENT, RestorationPlaces, restored_clients
from booking_migrate.stores.changes import Dirty
from booking_migrate.stores.open_window import WindowPlaces


@dataclass(slots=True)
class _Group:
    """Clients that are derived together, with what both sides have of them."""

    selection: Selection
    kept: LoadedReader
    current: LoadedReader


@dataclass(slots=True)
class _Derived:
    """What a rollback restores of a group."""

    documents: dict[bytes, bytes] = field(default_factory=dict)
    """By the sort key of `_id`."""

    since: dict[bytes, ChangesSince] = field(default_factory=dict)
    """What has happened, by the client's key."""

    staying: dict[bytes, tuple[Any, dict[bytes, Any]]] = field(default_factory=dict)
    """The `_id` that sessions booked since would have as old bookings, and their clients; another document may have it."""


class WindowEngine:
    """Handles what is dirty in the live collection; see `follow.follower.Handler`."""

    def __init__(self, places: WindowPlaces, whole: RestorationPlaces, confirm: Callable[[], None]) -> None:
        """Take the parts.

        Args:
            places: what is read and written.
            whole: what a rollback without a window would read.
            confirm: checks, before each write, that the lock is still held.
        """
        self._places = places
        self._whole = whole
        self._confirm = confirm

    def handle(self, dirty: Dirty, time: Timestamp, *, verified: bool, kept: Kept | None = None) -> Handled:
        """Derive the clients that dirty entries concern, as of one cluster time, and make the restored collection so.

        Doing it again is harmless. All is durable when it returns.

        Args:
            dirty: the documents of the live collection that changed, and clients.
            time: at which time it is read; not before the newest of the changes.
            verified: whether what was written is read back.
            kept: ignored.

        Raises:
            WindowStopped: two documents would have the same `_id`.
        """
        # The kept copy does not change.
        _ = kept
        self._places.read_at(time)
        selection = self._selected(dirty)
        while True:
            group = self._closed(selection)
            derived = self._derive(group)
            there = self._there(group, derived)
            # A session that became a booking may have come from another client, whose own part in it is over; where one
            # does not any more, that of another client may become it.
            gone = [id_of(raw) for key, raw in there.items() if key not in derived.documents]
            found = chain(map(_client, there.values()), self._places.notes.clients_of(gone) if gone else ())
            before = len(selection.clients)
            selection.clients.update((sort_key(value), value) for value in found if is_client_id(value))
            if before == len(selection.clients):
                return self._write(group, derived, there, verified=verified)

    def _selected(self, dirty: Dirty) -> Selection:
        """Return the clients that entries concern: those that they have now, on each side, and those that they had."""
        places = self._places
        selection = Selection(dict(dirty.clients), dict(dirty.bookings))
        for some in groups(dirty.bookings.values()):
            documents = chain(places.current.find(some), places.kept.find(some), places.restored.find(some))
            own = (client_of_document(value) for value in some if type(value) is ObjectId)
            found = chain(map(_client, documents), own, places.notes.clients_of(some))
            selection.clients.update((sort_key(value), value) for value in found if is_client_id(value))
        return selection

    def _closed(self, selection: Selection) -> _Group:
        """Load both sides of some clients, and of those that belong together with them."""
        places = self._places
        while True:
            group = _Group(
                selection,
                LoadedReader(places.kept, selection, selection.bookings.values()),
                LoadedReader(places.current, selection, selection.bookings.values()),
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
        """Yield the documents that stand at another client than on the other side, each from the other side."""
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
                        raise WindowStopped("documents made since the cut-over have ids of others")
        return derived

    def _there(self, group: _Group, derived: _Derived) -> dict[bytes, bytes]:
        """Return what the restored collection has of a group, or in the place of what it is to have."""
        places = self._places
        loaded = LoadedReader(places.restored, group.selection, group.selection.bookings.values())
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
        # First of all: what a document has a part in is to be known if it changes again before this is complete.
        waiting = [(value, list(owners.values())) for value, owners in derived.staying.values()]
        places.notes.relate([*self._relations(group), *waiting])
        if ids:
            try:
                places.copy.update(ids, changed)
            except (DuplicateKeys, WriteFailed) as error:
                raise WindowStopped(error.message) from None
        facts = {key: asdict(each) for key, each in derived.since.items() if not each.is_nothing}
        unowned = (NO_CLIENT + key for key in group.selection.bookings)
        places.notes.count([*clients, *unowned], facts)
        differing: Iterable[Any] = places.copy.differing(ids, changed) if verified and ids else ()
        return Handled(frozenset(clients), len(ids), differing=tuple(differing))

    @staticmethod
    def _relations(group: _Group) -> Iterator[tuple[Any, list[Any]]]:
        """Yield the clients in whose documents each live document has a part, unless its `_id` says so."""
        owners = {id_key(raw): _client(raw) for raw in _documents(group.kept)}
        for raw in _documents(group.current):
            own = id_of(raw)
            found = [_client(raw), *(owners[key] for key in _held(raw) if key in owners)]
            clients = {sort_key(value): value for value in found if is_client_id(value)}
            implied = client_of_document(own) if type(own) is ObjectId else None
            if clients and clients.keys() != {sort_key(implied)}:
                yield own, list(clients.values())


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
