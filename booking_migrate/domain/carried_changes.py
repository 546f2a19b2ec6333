"""From sessions to old bookings: fields that the application has changed, sessions that it has booked, and which is which."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId

from booking_migrate.bson.document import (
    ARRAY,
    DOCUMENT,
    NULL,
    Element,
    element_of,
    elements,
    read_fields,
    read_value,
    wrap,
)
from booking_migrate.bson.format import Difference, display_id, show_element
from booking_migrate.bson.format import differences as compare
from booking_migrate.bson.order import element_key
from booking_migrate.domain.client_document import ClientDocument, StoredSession, compose
from booking_migrate.domain.contract import RESERVED, TOTALS, WAIVABLE
from booking_migrate.domain.ids import booking_of_session, client_document_id, time_of
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.domain.rules import Rules
from booking_migrate.domain.session import (
    ADDED,
    CLIENT_FIELDS,
    DROPPED,
    EXPERT_FIELDS,
    OWNER_NAMES,
    Converter,
    People,
    Session,
    read_booking,
)

_KEPT = frozenset(name.encode() for name in DROPPED)
_LOOKED_UP = frozenset(name.encode() for name in EXPERT_FIELDS)
_ADDED = {rule.name.encode(): rule for rule in ADDED}
_OWN_OF_SESSION = frozenset(name.encode() for name in RESERVED)
_OF_SESSIONS = frozenset({b"sessions", *(name.encode() for name in TOTALS)})


LISTED = 100
"""How many documents or changes of each kind are named."""


@dataclass(frozen=True, slots=True)
class Change:
    """One field that the application has changed since the migration."""

    document_id: Any
    """The `_id` of the booking, or of the client document, decoded."""

    difference: Difference
    """``expected`` is what was migrated, ``found`` the current value."""


@dataclass(slots=True)
class ChangesSince:
    """What the application has done since: memory does not grow with it, only the counts do."""

    changed: int = 0
    """Fields of migrated sessions, and of client documents of before, that are other now."""

    changes: list[str] = field(default_factory=list)
    """The first of them, for people."""

    later: int = 0
    """Sessions and bookings that were booked since."""

    missing: int = 0
    """Migrated bookings whose session is gone."""

    missing_ids: list[str] = field(default_factory=list)
    """The first of them."""

    lost: int = 0
    """Changes to a client's own fields that no booking has a place for."""

    losses: list[str] = field(default_factory=list)
    """The first of them, for people."""

    converted: int = 0
    """How many of the sessions booked since became old bookings."""

    staying_ids: list[str] = field(default_factory=list)
    """The `sessionId` of the first that stay in the new shape."""

    old: int = 0
    """How many of what was booked since are old bookings that an old application has written; they stay as they are."""

    @property
    def is_nothing(self) -> bool:
        """Return whether everything is as the migration left it."""
        return not (self.changed or self.later or self.missing or self.lost)

    def add(
        self,
        *,
        changes: Iterable[Change] = (),
        later: int = 0,
        missing: Iterable[Any] = (),
        lost: Iterable[Change] = (),
        converted: int = 0,
        staying: Iterable[Any] = (),
        old: int = 0,
    ) -> None:
        """Count the changes to one client."""
        for change in changes:
            self.changed += 1
            _list(self.changes, _text(change))
        for document_id in missing:
            self.missing += 1
            _list(self.missing_ids, display_id(document_id))
        for change in lost:
            self.lost += 1
            _list(self.losses, _text(change))
        for session_id in staying:
            _list(self.staying_ids, display_id(session_id))
        self.later += later
        self.converted += converted
        self.old += old

    def merge(self, other: "ChangesSince") -> None:
        """Add what was counted and listed elsewhere."""
        for name in ("changed", "later", "missing", "lost", "converted", "old"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("changes", "missing_ids", "losses", "staying_ids"):
            for text in getattr(other, name):
                _list(getattr(self, name), text)


def _list(texts: list[str], text: str) -> None:
    if len(texts) < LISTED:
        texts.append(text)


def _text(change: Change) -> str:
    difference = change.difference
    before, after = show_element(difference.expected), show_element(difference.found)
    return f"{display_id(change.document_id)} {difference.field}: {before} -> {after}"


def carry(
    original: bytes, session: StoredSession, decided: bytes | None = None
) -> tuple[bytes, list[Difference]]:
    """Return a booking with the changes made to its session, and these changes."""
    if decided is not None:
        return _carry_since(original, session, decided)
    new = {part.name: part for part in elements(session.element.value)}
    parts: list[Element] = []
    differences: list[Difference] = []
    old = list(elements(original))
    for part in old:
        other = new.get(part.name)
        if part.name in _KEPT or other == part or (part.name in _LOOKED_UP and part.kind == NULL):
            parts.append(part)
            continue
        differences.append(Difference(part.name.decode("utf-8", "replace"), part, other))
        if other is not None:
            parts.append(other)
    known = {part.name for part in old} | _KEPT | _OWN_OF_SESSION
    for name, part in new.items():
        if name not in known and not _is_added(part):
            differences.append(Difference(name.decode("utf-8", "replace"), None, part))
            parts.append(part)
    return (wrap(parts) if differences else original), differences


def _carry_since(original: bytes, session: StoredSession, decided: bytes) -> tuple[bytes, list[Difference]]:
    """Carry only what differs from the session as a decision had kept it; the booking differed from that already."""
    parts = {part.name: part for part in elements(original)}
    unlike = [
        difference
        for difference in compare(decided, session.element.value)
        if difference.field.encode() not in _OWN_OF_SESSION and difference.expected != difference.found
    ]
    for difference in unlike:
        name = (difference.found or difference.expected or Element(NULL, b"", b"")).name
        if difference.found is None:
            parts.pop(name, None)
        else:
            parts[name] = difference.found
    return (wrap(list(parts.values())) if unlike else original), unlike


def _is_added(part: Element) -> bool:
    """Return whether a field of a session that its booking lacks may be what the conversion has added."""
    rule = _ADDED.get(part.name)
    return rule is not None and (rule.default is None or read_value(part) == rule.default)


def document_with_sessions(raw: bytes) -> ClientDocument | None:
    """Take a document for a client document if it has an array of sessions, whatever its client; None if it has not."""
    parts = tuple(elements(raw))
    kinds = {part.name: part.kind for part in parts}
    if kinds.get(b"sessions") != ARRAY or len(kinds) != len(parts):
        return None
    return ClientDocument(raw, parts)


def relocate(
    original: bytes, session: bytes, client: bytes, decided: bytes | None = None
) -> tuple[bytes, Sequence[Change], Sequence[Change]]:
    """Derive a booking whose session is in another client's document now, and what is carried into it.

    Args:
        original: the booking before the migration, BSON.
        session: its session as it is now, BSON.
        client: the document that has the session, or its client fields alone, BSON.
        decided: as in `reverse`.

    Returns:
        The booking, what was carried into it, and what was not: a value that identifies no client.
    """
    carried, differences = carry(original, StoredSession(Element(DOCUMENT, b"0", session)), decided)
    there = {part.name: part for part in elements(client)}
    document_id = read_fields(original)["_id"]
    is_client = is_client_id(read_fields(client).get("clientId"))
    parts: list[Element] = []
    lost: list[Difference] = []
    for part in elements(carried):
        other = there.get(part.name)
        is_other = _is_of_other_client(part, other)
        if is_other:
            (differences if is_client else lost).append(Difference(part.name.decode(), part, other))
        parts.append(other if other is not None and is_other and is_client else part)
    return (
        wrap(parts),
        [Change(document_id, difference) for difference in differences],
        [Change(document_id, difference) for difference in lost],
    )


def _is_of_other_client(part: Element, other: Element | None) -> bool:
    if other is None or other == part:
        return False
    if part.name == b"clientId":
        return element_key(part) != element_key(other)
    return part.name.decode("utf-8", "replace") in CLIENT_FIELDS and NULL not in (part.kind, other.kind)


def split(original: bytes, now: bytes) -> tuple[bytes, bytes]:
    """Part a booking into which sessions were put: the booking as it is beside them, and a client document of them."""
    known = {part.name for part in elements(original)}
    parts = list(elements(now))
    booking = [part for part in parts if part.name in known or part.name not in _OF_SESSIONS]
    client_id = read_fields(now).get("clientId")
    own = [part for part in parts if part.name in OWNER_NAMES and part.kind != NULL]
    document = [element_of("_id", client_document_id(client_id)), *own]
    base = ClientDocument(now, (*document, Element(ARRAY, b"sessions", wrap([]))))
    there = document_with_sessions(now)
    return wrap(booking), compose(base, there.sessions if there else ())


_NOT_OF_BOOKINGS = _KEPT | _OWN_OF_SESSION | {b"sessions"}
_DATES = ("createdAt", "updatedAt")

_CONVERTER = Converter(Rules(accepted=WAIVABLE))
"""Types only: the new application may hold values that the old one does not know, and the session has them either way."""


def booking_id_of(session: StoredSession) -> ObjectId | None:
    """Return the `_id` of the booking that a session becomes; None if its `sessionId` is not an ObjectId."""
    own = session.fields.get("sessionId")
    return booking_of_session(own) if type(own) is ObjectId else None


def as_booking(document: ClientDocument, session: StoredSession) -> bytes | None:
    """Return a session booked since as an old booking, BSON; a migration gives the same session again, with the same id.

    `clientId`, `clientUserId` and `clientEmail` are the client document's, all other fields the session's own, in its order.
    One without dates gets the time in its `sessionId`.

    Args:
        document: the client document that has the session.
        session: a session without `legacyBookingId`.

    Returns:
        None if that is not possible: without a `sessionId` that is an ObjectId, with a field that no session of a booking
        has, or with a type that the contract does not allow.
    """
    booking_id = booking_id_of(session)
    if booking_id is None or session.element.kind != DOCUMENT:
        return None
    own = [part for part in elements(session.element.value) if part.name != b"sessionId"]
    names = {part.name for part in own}
    if len(names) != len(own) or names & _NOT_OF_BOOKINGS:
        return None
    client = [part for part in document.parts if part.name in OWNER_NAMES]
    dates = [
        element_of(name, DatetimeMS(time_of(booking_id))) for name in _DATES if name.encode() not in names
    ]
    raw = wrap([element_of("_id", booking_id), *client, *own, *dates])
    made = _CONVERTER.convert(read_booking(raw), People())
    return raw if isinstance(made, Session) else None
