"""What is opened for references: the collections that may hold ids of bookings, and what those ids stand for."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from booking_migrate.errors import NotPermitted
from booking_migrate.stores.connection import Connection, open_inspector, open_journal
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.own_collections import is_own
from booking_migrate.stores.places import CollectionPlace, parse_place
from booking_migrate.stores.references import OldIds, ReferringCollection

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.connection import DriverCollection
    from booking_migrate.stores.mongo.inspection import MongoInspector

_LIVE = frozenset({RunState.CUT_OVER, RunState.RESTORING, RunState.FINALIZING, RunState.FINALIZED})
"""The states of a run side by side whose result is the live collection, and of one in place whose archive may be dropped."""

_NOTHING = frozenset({RunState.PLANNED, RunState.ROLLED_BACK})
"""The states of a run of which nothing stands."""


class OpenReferences(NamedTuple):
    """A database in which references are looked for."""

    ids: OldIds
    inspector: "MongoInspector"
    own: Sequence[str]
    """Collections whose ids of bookings are not references: the source, the target, what keeps old bookings."""

    run: RunRecord | None
    """The newest run of this source; None if it was never migrated, or this user may not know."""

    @property
    def others(self) -> Sequence[str]:
        """Return the names of all collections that may hold references, sorted."""
        return self.inspector.other_collections(self.own)

    def referring(self, name: str) -> ReferringCollection:
        """Return one of these collections."""
        return self.inspector.referring(name)


def open_references(connection: Connection, *, source: str, target: str) -> OpenReferences:
    """Open what the ids of a source's bookings stand for: before a migration, and after it.

    Args:
        connection: the server and the database.
        source: the collection of bookings, under whose name client documents are after a cut-over.
        target: the collection that client documents are or would be in.
    """
    from booking_migrate.stores.mongo.connection import describe  # noqa: PLC0415 - the driver is slow to import
    from booking_migrate.stores.mongo.old_ids import MongoOldIds, OldIdPlaces  # noqa: PLC0415

    inspector = open_inspector(connection, source)
    runs = _runs(connection, source)
    run = next((each for each in runs if each.state not in _NOTHING), None)
    kept = None if run is None else run.archive or (run.legacy if run.state in _LIVE else None)
    live = connection.collection(source)
    has_kept = kept is not None and describe(connection.collection(kept)) is not None
    bookings = (live, connection.collection(kept)) if kept is not None and has_kept else (live,)
    is_migrated = run is not None and (run.archive is not None or run.state in _LIVE)
    clients = live if is_migrated else _written_by(connection, run)
    # In place, a booking is in the archive or still in the collection, until the archive is dropped.
    is_complete = has_kept or not is_migrated or (run is not None and run.state not in _LIVE)
    places = OldIdPlaces(bookings, clients, is_complete=is_complete)
    own = sorted({source, target, *_keeping(runs)})
    return OpenReferences(MongoOldIds(places), inspector, own, run)


def _written_by(connection: Connection, run: RunRecord | None) -> "DriverCollection | None":
    """Return the target of a run side by side that is not cut over."""
    if run is None or not isinstance(parse_place(run.target), CollectionPlace):
        return None
    return connection.collection(run.target)


def _runs(connection: Connection, source: str) -> Sequence[RunRecord]:
    """Return the runs of a source, the newest first; none if this user may not read the journal."""
    try:
        return [run for run in open_journal(connection).journal.runs() if run.source == source]
    except NotPermitted:
        return ()


def _keeping(runs: Sequence[RunRecord]) -> Iterator[str]:
    """Yield the names of the collections that runs wrote, or keep old bookings in."""
    for run in runs:
        yield from (name for name in (run.target, run.legacy, run.archive) if name and not is_own(name))
