"""Clients as they were before a unit of work that was cut off between its steps, on a server without transactions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.booking import read_booking
from booking_migrate.stores.in_place import InPlaceCollection, Move, Unit


class Replay:
    """See `Unit` for the promises. The bookings are read from wherever the unit had brought them."""

    def __init__(
        self,
        unit: Unit,
        collection: InPlaceCollection,
        ids: Mapping[bytes, Any],
        before: Sequence[bytes],
        noted: str,
    ) -> None:
        """Take the parts.

        Args:
            unit: writes what is left to be written.
            collection: where the bookings are, or in its archive.
            ids: of the bookings that the unit had to move, by sort key.
            before: the client documents as they were.
            noted: the name of the last note about it.
        """
        self._noted = noted
        self._unit = unit
        self._ids = ids
        self._before = before
        wanted = list(ids.values())
        found = [*collection.find(wanted), *collection.archived(wanted)]
        self._bookings = {sort_key(read_booking(raw).document_id): raw for raw in found}

    def client_ids(self) -> Sequence[Any]:
        """The clients of the unit."""
        ids = (read_booking(raw).fields["clientId"] for raw in self._bookings.values())
        return list({sort_key(client_id): client_id for client_id in ids}.values())

    def find(self, client_ids: Sequence[Any]) -> Sequence[bytes]:  # noqa: ARG002 - the port's signature
        """See `Unit.find`."""
        return [*self._bookings.values(), *self._before]

    def archived_of(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        """See `Unit.archived_of`."""
        found = self._unit.archived_of(client_ids)
        return [raw for raw in found if sort_key(read_booking(raw).document_id) not in self._ids]

    def archived(self, ids: Sequence[Any]) -> Sequence[bytes]:
        """See `Unit.archived`."""
        return self._unit.archived(ids)

    def take(self, move: Move) -> None:
        """See `Unit.take`. The notes are there already; they become true under their own names."""
        progress = {**move.progress, "noted": self._noted}
        self._unit.take(replace(move, notes=(), progress=progress))
