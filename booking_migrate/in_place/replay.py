"""Clients as they were before a unit of work that was cut off between its steps, on a server without transactions."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.booking import read_booking
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.in_place.derive import claims_of
from booking_migrate.stores.in_place import Move, Unit
from booking_migrate.stores.journal import DocumentNote

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.in_place import MongoInPlace


class Replay(Unit):
    """See `Unit` for the promises. The bookings are read from wherever the unit had brought them."""

    def __init__(
        self,
        unit: Unit,
        collection: "MongoInPlace",
        notes: Sequence[DocumentNote],
        before: Sequence[bytes],
        noted: str,
    ) -> None:
        """Take the parts.

        Args:
            unit: writes what is left to be written.
            collection: where the bookings are, or in its archive.
            notes: about the bookings that the unit had to move.
            before: the client documents as they were.
            noted: the name of the last note about it.
        """
        self._noted = noted
        self._unit = unit
        self._superseded = {note.key: note.before for note in notes}
        self._before = before
        wanted = [note.document_id for note in notes]
        # Where both have it, the archive may still have what was there before.
        found = [*collection.archived(wanted), *collection.find(wanted)]
        self._bookings = {sort_key(read_booking(raw).document_id): raw for raw in found}

    def client_ids(self) -> Sequence[Any]:
        """Return the clients of the unit."""
        ids = (read_booking(raw).fields["clientId"] for raw in self._bookings.values())
        return list({sort_key(client_id): client_id for client_id in ids}.values())

    @override
    def find(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        return [*self._bookings.values(), *self._before]

    @override
    def archived_of(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        return self._others(self._unit.archived_of(client_ids))

    @override
    def archived(self, ids: Sequence[Any]) -> Sequence[bytes]:
        superseded = (self._superseded.get(sort_key(each)) for each in ids)
        return [*self._others(self._unit.archived(ids)), *(raw for raw in superseded if raw is not None)]

    @override
    def standing(self, ids: Sequence[Any]) -> Sequence[bytes]:
        return self._unit.standing(ids)

    @override
    def claiming(self, ids: Sequence[Any]) -> Sequence[bytes]:
        # The documents are those from before the unit.
        wanted = {sort_key(each) for each in ids}
        documents = map(read_client_document, self._before)
        return [
            each.raw
            for each in documents
            if isinstance(each, ClientDocument) and not wanted.isdisjoint(claims_of(each))
        ]

    def _others(self, bookings: Sequence[bytes]) -> Sequence[bytes]:
        """Return those bookings that the unit had not to move."""
        return [raw for raw in bookings if sort_key(read_booking(raw).document_id) not in self._superseded]

    @override
    def take(self, move: Move) -> None:
        # The notes are there already; they become true under their own names.
        progress = {**move.progress, "noted": self._noted}
        self._unit.take(replace(move, notes=(), progress=progress))
