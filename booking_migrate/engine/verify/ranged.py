"""The first glance at both sides, a range of clients at a time; it goes to other processes, and they read by themselves."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from booking_migrate.engine.verify.glance import Glance
from booking_migrate.engine.verify.pairs import ClientPair, pair_clients
from booking_migrate.engine.verify.plan import VerificationRules
from booking_migrate.stores.cut import ClientCut, RangePiece
from booking_migrate.stores.packed import Packed, unpack

RANGE_DOCUMENTS = 5000
"""How many bookings are looked at together."""


class RangePair(NamedTuple):
    """The same range of clients on both sides."""

    source: RangePiece
    target: RangePiece


class Glanced(NamedTuple):
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


def range_pairs(source: ClientCut, target: ClientCut) -> Iterator[RangePair]:
    """All ranges of the source, each with what the target has of the same clients."""
    for clients in source.ranges(RANGE_DOCUMENTS):
        pieces = (side.piece(clients, RANGE_DOCUMENTS) for side in (source, target))
        yield RangePair(*pieces)


def glance_at(rules: VerificationRules, pair: RangePair) -> Glanced:
    """Read both sides of a range, and look at each client."""
    ours, left = pair.source.read()
    of_target = pair.target
    rest = None
    if left is not None:
        # Only as far as the source was read.
        whole, border = of_target.clients, left.clients.first
        of_target = of_target.within(whole._replace(end=border))
        rest = RangePair(left, pair.target.within(whole._replace(first=border)))
    theirs = list(_read_whole(of_target))
    glance = _glance_of(rules)
    bookings = clients = 0
    unusual: list[ClientPair] = []
    for each in pair_clients(unpack([ours]), unpack(theirs)):
        result = glance.check(each)
        if result is None:
            unusual.append(each)
        else:
            bookings += result.scanned
            clients += 1
    first = next((some.document(0) for some in theirs if some.starts), None)
    return Glanced(bookings, clients, unusual, first, rest)


def _read_whole(piece: RangePiece | None) -> Iterator[Packed]:
    while piece is not None:
        packed, piece = piece.read()
        yield packed


@lru_cache(maxsize=1)
def _glance_of(rules: VerificationRules) -> Glance:
    return Glance(rules)
