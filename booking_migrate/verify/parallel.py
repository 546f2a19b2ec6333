"""The first glance at both sides, a range of clients at a time; it goes to other processes, and they read by themselves."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from booking_migrate.stores.blocks import DocumentBlock, join, split
from booking_migrate.stores.chunks import cuts
from booking_migrate.stores.partitions import Partitioned, RemoteChunk
from booking_migrate.stores.ports import Duplicate, ScannedDocument
from booking_migrate.verify.documents import TargetDocument
from booking_migrate.verify.fastpath import FastPath
from booking_migrate.verify.join import ClientPair, pair_clients
from booking_migrate.verify.plan import VerificationRules

RANGE_DOCUMENTS = 5000
"""How many bookings are read together."""


_AT_ONCE = 500
"""How many of them are looked at together: few enough for the processor's cache."""


class RangePair(NamedTuple):
    """The same range of clients on both sides."""

    source: RemoteChunk
    target: RemoteChunk


class RangeResult(NamedTuple):
    """What a glance at a range came to."""

    bookings: int
    """Bookings of usual clients, all of them as they must be."""

    clients: int
    """Those clients."""

    unusual: list[ClientPair]
    """All others, in their order."""

    first_target: bytes | None
    """The range's first document of the target; None if there is none."""

    rest: RangePair | None
    """The clients that are left, if the range holds very much."""


def range_pairs(source: Partitioned, target: Partitioned) -> Iterator[RangePair]:
    """All ranges of the source, each with what the target has of the same clients."""
    for clients in source.ranges(RANGE_DOCUMENTS):
        chunks = (side.chunk(clients, RANGE_DOCUMENTS) for side in (source, target))
        yield RangePair(*chunks)


def check_range(rules: VerificationRules, pair: RangePair) -> RangeResult:
    """Read both sides of a range, and look at each client."""
    ours, left = pair.source.read()
    of_target = pair.target
    rest = None
    if left is not None:
        # Only as far as the source was read.
        whole, border = of_target.clients, left.clients.first
        of_target = of_target.within(whole._replace(end=border))
        rest = RangePair(left, pair.target.within(whole._replace(first=border)))
    theirs = join([*_read_whole(of_target)] or [split(b"")])
    return _check_blocks(_fast_path_of(rules), ours, theirs)._replace(rest=rest)


def _check_blocks(glance: FastPath, ours: DocumentBlock, theirs: DocumentBlock) -> RangeResult:
    targets = [TargetDocument(raw) for raw in theirs.documents()]
    by_client = _by_client(targets)
    sound: set[bytes] = set()
    left: list[int] = []
    for first, end in pairwise(cuts(ours, _AT_ONCE)):
        others = {*range(first, end)}
        for key, numbers in glance.check_many(ours, first, end, by_client):
            sound.add(key)
            others.difference_update(numbers)
        left += sorted(others)
    unusual = pair_clients(
        (_scanned(ours, number) for number in left),
        (_scanned(theirs, number) for number, each in enumerate(targets) if each.client_key not in sound),
    )
    return RangeResult(
        bookings=len(ours.starts) - len(left),
        clients=len(sound),
        unusual=list(unusual),
        first_target=targets[0].raw if targets else None,
        rest=None,
    )


def _by_client(documents: Iterable[TargetDocument]) -> Mapping[bytes, bytes | None]:
    """The document of each client; None if there are several."""
    found: dict[bytes, bytes | None] = {}
    for document in documents:
        key = document.client_key
        if key is not None:
            found[key] = None if key in found else document.raw
    return found


def _scanned(block: DocumentBlock, number: int) -> ScannedDocument:
    return ScannedDocument(block.document(number), block.duplicates.get(number, Duplicate.NONE))


def _read_whole(chunk: RemoteChunk | None) -> Iterator[DocumentBlock]:
    while chunk is not None:
        block, chunk = chunk.read()
        yield block


@lru_cache(maxsize=1)
def _fast_path_of(rules: VerificationRules) -> FastPath:
    return FastPath(rules)
