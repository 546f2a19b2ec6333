"""The sessions of a client's document, taken apart into the bookings that they claim to be, and compared with those."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from booking_migrate.bson.compare import differences
from booking_migrate.bson.document import Element, read_value
from booking_migrate.bson.order import element_key
from booking_migrate.verify.derivation import SessionFacts, facts_of, own_facts
from booking_migrate.verify.documents import DOCUMENT, claimed_booking, session_fields
from booking_migrate.verify.expected import Expected
from booking_migrate.verify.mismatch import Kind, Mismatch
from booking_migrate.verify.rules import BrokenRule

CLAIM = "legacyBookingId"


class ExpectedSession(NamedTuple):
    """A session that must be there."""

    kind: int
    """The BSON type byte; an application may have put anything into `sessions`."""

    value: bytes
    identity: bytes
    facts: SessionFacts
    judged: Expected | None
    """The booking that it is; None if it was there before the migration."""


class OpenBooking(NamedTuple):
    """A booking that is not in the target as it should be; whether that is right, the rejected records say."""

    raw: bytes
    booking_id: Any
    client_id: Any
    broken: tuple[BrokenRule, ...]
    """Why it cannot be converted; empty if it can."""

    differing: tuple[Mismatch, ...] = ()
    """How its session differs; empty if there is none."""


@dataclass(slots=True)
class Comparison:
    """What comparing the sessions of one client came to."""

    mismatches: list[Mismatch] = field(default_factory=list)
    open: list[OpenBooking] = field(default_factory=list)
    facts: list[SessionFacts] = field(default_factory=list)
    """Of the sessions that are there, whatever they are."""

    matched: int = 0
    """How many of the bookings' own sessions are as they must be."""

    later: list[Element] = field(default_factory=list)
    """Sessions that the new application added and that are allowed."""

    changed: int = 0
    """How many sessions the new application has changed since, which is allowed."""


def expect_booking(judged: Expected) -> ExpectedSession:
    """The session that a booking must be."""
    return ExpectedSession(DOCUMENT, judged.session, booking_identity(judged), judged.facts, judged)


def expect_unchanged(session: Element) -> ExpectedSession:
    """A session that was there before and must be left as it was."""
    return ExpectedSession(session.kind, session.value, identity_of(session), session_facts(session), None)


def booking_identity(judged: Expected) -> bytes:
    """What a booking and the session that claims to be it have in common."""
    return b"L" + judged.key


def identity_of(session: Element) -> bytes:
    """What a session is known by: the booking that it claims to be, else its `sessionId`, else its bytes."""
    claim = claimed_booking(session)
    if claim is not None:
        return b"L" + element_key(claim)
    own = session_fields(session).get(b"sessionId")
    return b"R%c%b" % (session.kind, session.value) if own is None else b"S" + element_key(own)


def session_facts(session: Element) -> SessionFacts:
    """The price and the dates of a session."""
    fields = session_fields(session)
    named = {
        name: read_value(fields[name.encode()])
        for name in ("price", "createdAt", "updatedAt", CLAIM)
        if name.encode() in fields
    }
    return facts_of(named, named[CLAIM]) if CLAIM in named else own_facts(named)


def compare_sessions(
    expected: Sequence[ExpectedSession],
    found: Sequence[Element],
    client_id: Any,
    unfit: Mapping[bytes, Expected],
    *,
    allow_later: bool,
    is_touched: bool | None = None,
) -> Comparison:
    """Compare the sessions of a client with those that must be there, one by one.

    Args:
        expected: the sessions that must be there, in their order.
        found: the elements of `sessions`.
        client_id: for the mismatches.
        unfit: the client's bookings that cannot be converted, by their identities.
        allow_later: whether sessions that claim no booking are counted instead of reported.
        is_touched: whether the client document says, by its `updatedAt`, that the application has written to it since;
            then any session may be other than it was, and else those that say so themselves. None: none may.
    """
    if len(expected) == len(found) and all(
        one.value == other.value and one.kind == other.kind
        for one, other in zip(expected, found, strict=True)
    ):
        matched = sum(one.judged is not None for one in expected)
        return Comparison(facts=[one.facts for one in expected], matched=matched)
    matching = _Matching(expected, found, client_id, unfit, is_touched=is_touched)
    return matching.compare(allow_later=allow_later)


class _Matching:
    """Which found session stands for which expected one."""

    def __init__(
        self,
        expected: Sequence[ExpectedSession],
        found: Sequence[Element],
        client_id: Any,
        unfit: Mapping[bytes, Expected],
        *,
        is_touched: bool | None,
    ) -> None:
        self._is_touched = is_touched
        self._expected = expected
        self._found = found
        self._client_id = client_id
        self._unfit = unfit
        self._later_ids: set[Element] = set()
        self._result = Comparison()

    def compare(self, *, allow_later: bool) -> Comparison:
        pairs, missing, surplus = self._pair()
        pairs |= self._pair_by_session_id(missing, surplus)
        for place, other in sorted(pairs.items()):
            self._compare_content(self._expected[place], self._found[other])
        for place in missing:
            self._note_missing(self._expected[place])
        known = {one.identity for one in self._expected}
        for other in surplus:
            self._note_surplus(self._found[other], known, allow_later=allow_later)
        if self._is_touched is None or not (self._result.later or self._result.changed):
            # Behind what the application has added, bookings that came late are put as they come.
            self._compare_order(pairs)
        self._check_session_ids(pairs)
        partner = {other: place for place, other in pairs.items()}
        for other, session in enumerate(self._found):
            place = partner.get(other, -1)
            is_same = place >= 0 and self._expected[place].value == session.value
            self._result.facts.append(self._expected[place].facts if is_same else session_facts(session))
        return self._result

    def _pair(self) -> tuple[dict[int, int], list[int], list[int]]:
        """Pair by identity; return the pairs, the expected that are left over, and the found that are."""
        by_identity: defaultdict[bytes, list[int]] = defaultdict(list)
        for other, session in enumerate(self._found):
            by_identity[identity_of(session)].append(other)
        pairs: dict[int, int] = {}
        missing = []
        for place, one in enumerate(self._expected):
            candidates = by_identity[one.identity]
            if candidates:
                same = (other for other in candidates if self._found[other].value == one.value)
                chosen = next(same, candidates[0])
                candidates.remove(chosen)
                pairs[place] = chosen
            else:
                missing.append(place)
        return pairs, missing, sorted(other for rest in by_identity.values() for other in rest)

    def _pair_by_session_id(self, missing: list[int], surplus: list[int]) -> dict[int, int]:
        """A session whose claim alone is wrong or gone is known by its `sessionId`."""
        by_session_id = {
            element: other
            for other in surplus
            if (element := session_fields(self._found[other]).get(b"sessionId")) is not None
        }
        pairs = {}
        for place in tuple(missing):
            one = self._expected[place]
            own = session_fields(Element(one.kind, b"", one.value)).get(b"sessionId")
            other = None if own is None else by_session_id.pop(own, None)
            if other is not None:
                pairs[place] = other
                missing.remove(place)
                surplus.remove(other)
        return pairs

    def _compare_content(self, one: ExpectedSession, session: Element) -> None:
        if one.value == session.value and one.kind == session.kind:
            self._result.matched += one.judged is not None
            return
        if self._is_touched is not None and _has_gone_on(one, session, is_touched=self._is_touched):
            self._result.matched += one.judged is not None
            self._result.changed += 1
            return
        differing = tuple(self._content_mismatches(one, session))
        if one.judged is None:
            self._result.mismatches += differing
        else:
            self._result.open.append(open_booking(one.judged, differing))

    def _content_mismatches(self, one: ExpectedSession, session: Element) -> Iterator[Mismatch]:
        expected = Element(one.kind, b"sessions", one.value)
        booking_id = one.judged.document.booking_id if one.judged else session_name(expected)
        if session.kind != DOCUMENT or one.kind != DOCUMENT:
            yield Mismatch(
                Kind.CONTENT, self._client_id, booking_id, "sessions", expected, session, "no session"
            )
            return
        for difference in differences(one.value, session.value):
            is_moved = difference.expected == difference.found
            yield Mismatch(
                Kind.CONTENT,
                self._client_id,
                booking_id,
                difference.field,
                difference.expected,
                difference.found,
                "the fields are in another order, or one occurs twice" if is_moved else "",
            )

    def _note_missing(self, one: ExpectedSession) -> None:
        if one.judged is not None:
            self._result.open.append(open_booking(one.judged))
            return
        session = Element(one.kind, b"sessions", one.value)
        self._result.mismatches.append(
            Mismatch(
                Kind.MISSING,
                self._client_id,
                session_name(session),
                "sessions",
                expected=session,
                detail="a session that was there before the migration is gone",
            )
        )

    def _note_surplus(self, session: Element, known: set[bytes], *, allow_later: bool) -> None:
        identity, claim = identity_of(session), claimed_booking(session)
        name = session_name(session)
        if identity in known:
            which = CLAIM if claim is not None else "sessionId"
            self._report(Kind.DUPLICATE, name, which, session, "the session is there more than once")
        elif identity in self._unfit:
            reason, at_fault = self._unfit[identity].broken[0]
            self._report(Kind.EXTRA, name, at_fault, session, f"the booking had to be rejected: {reason}")
        elif claim is not None:
            self._result.mismatches.append(stale_mismatch(session, self._client_id))
        elif allow_later:
            self._take_later(session, name)
        else:
            self._result.mismatches.append(unclaimed_mismatch(session, self._client_id))

    def _take_later(self, session: Element, name: Any) -> None:
        """A session that the application added is allowed, if it is one: with a `sessionId` of its own."""
        own = session_fields(session).get(b"sessionId")
        if own is None:
            self._report(Kind.EXTRA, name, "sessionId", session, "no session: it has no sessionId")
        elif own in self._later_ids:
            self._report(Kind.DUPLICATE, name, "sessionId", session, "two sessions share this id")
        else:
            self._later_ids.add(own)
            self._result.later.append(session)

    def _report(self, kind: Kind, booking_id: Any, at: str | None, session: Element, detail: str) -> None:
        found = None if at is None else session_fields(session).get(at.encode())
        self._result.mismatches.append(
            Mismatch(kind, self._client_id, booking_id, at, found=found, detail=detail)
        )

    def _compare_order(self, pairs: Mapping[int, int]) -> None:
        standing = [place for place, _other in sorted(pairs.items(), key=lambda pair: pair[1])]
        for wanted, there in zip(sorted(pairs), standing, strict=True):
            if wanted != there:
                one, other = self._as_element(wanted), self._as_element(there)
                self._result.mismatches.append(
                    Mismatch(
                        Kind.ORDER,
                        self._client_id,
                        session_name(one),
                        "sessions",
                        _named_by(one),
                        _named_by(other),
                        "another session stands where this one belongs",
                    )
                )
                return

    def _as_element(self, place: int) -> Element:
        one = self._expected[place]
        return Element(one.kind, b"sessions", one.value)

    def _check_session_ids(self, pairs: Mapping[int, int]) -> None:
        """Two different sessions must not share a `sessionId`, unless that is how it was before the migration."""
        untouched = {
            other for place, other in pairs.items() if self._expected[place].value == self._found[other].value
        }
        seen: dict[Element, int] = {}
        for other, session in enumerate(self._found):
            own = session_fields(session).get(b"sessionId")
            if own is None:
                continue
            first = seen.setdefault(own, other)
            is_another = identity_of(self._found[first]) != identity_of(session)
            if first != other and is_another and not {first, other} <= untouched:
                self._report(
                    Kind.DUPLICATE, session_name(session), "sessionId", session, "two sessions share this id"
                )


def _has_gone_on(one: ExpectedSession, session: Element, *, is_touched: bool) -> bool:
    """Whether a session is the expected one, both of its ids are, and the application has changed it since."""
    if session.kind != DOCUMENT or one.kind != DOCUMENT:
        return False
    expected, found = session_fields(Element(one.kind, b"", one.value)), session_fields(session)
    if any(expected.get(name) != found.get(name) for name in (b"sessionId", CLAIM.encode())):
        return False
    before, now = one.facts.updated, session_facts(session).updated
    return is_touched or (before is not None and now is not None and now > before)


def open_booking(judged: Expected, differing: tuple[Mismatch, ...] = ()) -> OpenBooking:
    """A booking whose fate the rejected records have to tell."""
    document = judged.document
    return OpenBooking(document.raw, document.booking_id, document.client_id, judged.broken, differing)


def stale_mismatch(session: Element, client_id: Any) -> Mismatch:
    """A session whose booking the client does not have, or not any more."""
    found = session_fields(session).get(CLAIM.encode())
    return Mismatch(
        Kind.EXTRA,
        client_id,
        session_name(session),
        CLAIM,
        found=found,
        detail="the source has no such booking",
    )


def unclaimed_mismatch(session: Element, client_id: Any) -> Mismatch:
    """A session that is neither a booking's nor was there before the migration."""
    found = session_fields(session).get(b"sessionId")
    detail = "the session claims no booking (see --allow-later)"
    return Mismatch(Kind.EXTRA, client_id, session_name(session), "sessionId", found=found, detail=detail)


def conflict_mismatches(judged: Expected, there: ExpectedSession) -> Iterator[Mismatch]:
    """Where the session that was there before the migration differs from the one that its booking would be."""
    document = judged.document
    for difference in differences(judged.session, there.value) if there.kind == DOCUMENT else ():
        yield Mismatch(
            Kind.CONTENT,
            document.client_id,
            document.booking_id,
            difference.field,
            difference.expected,
            difference.found,
        )


def session_name(session: Element) -> Any:
    """What to call a session in a mismatch: the booking that it claims to be, else its `sessionId`; as decoded."""
    element = _named_by(session)
    return None if element is None else read_value(element)


def _named_by(session: Element) -> Element | None:
    claim = claimed_booking(session)
    return session_fields(session).get(b"sessionId") if claim is None else claim
