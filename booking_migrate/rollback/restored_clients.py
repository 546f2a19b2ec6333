"""Derive what a rollback restores for each client: its old bookings, with the changes since the cut-over.

A document or session is identified by its `_id` or `legacyBookingId`, whichever client it belongs to now. So every old
booking is restored exactly once.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeGuard

from booking_migrate.bson.document import elements, value_in, wrap
from booking_migrate.bson.format import Difference, differences
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.carried_changes import (
    Change,
    ChangesSince,
    as_booking,
    booking_id_of,
    document_with_sessions,
    relocate,
    split,
)
from booking_migrate.domain.client_document import ClientDocument, StoredSession, read_client_document
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.domain.reversal import Reversal, reverse
from booking_migrate.domain.session import OWNER_NAMES
from booking_migrate.errors import OldBookingsLost, PlaceNotFound
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.rollback.relocations import (
    Absent,
    Counterparts,
    Found,
    Relocations,
    id_key,
    id_of,
    in_portions,
)
from booking_migrate.stores.ports import DocumentReader
from booking_migrate.stores.rejects import RejectedRecord, RejectedRecords
from booking_migrate.verify.join import ClientPair, pair_clients

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.cutover import MongoLive
    from booking_migrate.stores.mongo.rollback import MongoRestored

NO_CLIENT = b"\x00"
"""The prefix of the keys of documents without a client."""


@dataclass(frozen=True, slots=True)
class RestorationPlaces:
    """What a restoration reads and writes."""

    live: "MongoLive"
    restored: "MongoRestored"
    kept: DocumentReader
    """The copy of the old collection that the cut-over made."""

    current: DocumentReader
    """The live collection."""

    result: DocumentReader
    """Reads what is written to ``restored``."""

    rejected: RejectedRecords
    """The bookings that the run rejected, and those whose session was kept with other content by a decision."""

    has_carried: bool
    """Whether the cut-over took rejected bookings along."""

    converts_later: bool = False
    """Whether sessions booked since become old bookings where that is possible."""


@dataclass(slots=True)
class RestoredClient:
    """What is restored for one client."""

    key: bytes = b""
    """The sort key of the client's id; of documents without a client, one of their own."""

    relocated: bytes | None = None
    """The sort key of the booking, if it is about one that has a session in another client's document, or none."""

    before: Sequence[bytes] = ()
    """The documents of the client as they were at the cut-over."""

    documents: list[bytes] = field(default_factory=list)
    """Its documents, with the changes since. Relocated bookings follow at the end, in portions of their own."""

    bookings: int = 0
    """How many bookings the client had before."""

    changes: list[Change] = field(default_factory=list)
    missing: list[Any] = field(default_factory=list)
    later: int = 0
    lost: list[Change] = field(default_factory=list)
    converted: int = 0
    """How many of the sessions booked since are old bookings now."""

    staying: list[Any] = field(default_factory=list)
    """The `sessionId` of those that stay in the new shape."""

    old: int = 0
    """How many old bookings were written since."""

    def count_in(self, since: ChangesSince) -> None:
        """Add the changes to the client."""
        since.add(
            changes=self.changes,
            later=self.later,
            missing=self.missing,
            lost=self.lost,
            converted=self.converted,
            staying=self.staying,
            old=self.old,
        )


def restored_clients(places: RestorationPlaces) -> Iterator[RestoredClient]:
    """Yield what is restored for each client, and at the end the relocated bookings."""
    with closing(Relocations()) as relocations:
        for pairs in in_portions(pair_clients(places.kept.scan_by_client(), places.current.scan_by_client())):
            elsewhere = Counterparts(places.kept, places.current, pairs, converts_later=places.converts_later)
            for pair in pairs:
                yield _Restoring(places, pair, elsewhere, relocations).client()
        yield from _settled(places, relocations)


class _Restoring:
    """One client, or one document that belongs to none."""

    def __init__(
        self, places: RestorationPlaces, pair: ClientPair, elsewhere: Counterparts, relocations: Relocations
    ) -> None:
        self._places = places
        self._elsewhere = elsewhere
        self._relocations = relocations
        self._kept = {id_key(raw): raw for raw in pair.source_bytes}
        self._current = pair.target_bytes
        self._client = RestoredClient(
            key=_key_of(pair),
            before=pair.source_bytes,
            bookings=sum(not _has_sessions(raw) for raw in pair.source_bytes),
        )
        self._beside: dict[bytes, bytes] = {}
        """Old bookings in the live collection."""

        self._documents: list[bytes] = []
        """Client documents in the live collection."""

    def client(self) -> RestoredClient:
        """Derive what is restored."""
        for raw in self._current:
            self._take(raw)
        main = next((raw for raw in self._documents if self._is_own(raw)), None)
        self._restore(main)
        for raw in self._documents:
            if raw is not main:
                self._release(raw)
        self._client.documents += self._beside.values()
        return self._client

    def _take(self, raw: bytes) -> None:
        """Classify a document of the live collection by the document that had its `_id` before."""
        client, key = self._client, id_key(raw)
        before = self._before(key)
        has_sessions = document_with_sessions(raw) is not None
        if before is None and not has_sessions:
            self._beside[key] = raw
            client.later += 1
            client.old += 1
        elif before is not None and _is_client_document(before) and not has_sessions:
            # It cannot be read, so the earlier document is restored.
            client.lost += _changes(before, raw)
        elif before is not None and not _is_client_document(before):
            if has_sessions and document_with_sessions(before) is None:
                raw, document = split(before, raw)
                self._documents.append(document)
            client.changes += _changes(before, raw)
            self._beside[key] = raw
        else:
            self._documents.append(raw)

    def _before(self, key: bytes) -> bytes | None:
        return self._kept.get(key) or self._elsewhere.kept(key)

    def _is_own(self, raw: bytes) -> bool:
        """Return whether a document is the successor of one of this client's, or is new."""
        return _is_client_document(raw) and (
            id_key(raw) in self._kept or self._elsewhere.kept(id_key(raw)) is None
        )

    def _is_gone(self, key: bytes, raw: bytes) -> bool:
        """Return whether an earlier document belongs to another client now, and is restored with that client."""
        now = self._elsewhere.current(key)
        return now is not None and (not _is_client_document(raw) or document_with_sessions(now) is not None)

    def _restore(self, main: bytes | None) -> None:
        """Restore the earlier bookings and client documents."""
        client = self._client
        before = [
            raw for key, raw in self._kept.items() if _is_client_document(raw) and not self._is_gone(key, raw)
        ]
        claimed = _claimed(main)
        originals: dict[bytes, bytes] = {}
        for key, raw in self._kept.items():
            if _is_client_document(raw) or self._is_gone(key, raw):
                continue
            if key not in self._beside:
                originals[key] = raw
            elif key in claimed:
                # It exists as a booking and as a session: the session's values go into the booking.
                originals[key] = self._beside.pop(key)
        reversal = self._reverse(main, originals, before)
        gone = set(map(sort_key, reversal.missing))
        client.documents += [
            booking for key, booking in zip(originals, reversal.bookings, strict=True) if key not in gone
        ]
        for key in gone & originals.keys():
            self._relocations.add_absent(Absent(key, originals[key], self._was_live(originals[key])))
        client.missing += [each for each in reversal.missing if sort_key(each) not in originals]
        self._add(main, reversal)

    def _was_live(self, booking: bytes) -> bool:
        record = self._places.rejected.find(booking)
        return record is None or record.decision is not None or self._places.has_carried

    def _reverse(
        self, main: bytes | None, originals: dict[bytes, bytes], before: Sequence[bytes]
    ) -> Reversal:
        foreign = self._find_foreign(main, originals, before)
        bookings = list(originals.values())
        reversal = reverse(main, bookings, before, elsewhere=foreign, as_booking=self._as_booking)
        changed = {sort_key(change.document_id) for change in reversal.changes} & originals.keys()
        records = {key: self._places.rejected.find(originals[key]) for key in changed}
        decided = {key: record.session for key, record in records.items() if _is_decided(record)}
        if not decided:
            return reversal
        return reverse(
            main, bookings, before, elsewhere=foreign, decided=decided, as_booking=self._as_booking
        )

    def _as_booking(self, document: ClientDocument, session: StoredSession) -> bytes | None:
        """Return the old booking that a session booked since becomes, unless a document has its `_id` already."""
        places, booking_id = self._places, booking_id_of(session)
        if not places.converts_later or booking_id is None or session.legacy_key is not None:
            return None
        booking = as_booking(document, session)
        key = sort_key(booking_id)
        if booking is None or self._elsewhere.is_taken(key):
            return None
        is_free = self._relocations.claim(key, session.element.name + b"/" + id_key(document.raw))
        return booking if is_free else None

    def _release(self, raw: bytes) -> None:
        """Remove the sessions of old bookings from a document that was transferred here, or is not the only one."""
        before = self._elsewhere.kept(id_key(raw)) or self._kept.get(id_key(raw))
        befores = [] if before is None else [before]
        foreign = self._find_foreign(raw, {}, befores)
        reversal = reverse(raw, (), befores, elsewhere=foreign, as_booking=self._as_booking)
        self._client.missing += reversal.missing
        self._add(raw, reversal)

    def _find_foreign(
        self, raw: bytes | None, originals: dict[bytes, bytes], before: Sequence[bytes]
    ) -> frozenset[bytes]:
        """Add the sessions of bookings that are restored elsewhere to the relocations; return the bookings' keys."""
        document = None if raw is None else document_with_sessions(raw)
        if document is None:
            return frozenset()
        known = {
            session.identity
            for each in map(document_with_sessions, before)
            for session in (each.sessions if each else ())
        }
        keys = set()
        client_fields = wrap([part for part in document.parts if part.name in OWNER_NAMES])
        for session in document.sessions:
            key = session.legacy_key
            if key is None or key in originals or session.identity in known:
                continue
            original = self._before(key)
            if original is not None and not _is_client_document(original):
                keys.add(key)
                self._relocations.add_found(key, original, Found(session.element.value, client_fields))
        return frozenset(keys)

    def _add(self, raw: bytes | None, reversal: Reversal) -> None:
        client = self._client
        client.documents += [*reversal.documents, *reversal.converted]
        client.changes += reversal.changes
        client.later += reversal.later
        client.converted += len(reversal.converted)
        client.staying += reversal.staying
        client.lost += reversal.lost
        document = None if raw is None else document_with_sessions(raw)
        if document is not None and raw in reversal.documents and not document.sessions:
            array = next(part for part in document.parts if part.name == b"sessions")
            if raw not in client.before:
                client.changes.append(Change(document.document_id, Difference("sessions", None, array)))


def _settled(places: RestorationPlaces, relocations: Relocations) -> Iterator[RestoredClient]:
    """Restore the relocated bookings: with their session's client, or because the session was deleted."""
    for absent, found in relocations.absent():
        client = RestoredClient(key=_owner(absent.original, absent.original), relocated=absent.key)
        if not found:
            client.documents = [absent.original]
            client.missing = [id_of(absent.original)] if absent.is_listed else []
            yield client
            continue
        *others, last = found
        record = places.rejected.find(absent.original)
        carried, changes, lost = relocate(
            absent.original, *last, decided=record.session if _is_decided(record) else None
        )
        client.documents, client.changes = [carried], list(changes)
        client.lost = list(lost)
        for other in others:
            client.lost += _carried(absent.original, other) if other != last else []
        yield client
    for original, copy in relocations.copies():
        yield RestoredClient(
            key=_owner(copy.client, original), relocated=id_key(original), lost=_carried(original, copy)
        )


def _key_of(pair: ClientPair) -> bytes:
    if pair.key is not None or not (pair.source or pair.target):
        return pair.key or b""
    return NO_CLIENT + id_key((*pair.source_bytes, *pair.target_bytes)[0])


def _owner(fields: bytes, booking: bytes) -> bytes:
    owner = value_in(fields, b"clientId")
    return sort_key(owner) if is_client_id(owner) else NO_CLIENT + id_key(booking)


def _carried(original: bytes, found: Found) -> list[Change]:
    _, changes, lost = relocate(original, *found)
    return [*changes, *lost]


def _is_decided(record: RejectedRecord | None) -> TypeGuard[RejectedRecord]:
    return record is not None and record.decision is not None


def _claimed(raw: bytes | None) -> frozenset[bytes | None]:
    document = None if raw is None else document_with_sessions(raw)
    return frozenset(session.legacy_key for session in (document.sessions if document else ()))


def _changes(before: bytes, now: bytes) -> list[Change]:
    document_id = id_of(before)
    return [Change(document_id, difference) for difference in differences(before, now)]


def _is_client_document(raw: bytes) -> bool:
    return isinstance(read_client_document(raw), ClientDocument)


def _has_sessions(raw: bytes) -> bool:
    return any(element.name == b"sessions" for element in elements(raw))


def check_kept(places: RestorationPlaces) -> None:
    """Check that the kept copy exists.

    Raises:
        OldBookingsLost: the kept copy of the old collection was dropped.
    """
    try:
        places.kept.check()
    except PlaceNotFound:
        raise OldBookingsLost(places.kept.name, source=places.current.name) from None


def assess_changes(places: RestorationPlaces, listener: Listener) -> ChangesSince:
    """Return what the application has changed since the cut-over; nothing is written.

    Raises:
        OldBookingsLost: as `check_kept`.
    """
    check_kept(places)
    since = ChangesSince()
    listener.notify(
        PhaseStarted(f"looking for changes in {places.current.name}", places.kept.estimate_count())
    )
    for client in restored_clients(places):
        client.count_in(since)
        listener.notify(Advanced(client.bookings))
    listener.notify(PhaseEnded())
    return since
