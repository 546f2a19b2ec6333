"""The full check of one client: what its bookings must have become against what the target holds."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from bson.datetime_ms import DatetimeMS

from booking_migrate.bson.document import DOCUMENT, MAXIMUM_DEPTH, Element, depth, read_value
from booking_migrate.bson.order import element_key
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.domain.rejection import ConflictPolicy, Reason
from booking_migrate.stores.ports import Baseline, Duplicate
from booking_migrate.verify.client_fields import (
    Base,
    Outline,
    age_of,
    client_documents,
    document_mismatches,
    expected_fields,
    joined_document,
)
from booking_migrate.verify.expected import Deriver, Expected, People
from booking_migrate.verify.join import (
    ClientPair,
    SourceDocument,
    TargetDocument,
    claimed_booking,
    session_fields,
)
from booking_migrate.verify.mismatch import Kind, Mismatch
from booking_migrate.verify.outcome import BrokenRule, ClientResult, UnresolvedBooking, VerificationRules
from booking_migrate.verify.sessions import (
    CLAIM,
    ExpectedSession,
    booking_identity,
    compare_sessions,
    conflict_mismatches,
    expect_booking,
    expect_unchanged,
    identity_of,
    session_facts,
    stale_mismatch,
    unclaimed_mismatch,
    unresolved_booking,
)


def check_batch(rules: VerificationRules, batch: Sequence[ClientPair], people: People) -> list[ClientResult]:
    """Check some clients; runs in worker processes too."""
    check = _check_of(rules).check
    return [check(pair, people) for pair in batch]


@dataclass(slots=True)
class _Allotment:
    """The expected outcome for each of a client's bookings."""

    added: list[Expected] = field(default_factory=list)
    """The bookings that must be further sessions, in order."""

    replaced: dict[int, Expected] = field(default_factory=dict)
    """The bookings that must take the place of a session that was there before, by its index."""

    dropped: set[int] = field(default_factory=set)
    """The indexes of the additional sessions of replaced bookings that have several."""

    kept: list[Expected] = field(default_factory=list)
    """All convertible bookings, if the session of one of them may be kept with other content by a decision."""

    rejected: dict[bytes, Expected] = field(default_factory=dict)
    """The bookings that must be rejected, by identity."""

    @property
    def new(self) -> Sequence[Expected]:
        """Return the bookings that the migration had to write, in the order of their sessions."""
        if not self.replaced:
            return self.added
        return [*(one for _, one in sorted(self.replaced.items())), *self.added]

    def expected(self, base: Base | None) -> list[ExpectedSession]:
        """Return the sessions that must be there, in their order."""
        before = list(base.sessions) if base else []
        for index, one in self.replaced.items():
            before[index] = expect_booking(one)
        if self.dropped:
            before = [one for index, one in enumerate(before) if index not in self.dropped]
        return [*before, *map(expect_booking, self.added)]


class ClientCheck:
    """Checks clients, each independently, under the rules of one verification."""

    def __init__(self, rules: VerificationRules) -> None:
        self._rules = rules
        self._deriver = Deriver(rules)

    def check(self, pair: ClientPair, people: People) -> ClientResult:
        """Check one client, or one document that belongs to none.

        Args:
            pair: all that both sides hold of the client.
            people: the users and experts that its bookings need.
        """
        result = ClientResult()
        client_id = pair.client_id
        bookings = [self._deriver.derive(each, people) for each in pair.source if not each.is_client_document]
        result.scanned = len(bookings)
        base = self._find_base(pair, bookings, result)
        allotment = self._allot(bookings, base, result)
        rejected = allotment.rejected
        documents, wrong = client_documents(pair.target, client_id)
        result.mismatches += wrong
        found = _sessions_of(documents)
        compared = compare_sessions(
            allotment.expected(base),
            found,
            client_id,
            rejected,
            result,
            allow_later=self._rules.allow_later and is_client_id(client_id),
            allow_deleted=self._rules.allow_deleted,
            is_touched=_is_touched(documents, found) if self._rules.allow_changed else None,
        )
        present = {identity_of(session) for session in found} if rejected else set()
        result.unresolved += [unresolved_booking(one) for key, one in rejected.items() if key not in present]
        if result.migrated or result.already_migrated:
            result.sessions = len(found)
        outline = Outline(client_id, base, allotment.new or allotment.kept, compared)
        if documents or base is None:
            result.mismatches += document_mismatches(documents, outline)
        elif not (base.sessions and self._rules.allow_changed):
            # In a collection in use, a document that is gone is missing session by session, if it had any.
            result.missing += 1
            result.mismatches += () if self._rules.allow_deleted else document_mismatches(documents, outline)
        if base is not None and outline.is_carried and base.has_wrong_totals:
            result.wrong_totals.append(base.document.value(b"_id"))
        return result

    def _find_base(self, pair: ClientPair, bookings: Sequence[Expected], result: ClientResult) -> Base | None:
        """Find the client document from before the migration: in the source, and by the baseline in the target."""
        documents: list[TargetDocument] = []
        for source in pair.source:
            if not source.is_client_document or source.duplicate is Duplicate.COPY:
                continue
            document = TargetDocument(source.raw)
            broken = _faults_of_client_document(source, document)
            if not self._rules.can_store(source.raw):
                broken += (BrokenRule(Reason.NOT_EXTENDED_JSON, None),)
            if broken:
                result.scanned += 1
                result.unresolved.append(
                    UnresolvedBooking(source.raw, source.booking_id, source.client_id, broken)
                )
            else:
                result.client_documents += 1
                documents.append(document)
        earlier, known = None, None
        if pair.baseline is not None:
            earlier = TargetDocument(pair.baseline.document)
            known = _sessions_before(pair.baseline, documents)
            same = earlier.by_name.get(b"_id")
            # A source client document and a target one with the same `_id` are one; the target's is the newer version.
            documents = [other for other in documents if other.by_name.get(b"_id") != same] + [earlier]
        if not documents:
            return None
        self._report_unexplained(documents, bookings, None if known is None else earlier, known or (), result)
        documents.sort(key=age_of)
        sessions: list[ExpectedSession] = []
        for document in documents:
            there = {(one.kind, one.value) for one in sessions}
            sessions += [
                expect_unchanged(session)
                for session in document.sessions()
                if (session.kind, session.value) not in there
            ]
        is_joined = len(documents) > 1
        return Base(joined_document(documents) if is_joined else documents[0], sessions, is_joined)

    def _report_unexplained(
        self,
        documents: Sequence[TargetDocument],
        bookings: Sequence[Expected],
        changed: TargetDocument | None,
        known: Container[bytes],
        result: ClientResult,
    ) -> None:
        """Report sessions that were there before and that no booking of the client explains.

        One that claims a booking is foreign: another client may have it. In a document that others changed between two runs,
        one that is not known from before is a mismatch: with a claim an earlier run wrote it, and without one it was added
        by others during the migration.
        """
        identities = {booking_identity(one) for one in bookings}
        foreign: list[Mismatch] = []
        for document in documents:
            for session in document.sessions():
                if identity_of(session) in identities:
                    continue
                is_new = document is changed and session.value not in known
                if claimed_booking(session) is not None:
                    stale = stale_mismatch(session, document.client_id)
                    (result.mismatches if is_new else foreign).append(stale)
                elif is_new and not self._rules.allow_later:
                    result.mismatches.append(unclaimed_mismatch(session, document.client_id))
        result.foreign += [mismatch for mismatch in foreign if mismatch not in result.mismatches]

    def _allot(self, bookings: Sequence[Expected], base: Base | None, result: ClientResult) -> _Allotment:
        """Decide which bookings must be new sessions, which must be rejected, and which conflict with a session."""
        there = _by_identity(base)
        allotment = _Allotment()
        copies: list[Expected] = []
        is_kept = False
        for one in bookings:
            indexes = _indexes_of(one, there)
            if one.broken:
                self._reject(one, allotment, result)
            elif base is None or not indexes:
                (copies if one.document.duplicate is Duplicate.COPY else allotment.added).append(one)
            elif len(indexes) == 1 and base.sessions[indexes[0]].value == one.session:
                result.already_migrated += 1
            else:
                match self._rules.on_conflict:
                    case ConflictPolicy.SOURCE:
                        allotment.replaced.setdefault(indexes[0], one)
                        allotment.dropped.update(indexes[1:])
                        copies += [one] if allotment.replaced[indexes[0]] is not one else []
                    case ConflictPolicy.TARGET | ConflictPolicy.REJECT as policy:
                        conflict = self._conflict(one, [base.sessions[index] for index in indexes])
                        is_kept |= conflict.is_decidable and policy is ConflictPolicy.TARGET
                        result.unresolved.append(conflict)
        if is_kept:
            allotment.kept = sorted((one for one in bookings if not one.broken), key=lambda one: one.rank)
        allotment.added.sort(key=lambda one: one.rank)
        new = allotment.new
        if new and self._size(base, allotment) > self._rules.maximum_document_size:
            refused = _Allotment(kept=allotment.kept, rejected=allotment.rejected)
            self._refuse((*new, *copies), base, refused, result)
            return refused
        # The same document twice is one booking.
        result.already_migrated += len(copies)
        return allotment

    def _refuse(
        self, bookings: Sequence[Expected], base: Base | None, allotment: _Allotment, result: ClientResult
    ) -> None:
        """Expect the rejection of bookings that make the client document too large."""
        there = _by_identity(base)
        too_large = BrokenRule(Reason.CLIENT_DOCUMENT_TOO_LARGE, None)
        for one in bookings:
            indexes = _indexes_of(one, there)
            if base is not None and indexes:
                # Its session was not replaced and still has other content.
                result.unresolved.append(self._conflict(one, [base.sessions[index] for index in indexes]))
            else:
                self._reject(replace(one, broken=(too_large,)), allotment, result)

    def _conflict(self, booking: Expected, there: Sequence[ExpectedSession]) -> UnresolvedBooking:
        """Return a booking whose session has other content, or that has several sessions."""
        differing = tuple(conflict_mismatches(booking, there[0]))
        if len(there) > 1:
            document, detail = booking.document, f"{len(there)} sessions claim this booking"
            twice = Mismatch(Kind.DUPLICATE, document.client_id, document.booking_id, CLAIM, detail=detail)
            differing = (twice, *differing)
        is_known = len(there) == 1 and there[0].identity == booking_identity(booking)
        is_decidable = is_known and self._keeps_contract(there[0], booking)
        return unresolved_booking(booking, differing, is_decidable=is_decidable)

    def _keeps_contract(self, there: ExpectedSession, booking: Expected) -> bool:
        """Return whether a session with other content than its booking's keeps the contract, too."""
        fields = {
            name.decode("utf-8", "surrogateescape"): read_value(part)
            for name, part in session_fields(there.element).items()
        }
        if any(fields.get(name) is None for name in ("expertUserId", "expertEmail")):
            return False
        own = {
            "clientId": booking.document.client_id,
            "clientUserId": booking.client_user_id,
            "clientEmail": booking.client_email,
        }
        return not self._deriver.contract.broken_by({**fields, **own})

    def _reject(self, booking: Expected, allotment: _Allotment, result: ClientResult) -> None:
        """Expect a rejection; no session can claim a booking without an id, nor a second one with the same id."""
        identity = booking_identity(booking)
        if booking.document.booking_id is None or identity in allotment.rejected:
            result.unresolved.append(unresolved_booking(booking))
        else:
            allotment.rejected[identity] = booking

    def _size(self, base: Base | None, allotment: _Allotment) -> int:
        """Return the bytes of the client document that these bookings make; or fewer, if it is far below the limit."""
        new = allotment.new
        expected = allotment.expected(base)
        in_array = sum(len(one.value) + 2 + len(str(index)) for index, one in enumerate(expected)) + 5
        if 2 * in_array + 4 * len(new[-1].document.raw) < self._rules.maximum_document_size and not base:
            return in_array
        facts = [one.facts for one in expected]
        fields = expected_fields(facts, base.document if base else None, new)
        others = sum(len(element.raw) for name, element in fields.items() if name != b"sessions")
        return 5 + others + len(b"\x04sessions\x00") + in_array


_check_of = lru_cache(maxsize=1)(ClientCheck)


def _sessions_before(baseline: Baseline, own: Sequence[TargetDocument]) -> set[bytes] | None:
    """Return the sessions from before the first run, if others changed the document between two runs; else None."""
    if baseline.oldest == baseline.document:
        return None
    oldest = () if baseline.oldest is None else (TargetDocument(baseline.oldest),)
    return {session.value for each in (*own, *oldest) for session in each.sessions()}


def _by_identity(base: Base | None) -> dict[bytes, list[int]]:
    """Return the indexes of the sessions from before, by identity."""
    there: dict[bytes, list[int]] = {}
    for index, one in enumerate(base.sessions if base else ()):
        there.setdefault(one.identity, []).append(index)
    return there


def _indexes_of(booking: Expected, there: dict[bytes, list[int]]) -> list[int]:
    """Return the sessions that are a booking's: that claim it, or else the one that has the `sessionId` it gets."""
    if not there or booking.broken:
        return []
    return there.get(booking_identity(booking)) or there.get(_session_id_identity(booking), [])[:1]


def _is_touched(documents: Sequence[TargetDocument], sessions: Sequence[Element]) -> bool:
    """Return whether a client document was written to after any of its sessions, which the migration never does."""
    own = [document.value(b"updatedAt") for document in documents]
    times = [facts.updated for facts in map(session_facts, sessions) if facts.updated is not None]
    dates = [int(value) for value in own if type(value) is DatetimeMS]
    return bool(dates) and max(dates) > max(times, default=max(dates))


def _faults_of_client_document(source: SourceDocument, document: TargetDocument) -> tuple[BrokenRule, ...]:
    broken = []
    if source.booking_id is None and "_id" not in source.fields:
        broken.append(BrokenRule(Reason.ID_MISSING, "_id"))
    if source.duplicate is Duplicate.CONFLICT:
        broken.append(BrokenRule(Reason.DUPLICATE_ID, "_id"))
    if not document.has_sessions:
        broken.append(BrokenRule(Reason.SESSIONS_NOT_AN_ARRAY, "sessions"))
    if len(document.parts) > len(document.by_name):
        broken.append(BrokenRule(Reason.DUPLICATE_FIELD, None))
    if "clientId" not in source.fields:
        broken.append(BrokenRule(Reason.CLIENT_ID_MISSING, "clientId"))
    elif not is_client_id(source.client_id):
        broken.append(BrokenRule(Reason.CLIENT_ID_INVALID, "clientId"))
    if depth(source.raw) > MAXIMUM_DEPTH:
        broken.append(BrokenRule(Reason.NESTED_TOO_DEEP, None))
    return tuple(broken)


def _sessions_of(documents: Sequence[TargetDocument]) -> list[Element]:
    """Return the sessions of a client; of a second document, which is reported, only those that the first one lacks."""
    if len(documents) == 1:
        return documents[0].sessions()
    sessions: list[Element] = []
    for document in documents:
        there = {session.value for session in sessions}
        sessions += [session for session in document.sessions() if session.value not in there]
    return sessions


def _session_id_identity(booking: Expected) -> bytes:
    """Return what a session is known by that has the booking's `sessionId` and does not claim it."""
    own = session_fields(Element(DOCUMENT, b"sessions", booking.session)).get(b"sessionId")
    return b"" if own is None else b"S" + element_key(own)
