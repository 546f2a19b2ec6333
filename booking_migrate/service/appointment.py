"""The rules of appointments: the time they take, who may change them, and what a new one has to satisfy.

The data has no time zones: `scheduledDate` is a day, `startTime` and `endTime` are times on the
platform's clock. A day is the UTC day of `scheduledDate`, whatever its time of day. Times compare as minutes, so 9:30 is
before 12:30; an end that is not after its start is on the next day.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from re import fullmatch
from typing import Any

from bson import encode
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId

from booking_migrate.bson.document import CODEC, Document
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.client_document import totals_of
from booking_migrate.domain.contract import DEFAULT_STATUS, TIME, Contract
from booking_migrate.domain.ids import client_document_id
from booking_migrate.domain.rejection import Rejection
from booking_migrate.domain.session import Converter, People, Person, read_booking
from booking_migrate.errors import BadConfiguration
from booking_migrate.service.errors import BadValue, NotYours, WrongState

DAY = 86_400_000
"""A day in milliseconds."""

MINUTES_A_DAY = 1440


@dataclass(frozen=True, slots=True)
class Slot:
    """A half-open interval of time, in minutes since 1970: the end is excluded."""

    start: int
    end: int

    def overlaps(self, other: "Slot") -> bool:
        """Return whether both have a minute in common."""
        return self.start < other.end and other.start < self.end


def minutes_of(time: str) -> int:
    """Return the minutes of a time of day (``H:MM`` or ``HH:MM``) since midnight."""
    hours, _, minutes = time.partition(":")
    return int(hours) * 60 + int(minutes)


def time_at(minutes: int) -> str:
    """Return the time of day (``HH:MM``) at a number of minutes after midnight."""
    return f"{minutes % MINUTES_A_DAY // 60:02}:{minutes % 60:02}"


def slot_of(scheduled_date: int, start_time: str, end_time: str) -> Slot:
    """Return the time that a session occupies.

    Args:
        scheduled_date: milliseconds since 1970; the UTC day counts.
        start_time: ``H:MM`` or ``HH:MM``.
        end_time: the same; not after ``start_time`` means on the next day.
    """
    midnight = scheduled_date // DAY * MINUTES_A_DAY
    start, end = minutes_of(start_time), minutes_of(end_time)
    return Slot(midnight + start, midnight + end + (MINUTES_A_DAY if end <= start else 0))


def read_slot(fields: Mapping[str, Any]) -> Slot | None:
    """Return the time that a stored session or old booking occupies; None if its fields are not valid."""
    date, start, end = (fields.get(name) for name in ("scheduledDate", "startTime", "endTime"))
    if type(date) is not DatetimeMS or not all(
        type(time) is str and fullmatch(TIME, time) for time in (start, end)
    ):
        return None
    return slot_of(int(date), str(start), str(end))


def dates_near(scheduled_date: int) -> tuple[int, int]:
    """Return the range of dates, in milliseconds, of sessions that may overlap one on this date.

    A session takes at most a day, so those of the day before and of the day after may overlap. The range includes its
    first date and excludes its last one.
    """
    midnight = scheduled_date // DAY * DAY
    return midnight - DAY, midnight + 2 * DAY


BLOCKING = ("pending", "confirmed")
"""The states in which a session occupies its slot."""


class Role(StrEnum):
    """The role of a user in a session. The values are those of `cancelledBy`."""

    CLIENT = "client"
    EXPERT = "expert"


class Action(StrEnum):
    """An action that the API offers on a session."""

    CONFIRM = "confirm"
    CANCEL = "cancel"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Rule:
    """When an action is allowed, and the status that it leads to."""

    by: frozenset[Role]
    after: tuple[str, ...]
    """The states that allow it."""

    becomes: str


_EXPERT_ONLY = frozenset({Role.EXPERT})

RULES: dict[Action, Rule] = {
    Action.CONFIRM: Rule(_EXPERT_ONLY, ("pending",), "confirmed"),
    Action.CANCEL: Rule(frozenset(Role), BLOCKING, "cancelled"),
    Action.COMPLETE: Rule(_EXPERT_ONLY, ("confirmed",), "completed"),
}


def check_contract(contract: Contract) -> None:
    """Check that the contract allows every value that the service writes.

    Raises:
        BadConfiguration: the contract lacks a value that the service needs.
    """
    states = {DEFAULT_STATUS, *(rule.becomes for rule in RULES.values())}
    for name, needed, allowed in (
        ("statuses", states, contract.statuses),
        ("payment_statuses", {DEFAULT_STATUS}, contract.payment_statuses),
        ("cancelled_by", set(Role), contract.cancelled_by),
    ):
        lacking = sorted(needed - set(allowed))
        if lacking:
            raise BadConfiguration(f"[contract] {name}", f"the service needs {', '.join(lacking)}")


def changed_fields(action: Action, by: Role, now: int, reason: str | None = None) -> Document:
    """Return the fields that an action changes, which are the same in a session and in an old booking.

    Args:
        action: the action.
        by: the role in which it is done.
        now: the time, in milliseconds since 1970.
        reason: why a session is cancelled; None if no reason was sent.
    """
    changed: Document = {"status": RULES[action].becomes}
    if action is Action.CANCEL:
        changed["cancelledBy"] = by.value
        if reason is not None:
            changed["cancellationReason"] = reason
        changed["cancellationTime"] = DatetimeMS(now)
    changed["updatedAt"] = DatetimeMS(now)
    return changed


def allow(action: Action, roles: Iterable[Role], status: Any) -> Role:
    """Check that an action is allowed, and return the role in which it is done.

    Args:
        action: the action.
        roles: the roles of the caller in this session; of two, the one that allows the action is used.
        status: the session's status; absent (None) counts as pending.

    Raises:
        NotYours: only another role may do it.
        WrongState: the session's status does not allow it.
    """
    rule = RULES[action]
    role = next((role for role in Role if role in roles and role in rule.by), None)
    if role is None:
        raise NotYours(f"only the {' or the '.join(sorted(rule.by))} of a session can {action} it")
    state = DEFAULT_STATUS if status is None else status
    if state not in rule.after:
        raise WrongState(str(state), rule.becomes)
    return role


@dataclass(frozen=True, slots=True)
class OfferFields:
    """The fields of experts that hold what they offer."""

    available: str = "available"
    """A boolean; an expert without it is available."""

    session_types: str = "sessionTypes"
    """An array of ``{type, price, currency}``; ``currency`` may be absent."""

    currency: str = "INR"
    """The currency of prices without one."""


@dataclass(frozen=True, slots=True)
class Expert:
    """The part of an expert that a booking depends on."""

    expert_id: Any
    user_id: Any
    """The `_id` of its user, decoded; None if it has no user."""

    is_available: bool
    prices: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """Price (a BSON number, in its own type) and currency of a session, however long, by session type."""

    person: Person | None = None
    """Its user; None if the user does not exist, and then the expert cannot be booked."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The session that a client requests."""

    session_type: str
    duration: int
    """Minutes."""

    scheduled_date: int
    """Milliseconds since 1970."""

    start_time: str
    notes: str | None = None


def read_expert(document: Mapping[str, Any], user_field: str, fields: OfferFields) -> Expert:
    """Read an expert's document; session types without a name are ignored."""
    offered = document.get(fields.session_types)
    offers = [one for one in offered if isinstance(one, dict)] if isinstance(offered, list) else []
    return Expert(
        expert_id=document["_id"],
        user_id=document.get(user_field),
        is_available=document.get(fields.available, True) is True,
        prices={
            one["type"]: (one.get("price"), one.get("currency", fields.currency))
            for one in offers
            if isinstance(one.get("type"), str)
        },
    )


@dataclass(frozen=True, slots=True)
class Appointment:
    """A session that passed all checks, ready to be written."""

    client: Document
    """`clientId`, `clientUserId`, `clientEmail`."""

    session: Document
    slot: Slot

    def new_document(self) -> Document:
        """Return the client's document for a first session."""
        return {
            "_id": client_document_id(self.client["clientId"]),
            **self.client,
            "sessions": [self.session],
            **totals_of([self.session]),
            "createdAt": self.session["createdAt"],
            "updatedAt": self.session["updatedAt"],
        }


def appoint(
    wish: Wish, expert: Expert, *, client_id: Any, client: Person, converter: Converter, now: int
) -> Appointment:
    """Build the session and check it as a migration checks an old booking, so that every session keeps the contract.

    Args:
        wish: the requested session.
        expert: the requested expert.
        client_id: the client's user's `_id`, decoded.
        client: the client's user.
        converter: converts and checks by the contract.
        now: the time, in milliseconds since 1970.

    Raises:
        BadValue: the expert cannot be booked by this client or does not offer the session, or it violates the contract;
            the first field at fault is named.
    """
    price, currency = _offered_price(wish, expert, client_id)
    if expert.person is None:
        raise BadValue("expertId", "the expert is not a user of the platform")
    start = minutes_of(wish.start_time)
    details: Document = {
        "expertId": expert.expert_id,
        "expertUserId": expert.person.user_id,
        "expertEmail": expert.person.email,
        "sessionType": wish.session_type,
        "duration": wish.duration,
        "scheduledDate": DatetimeMS(wish.scheduled_date // DAY * DAY),
        "startTime": time_at(start),
        "endTime": time_at(start + wish.duration),
        "status": DEFAULT_STATUS,
        "price": price,
        "currency": currency,
        "paymentStatus": DEFAULT_STATUS,
        **({} if wish.notes is None else {"notes": wish.notes}),
        "createdAt": DatetimeMS(now),
        "updatedAt": DatetimeMS(now),
    }
    owner: Document = {"clientId": client_id, "clientUserId": client.user_id, "clientEmail": client.email}
    session_id = ObjectId()
    raw = encode({"_id": session_id, **owner, **details}, codec_options=CODEC)
    checked = converter.convert(read_booking(raw), People())
    if isinstance(checked, Rejection):
        fault = checked.faults[0]
        raise BadValue(fault.field or "expertId", f"{fault.field}: {fault.detail}")
    slot = slot_of(wish.scheduled_date, wish.start_time, details["endTime"])
    return Appointment(owner, {"sessionId": session_id, **details}, slot)


def _offered_price(wish: Wish, expert: Expert, client_id: Any) -> tuple[Any, Any]:
    """Return price and currency of the requested session.

    Raises:
        BadValue: the client is the expert, or the expert is not available or does not offer it.
    """
    if expert.user_id is not None and sort_key(expert.user_id) == sort_key(client_id):
        raise BadValue("expertId", "you cannot book a session with yourself")
    if not expert.is_available:
        raise BadValue("expertId", "the expert is not available")
    if wish.session_type not in expert.prices:
        raise BadValue("sessionType", "the expert does not offer this type of session")
    if wish.duration > MINUTES_A_DAY:
        raise BadValue("duration", f"a session takes at most {MINUTES_A_DAY} minutes")
    return expert.prices[wish.session_type]
