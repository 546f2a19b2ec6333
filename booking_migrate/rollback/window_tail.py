"""The tail of a rollback out of a reverse window: deletes, and writers that bypass validation, between fence and rename.

The rename has dropped the client documents, so only the change events are left. The affected clients are derived again from
the kept copy and these events. Bookings of documents of other clients are in the old collection already, and stay; so do
changes of the old application since the rename.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from bson.objectid import ObjectId
from bson.timestamp import Timestamp
from typing_extensions import override

from booking_migrate.bson.document import value_in
from booking_migrate.bson.order import sort_key
from booking_migrate.cutover.tail import TailChanges
from booking_migrate.domain.carried_changes import booking_id_of, document_with_sessions
from booking_migrate.domain.client_document import StoredSession
from booking_migrate.domain.ids import client_of_document
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.errors import HistoryLost, TargetChanged, WindowStopped
from booking_migrate.events import Listener, Warned
from booking_migrate.follow.selection import LoadedReader, Selection, groups
from booking_migrate.rollback.relocations import id_key, id_of
from booking_migrate.rollback.window_engine import WindowEngine, noted_of_booking
from booking_migrate.rollback.window_parts import WindowParts
from booking_migrate.stores.changes import ChangeFeed, Dirty, Links, Role
from booking_migrate.stores.open_window import Related
from booking_migrate.stores.ports import ComparedReader, Replacement

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.kept_copy import KeptCopy
    from booking_migrate.stores.mongo.rollback import MongoUndo
    from booking_migrate.stores.mongo.window import MongoWindowNotes

_WAIT_SECONDS = 0.2
_TRIES = 50
"""How often documents are read again if the old application changes them concurrently."""


@dataclass(frozen=True, slots=True)
class WindowTailParts:
    """The parts for reading and applying the tail."""

    window: WindowParts
    confirm: Callable[[], None]
    listener: Listener


def apply_window_tail(parts: WindowTailParts, fenced: Timestamp) -> TailChanges:
    """Apply the changes that passed the fence. Doing it again is harmless.

    Args:
        parts: the parts.
        fenced: the cluster time of the fence; earlier changes are in the restored collection already.

    Raises:
        BookingMigrateError: as `WindowEngine.handle`.
    """
    feed = parts.window.tail(fenced)
    try:
        seen = _TailReader(feed, fenced)
        seen.read_up_to(parts.window.places.now())
        late = seen.late
        if late.deleted or late.written:
            _derive_again(parts, seen)
    except (HistoryLost, WindowStopped) as error:
        name = parts.window.whole.current.name
        parts.listener.notify(
            Warned(
                f"what passed the fence could not be brought in ({error.message}): client documents that were deleted, or written by "
                f"bypassing validation, just before the swap are in {name} as they were before"
            )
        )
        return TailChanges(unread=error.message)
    finally:
        feed.close()
    return late


@dataclass(slots=True)
class _TailReader:
    """The changes that were read: of client documents up to the rename, of old bookings after it."""

    feed: ChangeFeed
    fenced: Timestamp
    late: TailChanges = field(default_factory=TailChanges)
    touched: set[bytes] = field(default_factory=set)
    """The sort keys of the `_id` values that were written since the rename, by the old application or by this program."""

    is_renamed: bool = False

    def read_up_to(self, until: Timestamp) -> None:
        """Read all changes up to a cluster time."""
        while True:
            batch = self.feed.read(_WAIT_SECONDS)
            for change in batch.changes:
                if change.role is Role.TARGET and change.operation == "rename":
                    self.is_renamed = True
                elif change.role is not Role.SOURCE or not change.is_of_document:
                    continue
                elif self.is_renamed:
                    self.touched.add(sort_key(change.document_id))
                elif change.time > self.fenced:
                    self.late.take(change)
            is_all = not batch.changes and batch.position.time >= until
            if batch.position.time > until or (is_all and self.is_renamed):
                return


def _derive_again(parts: WindowTailParts, seen: _TailReader) -> None:
    """Derive the clients of late changes again, and update the old collection."""
    window, late = parts.window, seen.late
    documents = [raw for _, raw in late.written.values()]
    dirty = Dirty(bookings={**late.deleted, **{key: value for key, (value, _) in late.written.items()}})
    affected = _AffectedClients(window, dirty.bookings, documents)
    live = window.places.live
    there = replace(
        window.places,
        current=_KnownDocuments(live, documents, window, affected),
        restored=live,
        links=_NoLinks(),
        notes=cast("MongoWindowNotes", _LateNotes(window.places.notes, affected)),
        # It answers the same two queries as the copy of the source.
        copy=cast("KeptCopy", _UnwrittenDocuments(window.late, seen, window.places.now)),
    )
    WindowEngine(there, window.whole, parts.confirm).handle(dirty, window.places.now(), verified=False)


class _AffectedClients:
    """The clients of the documents of late changes, at the fence and now.

    Their documents at the fence are not known any more; those of other clients have not changed.
    """

    def __init__(
        self, window: WindowParts, document_ids: Mapping[bytes, Any], documents: Sequence[bytes]
    ) -> None:
        ids = list(document_ids.values())
        implied = (client_of_document(value) for value in ids if type(value) is ObjectId)
        noted = (client for some in groups(ids) for client in window.places.notes.owners_of(some))
        now = (value_in(raw, b"clientId") for raw in documents if document_with_sessions(raw) is not None)
        found = chain(implied, noted, now)
        self.clients = frozenset(sort_key(client) for client in found if is_client_id(client))
        sessions = (session for raw in documents for session in _sessions(raw))
        self.bookings = frozenset((*document_ids, *filter(None, map(_booking_key, sessions))))

    def holds(self, raw: bytes) -> bool:
        """Return whether late changes may affect a document of the old collection."""
        owner = value_in(raw, b"clientId")
        return id_key(raw) in self.bookings or (is_client_id(owner) and sort_key(owner) in self.clients)


def _sessions(raw: bytes) -> Sequence[StoredSession]:
    document = document_with_sessions(raw)
    return document.sessions if document else ()


def _booking_key(session: StoredSession) -> bytes | None:
    """Return the key of the `_id` of the old booking that a session is, or would be."""
    if session.legacy_key is not None:
        return session.legacy_key
    booking_id = booking_id_of(session)
    return None if booking_id is None else sort_key(booking_id)


class _LateNotes:
    """The notes about documents and clients, of which only those of the affected clients are updated."""

    def __init__(self, notes: "MongoWindowNotes", affected: _AffectedClients) -> None:
        self._notes = notes
        self._affected = affected

    def clients_of(self, document_ids: Sequence[Any]) -> Iterator[Any]:
        """Yield the clients that were related to documents."""
        return self._notes.clients_of(document_ids)

    def bookings_of(self, document_ids: Sequence[Any]) -> Iterator[Any]:
        """Yield the bookings of other clients of which documents held a session."""
        return self._notes.bookings_of(document_ids)

    def relate(self, _related: Sequence[Related]) -> None:
        """Do nothing: the documents are gone, and a process that continues needs their earlier relations."""

    def count(self, clients: Iterable[bytes], facts: Mapping[bytes, Mapping[str, Any]]) -> None:
        """Replace the counted changes of the affected clients."""
        of = self._affected.clients | frozenset(map(noted_of_booking, self._affected.bookings))
        self._notes.count(
            [key for key in clients if key in of], {key: each for key, each in facts.items() if key in of}
        )


class _KnownDocuments(LoadedReader):
    """The live collection after the fence, as far as it is known.

    The documents of change events, and everything that is not affected, which the old collection has as bookings; so it has
    the carried rejected bookings.
    """

    def __init__(
        self,
        live: ComparedReader,
        documents: Sequence[bytes],
        window: WindowParts,
        affected: _AffectedClients,
    ) -> None:
        super().__init__(live, Selection())
        self._live = live
        self._late = documents
        self._window = window
        self._affected = affected

    @override
    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        keys = {sort_key(value) for value in ids}
        yield from (raw for raw in self._late if id_key(raw) in keys)
        yield from (raw for raw in self._live.find(ids) if not self._affected.holds(raw))

    @override
    def find_by_client(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        keys = {sort_key(value) for value in client_ids}
        for raw in self._late:
            owner = value_in(raw, b"clientId")
            if is_client_id(owner) and sort_key(owner) in keys:
                yield raw
        others = [value for value in client_ids if sort_key(value) not in self._affected.clients]
        if others:
            yield from (raw for raw in self._live.find_by_client(others) if not self._affected.holds(raw))
        if self._window.whole.has_carried and len(others) < len(client_ids):
            yield from self._carried([value for value in client_ids if value not in others])

    def _carried(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the carried rejected bookings, as the old collection has them now."""
        places = self._window.places
        kept = list(places.kept.find_by_client(client_ids))
        records = places.rejected_of([id_of(raw) for raw in kept])
        try:
            ids = [id_of(raw) for raw in kept if records.find(raw) is not None]
        finally:
            records.close()
        for some in groups(ids):
            yield from places.live.find(some)


class _NoLinks(Links):
    """Finds nothing: the client documents are gone."""

    @override
    def prepare(self) -> None:
        """Do nothing."""

    @override
    def clients_of_bookings(self, booking_ids: Sequence[Any]) -> Iterator[Any]:
        return iter(())

    @override
    def documents_of_bookings(self, booking_ids: Sequence[Any]) -> Iterator[bytes]:
        return iter(())

    @override
    def clients_of_experts(self, expert_ids: Sequence[Any]) -> Iterator[Any]:
        return iter(())

    @override
    def experts_of_users(self, user_ids: Sequence[Any]) -> Iterator[Any]:
        return iter(())


class _UnwrittenDocuments:
    """Writes only documents of the old collection that were not written since it became live."""

    def __init__(self, live: "MongoUndo", seen: _TailReader, now: Callable[[], Timestamp]) -> None:
        self._live = live
        self._seen = seen
        self._now = now

    def update(self, ids: Sequence[Any], documents: Sequence[bytes]) -> None:
        """Update these documents, except those that were written since.

        Each is changed in one step: after a kill, the next process takes a written document for a change of the application.

        Raises:
            TargetChanged: the old application keeps changing the same documents.
        """
        for _attempt in range(_TRIES - 1):
            try:
                self._update(ids, documents)
            except TargetChanged:
                continue
            return
        self._update(ids, documents)

    def _update(self, ids: Sequence[Any], documents: Sequence[bytes]) -> None:
        there = {id_key(raw): raw for some in groups(ids) for raw in self._live.find(some)}
        # Read the documents first: earlier writes are in the feed now, and later ones make another version.
        self._seen.read_up_to(self._now())
        touched = self._seen.touched
        wanted = {id_key(raw): raw for raw in documents if id_key(raw) not in touched}
        self._live.restore(
            [
                Replacement(raw, wanted[key])
                for key, raw in there.items()
                if key in wanted and wanted[key] != raw
            ]
        )
        kept = wanted.keys() | touched
        self._live.remove([raw for key, raw in there.items() if key not in kept])
        self._live.insert([raw for key, raw in wanted.items() if key not in there])

    def differing(self, _ids: Sequence[Any], _documents: Sequence[bytes]) -> list[Any]:
        """Return nothing: documents that were written since are the application's."""
        return []
