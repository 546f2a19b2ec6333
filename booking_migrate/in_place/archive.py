"""What runs in place moved to the archive, by their notes: whether the archive still has it, and the clients' state before.

`derive` has what a client's document becomes with bookings that are moved.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from booking_migrate.bson.document import value_in
from booking_migrate.bson.order import (
    id_key,
    sort_key,
)
from booking_migrate.domain.client_document import ClientDocument, compose, read_client_document
from booking_migrate.domain.consolidate import ClientCase, Consolidation, consolidate
from booking_migrate.domain.rules import Rules
from booking_migrate.domain.session import Session
from booking_migrate.errors import ArchiveLostInRollback, ArchiveNotOwn, OldBookingsLost, OtherArchive
from booking_migrate.runs.commands import command_of
from booking_migrate.runs.provenance import Trace
from booking_migrate.runs.states import RESUMABLE, WITHOUT_ARCHIVE
from booking_migrate.stores.in_place import Move, Unit
from booking_migrate.stores.journal import DocumentNote, NoteKind, RunJournal, RunRecord, RunState

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.in_place import MongoInPlace


@dataclass(slots=True)
class Client:
    """The current state of one client of a group."""

    client_id: Any
    sessions: list[Session] = field(default_factory=list)
    """Its bookings that become sessions."""

    copies: list[Session] = field(default_factory=list)
    """Its bookings that the application stored again unchanged, and that have sessions."""

    lost: set[bytes] = field(default_factory=set)
    """The sort keys of bookings that its document has sessions of and that belong to another client now."""

    document: ClientDocument | None = None

    obstacle: bytes | None = None
    """A document that is not a sound client document, and that keeps the client's from being inserted."""

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
    """Yield the client documents among some documents."""
    # Most of them are bookings, which need not be parsed.
    found = (read_client_document(raw) for raw in documents if b"sessions\x00" in raw)
    return (each for each in found if isinstance(each, ClientDocument))


def claimed(documents: Iterable[bytes]) -> set[bytes]:
    """Return the bookings that client documents have sessions of, by the sort keys of their `_id`."""
    return {key for document in client_documents(documents) for key in claims_of(document)}


def derive(client: Client, earlier: Sequence[Session], trace: Trace | None, rules: Rules) -> Consolidation:
    """Derive a client's document from its bookings and its existing document.

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
    """Derive a document that only the runs have written from all of the client's bookings.

    So the order of arrival does not matter. None if others wrote the document or changed it, or if one of the bookings that
    it was made of cannot be in it now.
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


_COMPLETE = RESUMABLE | {RunState.DONE}
"""The states of a run whose moved bookings are all in the archive: a rollback moves them back."""

_LOOKED_AT = 100
"""How many of a run's bookings are looked up: `verify` finds single ones that were deleted by hand."""


def check_archive(collection: "MongoInPlace", journal: RunJournal) -> None:
    """Refuse an archive that was dropped, or that is another collection of the same name.

    Args:
        collection: the collection and its archive.
        journal: knows what runs have moved.

    Raises:
        OldBookingsLost: it does not exist, though a run moved bookings to it.
        ArchiveNotOwn: it has none of the bookings that a run moved to it, or documents although no run moved any.
    """
    own = [run for run in journal.runs(collection.name) if run.archive == collection.archive_name]
    for run in own:
        check_archive_of(run, collection, journal)
    is_known = any(run.state not in WITHOUT_ARCHIVE for run in own)
    if not is_known and collection.archive_exists() and not collection.is_archive_empty():
        raise ArchiveNotOwn(collection.archive_name, None)


def refuse_other_archive(journal: RunJournal, *, source: str, archive: str) -> None:
    """Refuse to verify with an archive that no run in place has used whose result is there, if another one was used.

    Raises:
        OtherArchive: the newest run in place has moved its old bookings to another one.
    """
    known = [run for run in journal.runs(source) if run.archive and run.state not in WITHOUT_ARCHIVE]
    if known and archive not in [run.archive for run in known]:
        newest = known[0]
        raise OtherArchive(newest.run_id, source, newest.archive or "", archive, command_of(newest, "verify"))


def check_archive_of(run: RunRecord, collection: "MongoInPlace", journal: RunJournal) -> None:
    """As `check_archive`, for one run.

    Raises:
        OldBookingsLost, ArchiveNotOwn: as `check_archive`.
        ArchiveLostInRollback: a rollback is unfinished, and the archive does not exist any more.
    """
    is_undone = run.state is RunState.ROLLING_BACK and not run.archive_emptied
    looks = is_undone or run.state in _COMPLETE
    first = next(journal.ranges(run.run_id, NoteKind.MOVED), None) if looks else None
    # Without transactions, a note does not prove that the move was carried out.
    has_moved = collection.has_transactions or run.tally.get("moved", {}).get("migrated")
    if first is None or not has_moved:
        return
    if not collection.archive_exists():
        if is_undone:
            raise ArchiveLostInRollback(collection.archive_name)
        raise OldBookingsLost(collection.archive_name, _with_another_archive(run))
    if is_undone:
        return
    ids = [note.document_id for note in first.notes[:_LOOKED_AT]]
    # A booking that a later run moved as well is restored when that run is undone.
    if ids and not collection.archived(ids) and not collection.find(ids):
        raise ArchiveNotOwn(collection.archive_name, run.run_id, _with_another_archive(run))


def _with_another_archive(run: RunRecord) -> str:
    """Return the command that migrates the bookings left, without the archive of a run."""
    return command_of(run.model_copy(update={"archive": "OTHER"}), "migrate")


class Replay(Unit):
    """Clients before a unit of work that was interrupted between its steps, on a server without transactions.

    Bookings are read from the collection or the archive, wherever the unit has left them.
    """

    def __init__(
        self,
        unit: Unit,
        collection: "MongoInPlace",
        notes: Sequence[DocumentNote],
        before: Sequence[bytes],
        noted: str,
    ) -> None:
        """Take the parts.

        Args:
            unit: writes what is left to be written.
            collection: where the bookings are, or in its archive.
            notes: about the bookings that the unit had to move.
            before: the client documents as they were.
            noted: the name of the last note about it.
        """
        self._noted = noted
        self._unit = unit
        self._superseded = {note.key: note.before for note in notes}
        self._before = before
        wanted = [note.document_id for note in notes]
        # If both have it, the archive may still have the older version.
        found = [*collection.archived(wanted), *collection.find(wanted)]
        self._bookings = {id_key(raw): raw for raw in found}

    def client_ids(self) -> Sequence[Any]:
        """Return the clients of the unit."""
        ids = (value_in(raw, b"clientId") for raw in self._bookings.values())
        return list({sort_key(client_id): client_id for client_id in ids}.values())

    @override
    def find(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        return [*self._bookings.values(), *self._before]

    @override
    def archived_of(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        return self._others(self._unit.archived_of(client_ids))

    @override
    def archived(self, ids: Sequence[Any]) -> Sequence[bytes]:
        superseded = (self._superseded.get(sort_key(each)) for each in ids)
        return [*self._others(self._unit.archived(ids)), *(raw for raw in superseded if raw is not None)]

    @override
    def present(self, ids: Sequence[Any]) -> Sequence[bytes]:
        return self._unit.present(ids)

    @override
    def claiming(self, ids: Sequence[Any], but: Sequence[Any] = ()) -> Sequence[bytes]:
        # The documents are those from before the unit.
        wanted = {sort_key(each) for each in ids}
        documents = client_documents(self._before)
        return [each.raw for each in documents if not wanted.isdisjoint(claims_of(each))]

    def _others(self, bookings: Sequence[bytes]) -> Sequence[bytes]:
        """Return the bookings that the unit did not have to move."""
        return [raw for raw in bookings if id_key(raw) not in self._superseded]

    @override
    def take(self, move: Move) -> None:
        # The notes exist already, and keep their names.
        progress = {**move.progress, "noted": self._noted}
        self._unit.take(replace(move, notes=(), progress=progress))
