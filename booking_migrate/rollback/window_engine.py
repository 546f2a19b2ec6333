"""Derive what a rollback would restore for a few clients, while the application writes.

They are derived with what other clients have of the bookings that they share (`window_group`). So `restored_clients` gives the
same result for them, and for these bookings, as for the whole collection.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from itertools import chain
from typing import Any

from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.carried_changes import ChangesSince
from booking_migrate.domain.ids import booking_of_session, client_of_document
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.errors import DuplicateKeys, WindowStopped, WriteFailed
from booking_migrate.follow.engine import Handled
from booking_migrate.follow.part import Kept
from booking_migrate.follow.selection import LoadedReader, Selection, client_key, groups
from booking_migrate.rollback.relocations import id_key, id_of
from booking_migrate.rollback.restored_clients import (
    NO_CLIENT,
    RestorationPlaces,
    RestoredClient,
    restored_clients,
)
from booking_migrate.rollback.window_group import Group, client_of, documents_of, load_group, sessions_held
from booking_migrate.stores.changes import Change, Dirty
from booking_migrate.stores.open_window import Related, WindowPlaces

_RELOCATED = b"\x00relocated/"

_KNOWN = 100_000
"""For how many documents the digest of the last write is kept. Others are derived again when the feed shows that write."""

_ATTEMPTS = 5
"""How often a document is written until it is read back as written: others may write to it in between."""


@dataclass(slots=True)
class _Derived:
    """What a rollback restores for a group."""

    documents: dict[bytes, bytes] = field(default_factory=dict)
    """By the sort key of `_id`."""

    others: set[bytes] = field(default_factory=set)
    """The sort keys of shared bookings that come from a client of which only a part is loaded: they are left as they are."""

    since: dict[bytes, ChangesSince] = field(default_factory=dict)
    """The changes, by the key under which they are noted."""

    staying: dict[bytes, tuple[Any, dict[bytes, Any]]] = field(default_factory=dict)
    """The `_id` that sessions booked since would have as old bookings, and their clients; another document may have it."""

    def has_no(self, key: bytes) -> bool:
        """Return whether a rollback restores no document of this key."""
        return key not in self.documents and key not in self.others


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
        shared: dict[bytes, Any] = {}
        for some in groups(selection.bookings.values()):
            shared.update((sort_key(value), value) for value in self._places.notes.bookings_of(some))
        while True:
            group = load_group(self._places, selection, shared)
            derived = self._derive(group)
            there = self._there(group, derived)
            if not self._has_more(group, derived, there, shared):
                return self._write(group, derived, there, verified=verified)

    def _has_more(
        self, group: Group, derived: _Derived, there: Mapping[bytes, bytes], shared: dict[bytes, Any]
    ) -> bool:
        """Add clients and bookings that have to be derived, too, because of what is there; return whether there were any."""
        notes, clients = self._places.notes, group.selection.clients
        gone = [id_of(raw) for key, raw in there.items() if derived.has_no(key)]
        # A session that became a booking may have come from another client. If it no longer becomes one, a session of
        # another client may take its `_id`.
        differing = (
            client_of(raw)
            for key, raw in there.items()
            if key not in group.shared and derived.documents.get(key) != raw
        )
        before = len(clients), len(shared)
        found = chain(differing, notes.clients_of(gone) if gone else ())
        clients.update((sort_key(value), value) for value in found if is_client_id(value))
        # A booking that was restored with a session of one of these clients, and is not any more.
        left = [value for value in gone if sort_key(value) not in group.shared]
        for some in groups(left):
            shared.update((id_key(raw), id_of(raw)) for raw in self._places.kept.find(some))
        return before != (len(clients), len(shared))

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
            found = chain(map(client_of, documents), own, places.notes.clients_of(some))
            selection.clients.update((sort_key(value), value) for value in found if is_client_id(value))
        return selection

    def _derive(self, group: Group) -> _Derived:
        derived = _Derived()
        with closing(self._places.rejected_of(list(group.kept.ids().values()))) as rejected:
            places = replace(self._whole, kept=group.kept, current=group.current, rejected=rejected)
            for client in restored_clients(places):
                noted = _noted_as(client, group)
                if noted is None:
                    derived.others.update(group.shared.keys() & set(map(id_key, client.documents)))
                    continue
                client.count_in(derived.since.setdefault(noted, ChangesSince()))
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

    def _there(self, group: Group, derived: _Derived) -> dict[bytes, bytes]:
        """Return the documents of the restored collection for a group, and those with an `_id` that it needs."""
        places = self._places
        loaded = LoadedReader(places.restored, group.selection, group.selection.bookings)
        there = {id_key(raw): raw for raw in documents_of(loaded)}
        for some in groups(id_of(raw) for key, raw in derived.documents.items() if key not in there):
            there.update((id_key(raw), raw) for raw in places.restored.find(some))
        return there

    def _write(
        self, group: Group, derived: _Derived, there: dict[bytes, bytes], *, verified: bool
    ) -> Handled:
        places, clients = self._places, group.selection.clients
        changed = [raw for key, raw in derived.documents.items() if there.get(key) != raw]
        gone = [id_of(raw) for key, raw in there.items() if derived.has_no(key)]
        ids = [*map(id_of, changed), *gone]
        self._confirm()
        # First: the relations must be known if the document changes again before this is complete.
        waiting = [Related(value, list(owners.values())) for value, owners in derived.staying.values()]
        # If others delete an old booking that the kept copy does not have, only this note says whose it was.
        before = set(group.kept.keys())
        new = [(id_of(raw), client_of(raw)) for raw in changed if id_key(raw) not in before]
        owned = [Related(value, [client], client) for value, client in new if is_client_id(client)]
        places.notes.relate([*self._relations(group), *waiting, *owned])
        differing = self._written_and_checked(ids, changed, verified=verified) if ids else ()
        self._note_written(changed, gone)
        facts = {key: asdict(each) for key, each in derived.since.items() if not each.is_nothing}
        unowned = (NO_CLIENT + key for key in group.selection.bookings)
        places.notes.count([*clients, *unowned, *map(noted_of_booking, group.shared)], facts)
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
    def _relations(group: Group) -> Iterator[Related]:
        """Yield the client of each live document, unless its `_id` implies it, and the bookings of others that it holds."""
        owners = {id_key(raw): client_key(raw) for raw in documents_of(group.kept)}
        for raw in group.mine:
            value, own = id_of(raw), client_of(raw)
            # Empty for a document of no client, to which no booking belongs.
            mine = client_key(raw)
            held = [each for key, each in sessions_held(raw).items() if not mine or owners.get(key) != mine]
            implied = client_of_document(value) if type(value) is ObjectId else None
            clients = [own] if is_client_id(own) else []
            if held or (clients and sort_key(own) != sort_key(implied)):
                yield Related(value, clients, own if clients else None, held)


def noted_of_booking(key: bytes) -> bytes:
    """Return the key under which the changes to a relocated booking are noted."""
    return _RELOCATED + key


def _noted_as(client: RestoredClient, group: Group) -> bytes | None:
    """Return the key under which changes are noted; None if they are of another client, of which only a part is loaded."""
    if client.relocated is not None:
        return noted_of_booking(client.relocated) if client.relocated in group.shared else None
    is_whole = client.key in group.selection.clients or (
        client.key[:1] == NO_CLIENT and client.key[1:] in group.selection.bookings
    )
    return client.key if is_whole else None
