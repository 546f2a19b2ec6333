"""What each client has in the old collection again: its old bookings, and what has happened since a cut-over."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from booking_migrate.bson.compare import differences
from booking_migrate.bson.document import Element, elements, read_value
from booking_migrate.bson.order import element_key, sort_key
from booking_migrate.domain.reversal import Change, reverse
from booking_migrate.stores.cutover import LiveCollections, RestoredCollection
from booking_migrate.stores.ports import DocumentReader, RejectedRecords
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
    reversal = reverse(documents[0] if documents else None, originals, before, discard_later=discard_later)
    carried, changes = _beside(old, beside, discard_later=discard_later)
    added = [raw for booking, raw in beside.items() if booking not in old]
    gone = set(map(sort_key, reversal.missing))
    rejected = {
        booking for booking, raw in old.items() if booking in gone and places.rejected.find(raw) is not None
    }
    more = documents[1:]
    return RestoredClient(
        key,
        [*reversal.bookings, *carried, *reversal.documents, *([] if discard_later else [*added, *more])],
        bookings=len(old),
        changes=[*reversal.changes, *changes],
        missing=[each for each in reversal.missing if sort_key(each) not in rejected],
        later=reversal.later + len(added) + len(more),
        lost=reversal.lost,
    )


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
