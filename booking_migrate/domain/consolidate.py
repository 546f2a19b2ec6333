"""From a client's sessions and the documents it has already to one client document.

Everything about one client comes in and one `Consolidation` comes out: the document as it must be, and the outcome of
each booking. Nothing here knows places or batches.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from booking_migrate.bson.document import Document
from booking_migrate.bson.format import differences, display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.client_document import ClientDocument, StoredSession, absorb, compose
from booking_migrate.domain.ids import session_id
from booking_migrate.domain.rejection import ConflictPolicy, Fault, Reason, Rejection
from booking_migrate.domain.rules import DEFAULT_RULES, Rules
from booking_migrate.domain.session import Session


@dataclass(frozen=True, slots=True)
class ClientCase:
    """All that is known of one client."""

    sessions: Sequence[Session]
    """Its bookings, converted, in any order. A booking that occurs twice with the same bytes is in here twice."""

    in_source: Sequence[ClientDocument] = ()
    """Its client documents in the source."""

    in_target: ClientDocument | None = None
    """Its client document in the target, in the version before this tool wrote to it."""

    found: ClientDocument | None = None
    """Its client document in the target that the result replaces: bookings that are sessions of it already migrated."""


@dataclass(frozen=True, slots=True)
class Consolidation:
    """The outcome of one client."""

    document: bytes | None
    """The client document as the target must have it; None if the client gets none."""

    session_count: int
    """How many sessions that document has."""

    migrated: Sequence[Session]
    """The bookings that are new in the document."""

    already_migrated: Sequence[Session]
    """The bookings that were in it before, or that came twice."""

    rejected: Sequence[Rejection]
    """The bookings that cannot be in it."""

    kept: Sequence[Rejection]
    """Of the bookings already migrated, those whose session was kept with other content, by a recorded decision."""

    contradicting: Sequence[Rejection]
    """Client documents of the source that have a session of another one with other content."""

    disagreement: bool
    """Whether the client's bookings name different client fields."""

    size: int = 0
    """The bytes of the document with every new booking in it, also if it is too large and they are rejected."""


def consolidate(
    case: ClientCase,
    rules: Rules = DEFAULT_RULES,
    is_session: Callable[[Document, Session], bool] | None = None,
) -> Consolidation:
    """Bring a client's bookings and documents together.

    Args:
        case: the client.
        rules: the size limit and the conflict policy.
        is_session: says whether a stored session keeps the contract (see `Converter.is_session`); one that does not is
            never kept by a decision. None: all do.
    """
    base, joined, contradicting = _base(case)
    present = [*(base.sessions if base else ()), *joined]
    ordered = sorted(case.sessions, key=Session.order)
    dispositions = _sort_out(ordered, present, base, rules.on_conflict, is_session)
    document = _recreated(case, dispositions) or _compose(base, joined, dispositions, ordered)
    size = len(document or b"")
    if (dispositions.new or dispositions.replaced) and size > rules.maximum_document_size:
        dispositions = _refuse_new(dispositions, present, size, rules.maximum_document_size)
        document = _compose(base, joined, dispositions, ordered)
    there, migrated = _found_already(case, [*dispositions.new, *dispositions.replaced.values()])
    return Consolidation(
        document=document,
        session_count=len(present) + len(dispositions.new) - len(dispositions.dropped),
        migrated=migrated,
        already_migrated=[*dispositions.already, *there, *dispositions.copies],
        rejected=dispositions.rejected,
        kept=dispositions.kept,
        contradicting=contradicting,
        disagreement=len({(session.client_user_id, session.client_email) for session in case.sessions}) > 1,
        size=size,
    )


def _base(case: ClientCase) -> tuple[ClientDocument | None, list[StoredSession], list[Rejection]]:
    """Return the document to continue from, what the client's other documents have beyond it, and what contradicts it.

    The target's document is the base, as it came from the source; among documents to be joined the oldest is it.
    """
    target = [case.in_target] if case.in_target else []
    documents = sorted([*target, *case.in_source], key=_age)
    if not documents:
        return None, [], []
    target_id = sort_key(target[0].document_id) if target else None
    carried_before = [document for document in documents if sort_key(document.document_id) == target_id]
    base = target[0] if len(carried_before) == len(documents) else documents[0]
    joined = _join(base, documents)
    if case.in_target and any(one.raw == case.in_target.raw for one in joined[2]):
        # What is live in the target is never replaced by a document that contradicts it.
        joined = _join(case.in_target, documents)
    return joined


def _join(
    base: ClientDocument, documents: Sequence[ClientDocument]
) -> tuple[ClientDocument, list[StoredSession], list[Rejection]]:
    seen = {session.identity: session for session in base.sessions}
    further: list[StoredSession] = []
    rejected: list[Rejection] = []
    whole = base
    for document in documents:
        if document is base:
            continue
        clash = next((one for one in document.sessions if _clashes(one, seen.get(one.identity))), None)
        if clash:
            rejected.append(_clash(document, clash, seen[clash.identity]))
            continue
        own = [session for session in document.sessions if session.identity not in seen]
        seen.update((session.identity, session) for session in own)
        further += own
        if sort_key(document.document_id) != sort_key(base.document_id):
            whole = absorb(whole, document)
    return whole, further, rejected


def _age(document: ClientDocument) -> tuple[bool, int, bytes]:
    created_at = document.time("createdAt")
    return created_at is None, created_at or 0, sort_key(document.document_id)


def _clashes(session: StoredSession, there: StoredSession | None) -> bool:
    return there is not None and there.element.value != session.element.value


def _clash(document: ClientDocument, session: StoredSession, there: StoredSession) -> Rejection:
    unlike = differences(expected=session.element.value, found=there.element.value)
    detail = f"session {display_id(session.fields.get('sessionId'))}: {unlike[0]}"
    return Rejection(document.raw, (Fault(Reason.CONFLICT, "sessions", detail),), document.document_id)


def _compose(
    base: ClientDocument | None,
    joined: Sequence[StoredSession],
    dispositions: "_Dispositions",
    bookings: Sequence[Session],
) -> bytes | None:
    """Return the document; with nothing to add it is carried byte for byte, even with wrong totals.

    A decision to keep a session is about that session alone, so the fields beside the sessions are derived then, too.
    """
    own = len(base.sessions) if base else 0
    replaced = {index: session for index, session in dispositions.replaced.items() if index < own}
    further = [
        dispositions.replaced.get(own + index, session)
        for index, session in enumerate(joined)
        if own + index not in dispositions.dropped
    ]
    if further or dispositions.new or replaced or dispositions.kept or (base and base.is_altered):
        return compose(base, [*further, *dispositions.new], replaced, dispositions.dropped, bookings)
    return base.raw if base else None


def _found_already(case: ClientCase, migrated: Sequence[Session]) -> tuple[list[Session], list[Session]]:
    """Split sessions into those that the replaced document had with the same content, and all others."""
    if case.found is None or case.found is case.in_target:
        return [], list(migrated)
    there = {
        stored.legacy_key: stored.element.value
        for stored in case.found.sessions
        if stored.legacy_key is not None
    }
    already = [session for session in migrated if there.get(session.id_key) == session.raw]
    changed = [session for session in migrated if there.get(session.id_key) != session.raw]
    return already, changed


def _recreated(case: ClientCase, dispositions: "_Dispositions") -> bytes | None:
    """Return the document of all bookings, if the target's is what a run made of some of them and is unchanged since.

    Then it does not matter which bookings came first: a run over all of them at once would have made this one.
    """
    if not dispositions.new or dispositions.replaced or case.in_target is None or len(case.in_source) > 1:
        return None
    origin = case.in_source[0] if case.in_source else None
    already = _without_copies(dispositions.already)
    if not already or compose(origin, already) != case.in_target.raw:
        return None
    ordered = sorted([*already, *dispositions.new], key=Session.order)
    return compose(origin, ordered)


def _without_copies(ordered: Sequence[Session]) -> list[Session]:
    """Return the first session of each booking, in their order."""
    befores = [None, *ordered]
    return [
        session
        for before, session in zip(befores, ordered, strict=False)
        if before is None or before.id_key != session.id_key
    ]


@dataclass(frozen=True, slots=True)
class _Dispositions:
    """The outcome of a client's bookings."""

    new: Sequence[Session] = ()
    already: Sequence[Session] = ()
    copies: Sequence[Session] = ()
    """Bookings of ``new`` that came again with the same bytes."""

    rejected: Sequence[Rejection] = ()
    replaced: Mapping[int, Session] = field(default_factory=dict)
    """Bookings whose session is derived again, by the index of that session among those that are present."""

    kept: Sequence[Rejection] = ()
    """Of ``already``, those whose session was kept with other content, by a recorded decision."""

    dropped: frozenset[int] = frozenset()
    """The indexes of further sessions of bookings whose session is derived again, and that have several sessions."""


def _refuse_new(
    dispositions: _Dispositions, present: Sequence[StoredSession], size: int, maximum_size: int
) -> _Dispositions:
    """Return the same dispositions, but with the new bookings rejected because they make the document too large.

    Those whose session would have been derived again are conflicts: it stays, with other content.
    """
    detail = f"the client document would have {size} bytes, more than {maximum_size}"
    fault = Fault(Reason.CLIENT_DOCUMENT_TOO_LARGE, None, detail)
    conflicts = {session.id_key: present[index] for index, session in dispositions.replaced.items()}
    refused = []
    for session in (*dispositions.new, *dispositions.copies, *dispositions.replaced.values()):
        there = conflicts.get(session.id_key)
        count = sum(one.legacy_key == session.id_key for one in present) if there else 0
        faults = (_conflict(session, there, count), fault) if there else (fault,)
        refused.append(Rejection(session.booking, faults, session.legacy_id))
    return _Dispositions(
        already=dispositions.already, rejected=[*dispositions.rejected, *refused], kept=dispositions.kept
    )


def _sort_out(
    ordered: Sequence[Session],
    present: Sequence[StoredSession],
    base: ClientDocument | None,
    on_conflict: ConflictPolicy,
    is_session: Callable[[Document, Session], bool] | None,
) -> _Dispositions:
    """Find out which bookings are new, which are there already, and which are there with other content or twice."""
    unique = _without_copies(ordered)
    if base and unique and compose(None, unique) == base.raw:
        # The common case of a second run, found without taking the document apart.
        return _Dispositions(already=ordered)
    stored = _Stored(present)
    new: list[Session] = []
    already: list[Session] = []
    copies: list[Session] = []
    rejected: list[Rejection] = []
    kept: list[Rejection] = []
    replaced: dict[int, Session] = {}
    dropped: set[int] = set()
    for session in ordered:
        indexes = stored.find(session)
        there = present[indexes[0]] if indexes else None
        if there is None:
            is_copy = bool(new) and new[-1].id_key == session.id_key
            (copies if is_copy else new).append(session)
        elif len(indexes) == 1 and there.element.value == session.raw:
            already.append(session)
        else:
            match on_conflict:
                case ConflictPolicy.SOURCE:
                    if indexes[0] in replaced:
                        copies.append(session)
                    replaced.setdefault(indexes[0], session)
                    dropped.update(indexes[1:])
                case ConflictPolicy.TARGET if stored.can_be_kept(indexes, session, is_session):
                    already.append(session)
                    kept.append(_kept(session, there))
                case ConflictPolicy.TARGET | ConflictPolicy.REJECT:
                    rejected.append(_rejection(session, _conflict(session, there, len(indexes))))
    return _Dispositions(new, already, copies, rejected, replaced, kept, frozenset(dropped))


class _Stored:
    """The sessions that a client has already, by the booking that each of them is."""

    def __init__(self, present: Sequence[StoredSession]) -> None:
        self._present = present
        self._claimed: dict[bytes, list[int]] = {}
        self._unclaimed: dict[bytes, int] = {}
        for index, session in enumerate(present):
            if session.legacy_key is not None:
                self._claimed.setdefault(session.legacy_key, []).append(index)
            else:
                self._unclaimed.setdefault(session.identity, index)

    def find(self, session: Session) -> Sequence[int]:
        """Return the indexes of the sessions that are a booking's: that claim it, or else have the `sessionId` it gets."""
        found = self._claimed.get(session.id_key)
        if found is None and self._unclaimed:
            own = self._unclaimed.get(sort_key(session_id(session.legacy_id, session.created_at)))
            found = None if own is None else [own]
        return found or ()

    def can_be_kept(
        self, indexes: Sequence[int], session: Session, is_session: Callable[[Document, Session], bool] | None
    ) -> bool:
        """Return whether a decision can keep a session: it is the only one, claims its booking, and keeps the contract."""
        there = self._present[indexes[0]]
        is_known = len(indexes) == 1 and there.legacy_key is not None
        return is_known and (is_session is None or is_session(there.fields, session))


def _kept(session: Session, there: StoredSession) -> Rejection:
    rejection = _rejection(session, _conflict(session, there, 1))
    return replace(rejection, decision=ConflictPolicy.TARGET, session=there.element.value)


def _conflict(session: Session, there: StoredSession, count: int) -> Fault:
    unlike = differences(expected=session.raw, found=there.element.value)
    if count > 1:
        return Fault(Reason.CONFLICT, "legacyBookingId", f"{count} sessions claim this booking")
    return Fault(Reason.CONFLICT, unlike[0].field, "; ".join(map(str, unlike[:3])))


def _rejection(session: Session, fault: Fault) -> Rejection:
    return Rejection(session.booking, (fault,), session.legacy_id)
