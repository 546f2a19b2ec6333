"""Targets that write nothing: what a migration would find there, and what it would be refused for.

A `PreviewTarget` stands where a target stands, so the very same engine runs over it. A collection's reading calls go
through to it and its writing calls end here. A file is compared with what would be written (`file_preview`). Refusals
are collected instead of raised: the report of a dry-run lists all of them, and everything else too.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from booking_migrate.bson.document import read_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.rejection import Rejection
from booking_migrate.errors import Refused, WriteFailed
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.files.preview import ComparedFile, ComparedRejects, DiscardedOutput, FilePreview
from booking_migrate.stores.open import STREAM_REJECTS, last_part, rejects_beside
from booking_migrate.stores.open_destination import open_destination
from booking_migrate.stores.places import CollectionPlace, FileFormat, Place, StreamPlace
from booking_migrate.stores.ports import CanHold, Replacement, TargetWriter, stores_any_bson
from booking_migrate.stores.rejects import FileRejects, RejectsKeeper
from booking_migrate.stores.spool import disk_failures, open_scratch
from booking_migrate.stores.trial import Trial


class PreviewTarget(TargetWriter, Protocol):
    """A target that writes nothing, not even an index."""

    def refusals(self) -> Sequence[Refused]:
        """Return what a migration into this target would be refused for; complete after `finish`."""


class ReadableTarget(Protocol):
    """What a preview asks of a target: the reading part of `TargetWriter`, and a check."""

    @property
    def name(self) -> str:
        """Return what to call the target in messages and reports."""

    @property
    def can_store(self) -> CanHold:
        """Return the check whether the target can hold a document."""

    def check(self) -> None:
        """Refuse what `TargetWriter.prepare` would refuse, without writing anything.

        Raises:
            Refused: it would be refused.
        """

    def scan_client_documents(self) -> Iterator[bytes]:
        """Yield the client documents that the target holds already."""

    def find_client_documents(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the client documents that the target holds already for these `clientId` values."""


class EmptyTarget:
    """A collection on a server that is not known yet; taken as empty."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def can_store(self) -> CanHold:
        """Return the check of a collection, which holds every BSON document."""
        return stores_any_bson

    def check(self) -> None:
        """Do nothing: an empty collection is accepted."""

    def scan_client_documents(self) -> Iterator[bytes]:
        """Return an empty iterator."""
        return iter(())

    def find_client_documents(self, client_ids: Sequence[Any]) -> Iterator[bytes]:  # noqa: ARG002 - the port's signature
        """Return an empty iterator."""
        return iter(())


class ReadOnlyTarget:
    """A collection that is only read; see `PreviewTarget`."""

    def __init__(
        self, real: ReadableTarget, rejects: RejectsKeeper, open_trial: Callable[[], Trial] | None = None
    ) -> None:
        """Take the parts.

        Args:
            real: the target that a migration would write.
            rejects: who gets the rejected bookings.
            open_trial: makes what tries documents out; None: the server is not known.
        """
        self._open_trial = open_trial
        self._trial: Trial | None = None
        self._real = real
        self._rejects = rejects
        self._joined = _Joined()
        self._refusals: list[Refused] = []
        self._changed = False

    @property
    def name(self) -> str:
        """Return the real target's name."""
        return self._real.name

    @property
    def rejects_name(self) -> str:
        """Return where the rejected bookings go."""
        return self._rejects.name

    def refusals(self) -> Sequence[Refused]:
        """Return the refusals of the check and of the trial; complete after `finish`."""
        return (*self._refusals, *(() if self._trial is None else self._trial.refusals()))

    @property
    def can_store(self) -> CanHold:
        """Return the check whether the target can hold a document."""
        return self._real.can_store

    def prepare(self) -> None:
        """Check the real target; no index is made."""
        self._rejects.prepare()
        try:
            self._real.check()
        except Refused as refusal:
            self._refusals.append(refusal)
            return
        if self._open_trial is not None:
            self._trial = self._open_trial()

    def scan_client_documents(self) -> Iterator[bytes]:
        """Yield the client documents that the target holds already."""
        return self._real.scan_client_documents()

    def find_client_documents(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the target's client documents of these clients, with joined documents in place of their parts."""
        return self._joined.instead_of(self._real.find_client_documents(client_ids))

    def join(self, changed: Replacement, removed: Sequence[bytes]) -> None:  # noqa: ARG002 - the port's signature
        """Keep the joined document, for look-ups."""
        self._joined.add(changed.after)
        self._changed = True

    def write(
        self,
        new: Sequence[bytes],
        changed: Sequence[Replacement],
        rejected: Sequence[Rejection],
        removed: Sequence[bytes] = (),
    ) -> None:
        """Try the documents out and drop them; the rejected bookings go where the user asked for them."""
        self._changed |= bool(new or changed or removed)
        if self._trial is not None:
            self._trial.write(new, changed)
        for rejection in rejected:
            self._rejects.add(rejection)

    def finish(self) -> bool:
        """Return whether a migration would change the collection."""
        self._rejects.finish()
        return self._changed

    def abandon(self) -> None:
        """Abandon the rejected bookings and close everything."""
        self._rejects.abandon()
        self._joined.close()
        if self._trial is not None:
            self._trial.close()


class _Joined:
    """Client documents that would be joined, by client; on disk, so that memory does not grow with their number."""

    def __init__(self) -> None:
        self._database = open_scratch("CREATE TABLE joined (client BLOB PRIMARY KEY, raw BLOB) WITHOUT ROWID")
        self._is_empty = True

    def add(self, raw: bytes) -> None:
        self._is_empty = False
        with disk_failures():
            self._database.execute("INSERT OR REPLACE INTO joined VALUES (?, ?)", (_client_key(raw), raw))

    def instead_of(self, documents: Iterator[bytes]) -> Iterator[bytes]:
        if self._is_empty:
            yield from documents
            return
        shown: set[bytes] = set()
        for raw in documents:
            key = _client_key(raw)
            with disk_failures():
                row = self._database.execute("SELECT raw FROM joined WHERE client = ?", (key,)).fetchone()
            if row is None:
                yield raw
            elif key not in shown:
                shown.add(key)
                yield row[0]

    def close(self) -> None:
        self._database.close()


def _client_key(raw: bytes) -> bytes:
    return sort_key(read_fields(raw)["clientId"])


class DroppedRejects:
    """Rejected bookings that were not asked for."""

    name = ""

    def prepare(self) -> None:
        """Do nothing."""

    def add(self, rejected: Rejection) -> None:
        """Drop it."""

    def flush(self) -> None:
        """Do nothing."""

    def finish(self) -> bool:
        """Return False: nothing is written."""
        return False

    def abandon(self) -> None:
        """Do nothing: no file is open."""


class OptionalRejects:
    """Rejected bookings in a file; if it cannot be written, the dry-run continues without it."""

    def __init__(self, keeper: RejectsKeeper, on_loss: Callable[[WriteFailed], None]) -> None:
        self._keeper = keeper
        self._on_loss = on_loss
        self._is_lost = False

    @property
    def name(self) -> str:
        """Return the file's path."""
        return self._keeper.name

    def prepare(self) -> None:
        """Prepare the file."""
        self._keeper.prepare()

    def add(self, rejected: Rejection) -> None:
        """Add a booking, as long as the file can be written."""
        self._try(lambda: self._keeper.add(rejected))

    def flush(self) -> None:
        """End a batch, as long as the file can be written."""
        self._try(self._keeper.flush)

    def finish(self) -> bool:
        """Publish the file, if it can be written; return False, since a migration would not change it."""
        self._try(self._keeper.finish)
        return False

    def abandon(self) -> None:
        """Abandon the file."""
        self._keeper.abandon()

    def _try(self, action: Callable[[], object]) -> None:
        if self._is_lost:
            return
        try:
            action()
        except WriteFailed as error:
            self._is_lost = True
            self._keeper.abandon()
            self._on_loss(error)


def open_preview(
    place: Place,
    connection: Connection,
    *,
    source_name: str,
    overwrite: bool,
    reject_file: Path | None,
    on_loss: Callable[[WriteFailed], None] | None = None,
) -> PreviewTarget:
    """Open a target for a dry-run, as `locate.open_target` does for a migration.

    Args:
        place: the target.
        connection: the server and database of collections; a collection on no server is taken as empty.
        source_name: the name of the source, as for `open_target`.
        overwrite: whether a target file with other content may be replaced.
        reject_file: the file for the rejected bookings, which is replaced. None: they are dropped.
        on_loss: is called if that file cannot be written; None: that ends the dry-run.

    Raises:
        MissingUri, BadConfiguration: the connection string cannot be used.
    """
    source, target = last_part(source_name), last_part(place.name)
    chosen: RejectsKeeper = DroppedRejects()
    if reject_file is not None:
        file = FileRejects(reject_file, source=source, target=target, overwrite=True)
        chosen = file if on_loss is None else OptionalRejects(file, on_loss)
    if isinstance(place, CollectionPlace):
        return _read_only(place, connection, chosen, source_name)
    if isinstance(place, StreamPlace):
        beside, output = STREAM_REJECTS, DiscardedOutput()
        kept = ComparedRejects(beside, source=source, target=target, overwrite=overwrite, also=chosen)
        return FilePreview(place.name, FileFormat.JSON_LINES, output, kept)
    kept = ComparedRejects(
        rejects_beside(place), source=source, target=target, overwrite=overwrite, also=chosen
    )
    compared = ComparedFile(place.name, place.path, compressed=place.gzip, overwrite=overwrite)
    return FilePreview(place.name, place.format, compared, kept)


def _read_only(
    place: CollectionPlace, connection: Connection, rejects: RejectsKeeper, source_name: str
) -> ReadOnlyTarget:
    if not connection.is_given:
        return ReadOnlyTarget(EmptyTarget(place.name), rejects)
    collection = connection.collection(place.name)
    from booking_migrate.stores.mongo.target import MongoTarget  # noqa: PLC0415 - the driver is slow to import

    def open_trial() -> Trial:
        return Trial(open_destination(connection, place.name, source_name))

    return ReadOnlyTarget(MongoTarget(collection, DroppedRejects()), rejects, open_trial)
