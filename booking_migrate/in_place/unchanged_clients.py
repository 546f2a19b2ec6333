"""Restore clients that are unchanged since the migration, recognised by the runs' notes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from booking_migrate.bson.document import value_in
from booking_migrate.bson.order import id_key, sort_key
from booking_migrate.in_place.archive import claimed
from booking_migrate.in_place.noted import NotedClients, client_key_of
from booking_migrate.in_place.restored_group import RestorePlan
from booking_migrate.stores.in_place import Unit

_SESSIONS = b"sessions\x00"


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The unchanged clients of a group, and all others."""

    plan: RestorePlan
    """The plan for the unchanged ones: their bookings, and no client document."""

    others: Sequence[Any]
    """The ids of the latter."""


def plan_unchanged(
    unit: Unit, noted: NotedClients, client_ids: Sequence[Any], *, searches_all: bool = True
) -> Unchanged:
    """Plan the restoration of unchanged clients, without reading their sessions. Nothing is written.

    If a booking was stored again, the insertion fails.

    Args:
        unit: where to read.
        noted: what the runs noted about the clients.
        client_ids: the clients, no two of them equal.
        searches_all: whether sessions are looked for in the documents of other clients.
    """
    archived: dict[bytes, list[bytes]] = {sort_key(each): [] for each in client_ids}
    documents: dict[bytes, list[bytes]] = {key: [] for key in archived}
    is_whole = True
    for raw in unit.archived_of(client_ids):
        of_client = archived.get(client_key_of(raw) or b"")
        if of_client is None:
            is_whole = False
        else:
            of_client.append(raw)
    for raw in unit.find(client_ids):
        if _SESSIONS in raw:
            documents.get(client_key_of(raw) or b"", []).append(raw)
    unchanged = {
        key: client_id
        for key, client_id in zip(archived, client_ids, strict=True)
        if archived[key] and noted.is_unchanged(key, documents[key], archived[key])
    }
    bookings = [raw for key in unchanged for raw in archived[key]]
    if searches_all and bookings:
        ids = [value_in(raw, b"_id") for raw in bookings]
        elsewhere = claimed(unit.claiming(ids, but=list(unchanged.values())))
        if elsewhere:
            unchanged = {
                key: client_id
                for key, client_id in unchanged.items()
                if elsewhere.isdisjoint(map(id_key, archived[key]))
            }
            bookings = [raw for key in unchanged for raw in archived[key]]
    gone = [documents[key][0] for key in unchanged]
    others = [client_id for key, client_id in zip(archived, client_ids, strict=True) if key not in unchanged]
    plan = RestorePlan(gone=gone, new=bookings, unarchived=bookings)
    if is_whole:
        plan.unarchived_of = list(unchanged.values())
    return Unchanged(plan, others)
