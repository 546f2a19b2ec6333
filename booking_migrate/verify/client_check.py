"""Everything that must hold for one client: what its bookings had to become against what the target holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bson.datetime_ms import DatetimeMS

from booking_migrate.bson.document import Element
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.contract import is_client_id
from booking_migrate.domain.rejection import ConflictPolicy, Reason
from booking_migrate.stores.ports import Duplicate
from booking_migrate.verify.client_document import age_of, expected_fields, joined_document
from booking_migrate.verify.document_check import (
    Base,
    Outline,
    client_documents,
    document_mismatches,
)
from booking_migrate.verify.documents import SourceDocument, TargetDocument, claimed_booking
from booking_migrate.verify.expected import Deriver, Expected
from booking_migrate.verify.join import ClientPair
from booking_migrate.verify.mismatch import Mismatch
from booking_migrate.verify.people import People
from booking_migrate.verify.plan import VerificationRules
from booking_migrate.verify.rules import BrokenRule
from booking_migrate.verify.sessions import (
    ExpectedSession,
    OpenBooking,
    booking_identity,
    compare_sessions,
    conflict_mismatches,
    expect_booking,
    expect_unchanged,
    identity_of,
    open_booking,
    session_facts,
    stale_mismatch,
    unclaimed_mismatch,
)


@dataclass(slots=True)
class ClientResult:
    """What checking one client came to."""

    mismatches: list[Mismatch] = field(default_factory=list)
    open: list[OpenBooking] = field(default_factory=list)
    strange: list[Mismatch] = field(default_factory=list)
    """Sessions that were there before and whose booking the client does not have: mismatches if another client has it."""

    scanned: int = 0
    migrated: int = 0
    already_migrated: int = 0
    sessions: int = 0
    client_documents: int = 0
    later: int = 0
    changed: int = 0
    wrong_totals: list[Any] = field(default_factory=list)
    """The `_id` of client documents that were rightly carried as they were, with totals that do not fit."""


@dataclass(slots=True)
class _Sorted:
    """What had to become of a client's bookings."""

    fit: list[Expected] = field(default_factory=list)
    """The bookings that must be new sessions, in order."""

    replaced: dict[int, Expected] = field(default_factory=dict)
    """The bookings that must take the place of a session that was there before, by its index."""

    unfit: dict[bytes, Expected] = field(default_factory=dict)
    """The bookings that must be rejected, by identity."""

    @property
    def new(self) -> Sequence[Expected]:
        """The bookings that the migration had to write, in the order of their sessions."""
        return [*(one for _, one in sorted(self.replaced.items())), *self.fit] if self.replaced else self.fit

    def expected(self, base: Base | None) -> list[ExpectedSession]:
        """The sessions that must be there, in their order."""
        before = list(base.sessions) if base else []
        for place, one in self.replaced.items():
            before[place] = expect_booking(one)
        return [*before, *map(expect_booking, self.fit)]


class ClientCheck:
    """Checks clients, each by itself, under the rules of one verification."""

    def __init__(self, rules: VerificationRules) -> None:
        self._rules = rules
        self._judge = Deriver(rules)

    def check(self, pair: ClientPair, people: People) -> ClientResult:
        """Check one client, or one document that belongs to none.

        Args:
            pair: all that both sides hold of the client.
            people: the users and experts that its bookings need.
        """
        result = ClientResult()
        client_id = pair.client_id
        judged = self._derive_expected(pair, people, result)
        base = self._find_base(pair, judged, result)
        sorted_out = self._sort_out(judged, base, result)
        unfit = sorted_out.unfit
        documents, wrong = client_documents(pair.target, client_id)
        result.mismatches += wrong
        found = _sessions_of(documents)
        compared = compare_sessions(
            sorted_out.expected(base),
            found,
            client_id,
            unfit,
            allow_later=self._rules.allow_later and is_client_id(client_id),
            is_touched=_is_touched(documents, found) if self._rules.allow_changed else None,
        )
        result.mismatches += compared.mismatches
        result.open += compared.open
        present = {identity_of(session) for session in found} if unfit else set()
        result.open += [open_booking(one) for key, one in unfit.items() if key not in present]
        result.migrated = compared.matched
        result.later = len(compared.later)
        result.changed = compared.changed
        if compared.matched or result.already_migrated:
            result.sessions = len(found)
        outline = Outline(client_id, base, sorted_out.new, compared)
        result.mismatches += document_mismatches(documents, outline)
        if base is not None and outline.is_carried and base.has_wrong_totals:
            result.wrong_totals.append(base.document.value(b"_id"))
        return result

    def _derive_expected(self, pair: ClientPair, people: People, result: ClientResult) -> list[Expected]:
        bookings = [document for document in pair.source if not document.is_client_document]
        result.scanned = len(bookings)
        return [self._judge.judge(document, people) for document in bookings]

    def _find_base(self, pair: ClientPair, judged: Sequence[Expected], result: ClientResult) -> Base | None:
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
                result.open.append(OpenBooking(source.raw, source.booking_id, source.client_id, broken))
            else:
                result.client_documents += 1
                documents.append(document)
        if pair.baseline is not None:
            earlier = TargetDocument(pair.baseline.document)
            result.mismatches += self._unaccounted(pair, earlier, judged, documents)
            same = earlier.by_name.get(b"_id")
            # A source client document and a target one with the same `_id` are one; the target's is the newer version.
            documents = [other for other in documents if other.by_name.get(b"_id") != same] + [earlier]
        if not documents:
            return None
        result.strange += self._strange(documents, judged, result.mismatches)
        documents.sort(key=lambda document: (age_of(document), sort_key(document.value(b"_id"))))
        sessions: list[ExpectedSession] = []
        for document in documents:
            there = {(one.kind, one.value) for one in sessions}
            sessions += [
                expect_unchanged(session)
                for session in document.sessions()
                if not there or (session.kind, session.value) not in there
            ]
        is_joined = len(documents) > 1
        return Base(joined_document(documents) if is_joined else documents[0], sessions, is_joined)

    def _unaccounted(
        self,
        pair: ClientPair,
        document: TargetDocument,
        judged: Sequence[Expected],
        own: Sequence[TargetDocument],
    ) -> Iterator[Mismatch]:
        """Report sessions in a document that others changed between two runs, which nothing from before explains.

        Those of a booking that the client does not have any more are stale: an earlier run wrote them. Those of no booking
        were added by others while the migration was under way.
        """
        baseline = pair.baseline
        if baseline is None or baseline.oldest == baseline.document:
            return
        before = [*own, *(() if baseline.oldest is None else (TargetDocument(baseline.oldest),))]
        there = {session.value for each in before for session in each.sessions()}
        bookings = {booking_identity(one) for one in judged}
        for session in document.sessions():
            if session.value in there or identity_of(session) in bookings:
                continue
            if claimed_booking(session) is not None:
                yield stale_mismatch(session, document.client_id)
            elif not self._rules.allow_later:
                yield unclaimed_mismatch(session, document.client_id)

    @staticmethod
    def _strange(
        documents: Sequence[TargetDocument], judged: Sequence[Expected], reported: Sequence[Mismatch]
    ) -> Iterator[Mismatch]:
        """Find sessions that were there before and claim a booking that the client does not have."""
        bookings = {booking_identity(one) for one in judged}
        for document in documents:
            for session in document.sessions():
                if claimed_booking(session) is not None and identity_of(session) not in bookings:
                    mismatch = stale_mismatch(session, document.client_id)
                    if mismatch not in reported:
                        yield mismatch

    def _sort_out(self, judged: Sequence[Expected], base: Base | None, result: ClientResult) -> "_Sorted":
        """Tell which bookings must be new sessions, which must be rejected, and which conflict with a session."""
        there = {one.identity: place for place, one in enumerate(base.sessions)} if base else {}
        sorted_out = _Sorted()
        copies: list[Expected] = []
        for one in judged:
            place = there.get(booking_identity(one)) if there else None
            if one.broken:
                self._reject(one, sorted_out, result)
            elif base is None or place is None:
                (copies if one.document.duplicate is Duplicate.COPY else sorted_out.fit).append(one)
            elif base.sessions[place].value == one.session:
                result.already_migrated += 1
            elif self._rules.on_conflict is ConflictPolicy.SOURCE:
                sorted_out.replaced.setdefault(place, one)
                copies += [one] if sorted_out.replaced[place] is not one else []
            else:
                differing = tuple(conflict_mismatches(one, base.sessions[place]))
                result.open.append(open_booking(one, differing))
        sorted_out.fit.sort(key=lambda one: one.place)
        new = sorted_out.new
        if new and self._size(base, sorted_out) > self._rules.maximum_document_size:
            too_large = BrokenRule(Reason.CLIENT_DOCUMENT_TOO_LARGE, None)
            refused = _Sorted(unfit=sorted_out.unfit)
            for one in (*new, *copies):
                self._reject(replace(one, broken=(too_large,)), refused, result)
            return refused
        # The same document twice is one booking.
        result.already_migrated += len(copies)
        return sorted_out

    def _reject(self, judged: Expected, sorted_out: "_Sorted", result: ClientResult) -> None:
        """No session can claim a booking without an id, nor one of several with the same id."""
        identity = booking_identity(judged)
        if judged.document.booking_id is None or identity in sorted_out.unfit:
            result.open.append(open_booking(judged))
        else:
            sorted_out.unfit[identity] = judged

    def _size(self, base: Base | None, sorted_out: "_Sorted") -> int:
        """The size in bytes of the client document that these bookings would make, or less if that is no matter."""
        fit = sorted_out.new
        expected = sorted_out.expected(base)
        sessions = [one.value for one in expected]
        in_array = sum(len(value) + 2 + len(str(place)) for place, value in enumerate(sessions)) + 5
        if 2 * in_array + 4 * len(fit[-1].document.raw) < self._rules.maximum_document_size and not base:
            return in_array
        facts = [one.facts for one in expected]
        fields = expected_fields(facts, base.document if base else None, fit)
        others = sum(len(element.raw) for name, element in fields.items() if name != b"sessions")
        return 5 + others + len(b"\x04sessions\x00") + in_array


def _is_touched(documents: Sequence[TargetDocument], sessions: Sequence[Element]) -> bool:
    """Whether a client document was written to after any of its sessions, which the migration never does."""
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
    if "clientId" not in source.fields:
        broken.append(BrokenRule(Reason.CLIENT_ID_MISSING, "clientId"))
    elif not is_client_id(source.client_id):
        broken.append(BrokenRule(Reason.CLIENT_ID_INVALID, "clientId"))
    return tuple(broken)


def _sessions_of(documents: Sequence[TargetDocument]) -> list[Element]:
    """The sessions of a client; of a second document, which is reported, only those that the first one has not."""
    if len(documents) == 1:
        return documents[0].sessions()
    sessions: list[Element] = []
    for document in documents:
        there = {session.value for session in sessions}
        sessions += [session for session in document.sessions() if session.value not in there]
    return sessions
