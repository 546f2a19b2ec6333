"""The clients that a reverse window derives together, and of other clients as much as concerns bookings that they share.

A session that moved relates two clients. If all clients that are related were derived together, a few hundred moves would relate
nearly every client to every other one, and each change would derive the whole collection. What is derived of a client depends on
other clients only where a booking is restored with a session of another client's document: of these clients, just the bookings
and sessions concerned are loaded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from booking_migrate.bson.document import ARRAY, value_in, wrap
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.carried_changes import document_with_sessions
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.follow.selection import NO_CLIENT, LoadedReader, Selection, client_key, groups
from booking_migrate.rollback.relocations import id_key, id_of
from booking_migrate.stores.open_window import WindowPlaces


@dataclass(slots=True)
class Group:
    """Clients that are derived together, with their documents of both sides."""

    selection: Selection
    own: Mapping[bytes, Any]
    """The `_id` of their documents in the kept copy."""

    mine: Sequence[bytes]
    """Their documents in the live collection."""

    shared: Mapping[bytes, Any]
    """The bookings that they have, had or hold a session of; nothing else of other clients is complete here."""

    kept: LoadedReader
    current: LoadedReader


def load_group(places: WindowPlaces, selection: Selection, shared: Mapping[bytes, Any]) -> Group:
    """Load both sides of some clients, and what other clients have of the bookings that they share.

    Args:
        places: what is read.
        selection: the clients.
        shared: bookings that they share, beside those that their documents name.
    """
    kept = LoadedReader(places.kept, selection, selection.bookings)
    current = LoadedReader(places.current, selection, selection.bookings)
    own, mine = kept.ids(), documents_of(current)
    held = {key: value for raw in mine for key, value in sessions_held(raw).items()}
    group = Group(selection, own, mine, {**shared, **own, **held}, kept, current)
    _add_others(places, group)
    return group


def _add_others(places: WindowPlaces, group: Group) -> None:
    """Load what other clients have of the shared bookings."""
    foreign = [value for key, value in group.shared.items() if key not in group.own]
    originals = [raw for some in groups(foreign) for raw in places.kept.find(some)]
    holders = [
        raw for some in groups(group.shared.values()) for raw in places.links.documents_of_bookings(some)
    ]
    owners = {}
    for raw in (*originals, *holders):
        key, value = client_key(raw), client_of(raw)
        if key not in group.selection.clients and is_client_id(value):
            owners[key] = value
    live = {id_key(raw): raw for raw in holders if client_key(raw) == NO_CLIENT}
    ownerless = [id_of(raw) for raw in originals if client_key(raw) == NO_CLIENT]
    for some in groups(ownerless):
        live.update((id_key(raw), raw) for raw in places.current.find(some) if client_key(raw) == NO_CLIENT)
    # All their documents, since which of them is a client's own depends on the others.
    for some in groups(owners.values()):
        found = places.current.find_by_client(some)
        live.update((id_key(raw), raw) for raw in found if client_key(raw) in owners)
    for raw in group.mine:
        live.pop(id_key(raw), None)
    others = [part for raw in live.values() if (part := _part_of(raw, group.shared)) is not None]
    group.current.add(others)
    before = {id_key(raw): raw for raw in originals}
    for some in groups(id_of(raw) for raw in others if id_key(raw) not in before):
        before.update((id_key(raw), raw) for raw in places.kept.find(some) if client_key(raw) in owners)
    group.kept.add(before.values())


def _part_of(raw: bytes, shared: Mapping[bytes, Any]) -> bytes | None:
    """Return a live document of another client without sessions of bookings that are not shared; None if nothing of it is."""
    document = document_with_sessions(raw)
    if document is None:
        return raw if id_key(raw) in shared else None
    sessions = [
        session.element
        for session in document.sessions
        if session.legacy_key is None or session.legacy_key in shared
    ]
    return wrap(
        [
            part._replace(value=wrap(sessions)) if part.kind == ARRAY and part.name == b"sessions" else part
            for part in document.parts
        ]
    )


def documents_of(reader: LoadedReader) -> list[bytes]:
    """Return the documents that are loaded, in client order."""
    return [scanned.raw for scanned in reader.scan_by_client()]


def client_of(raw: bytes) -> Any:
    """Return a document's `clientId`, decoded."""
    return value_in(raw, b"clientId")


def sessions_held(raw: bytes) -> dict[bytes, Any]:
    """Return the `_id` of the bookings of a live document's sessions, by sort key."""
    document = document_with_sessions(raw)
    held = [
        session.fields["legacyBookingId"]
        for session in (document.sessions if document else ())
        if session.legacy_key
    ]
    return {sort_key(value): value for value in held}
