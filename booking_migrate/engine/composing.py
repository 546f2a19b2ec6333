"""Making the documents of usual clients, a piece of the source at a time; what it takes goes to other processes."""

from functools import lru_cache
from typing import NamedTuple

from booking_migrate.domain.usual_client import UsualClient, UsualClients, UsualRules
from booking_migrate.stores.base import Duplicate, ScannedDocument
from booking_migrate.stores.packed import Packed, Piece, pack_whole


class Composed(NamedTuple):
    """What came of a piece of the source."""

    clients: list[UsualClient]
    """In the order of their bookings."""

    left: Packed
    """The documents of all other clients, and of none."""

    documents: int
    """How many documents were read."""

    size: int
    """Their bytes."""

    rest: Piece | None
    """What is left of the piece."""


def compose(rules: UsualRules, piece: Piece) -> Composed:
    """Read a piece and make the documents of its usual clients."""
    packed, rest = piece.read()
    documents = packed.documents()
    clients, left = _clients_of(rules).compose(documents, packed.duplicates)
    others = [
        ScannedDocument(documents[number], packed.duplicates.get(number, Duplicate.NONE)) for number in left
    ]
    return Composed(clients, pack_whole(others), len(documents), len(packed.raw), rest)


@lru_cache(maxsize=1)
def _clients_of(rules: UsualRules) -> UsualClients:
    return UsualClients(rules)
