"""What each client has in the old collection again: its old bookings, and what has happened since a cut-over."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from booking_migrate.bson.compare import differences
from booking_migrate.bson.document import Element, elements, read_value
from booking_migrate.bson.order import element_key, sort_key
from booking_migrate.domain.reversal import Change, Reversal, reverse
from booking_migrate.stores.cutover import LiveCollections, RestoredCollection
from booking_migrate.stores.ports import DocumentReader, RejectedRecord, RejectedRecords
from booking_migrate.verify.join import pair_clients


@dataclass(frozen=True, slots=True)
class RestorationPlaces:
    """What a restoration reads and writes."""

    live: LiveCollections
    restored: RestoredCollection
    kept: DocumentReader
    """The copy of the old collection that the cut-over made."""

    current: DocumentReader
    """The live collection."""

    result: DocumentReader
    """Reads what is written to ``restored``."""

    rejected: RejectedRecords
    """The bookings that the run rejected: no session is to be expected for them."""

    is_carried: bool = False
    """Whether the cut-over carried rejected bookings along; else they are in the kept copy only."""

    def was_live(self, booking: bytes) -> bool:
        """Return whether a booking of the kept copy was in the live collection after the cut-over, in either shape."""
        return self.is_carried or self.rejected.find(booking) is None


@dataclass(frozen=True, slots=True)
class RestoredClient:
    """What one client has in the old collection again."""

    key: bytes | None
    """What sorts as clients do; None for a document without a proper client."""

    documents: Sequence[bytes]
    bookings: int
    """How many of the documents are bookings of before."""

    changes: Sequence[Change]
    missing: Sequence[Any]
    later: int
    lost: Sequence[Change]


def restored_clients(places: RestorationPlaces, *, discard_later: bool) -> Iterator[RestoredClient]:
    """What each client has in the old collection again, in the order of clients; others come in between."""
    for pair in pair_clients(places.kept.scan_by_client(), places.current.scan_by_client()):
        key, kept, current = pair.key, pair.source_bytes, pair.target_bytes
        if key is None:
            yield from _without_client(places, kept, current, discard_later=discard_later)
        else:
            yield _of_client(places, key, kept, current, discard_later=discard_later)


def _of_client(
    places: RestorationPlaces,
    key: bytes,
    kept: Sequence[bytes],
    current: Sequence[bytes],
    *,
    discard_later: bool,
) -> RestoredClient:
    before = [raw for raw in kept if _has_sessions(raw)]
    old = {_id_key(raw): raw for raw in kept if not _has_sessions(raw)}
    beside = {_id_key(raw): raw for raw in current if not _has_sessions(raw)}
    documents = [raw for raw in current if _has_sessions(raw)]
    originals = [raw for booking, raw in old.items() if booking not in beside]
    document = documents[0] if documents else None

    def reversed_with(bookings: Sequence[bytes]) -> Reversal:
        return reverse(
            document,
            bookings,
            before,
            discard_later=discard_later,
            returned=lambda ids: _keys(places.kept.find(ids)),
            is_decided=lambda booking, session: _is_decided(places.rejected.find(booking), session),
        )

    reversal = reversed_with(originals)
    elsewhere = _keys(places.current.find(reversal.missing)) if reversal.missing else frozenset()
    if elsewhere and not discard_later:
        # Carried along by the cut-over, they stand at another client now, and are restored there.
        reversal = reversed_with([raw for raw in originals if _id_key(raw) not in elsewhere])
    carried, changes = _beside(old, beside, discard_later=discard_later)
    added = [raw for booking, raw in beside.items() if booking not in old]
    moved = (
        {_id_key(raw): raw for raw in places.kept.find([_document_id(raw) for raw in added])} if added else {}
    )
    for raw in added:
        changes += _changes(moved[_id_key(raw)], raw) if _id_key(raw) in moved else ()
    more = documents[1:]
    return RestoredClient(
        key,
        [*reversal.bookings, *carried, *reversal.documents, *([] if discard_later else [*added, *more])],
        bookings=len(old),
        changes=[*reversal.changes, *changes],
        missing=[each for each in reversal.missing if places.was_live(old[sort_key(each)])],
        later=reversal.later + len(added) - len(moved) + len(more),
        lost=reversal.lost,
    )


def _keys(documents: Iterable[bytes]) -> frozenset[bytes]:
    """Return the sort keys of `_id` of the bookings among documents."""
    return frozenset(_id_key(raw) for raw in documents if not _has_sessions(raw))


def _is_decided(record: RejectedRecord | None, session: bytes) -> bool:
    """Return whether a session still is the one that a recorded decision kept."""
    return record is not None and record.session_sha256 == sha256(session).hexdigest()


def _document_id(raw: bytes) -> Any:
    return read_value(_element(raw, b"_id"))


def _changes(before: bytes, now: bytes) -> list[Change]:
    return [Change(_document_id(before), difference) for difference in differences(before, now)]


def _beside(
    old: dict[bytes, bytes], beside: dict[bytes, bytes], *, discard_later: bool
) -> tuple[list[bytes], list[Change]]:
    """The rejected bookings that a cut-over carried along, as they are now, and what was changed in them."""
    documents, changes = [], []
    for booking, raw in beside.items():
        if booking in old:
            document_id = read_value(_element(raw, b"_id"))
            changes += [Change(document_id, difference) for difference in differences(old[booking], raw)]
            documents.append(old[booking] if discard_later else raw)
    return documents, changes


def _without_client(
    places: RestorationPlaces, kept: Sequence[bytes], current: Sequence[bytes], *, discard_later: bool
) -> Iterator[RestoredClient]:
    """Documents without a proper `clientId` were rejected; a cut-over may have carried them along."""
    for raw in kept:
        there = list(places.current.find([read_value(_element(raw, b"_id"))]))
        now = there[0] if there else raw
        document_id = read_value(_element(raw, b"_id"))
        changes = [Change(document_id, difference) for difference in differences(raw, now)]
        yield RestoredClient(None, [raw if discard_later else now], 1, changes, [], 0, [])
    for raw in current:
        if not list(places.kept.find([read_value(_element(raw, b"_id"))])):
            yield RestoredClient(None, [] if discard_later else [raw], 0, [], [], 1, [])


def _has_sessions(raw: bytes) -> bool:
    return any(element.name == b"sessions" for element in elements(raw))


def _element(raw: bytes, name: bytes) -> Element:
    return next(element for element in elements(raw) if element.name == name)


def _id_key(raw: bytes) -> bytes:
    return element_key(_element(raw, b"_id"))
