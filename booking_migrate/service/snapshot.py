"""Reads of one snapshot, and writes in transactions.

A migration in place moves bookings from the old shape into client documents. Reads of one snapshot see each booking in
exactly one of the two.

Source: MongoDB manual, core/transactions-in-applications and reference/read-concern-snapshot.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pymongo
from bson.datetime_ms import DatetimeMS
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from booking_migrate.bson.document import Document, Element, elements, read_fields, unescaped, value_in, wrap
from booking_migrate.bson.order import element_key, sort_key
from booking_migrate.domain.client_document import ClientDocument, StoredSession, read_client_document
from booking_migrate.domain.consolidate import ClientCase
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.domain.session import CLIENT_FIELDS, Booking, Converter, People, Session, read_booking
from booking_migrate.migrate.lookup import Directory
from booking_migrate.service.appointment import BLOCKING, dates_near
from booking_migrate.service.errors import Busy, NoRoom
from booking_migrate.service.plan import ServiceCollections, ServicePlan
from booking_migrate.service.view import LISTED_FIELDS, ClientView, ListedSession, seen_by_experts, view_of
from booking_migrate.stores.mongo.codes import (
    DUPLICATE_KEY,
    NO_SNAPSHOT,
    TOO_LARGE,
    TRANSIENT_TRANSACTION,
    UNKNOWN_COMMIT,
    WRITE_CONFLICT,
    WRITES_REFUSED,
)
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.raw import any_of, find_raw
from booking_migrate.stores.mongo.reader import HAS_SESSIONS, OLD_SHAPE

_OWNER = dict.fromkeys(LISTED_FIELDS, 1)
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
        for session in self._convert([one for records in found.values() for one in records.bookings]):
            found[sort_key(session.client_id)].sessions.append(session)
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

    def clients_of_booking(self, booking_ids: Sequence[Any]) -> list[Any]:
        """Return the `clientId` of each client with a booking that has, or had before its migration, one of these ids as its `_id`."""
        found = self._find(booking_query(booking_ids), fields={"clientId": 1})
        return [one for one in (value_in(raw, b"clientId") for raw in found) if is_client_id(one)]

    def clients_of(self, expert_ids: Sequence[Any]) -> list[Any]:
        """Return the `clientId` of each client that has a booking in the old shape with one of these experts."""
        found = self._collections.bookings.distinct(
            "clientId", {"expertId": {"$in": list(expert_ids)}, **OLD_SHAPE}, session=self._session
        )
        return list(map(unescaped, found))

    def sessions_of(
        self, expert_ids: Sequence[Any], first: int | None, behind: int | None
    ) -> list[ListedSession]:
        """Return the sessions of some experts with all their clients, in the new shape.

        Each has its booking if the document that holds it has `_id` and all fields of the client; else only the `clientId`.

        Args:
            expert_ids: the experts.
            first: the earliest `scheduledDate`, in milliseconds; None for no lower bound.
            behind: the upper bound of `scheduledDate`, excluded; None for no upper bound.
        """
        keys = frozenset(map(sort_key, expert_ids))
        old, new = queries_by_expert(expert_ids, first, behind)
        found: dict[tuple[bytes, bytes], ListedSession] = {}

        def keep(booking: Document, fields: Document) -> None:
            if (seen := seen_by_experts(fields, keys)) is not None:
                place = sort_key(booking.get("clientId")), sort_key(fields.get("sessionId"))
                # A booking that is also a session is found twice; the session takes precedence.
                found.setdefault(place, ListedSession(booking, seen))

        for raw in self._find(new, fields={**_OWNER, **_only_of(expert_ids)}):
            parts = list(elements(raw))
            owner = read_fields(wrap([part for part in parts if part.name != b"sessions"]))
            if any(owner.get(name) is None for name in CLIENT_FIELDS):
                owner = {"clientId": owner.get("clientId")}
            for fields in _stored_sessions(parts):
                keep(owner, fields)
        for session in self._convert([read_booking(raw) for raw in self._find(old)]):
            keep({"clientId": session.client_id}, read_fields(session.raw))
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

    def _convert(self, bookings: Sequence[Booking]) -> Iterator[Session]:
        """Yield the bookings that keep the contract, as sessions."""
        people = People()
        incomplete = [one for one in bookings if one.lacks_client() or one.lacks_expert()]
        if incomplete:
            users, experts = _People(self._collections.users), _People(self._collections.experts)
            people = Directory(users, experts, self._plan.people).find(incomplete)
        for booking in bookings:
            converted = self._converter.convert(booking, people)
            if isinstance(converted, Session):
                yield converted

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
    return {**wanted, **OLD_SHAPE}, {"sessions": {"$elemMatch": wanted}}


def booking_query(booking_ids: Sequence[Any]) -> Document:
    """Return the query for the documents with an old booking of one of these ids, in either shape."""
    return {
        "$or": [any_of("sessions.legacyBookingId", booking_ids), {**any_of("_id", booking_ids), **OLD_SHAPE}]
    }


def blocking_query(expert_id: Any, date: int) -> Document:
    """Return the query of `Snapshot.blocking` for documents with sessions that may overlap."""
    first, behind = dates_near(date)
    wanted = {
        "expertId": expert_id,
        "scheduledDate": {"$gte": DatetimeMS(first), "$lt": DatetimeMS(behind)},
        "status": _BLOCKING,
    }
    return {"$or": [{**wanted, **OLD_SHAPE}, {"sessions": {"$elemMatch": wanted}}]}


def _only_of(expert_ids: Sequence[Any]) -> Document:
    """Return a projection of `sessions` to those of some experts; documents without the array stay without it."""
    condition = {"$in": ["$$this.expertId", {"$literal": list(expert_ids)}]}
    filtered = {"$filter": {"input": "$sessions", "cond": condition}}
    return {"sessions": {"$cond": [{"$isArray": "$sessions"}, filtered, "$$REMOVE"]}}


def _stored_sessions(parts: Iterable[Element]) -> list[Document]:
    """Return the sessions in the elements of a client document, or of a projection of one, decoded."""
    arrays = [part.value for part in parts if part.name == b"sessions"]
    return [StoredSession(element).fields for array in arrays for element in elements(array)]


_SECONDS_TO_ABORT = 2.0
_SHORTEST = 0.001
"""Seconds: the driver takes 0 as no limit."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.4
"""Seconds; a pause is random up to a bound that doubles."""

_CONTENTION = frozenset({WRITE_CONFLICT, DUPLICATE_KEY})
"""Other writes, and a concurrent request that created the same document, which the next attempt finds."""

Result = TypeVar("Result")


def in_transaction(
    client: MongoClient[Any], body: Callable[[ClientSession], Result], seconds: float
) -> Result:
    """Run a body of reads and writes in one transaction, and repeat it after a write conflict.

    Its reads see one snapshot; if a document that it writes has changed since, nothing is written and it is run again.

    Args:
        client: the client of the collections that the body uses.
        body: the reads and writes; it may be called several times.
        seconds: how long all attempts may take together.

    Raises:
        Busy: too many write conflicts, or the collection refuses writes during a cut-over.
        NoRoom: a document would become larger than MongoDB stores.
    """

    def attempt(deadline: float) -> Result:
        try:
            return _transact(client, body, deadline)
        except OperationFailure as error:
            if WRITES_REFUSED & _codes(error):
                raise Busy("bookings cannot be changed at the moment", retry_after=5) from None
            if TOO_LARGE & _codes(error):
                raise NoRoom from None
            raise

    return _persist(attempt, _CONTENTION, seconds)


def in_snapshot(client: MongoClient[Any], body: Callable[[ClientSession], Result], seconds: float) -> Result:
    """Run a body of reads in one snapshot of majority-committed data.

    Args:
        client: the client of the collections that the body reads.
        body: the reads; it may be called several times.
        seconds: how long all attempts may take together.

    Raises:
        Busy: the server had no snapshot of these collections within the time limit.
    """

    def attempt(deadline: float) -> Result:
        with _until(deadline), client.start_session(snapshot=True) as session:
            return body(session)

    return _persist(attempt, NO_SNAPSHOT, seconds)


def _persist(attempt: Callable[[float], Result], passing: frozenset[int], seconds: float) -> Result:
    """Make attempts until one succeeds; errors with codes in ``passing`` are retried."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while time.monotonic() < deadline:
        try:
            return attempt(deadline)
        except PyMongoError as error:
            if not (error.has_error_label(TRANSIENT_TRANSACTION) or passing & _codes(error)):
                raise
        time.sleep(random.uniform(0, pause))  # noqa: S311 - a pause need not be unpredictable
        pause = min(2 * pause, _LONGEST_PAUSE)
    raise Busy("too many conflicting requests at the moment")


def _transact(client: MongoClient[Any], body: Callable[[ClientSession], Result], deadline: float) -> Result:
    with client.start_session() as session:
        session.start_transaction(ReadConcern("snapshot"), WriteConcern("majority"))
        try:
            with _until(deadline):
                result = body(session)
        except BaseException:
            # With its own time limit: an open transaction blocks other bookings for a minute.
            with pymongo.timeout(_SECONDS_TO_ABORT):
                session.abort_transaction()
            raise
        with _until(deadline):
            _commit(session, deadline)
        return result


def _commit(session: ClientSession, deadline: float) -> None:
    """Commit, and repeat it while its result is unknown: a commit is idempotent."""
    while True:
        try:
            session.commit_transaction()
        except PyMongoError as error:
            if time.monotonic() > deadline or not error.has_error_label(UNKNOWN_COMMIT):
                raise
            time.sleep(_FIRST_PAUSE)
        else:
            return


def _until(deadline: float) -> AbstractContextManager[None]:
    return pymongo.timeout(max(deadline - time.monotonic(), _SHORTEST))


def _codes(error: PyMongoError) -> frozenset[int | None]:
    """Return the server's codes in an error, including those of single writes."""
    if not isinstance(error, OperationFailure):
        return frozenset()
    problems = (error.details or {}).get("writeErrors", ())
    return frozenset({error.code, *(problem.get("code") for problem in problems)})
