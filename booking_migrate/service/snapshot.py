"""Reads of one snapshot or transaction.

A migration in place moves bookings from the old shape into client documents. Reads of one snapshot see each booking in
exactly one of the two.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bson.datetime_ms import DatetimeMS
from pymongo.client_session import ClientSession

from booking_migrate.bson.document import Document, Element, elements, read_fields, unescaped, wrap
from booking_migrate.bson.order import element_key, sort_key
from booking_migrate.domain.booking import CLIENT_FIELDS, Booking, People, read_booking
from booking_migrate.domain.client_document import ClientDocument, StoredSession, read_client_document
from booking_migrate.domain.consolidate import ClientCase
from booking_migrate.domain.session import Converter, Session
from booking_migrate.migrate.lookup import Directory
from booking_migrate.service.actions import BLOCKING
from booking_migrate.service.plan import ServiceCollections, ServicePlan
from booking_migrate.service.timetable import dates_near
from booking_migrate.service.view import ClientView, is_of_expert, view_of
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.raw import any_of, find_raw
from booking_migrate.stores.mongo.reader import HAS_SESSIONS

_OLD = {"sessions": {"$exists": False}}
_OWNER = dict.fromkeys(("clientId", *CLIENT_FIELDS), 1)
_TIMES = dict.fromkeys(("expertId", "scheduledDate", "startTime", "endTime", "status"), 1)
_BLOCKING = {"$in": [*BLOCKING, None]}
"""An absent status is pending."""


@dataclass(slots=True)
class ClientRecords:
    """All documents of one client."""

    documents: list[ClientDocument] = field(default_factory=list)
    bookings: list[Booking] = field(default_factory=list)
    """In the old shape."""

    broken: int = 0
    """The number of client documents that cannot be read."""

    sessions: list[Session] = field(default_factory=list)
    """The bookings that keep the contract, as sessions."""

    def view(self) -> ClientView | None:
        """Return the client's bookings in the new shape."""
        return view_of(ClientCase(self.sessions, self.documents))


@dataclass(frozen=True, slots=True)
class ExpertSession:
    """One session of an expert, with the client that it belongs to."""

    client_id: Any
    fields: Document
    booking: Document | None = None
    """`_id` and the client's fields of the document that holds it; None if that document lacks some of them."""


class _People:
    """Users or experts, looked up without retries: unlike a migration, a request does not wait for an election."""

    def __init__(self, collection: DriverCollection) -> None:
        self._collection = collection

    def find(self, ids: Sequence[Any]) -> Iterable[bytes]:
        return find_raw(self._collection, any_of("_id", ids))


class Snapshot:
    """Reads the collections in one session."""

    def __init__(
        self,
        collections: ServiceCollections,
        plan: ServicePlan,
        converter: Converter,
        session: ClientSession,
    ) -> None:
        """Bind the collections to a session.

        Args:
            collections: the collections to read.
            plan: the fields of users and experts, and the rules.
            converter: converts by the contract; shared, because it is expensive to build.
            session: a snapshot session or one with a transaction.
        """
        self._collections = collections
        self._plan = plan
        self._converter = converter
        self._session = session

    def records_by_client(self, client_ids: Sequence[Any]) -> dict[bytes, ClientRecords]:
        """Return the documents of clients that have any, by the sort key of the client's id."""
        found: dict[bytes, ClientRecords] = {}
        for raw in self._find(any_of("clientId", client_ids)):
            parts = {part.name: part for part in elements(raw)}
            records = found.setdefault(element_key(parts[b"clientId"]), ClientRecords())
            if b"sessions" not in parts:
                records.bookings.append(read_booking(raw))
            elif isinstance(document := read_client_document(raw), ClientDocument):
                records.documents.append(document)
            else:
                records.broken += 1
        people = self._people([booking for records in found.values() for booking in records.bookings])
        for records in found.values():
            records.sessions = self._sessions(records.bookings, people)
        return found

    def records_of(self, client_id: Any) -> ClientRecords:
        """Return all documents of one client."""
        return self.records_by_client([client_id]).get(sort_key(client_id), ClientRecords())

    def owner_of(self, document_ids: Sequence[Any]) -> Any:
        """Return the `clientId` of the client document with one of these ids as its `_id`; None if none has it."""
        found = self._collections.bookings.find_one(
            {"_id": {"$in": list(document_ids)}, **HAS_SESSIONS}, {"clientId": 1}, session=self._session
        )
        return None if found is None else unescaped(found.get("clientId"))

    def clients_of(self, expert_ids: Sequence[Any]) -> list[Any]:
        """Return the `clientId` of each client that has a booking in the old shape with one of these experts."""
        found = self._collections.bookings.distinct(
            "clientId", {"expertId": {"$in": list(expert_ids)}, **_OLD}, session=self._session
        )
        return list(map(unescaped, found))

    def sessions_of(
        self, expert_ids: Sequence[Any], first: int | None, behind: int | None
    ) -> list[ExpertSession]:
        """Return the sessions of some experts with all their clients, in the new shape.

        Args:
            expert_ids: the experts.
            first: the earliest `scheduledDate`, in milliseconds; None for no lower bound.
            behind: the upper bound of `scheduledDate`, excluded; None for no upper bound.
        """
        keys = frozenset(map(sort_key, expert_ids))
        old, new = queries_by_expert(expert_ids, first, behind)
        found: dict[tuple[bytes, bytes], ExpertSession] = {}

        def keep(session: ExpertSession) -> None:
            if is_of_expert(session.fields, keys):
                place = sort_key(session.client_id), sort_key(session.fields.get("sessionId"))
                # A booking that is also a session is found twice; the session takes precedence.
                found.setdefault(place, session)

        for raw in self._find(new, fields={**_OWNER, **_only_of(expert_ids)}):
            parts = list(elements(raw))
            owner = read_fields(wrap([part for part in parts if part.name != b"sessions"]))
            complete = owner if all(owner.get(name) is not None for name in CLIENT_FIELDS) else None
            for fields in _stored_sessions(parts):
                keep(ExpertSession(owner.get("clientId"), fields, complete))
        bookings = [read_booking(raw) for raw in self._find(old)]
        for session in self._sessions(bookings, self._people(bookings)):
            keep(ExpertSession(session.client_id, read_fields(session.raw)))
        return list(found.values())

    def blocking(self, expert_id: Any, date: int) -> Iterable[Document]:
        """Yield the sessions and old bookings of an expert that may overlap one on this date, decoded.

        Old bookings are included even if they violate the contract.
        """
        raws = self._find(blocking_query(expert_id, date), fields={**_TIMES, **_only_of([expert_id])})
        for raw in raws:
            parts = list(elements(raw))
            if any(part.name == b"sessions" for part in parts):
                yield from _stored_sessions(parts)
            else:
                yield read_fields(raw)

    def _sessions(self, bookings: Iterable[Booking], people: People) -> list[Session]:
        converted = (self._converter.convert(booking, people) for booking in bookings)
        return [session for session in converted if isinstance(session, Session)]

    def _people(self, bookings: Iterable[Booking]) -> People:
        incomplete = [one for one in bookings if one.lacks_client() or one.lacks_expert()]
        if not incomplete:
            return People()
        users, experts = (_People(one) for one in (self._collections.users, self._collections.experts))
        directory = Directory(users, experts, self._plan.people)
        return directory.find(incomplete)

    def _find(
        self, condition: Mapping[str, Any], *, fields: Mapping[str, Any] | None = None
    ) -> Iterable[bytes]:
        return find_raw(self._collections.bookings, condition, fields=fields, session=self._session)


def queries_by_expert(
    expert_ids: Sequence[Any], first: int | None, behind: int | None
) -> tuple[Document, Document]:
    """Return the queries of `Snapshot.sessions_of` for old bookings and for client documents."""
    wanted: Document = {"expertId": {"$in": list(expert_ids)}}
    bounds = {"$gte": first, "$lt": behind}
    dates = {name: DatetimeMS(bound) for name, bound in bounds.items() if bound is not None}
    if dates:
        wanted["scheduledDate"] = dates
    return {**wanted, **_OLD}, {"sessions": {"$elemMatch": wanted}}


def blocking_query(expert_id: Any, date: int) -> Document:
    """Return the query of `Snapshot.blocking` for documents with sessions that may overlap."""
    first, behind = dates_near(date)
    wanted = {
        "expertId": expert_id,
        "scheduledDate": {"$gte": DatetimeMS(first), "$lt": DatetimeMS(behind)},
        "status": _BLOCKING,
    }
    return {"$or": [{**wanted, **_OLD}, {"sessions": {"$elemMatch": wanted}}]}


def _only_of(expert_ids: Sequence[Any]) -> Document:
    """Return a projection of `sessions` to those of some experts; documents without the array stay without it."""
    condition = {"$in": ["$$this.expertId", {"$literal": list(expert_ids)}]}
    filtered = {"$filter": {"input": "$sessions", "cond": condition}}
    return {"sessions": {"$cond": [{"$isArray": "$sessions"}, filtered, "$$REMOVE"]}}


def _stored_sessions(parts: Iterable[Element]) -> list[Document]:
    """Return the sessions in the elements of a client document, or of a projection of one, decoded."""
    arrays = [part.value for part in parts if part.name == b"sessions"]
    return [StoredSession(element).fields for array in arrays for element in elements(array)]
