"""The tail of a cut-over: deletes, and writers that bypass validation, between the fence and the swap.

These changes are applied to the kept copy; the affected clients are derived again from it and written to the new live
collection. A client document that the new application has changed since keeps the change and loses only the session.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from bson.timestamp import Timestamp

from booking_migrate.bson.document import identity_of, value_in, write_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.client_document import ClientDocument, compose, read_client_document
from booking_migrate.domain.rejection import Reason
from booking_migrate.errors import HistoryLost, TargetChanged
from booking_migrate.events import Listener, Warned
from booking_migrate.follow.engine import Engine, TimedPlaces
from booking_migrate.follow.part import Kept
from booking_migrate.follow.selection import groups
from booking_migrate.quantities import clock
from booking_migrate.runs.provenance import Authorship, PointHistory
from booking_migrate.stores.changes import Change, ChangeFeed, Dirty, Role
from booking_migrate.stores.ports import Replacement

_WAIT_SECONDS = 0.2
_TRIES = 50
"""How often a document is read again if the new application changes it concurrently."""


@dataclass(slots=True)
class TailChanges:
    """The changes that passed the fence."""

    deleted: dict[bytes, Any] = field(default_factory=dict)
    """The `_id` values of bookings that were deleted, by sort key."""

    written: dict[bytes, tuple[Any, bytes]] = field(default_factory=dict)
    """The `_id` and the whole document of bookings that were inserted or replaced, by sort key."""

    updated: dict[bytes, Any] = field(default_factory=dict)
    """The `_id` values of bookings of which only the changed fields are known: the kept copy has their earlier version."""

    clients: dict[bytes, Any] = field(default_factory=dict)
    documents: dict[bytes, Any] = field(default_factory=dict)
    """The `_id` values of documents of the target that were written after the fence, mostly by this program."""

    foreign: tuple[Any, ...] = ()
    """Those of them that others changed, before the swap or just after it."""

    copies: dict[bytes, Any] = field(default_factory=dict)
    """The `_id` values of documents of the kept copy that were written after the fence, mostly by this program."""

    foreign_copies: tuple[Any, ...] = ()
    """Those of them that others changed."""

    unread: str | None = None
    """Why the tail is not known; None: it was read."""

    def take(self, change: Change) -> None:
        """Add a change; the last change of a booking counts."""
        key, value = sort_key(change.document_id), change.document_id
        self.clients.update((sort_key(client), client) for client in change.client_ids)
        if change.operation == "delete":
            self.written.pop(key, None)
            self.updated.pop(key, None)
            self.deleted[key] = value
        elif change.document is not None:
            self.deleted.pop(key, None)
            self.updated.pop(key, None)
            self.written[key] = (value, change.document)
        else:
            # An earlier insert is kept: it is all that is known.
            self.updated[key] = value


@dataclass(frozen=True, slots=True)
class TailParts:
    """The parts for the tail; engine and places read the kept copy and write the live collection."""

    feed: ChangeFeed
    """Opened at the fence's cluster time, with whole documents."""

    copy: Kept
    engine: Engine
    places: TimedPlaces
    history: PointHistory
    now: Callable[[], Timestamp]
    listener: Listener


def apply_tail(parts: TailParts, fenced: Timestamp) -> TailChanges:
    """Apply the changes that passed the fence. Doing it again is harmless.

    The rename has dropped the old collection, so only the change events are left. If they cannot be read any more, retrying
    would not help: kept copy and live collection are as of the fence, and a warning is given.

    Args:
        parts: the parts.
        fenced: the cluster time of the fence; earlier changes are in the target and the copy already.

    Raises:
        BookingMigrateError: as `Engine.handle`.
    """
    try:
        late = _read(parts.feed, fenced, parts.now())
    except HistoryLost as error:
        parts.listener.notify(Warned(_unread(parts, fenced, error.message)))
        return TailChanges(unread=error.message)
    finally:
        parts.feed.close()
    parts.places.read_at(parts.now())
    late.foreign = tuple(_not_carried(parts, parts.engine.foreign(Dirty(documents=late.documents))[1]))
    written = [raw for _, raw in late.written.values()]
    others = {
        key: value
        for key, value in late.copies.items()
        if key not in late.deleted and key not in late.written
    }
    # A carried rejected booking has no session: kept copy and live collection have the same document.
    others = {sort_key(value): value for value in _not_carried(parts, list(others.values()))}
    if others:
        late.foreign_copies = tuple(parts.engine.mismatched(others, parts.now()))
    ids = [*late.deleted.values(), *(value for value, _ in late.written.values())]
    if not ids:
        return late
    # By what the kept copy has of it, a carried booking is recognized if others have not changed it since.
    _update_carried(parts, late, ids)
    parts.copy.update(ids, written)
    dirty = Dirty(bookings={sort_key(value): value for value in ids}, clients=late.clients)
    # The session of a written booking is removed only if it is outdated: an earlier process may have derived it already.
    left: Sequence[Any] = list(late.deleted.values())
    for attempt in range(_TRIES):
        for some in groups(left):
            _remove_sessions(parts, some, from_all=attempt > 0)
        parts.engine.handle(dirty, parts.now(), verified=False)
        left = _outdated(parts, late)
        if not left:
            _remove_converted(parts, late)
            return late
    raise TargetChanged(parts.places.target.name, str(len(left)))


def _unread(parts: TailParts, fenced: Timestamp, why: str) -> str:
    """Return the warning if the tail is not known."""
    live, kept = parts.places.target.name, parts.places.source.name
    return (
        f"what passed the fence is not known ({why}): bookings that were deleted, or written by bypassing validation, between "
        f"{clock(fenced.as_datetime())} and the swap are in {live} and {kept} as they were before. "
        "Compare both with verify, and ask what was deleted then."
    )


def _outdated(parts: TailParts, late: TailChanges) -> list[Any]:
    """Return the `_id` of bookings whose sessions do not have the late change.

    The new application has changed the client document just before it was derived again, so it was left unchanged.
    """
    parts.places.read_at(parts.now())
    owners: dict[bytes, bytes | None] = dict.fromkeys(late.deleted)
    owners.update((key, sort_key(value_in(raw, b"clientId"))) for key, (_, raw) in late.written.items())
    outdated: dict[bytes, Any] = {}
    for some in groups([*late.deleted.values(), *(value for value, _ in late.written.values())]):
        for raw in parts.places.links.documents_of_bookings(some):
            client, held = sort_key(value_in(raw, b"clientId")), _legacy_ids(raw)
            outdated.update((key, held[key]) for key in owners.keys() & held if owners[key] != client)
    for pairs in groups(late.written.values()):
        with closing(parts.places.rejected_of([value for value, _ in pairs])) as records:
            for value, raw in pairs:
                record = records.find(raw)
                if record is not None and record.reason == Reason.CONFLICT.value:
                    outdated[sort_key(value)] = value
    return list(outdated.values())


def _update_carried(parts: TailParts, late: TailChanges, booking_ids: Sequence[Any]) -> None:
    """Take carried rejected bookings out of the live collection, or replace them by their last version: they have no session."""
    parts.places.read_at(parts.now())
    for some in groups(booking_ids):
        live = {raw for raw in parts.places.written.find(some) if value_in(raw, b"sessions") is None}
        for raw in parts.places.source.find(some):
            if raw in live:
                _, new = late.written.get(sort_key(value_in(raw, b"_id")), (None, None))
                _write_unless_changed(parts, raw, new)


def _remove_converted(parts: TailParts, late: TailChanges) -> None:
    """Take carried bookings out of the live collection that the late change has made convertible: they have a session now."""
    for pairs in groups(late.written.values()):
        ids = [value for value, _ in pairs]
        held = {key for raw in parts.places.links.documents_of_bookings(ids) for key in _legacy_ids(raw)}
        live = set(parts.places.written.find(ids))
        for value, raw in pairs:
            if raw in live and sort_key(value) in held:
                _write_unless_changed(parts, raw, None)


def _write_unless_changed(parts: TailParts, raw: bytes, new: bytes | None) -> None:
    try:
        _write(parts, raw, new)
    except TargetChanged:
        # The new application has changed or deleted it since it was read, and what it wrote counts.
        return


def _legacy_ids(raw: bytes) -> dict[bytes, Any]:
    """Return the `_id` of the bookings that a client document has sessions of, by sort key."""
    sessions = value_in(raw, b"sessions")
    found = (each for each in sessions if isinstance(each, dict) and "legacyBookingId" in each)
    return {sort_key(each["legacyBookingId"]): each["legacyBookingId"] for each in found}


def _not_carried(parts: TailParts, document_ids: Sequence[Any]) -> Sequence[Any]:
    """Return the ids without those of carried rejected bookings: they equal the kept copy."""
    parts.places.read_at(parts.now())
    carried = {
        identity_of(raw)
        for some in groups(document_ids)
        for raw in {*parts.places.source.find(some)} & {*parts.places.written.find(some)}
    }
    return [value for value in document_ids if write_fields({"_id": value}) not in carried]


def _read(feed: ChangeFeed, fenced: Timestamp, until: Timestamp) -> TailChanges:
    """Read up to the rename, after which the name means the new collection, or up to a time after the rename."""
    late = TailChanges()
    while True:
        batch = feed.read(_WAIT_SECONDS)
        for change in batch.changes:
            if change.role is Role.TARGET and change.operation == "rename":
                return late
            if not change.is_of_document or change.time <= fenced:
                continue
            match change.role:
                case Role.TARGET:
                    late.documents[sort_key(change.document_id)] = change.document_id
                case Role.COPY:
                    late.copies[sort_key(change.document_id)] = change.document_id
                case Role.SOURCE:
                    late.take(change)
                case Role.USERS | Role.EXPERTS | Role.PEOPLE | Role.REFERRING:
                    pass
        if batch.position.time > until:
            return late


def _remove_sessions(parts: TailParts, booking_ids: Sequence[Any], *, from_all: bool) -> None:
    """Remove the sessions of bookings from documents that others have changed since the swap.

    All others are derived again as a whole.

    Args:
        parts: the parts.
        booking_ids: the bookings.
        from_all: whether they are removed from documents that this program wrote, too.
    """
    gone = {sort_key(value) for value in booking_ids}
    for _ in range(_TRIES):
        parts.places.read_at(parts.now())
        documents = list(parts.places.links.documents_of_bookings(booking_ids))
        authors = parts.history.authorship({identity_of(raw): raw for raw in documents})
        changed = [raw for raw in documents if from_all or authors[identity_of(raw)] is Authorship.OTHERS]
        if not changed:
            return
        try:
            for raw in changed:
                _write(parts, raw, _without(raw, gone))
        except TargetChanged:
            continue
    raise TargetChanged(parts.places.target.name, str(len(booking_ids)))


def _write(parts: TailParts, raw: bytes, new: bytes | None) -> None:
    if new is None:
        parts.places.target.write([], [], [], [raw])
    else:
        parts.places.target.write([], [Replacement(raw, new)], [])


def _without(raw: bytes, gone: set[bytes]) -> bytes | None:
    """Return a client document without the sessions of some bookings; None if none is left."""
    document = read_client_document(raw)
    if not isinstance(document, ClientDocument):
        return raw
    dropped = {index for index, session in enumerate(document.sessions) if session.legacy_key in gone}
    if len(dropped) == len(document.sessions):
        return None
    return compose(document, [], dropped=dropped)
