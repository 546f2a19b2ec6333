"""The plan for clients all of whose documents are flat bookings: without a client document, a rejected booking or a look-up.

It equals the plan of `group` for such clients, provided that neither archive nor collection has the new ids. If one is
taken, the insertion fails, and `group` plans the clients again with all look-ups.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from bson.objectid import ObjectId

from booking_migrate.domain.rules import Rules
from booking_migrate.fastpath.flat import FlatClient, FlatClients, FlatRules, object_id_of_client

_HEAD = b"\x07_id\x00"
_CLIENT = b"\x07clientId\x00"
_CLIENT_AT, _BEGIN, _END = 21, 21 + len(_CLIENT), 21 + len(_CLIENT) + 12
_BLOCK = 500
"""How many bookings are converted together; the result fits into the processor's cache."""


class FlatPart(NamedTuple):
    """Flat clients of a group."""

    clients: Sequence[FlatClient]
    bookings: Sequence[Sequence[bytes]]
    """The bookings of each."""

    rest: Sequence[bytes]
    """The documents of all other clients."""

    others: Sequence[Any]
    """The ids of all other clients."""

    is_whole: bool
    """Whether a query for these clients finds only their bookings."""


class FlatGroups:
    """Finds the flat clients of a group."""

    def __init__(self, rules: Rules) -> None:
        """Compile the rules."""
        self._build = FlatClients(FlatRules(rules)).build

    def part(self, documents: Sequence[bytes], client_ids: Sequence[Any]) -> FlatPart:
        """Part a group into its flat clients and all others.

        Args:
            documents: everything that the collection has of some clients, in any order; others may be among them.
            client_ids: the clients, no two of them equal.
        """
        wanted = {client_id.binary: client_id for client_id in client_ids if type(client_id) is ObjectId}
        by_client, rest = _by_client(documents)
        owners = set(map(object_id_of_client, rest))
        for client in {*owners, *(by_client.keys() - wanted.keys())}:
            rest += by_client.pop(client or b"", ())
        built: list[FlatClient] = []
        for some in _blocks(sorted(by_client.items())):
            raws = [raw for _client, bookings in some for raw in bookings]
            built += self._build(b"".join(raws), [0, *accumulate(map(len, raws))]).clients
        flat = [by_client.pop(client.object_id) for client in built]
        for bookings in by_client.values():
            rest += bookings
        known = {client.object_id for client in built}
        others = [each for each in client_ids if type(each) is not ObjectId or each.binary not in known]
        # A document of no such client may have an array of clients.
        return FlatPart(built, flat, rest, others, is_whole=None not in owners)


def _by_client(documents: Sequence[bytes]) -> tuple[dict[bytes, list[bytes]], list[bytes]]:
    """Return documents by the twelve bytes of their clients, and those that do not begin with `_id` and `clientId`."""
    by_client: dict[bytes, list[bytes]] = {}
    rest: list[bytes] = []
    for raw in documents:
        if raw[4:9] == _HEAD and raw[_CLIENT_AT:_BEGIN] == _CLIENT:
            by_client.setdefault(raw[_BEGIN:_END], []).append(raw)
        else:
            rest.append(raw)
    return by_client, rest


def _blocks(clients: Iterable[tuple[bytes, list[bytes]]]) -> Iterable[Sequence[tuple[bytes, list[bytes]]]]:
    block: list[tuple[bytes, list[bytes]]] = []
    count = 0
    for client in clients:
        block.append(client)
        count += len(client[1])
        if count >= _BLOCK:
            yield block
            block, count = [], 0
    if block:
        yield block
