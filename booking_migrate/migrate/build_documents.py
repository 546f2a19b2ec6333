"""Building the documents of flat clients, one chunk of the source at a time; runs in worker processes as well."""

from collections.abc import Collection, Container
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from booking_migrate.fastpath.build import FlatClient, FlatClients, FlatRules, object_id_of_client
from booking_migrate.stores.chunks import Chunk, DocumentBlock, block_of, cuts
from booking_migrate.stores.ports import Duplicate, ScannedDocument

_CACHE_BLOCK = 500
"""How many documents are processed together: so few that what is made of them stays in the processor's cache."""


class BuildResult(NamedTuple):
    """What the fast path made of a chunk."""

    clients: list[FlatClient]
    """In the order of their bookings."""

    declined: DocumentBlock
    """The documents of all other clients, and of none."""

    documents: int
    """How many documents were read."""

    size: int
    """Their bytes."""

    collected: list[Any]
    """What the rules' collector returned for the bookings of the flat clients."""

    rest: Chunk | None
    """What is left of the chunk."""


def build_documents(rules: FlatRules, chunk: Chunk, *, excluded: Collection[bytes] = ()) -> BuildResult:
    """Read a chunk and build the documents of its flat clients.

    Args:
        rules: decide which clients are flat.
        chunk: what is read.
        excluded: clients that are declined in any case, by the twelve bytes of their ids.
    """
    block, rest = chunk.read()
    raw, starts, duplicates = block
    offsets = [*starts, len(raw)]
    flat = _clients_of(rules)
    clients: list[FlatClient] = []
    declined: list[ScannedDocument] = []
    collected: list[Any] = []
    for first, end in pairwise(cuts(block, _CACHE_BLOCK)):
        unfit: Container[int] = ()
        if duplicates or excluded:
            unfit = frozenset(
                number - first
                for number in range(first, end)
                if number in duplicates
                or (excluded and object_id_of_client(block.document(number)) in excluded)
            )
        built = flat.build(raw, offsets[first : end + 1], unfit)
        clients += built.clients
        declined += [
            ScannedDocument(block.document(first + number), duplicates.get(first + number, Duplicate.NONE))
            for number in built.declined
        ]
        if built.collected is not None:
            collected.append(built.collected)
    return BuildResult(clients, block_of(declined), len(starts), len(raw), collected, rest)


@lru_cache(maxsize=1)
def _clients_of(rules: FlatRules) -> FlatClients:
    return FlatClients(rules)
