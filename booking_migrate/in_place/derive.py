"""What the client document of one client becomes: derived again if it is the runs' own, otherwise added to."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.client_document import ClientDocument, compose, read_client_document
from booking_migrate.domain.consolidate import ClientCase, Consolidation, consolidate
from booking_migrate.domain.rules import Rules
from booking_migrate.domain.session import Session
from booking_migrate.runs.provenance import Trace


@dataclass(slots=True)
class Client:
    """One client of a group, as it stands."""

    client_id: Any
    sessions: list[Session] = field(default_factory=list)
    """Its bookings that become sessions."""

    copies: list[Session] = field(default_factory=list)
    """Its bookings that were stored again as they are in the archive, and whose sessions stand."""

    lost: set[bytes] = field(default_factory=set)
    """The sort keys of bookings that its document has sessions of and that belong to another client now."""

    document: ClientDocument | None = None

    @property
    def claims(self) -> dict[bytes, bytes]:
        """Return the sessions of bookings in its document, by the sort key of the booking's `_id`."""
        return claims_of(self.document)

    @property
    def is_concerned(self) -> bool:
        """Return whether anything is to be done about it."""
        return bool(self.sessions or self.copies or self.lost)


def claims_of(document: ClientDocument | None) -> dict[bytes, bytes]:
    """Return the sessions of bookings in a client document, by the sort key of the booking's `_id`."""
    return {
        session.legacy_key: session.element.value
        for session in (document.sessions if document else ())
        if session.legacy_key is not None
    }


def client_documents(documents: Iterable[bytes]) -> Iterator[ClientDocument]:
    """Yield those of some documents that are client documents."""
    return (each for each in map(read_client_document, documents) if isinstance(each, ClientDocument))


def claimed(documents: Iterable[bytes]) -> set[bytes]:
    """Return the bookings that client documents have sessions of, by the sort keys of their `_id`."""
    return {key for document in client_documents(documents) for key in claims_of(document)}


def derive(client: Client, earlier: Sequence[Session], trace: Trace | None, rules: Rules) -> Consolidation:
    """Bring a client's bookings and its document together.

    Args:
        client: the client.
        earlier: its bookings that are in the archive, converted again.
        trace: where its document comes from; None if it has none.
        rules: the size limit and the conflict policy.
    """
    done = _derive_again(client, earlier, trace, rules) or _add(client, trace, rules)
    return replace(done, already_migrated=[*done.already_migrated, *client.copies])


def _add(client: Client, trace: Trace | None, rules: Rules) -> Consolidation:
    """Add the bookings to the document as it is, without the sessions that it loses."""
    document = client.document
    if document is not None and client.lost:
        document = _without(document, client.lost)
        is_own = trace is not None and trace.is_created
        if not document.sessions and is_own:
            document = None
    case = ClientCase(client.sessions, in_target=document)
    return consolidate(case, rules)


def _derive_again(
    client: Client, earlier: Sequence[Session], trace: Trace | None, rules: Rules
) -> Consolidation | None:
    """Derive a document of the runs that others have not changed from all of the client's bookings.

    Then it does not matter which of them came first. None if others wrote the document or changed it, or if one of the
    bookings that it was made of cannot be in it now.
    """
    document = client.document
    if document is None or trace is None or trace.baseline == document.raw:
        return None
    base = None if trace.baseline is None else read_client_document(trace.baseline)
    if base is not None and not isinstance(base, ClientDocument):
        return None
    claims, before = client.claims, claims_of(base)
    decided = {key for key, session in before.items() if claims.get(key, session) != session}
    leaving = client.lost | {session.id_key for session in client.sessions}
    written = {key for key in claims if key not in before} | decided
    known = {session.id_key: session for session in earlier if session.id_key in written - leaving}
    if known.keys() != written - leaving:
        return None
    if base is not None:
        base = _without(base, client.lost)
        index_of = {session.legacy_key: index for index, session in enumerate(base.sessions)}
        replaced = {index_of[key]: known.pop(key) for key in decided - leaving}
        base = _read(compose(base, (), replaced)) if replaced else base
    case = ClientCase([*known.values(), *client.sessions], in_target=base, found=document)
    whole = consolidate(case, rules)
    if not known.keys().isdisjoint(sort_key(rejection.document_id) for rejection in whole.rejected):
        return None
    return replace(
        whole,
        migrated=[session for session in whole.migrated if session.id_key not in known],
        already_migrated=[session for session in whole.already_migrated if session.id_key not in known],
    )


def _without(document: ClientDocument, keys: Collection[bytes]) -> ClientDocument:
    """Return a client document without the sessions of these bookings."""
    dropped = [index for index, session in enumerate(document.sessions) if session.legacy_key in keys]
    return _read(compose(document, (), dropped=dropped)) if dropped else document


def _read(raw: bytes) -> ClientDocument:
    read = read_client_document(raw)
    if not isinstance(read, ClientDocument):
        raise TypeError("a client document was composed that is not one")
    return read
