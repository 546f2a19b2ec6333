"""Bookings in MongoDB: reads and writes in the new shape, whatever shape they are stored in.

Every write is one transaction that also reads the data it depends on, so conflicting writes never both succeed. The
sessions of one expert are in the documents of many clients. To prevent double bookings, every booking first updates a
small document of the expert and one of the client (collection `booking_migrate_slots`): of two concurrent bookings,
one hits a write conflict, is repeated, and then sees the other's session.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pymongo
from bson import encode
from bson.objectid import ObjectId
from pymongo import UpdateOne
from pymongo.client_session import ClientSession

from booking_migrate.bson.document import CODEC, Document
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.client_document import ClientDocument, totals_of
from booking_migrate.domain.contract import DEFAULT_STATUS, Contract
from booking_migrate.domain.ids import client_document_id, client_of_document
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.domain.session import Converter
from booking_migrate.service.appointment import (
    BLOCKING,
    Action,
    Appointment,
    Role,
    Slot,
    Wish,
    allow,
    appoint,
    changed_fields,
    read_slot,
)
from booking_migrate.service.errors import NotYours, SlotTaken, Unknown, Unwritable
from booking_migrate.service.plan import Caller, PeopleDirectory, ServiceCollections, ServicePlan
from booking_migrate.service.snapshot import ClientRecords, Snapshot, in_snapshot, in_transaction
from booking_migrate.service.view import (
    ClientView,
    Filters,
    ListedSession,
    Order,
    Page,
    SeenSession,
    arrange,
    meanings,
    paginate,
)
from booking_migrate.stores.mongo.raw import any_of

_ARRAY_ELEMENT = 64
"""An upper bound, in bytes, of what a session adds to a document beyond its own size, changed totals included."""

Result = TypeVar("Result")

_PROBE_TIMEOUT = 2.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The answer to a request about one session: the session and its booking."""

    booking: ClientView
    session: SeenSession


class Repository:
    """The bookings of one collection, in either shape."""

    def __init__(self, collections: ServiceCollections, plan: ServicePlan) -> None:
        """Prepare the repository; nothing is sent to the server yet."""
        self._collections = collections
        self._client = collections.bookings.database.client
        self._plan = plan
        self._converter = Converter(plan.rules)
        self.people = PeopleDirectory(collections, plan)

    @property
    def contract(self) -> Contract:
        """Return the allowed values."""
        return self._plan.rules.contract

    def book(self, caller: Caller, expert_id: str, wish: Wish) -> Shown:
        """Book a session: append it to the caller's client document, or create the document.

        Raises:
            NotYours: the caller is not a user of the platform.
            Unknown: the expert does not exist.
            BadValue: the expert does not offer it, or the session would violate the contract.
            SlotTaken: the expert or the client has another session at that time, pending or confirmed.
            Unwritable: the client's document would become too large, or cannot be read.
            Busy: too many write conflicts.
        """
        if caller.person is None:
            raise NotYours("only users of the platform can book")
        appointment = appoint(
            wish,
            self.people.expert(expert_id),
            client_id=caller.user_id,
            client=caller.person,
            converter=self._converter,
            now=_now(),
        )
        return in_transaction(
            self._client, lambda session: self._write(session, appointment), self._plan.seconds
        )

    def _write(self, session: ClientSession, new: Appointment) -> Shown:
        snapshot = self._snapshot(session)
        client_id, expert_id = new.client["clientId"], new.session["expertId"]
        if any(
            _blocks(fields, new.slot)
            for fields in snapshot.blocking(expert_id, int(new.session["scheduledDate"]))
        ):
            raise SlotTaken("expert")
        records = snapshot.records_of(client_id)
        if any(_blocks(fields, new.slot) for fields in _sessions_in(records)):
            raise SlotTaken("client")
        self._take_turn(session, expert_id, client_id)
        if records.broken:
            raise Unwritable("it cannot be read")
        if records.documents:
            self._append(session, records.documents[0], new)
        else:
            self._collections.bookings.insert_one(new.new_document(), session=session)
        return _shown(snapshot.records_of(client_id).view(), new.session["sessionId"])

    def _take_turn(self, session: ClientSession, expert_id: Any, client_id: Any) -> None:
        """Update the documents that every booking of this expert or client updates, to provoke a write conflict."""
        self._collections.slots.bulk_write(
            [
                UpdateOne({"_id": {kind: value}}, {"$inc": {"booked": 1}}, upsert=True)
                for kind, value in (("expert", expert_id), ("client", client_id))
            ],
            session=session,
        )

    def _append(self, session: ClientSession, document: ClientDocument, new: Appointment) -> None:
        size = len(document.raw) + len(encode(new.session, codec_options=CODEC)) + _ARRAY_ELEMENT
        if size > self._plan.rules.maximum_document_size:
            raise Unwritable(f"it has {len(document.raw)} bytes")
        totals = totals_of([*document.sessions, new.session])
        self._collections.bookings.update_one(
            any_of("_id", [document.document_id]),
            {"$push": {"sessions": new.session}, "$set": {**totals, "updatedAt": new.session["updatedAt"]}},
            session=session,
        )

    def change(
        self, caller: Caller, booking_id: str, session_id: ObjectId, action: Action, reason: str | None = None
    ) -> Shown:
        """Confirm, cancel or complete one session, in either shape.

        Raises:
            Unknown: the booking or session does not exist.
            NotYours: the caller may not do it.
            WrongState: the session's status does not allow it.
            NoRoom: the document that has it cannot take the change.
            Busy: too many write conflicts.
        """

        def body(session: ClientSession) -> Shown:
            snapshot = self._snapshot(session)
            records = self._find_records_of(snapshot, booking_id, caller)
            view = _view(records)
            seen = _seen(view, caller, session_id)
            role = allow(action, caller.roles_in(view, seen), seen.fields.get("status"))
            self._apply(session, records, seen, changed_fields(action, role, _now(), reason))
            after = _view(snapshot.records_of(view.client_id))
            return _shown(_visible(after, caller), session_id)

        return in_transaction(self._client, body, self._plan.seconds)

    def _apply(
        self, session: ClientSession, records: ClientRecords, seen: SeenSession, changed: Document
    ) -> None:
        bookings = self._collections.bookings
        if seen.is_old:
            old = any_of("_id", [seen.fields["legacyBookingId"]])
            bookings.update_one(old, {"$set": changed}, session=session)
            return
        for document in records.documents:
            for number, stored in enumerate(document.sessions):
                if stored.fields.get("sessionId") == seen.session_id:
                    fields = {f"sessions.{number}.{name}": value for name, value in changed.items()}
                    sessions = [one.fields for one in document.sessions]
                    sessions[number] = {**sessions[number], **changed}
                    totals = totals_of(sessions)
                    update = {**fields, **totals, "updatedAt": changed["updatedAt"]}
                    bookings.update_one(
                        any_of("_id", [document.document_id]), {"$set": update}, session=session
                    )
                    return

    def find(self, caller: Caller, booking_id: str) -> ClientView:
        """Return a client's bookings; an expert gets its own sessions of them, with totals over those.

        Raises:
            Unknown: the booking does not exist.
            NotYours: it belongs to another client and has no session with the caller as expert.
        """
        return _visible(self._whole(caller, booking_id), caller)

    def find_session(self, caller: Caller, booking_id: str, session_id: ObjectId) -> Shown:
        """Return one session with its booking.

        Raises:
            Unknown: the booking or session does not exist.
            NotYours: the caller is neither its client nor its expert.
        """
        view = self._whole(caller, booking_id)
        return Shown(_visible(view, caller), _seen(view, caller, session_id))

    def find_migrated(self, caller: Caller, old_id: str) -> Shown:
        """Return the session that an old booking became, or will become, with its booking.

        Args:
            caller: who sent the request.
            old_id: the `_id` that the booking had, as text: the session's `legacyBookingId`.

        Raises:
            Unknown: no session that is shown has it.
            NotYours: the caller is neither its client nor its expert.
        """
        view, session_id = self._read(lambda snapshot: _session_of_booking(snapshot, meanings(old_id)))
        return Shown(_visible(view, caller), _seen(view, caller, session_id))

    def _whole(self, caller: Caller, booking_id: str) -> ClientView:
        return self._read(lambda snapshot: _view(self._find_records_of(snapshot, booking_id, caller)))

    def list(
        self, caller: Caller, role: Role, filters: Filters, order: Order, *, page: int, limit: int
    ) -> Page:
        """Return one page of the caller's sessions as client or as expert, filtered and sorted."""
        match role:
            case Role.CLIENT:
                view = self._read(lambda snapshot: snapshot.records_of(caller.user_id).view())
                own = [] if view is None else [ListedSession(view.owner, one.fields) for one in view.sessions]
                return paginate(arrange(own, filters, order), page, limit)
            case Role.EXPERT:
                return self._read(
                    lambda snapshot: _expert_page(snapshot, caller, filters, order, page=page, limit=limit)
                )

    def check_ready(self) -> None:
        """Check that the primary answers.

        Raises:
            PyMongoError: it does not.
        """
        with pymongo.timeout(_PROBE_TIMEOUT):
            self._client.admin.command("ping")

    def _find_records_of(self, snapshot: Snapshot, booking_id: str, caller: Caller) -> ClientRecords:
        """Return the documents of the client that a booking id names.

        The id is the `_id` of the client document, or the one that a client without a document will get.
        """
        wanted = meanings(booking_id)
        owner = snapshot.owner_of(wanted)
        if owner is not None:
            return snapshot.records_of(owner)
        document_id = wanted[0]
        if not isinstance(document_id, ObjectId):
            raise Unknown("booking", "bookingId")
        if client_document_id(caller.user_id) == document_id:
            return snapshot.records_of(caller.user_id)
        records = snapshot.records_of(client_of_document(document_id))
        if not records.sessions and caller.expert_ids:
            # A client id of another type cannot be derived from the document's id; search the expert's own clients for it.
            clients = (one for one in snapshot.clients_of(caller.expert_ids) if is_client_id(one))
            known = next((one for one in clients if client_document_id(one) == document_id), None)
            return records if known is None else snapshot.records_of(known)
        return records

    def _snapshot(self, session: ClientSession) -> Snapshot:
        return Snapshot(self._collections, self._plan, self._converter, session)

    def _read(self, body: Callable[[Snapshot], Result]) -> Result:
        """Read in one snapshot."""
        return in_snapshot(self._client, lambda session: body(self._snapshot(session)), self._plan.seconds)


def _session_of_booking(snapshot: Snapshot, booking_ids: list[Any]) -> tuple[ClientView, ObjectId]:
    """Return the id of the session with one of these values as its `legacyBookingId`, and the bookings of its client.

    Args:
        snapshot: reads the collection.
        booking_ids: the values, likeliest first.

    Raises:
        Unknown: no session that is shown has one.
    """
    ranks = {sort_key(value): rank for rank, value in enumerate(booking_ids)}
    views = [snapshot.records_of(client).view() for client in snapshot.clients_of_booking(booking_ids)]
    found = [
        (ranks[key], view, one.session_id)
        for view in views
        if view is not None
        for one in view.sessions
        if (key := sort_key(one.fields.get("legacyBookingId"))) in ranks
        if isinstance(one.session_id, ObjectId)
    ]
    if not found:
        raise Unknown("booking", "bookingId")
    _, view, session_id = min(found, key=lambda one: one[0])
    return view, session_id


def _expert_page(
    snapshot: Snapshot, caller: Caller, filters: Filters, order: Order, *, page: int, limit: int
) -> Page:
    """Return one page of an expert's sessions, each with its client's booking."""
    found: list[ListedSession] = []
    if caller.expert_ids:
        found = snapshot.sessions_of(caller.expert_ids, filters.first, filters.behind)
    chosen = paginate(arrange(found, filters, order), page, limit)
    # Of one client, some sessions may come with the whole booking, and some without.
    bookings = {_client_key(one): one.booking for one in chosen.items if "_id" in one.booking}
    lacking = {_client_key(one): one.booking for one in chosen.items if _client_key(one) not in bookings}
    # A document of the application may lack the client: no other document is of that client, too.
    clients = [one["clientId"] for one in lacking.values() if is_client_id(one["clientId"])]
    records = snapshot.records_by_client(clients) if clients else {}
    for key, booking in lacking.items():
        view = records[key].view() if key in records else None
        bookings[key] = booking if view is None else view.owner
    return replace(
        chosen, items=[ListedSession(bookings[_client_key(one)], one.session) for one in chosen.items]
    )


def _client_key(listed: ListedSession) -> bytes:
    return sort_key(listed.booking.get("clientId"))


def _now() -> int:
    return time.time_ns() // 1_000_000


def _view(records: ClientRecords) -> ClientView:
    view = records.view()
    if view is None:
        raise Unknown("booking", "bookingId")
    return view


def _visible(view: ClientView, caller: Caller) -> ClientView:
    """Return the part of a client's bookings that the caller may see.

    Raises:
        NotYours: the caller may see none of them.
    """
    if caller.is_client_of(view):
        return view
    own = view.of_experts(caller.expert_keys)
    if not own.sessions:
        raise NotYours("this booking is not yours")
    return own


def _seen(view: ClientView, caller: Caller, session_id: ObjectId) -> SeenSession:
    """Return one session if the caller may see it.

    Raises:
        NotYours: the caller may not.
        Unknown: it does not exist.
    """
    visible = _visible(view, caller).session(session_id)
    if visible is not None:
        return visible
    if view.session(session_id) is not None:
        raise NotYours("this session is not yours")
    raise Unknown("session", "sessionId")


def _shown(view: ClientView | None, session_id: ObjectId) -> Shown:
    """Return a session that was just written, with its booking."""
    session = None if view is None else view.session(session_id)
    if view is None or session is None:
        raise Unknown("session", "sessionId")
    return Shown(view, session)


def _sessions_in(records: ClientRecords) -> Iterator[Document]:
    """Yield everything of a client that may occupy a slot; old bookings are included even if they violate the contract."""
    for document in records.documents:
        yield from (session.fields for session in document.sessions)
    yield from (booking.fields for booking in records.bookings)


def _blocks(fields: Document, slot: Slot) -> bool:
    """Return whether a session or an old booking overlaps a slot and blocks it."""
    taken = read_slot(fields)
    return fields.get("status", DEFAULT_STATUS) in BLOCKING and taken is not None and taken.overlaps(slot)
