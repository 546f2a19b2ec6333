"""Old bookings and client documents in the new structure.

A client sees what a migration would make of the client's current documents: the result of `consolidate` over all of
them. So the answers are the same before, during and after a migration, by construction.
"""

from dataclasses import dataclass, replace
from sys import maxsize
from typing import Any

from bson.objectid import ObjectId

from booking_migrate.bson.document import Document
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.client_document import FIELDS, ClientDocument, read_client_document, total
from booking_migrate.domain.consolidate import ClientCase, consolidate
from booking_migrate.domain.rules import Rules


@dataclass(frozen=True, slots=True)
class SeenSession:
    """One session of a client in the new structure."""

    fields: Document
    """`sessionId` and all other fields, decoded."""

    is_old: bool
    """Whether it is stored as a booking in the old shape, whose `_id` is its `legacyBookingId`."""

    @property
    def session_id(self) -> Any:
        """Return the `sessionId`, decoded; None if the session lacks it."""
        return self.fields.get("sessionId")


@dataclass(frozen=True, slots=True)
class ClientView:
    """One client's bookings in the new shape."""

    fields: Document
    """The client document's first level but `sessions`, decoded."""

    sessions: tuple[SeenSession, ...]
    """In the document's order."""

    @property
    def client_id(self) -> Any:
        """Return the `clientId`, decoded."""
        return self.fields["clientId"]

    def session(self, session_id: ObjectId) -> SeenSession | None:
        """Return the session with this id, or None."""
        return next((one for one in self.sessions if one.session_id == session_id), None)

    def of_experts(self, expert_keys: frozenset[bytes]) -> "ClientView":
        """Return the view of an expert: its own sessions, and totals over them.

        Args:
            expert_keys: the sort keys of the expert's ids.
        """
        own = tuple(one for one in self.sessions if is_of_expert(one.fields, expert_keys))
        totals = {"totalSessions": len(own), "totalSpent": total(one.fields.get("price") for one in own)}
        # Fields of the application may be private to the client.
        known = {name: value for name, value in self.fields.items() if name in FIELDS}
        return replace(self, fields={**known, **totals}, sessions=own)


def is_of_expert(fields: Document, expert_keys: frozenset[bytes]) -> bool:
    """Return whether a session is one of these experts'."""
    return "expertId" in fields and sort_key(fields["expertId"]) in expert_keys


_ANY_SIZE = Rules(maximum_document_size=maxsize)


def view_of(case: ClientCase) -> ClientView | None:
    """Return what a client sees; None if no booking of the client can be shown.

    A booking that a migration would reject is not shown, because it would not become a session either. A client document
    that would be too large is shown nevertheless.
    """
    result = consolidate(case, _ANY_SIZE)
    document = None if result.document is None else read_client_document(result.document)
    if not isinstance(document, ClientDocument):
        return None
    first_old = len(document.sessions) - len(result.migrated)
    return ClientView(
        fields=document.fields,
        sessions=tuple(
            SeenSession(session.fields, is_old=number >= first_old)
            for number, session in enumerate(document.sessions)
        ),
    )
