"""Making the documents of usual clients, a piece of the source at a time; what it takes goes to other processes."""

from collections.abc import Collection, Container
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from booking_migrate.fastpath.build import FlatClient, FlatClients, FlatRules, object_id_of_client
from booking_migrate.stores.blocks import Chunk, DocumentBlock, block_of
from booking_migrate.stores.chunks import cuts
from booking_migrate.stores.ports import Duplicate, ScannedDocument

_AT_ONCE = 500
"""How many documents are looked at together: so few that what is made of them stays in the processor's cache."""


class BuildResult(NamedTuple):
    """What came of a piece of the source."""

    clients: list[FlatClient]
    """In the order of their bookings."""

    left: DocumentBlock
    """The documents of all other clients, and of none."""

    documents: int
    """How many documents were read."""

    size: int
    """Their bytes."""

    sights: list[Any]
    """What looks at the bookings of the usual clients came to."""

    rest: Chunk | None
    """What is left of the piece."""


def compose(rules: FlatRules, chunk: Chunk, besides: Collection[bytes] = ()) -> BuildResult:
    """Read a piece and make the documents of its usual clients.

    Args:
        rules: see `FlatRules`.
        chunk: what is read.
        besides: clients that are to be taken for unusual ones, by the twelve bytes of their ids.
    """
    block, rest = chunk.read()
    raw, starts, duplicates = block
    borders = [*starts, len(raw)]
    usual = _clients_of(rules)
    clients: list[FlatClient] = []
    others: list[ScannedDocument] = []
    sights: list[Any] = []
    for first, end in pairwise(cuts(block, _AT_ONCE)):
        odd: Container[int] = ()
        if duplicates or besides:
            odd = frozenset(
                number - first
                for number in range(first, end)
                if number in duplicates
                or (besides and object_id_of_client(block.document(number)) in besides)
            )
        made, left, sight = usual.compose(raw, borders[first : end + 1], odd)
        clients += made
        others += [
            ScannedDocument(block.document(first + number), duplicates.get(first + number, Duplicate.NONE))
            for number in left
        ]
        if sight is not None:
            sights.append(sight)
    return BuildResult(clients, block_of(others), len(starts), len(raw), sights, rest)


@lru_cache(maxsize=1)
def _clients_of(rules: FlatRules) -> FlatClients:
    return FlatClients(rules)
