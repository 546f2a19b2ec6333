"""Compare the sessions of a client's document with those that must be there, matched by the booking that each claims to be."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from booking_migrate.bson.document import DOCUMENT, Element, read_value
from booking_migrate.bson.format import differences
from booking_migrate.bson.order import element_key
from booking_migrate.verify.expected import Expected
from booking_migrate.verify.join import (
    claimed_booking,
    document_fields,
    session_fields,
    session_id_of,
)
from booking_migrate.verify.mismatch import Kind, Mismatch
from booking_migrate.verify.outcome import ClientResult, UnresolvedBooking
from booking_migrate.verify.rules import SessionFacts, facts_of, own_facts

CLAIM = "legacyBookingId"
_FACT_FIELDS = ("price", "createdAt", "updatedAt", CLAIM)
_SHARED_ID = "two sessions share this id"


class ExpectedSession(NamedTuple):
    """A session that must be there."""

    kind: int
    """The BSON type byte; an application may have put anything into `sessions`."""

    value: bytes
    identity: bytes
    facts: SessionFacts
    booking: Expected | None
    """The booking that it is; None if it was there before the migration."""

    @property
    def element(self) -> Element:
        """Return it as an element of `sessions`."""
        return Element(self.kind, b"sessions", self.value)

    def is_equal(self, session: Element) -> bool:
        """Return whether an element of `sessions` has the same bytes."""
        return self.value == session.value and self.kind == session.kind


class Comparison(NamedTuple):
    """What the sessions of one client are, right or wrong."""

    facts: Sequence[SessionFacts]
    later: Sequence[Element] = ()
    """Sessions that the new application added and that are allowed."""

    changed: int = 0
    """The number of sessions that the new application changed, which is allowed."""

    missing: int = 0
    """The number of sessions that are gone from a document in use: its totals and dates are then the application's."""


def expect_booking(booking: Expected) -> ExpectedSession:
    """Return the session that a booking must be."""
    return ExpectedSession(DOCUMENT, booking.session, booking_identity(booking), booking.facts, booking)


def expect_unchanged(session: Element) -> ExpectedSession:
    """Return a session that was there before and must be left unchanged."""
    return ExpectedSession(session.kind, session.value, identity_of(session), session_facts(session), None)


def booking_identity(booking: Expected) -> bytes:
    """Return the identity of a booking, which is that of the session that claims to be it."""
    return b"L" + booking.key


def identity_of(session: Element) -> bytes:
    """Return the identity of a session: the booking that it claims to be, else its `sessionId`, else its bytes."""
    claim = claimed_booking(session)
    if claim is not None:
        return b"L" + element_key(claim)
    own = session_id_of(session)
    return b"R%c%b" % (session.kind, session.value) if own is None else b"S" + element_key(own)


def session_facts(session: Element) -> SessionFacts:
    """Return the price and the dates of a session."""
    fields = session_fields(session)
    named = {name: read_value(fields[name.encode()]) for name in _FACT_FIELDS if name.encode() in fields}
    return facts_of(named, named[CLAIM]) if CLAIM in named else own_facts(named)


def compare_sessions(
    expected: Sequence[ExpectedSession],
    found: Sequence[Element],
    client_id: Any,
    rejected: Mapping[bytes, Expected],
    result: ClientResult,
    *,
    allow_later: bool,
    allow_deleted: bool = False,
    is_touched: bool | None = None,
) -> Comparison:
    """Compare the sessions of a client with those that must be there, one by one.

    Args:
        expected: the sessions that must be there, in their order.
        found: the elements of `sessions`.
        client_id: for the mismatches.
        rejected: the client's bookings that cannot be converted, by their identities.
        result: takes what is found.
        allow_later: whether sessions that claim no booking are counted instead of reported.
        allow_deleted: whether sessions from before the migration that are gone are counted only.
        is_touched: whether the client document's `updatedAt` shows that the application has written to it since the
            migration; then any session may differ, otherwise only those whose own `updatedAt` shows it. None: none may.
    """
    if len(expected) == len(found) and all(map(ExpectedSession.is_equal, expected, found)):
        result.migrated += sum(one.booking is not None for one in expected)
        return Comparison([one.facts for one in expected])
    return _Matching(expected, found, client_id, rejected, result, is_touched).compare(
        allow_later=allow_later, allow_deleted=allow_deleted
    )


@dataclass(slots=True)
class _Matching:
    """Matches found sessions with expected ones. Both are named by their indexes."""

    expected: Sequence[ExpectedSession]
    found: Sequence[Element]
    client_id: Any
    rejected: Mapping[bytes, Expected]
    result: ClientResult
    is_touched: bool | None
    later: dict[Element, Element] = field(default_factory=dict)
    """The allowed sessions that the application added, by `sessionId`."""

    facts: dict[int, SessionFacts] = field(default_factory=dict)

    def compare(self, *, allow_later: bool, allow_deleted: bool) -> Comparison:
        pairs, missing, surplus = self._pair()
        pairs |= self._pair_by_session_id(missing, surplus)
        for index, other in sorted(pairs.items()):
            self._compare_content(self.expected[index], other)
        for index in missing:
            self._take_missing(self.expected[index], allow_deleted=allow_deleted)
        known = {one.identity for one in self.expected}
        for other in surplus:
            self._take_surplus(self.found[other], known, allow_later=allow_later)
        self.result.later += len(self.later)
        if self.is_touched is None or not (self.result.later or self.result.changed):
            # Behind what the application has added, bookings that came late are put as they come.
            self._compare_order(pairs)
        self._check_session_ids(pairs)
        facts = [
            self.facts[other] if other in self.facts else session_facts(session)
            for other, session in enumerate(self.found)
        ]
        gone = 0 if self.is_touched is None else len(missing)
        return Comparison(facts, list(self.later.values()), self.result.changed, gone)

    def _pair(self) -> tuple[dict[int, int], list[int], list[int]]:
        """Pair by identity; return the pairs, the expected that are left over, and the found that are."""
        by_identity: defaultdict[bytes, list[int]] = defaultdict(list)
        for other, session in enumerate(self.found):
            by_identity[identity_of(session)].append(other)
        pairs: dict[int, int] = {}
        missing = []
        for index, one in enumerate(self.expected):
            candidates = by_identity[one.identity]
            if candidates:
                same = (other for other in candidates if self.found[other].value == one.value)
                chosen = next(same, candidates[0])
                candidates.remove(chosen)
                pairs[index] = chosen
            else:
                missing.append(index)
        return pairs, missing, sorted(other for rest in by_identity.values() for other in rest)

    def _pair_by_session_id(self, missing: list[int], surplus: list[int]) -> dict[int, int]:
        """Pair sessions whose claim alone is wrong or gone, by their `sessionId`."""
        by_session_id = {
            element: other for other in surplus if (element := session_id_of(self.found[other])) is not None
        }
        pairs = {}
        for index in tuple(missing):
            own = session_id_of(self.expected[index].element)
            other = None if own is None else by_session_id.pop(own, None)
            if other is not None:
                pairs[index] = other
                missing.remove(index)
                surplus.remove(other)
        return pairs

    def _compare_content(self, one: ExpectedSession, other: int) -> None:
        session = self.found[other]
        if one.is_equal(session):
            self.facts[other] = one.facts
            self.result.migrated += one.booking is not None
            return
        if self.is_touched is not None and self._was_changed(one, session):
            self.result.migrated += one.booking is not None
            self.result.changed += 1
            return
        differing = tuple(self._content_mismatches(one, session))
        if one.booking is None:
            self.result.mismatches += differing
        else:
            self.result.unresolved.append(unresolved_booking(one.booking, differing))

    def _was_changed(self, one: ExpectedSession, session: Element) -> bool:
        """Return whether a session is the expected one by both of its ids, and the application has changed it since."""
        if session.kind != DOCUMENT or one.kind != DOCUMENT:
            return False
        expected, found = document_fields(one.value), document_fields(session.value)
        if any(expected.get(name) != found.get(name) for name in (b"sessionId", CLAIM.encode())):
            return False
        if self.is_touched:
            return True
        before, now = one.facts.updated, session_facts(session).updated
        return before is not None and now is not None and now > before

    def _content_mismatches(self, one: ExpectedSession, session: Element) -> Iterator[Mismatch]:
        booking_id = one.booking.document.booking_id if one.booking else session_name(one.element)
        if session.kind != DOCUMENT or one.kind != DOCUMENT:
            yield Mismatch(
                Kind.CONTENT, self.client_id, booking_id, "sessions", one.element, session, "no session"
            )
            return
        for each in differences(one.value, session.value):
            is_moved = each.expected == each.found
            detail = "the fields are in another order, or one occurs twice" if is_moved else ""
            yield Mismatch(
                Kind.CONTENT, self.client_id, booking_id, each.field, each.expected, each.found, detail
            )

    def _take_missing(self, one: ExpectedSession, *, allow_deleted: bool) -> None:
        if one.booking is not None:
            self.result.unresolved.append(unresolved_booking(one.booking))
            return
        self.result.missing += 1
        if allow_deleted:
            return
        name, detail = session_name(one.element), "a session that was there before the migration is gone"
        self.result.mismatches.append(
            Mismatch(Kind.MISSING, self.client_id, name, "sessions", expected=one.element, detail=detail)
        )

    def _take_surplus(self, session: Element, known: set[bytes], *, allow_later: bool) -> None:
        identity, claim = identity_of(session), claimed_booking(session)
        name = session_name(session)
        if identity in known:
            which = CLAIM if claim is not None else "sessionId"
            self._report(Kind.DUPLICATE, name, which, session, "the session is there more than once")
        elif identity in self.rejected:
            reason, at_fault = self.rejected[identity].broken[0]
            self._report(Kind.EXTRA, name, at_fault, session, f"the booking had to be rejected: {reason}")
        elif claim is not None:
            self.result.mismatches.append(stale_mismatch(session, self.client_id))
        elif allow_later:
            self._take_later(session, name)
        else:
            self.result.mismatches.append(unclaimed_mismatch(session, self.client_id))

    def _take_later(self, session: Element, name: Any) -> None:
        """Allow a session that the application added if it has a `sessionId` of its own."""
        own = session_id_of(session)
        if own is None:
            self._report(Kind.EXTRA, name, "sessionId", session, "no session: it has no sessionId")
        elif own in self.later:
            self._report(Kind.DUPLICATE, name, "sessionId", session, _SHARED_ID)
        else:
            self.later[own] = session

    def _report(self, kind: Kind, booking_id: Any, at: str | None, session: Element, detail: str) -> None:
        found = None if at is None else session_fields(session).get(at.encode())
        self.result.mismatches.append(
            Mismatch(kind, self.client_id, booking_id, at, found=found, detail=detail)
        )

    def _compare_order(self, pairs: Mapping[int, int]) -> None:
        in_order = [index for index, _other in sorted(pairs.items(), key=lambda pair: pair[1])]
        for wanted, there in zip(sorted(pairs), in_order, strict=True):
            if wanted != there:
                one, other = self.expected[wanted].element, self.expected[there].element
                detail = "another session is where this one belongs"
                pair = (_named_by(one), _named_by(other))
                self.result.mismatches.append(
                    Mismatch(Kind.ORDER, self.client_id, session_name(one), "sessions", *pair, detail)
                )
                return

    def _check_session_ids(self, pairs: Mapping[int, int]) -> None:
        """Report different sessions with one `sessionId`, unless they were so before the migration."""
        untouched = {
            other for index, other in pairs.items() if self.expected[index].value == self.found[other].value
        }
        seen: dict[Element, int] = {}
        for other, session in enumerate(self.found):
            own = session_id_of(session)
            if own is None:
                continue
            first = seen.setdefault(own, other)
            if first == other or {first, other} <= untouched:
                continue
            if identity_of(self.found[first]) != identity_of(session):
                self._report(Kind.DUPLICATE, session_name(session), "sessionId", session, _SHARED_ID)


def unresolved_booking(
    booking: Expected, differing: tuple[Mismatch, ...] = (), *, is_decidable: bool = True
) -> UnresolvedBooking:
    """Return a booking that the rejected records decide about."""
    document = booking.document
    return UnresolvedBooking(
        document.raw, document.booking_id, document.client_id, booking.broken, differing, is_decidable
    )


def stale_mismatch(session: Element, client_id: Any) -> Mismatch:
    """Return the mismatch of a session whose booking the client does not have, or not any more."""
    found, detail = session_fields(session).get(CLAIM.encode()), "the source has no such booking"
    return Mismatch(Kind.EXTRA, client_id, session_name(session), CLAIM, found=found, detail=detail)


def unclaimed_mismatch(session: Element, client_id: Any) -> Mismatch:
    """Return the mismatch of a session that claims no booking and was not there before the migration."""
    found, detail = session_id_of(session), "the session claims no booking (see --allow-later)"
    return Mismatch(Kind.EXTRA, client_id, session_name(session), "sessionId", found=found, detail=detail)


def conflict_mismatches(booking: Expected, there: ExpectedSession) -> Iterator[Mismatch]:
    """Yield the differences between the session that was there before the migration and the one that its booking makes."""
    document = booking.document
    for each in differences(booking.session, there.value) if there.kind == DOCUMENT else ():
        yield Mismatch(
            Kind.CONTENT, document.client_id, document.booking_id, each.field, each.expected, each.found
        )


def session_name(session: Element) -> Any:
    """Return what names a session in a mismatch: the booking that it claims to be, else its `sessionId`; as decoded."""
    element = _named_by(session)
    return None if element is None else read_value(element)


def _named_by(session: Element) -> Element | None:
    claim = claimed_booking(session)
    return session_id_of(session) if claim is None else claim
