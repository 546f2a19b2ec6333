"""Targets that write nothing: what a migration would find there, and what it would be refused for.

A `PreviewTarget` takes the place of a target, so the very same engine runs over it. A collection's reading calls go
through to it and its writing calls end here; a file is compared with what would be written (`files.target`). Refusals
are collected instead of raised: the report of a dry-run lists all of them, and everything else too.

Every client document is tried out with the validator and the unique indexes of the collection that it would go to: a sample
shows what a condition does to all documents, but not what it does to few. Keys are kept on disk, so that memory does not grow
with the documents.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from typing_extensions import override

from booking_migrate.bson.document import read_fields, value_in
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.rejection import Rejection
from booking_migrate.errors import Refused, WriteFailed
from booking_migrate.stores.connection import Connection, open_destination
from booking_migrate.stores.destination import (
    PlaceFinding,
    equal_values_finding,
    lone_unique_field,
    refusal_of,
    validator_finding,
)
from booking_migrate.stores.files.target import FilePreview, FileRejects, PreviewOutput, PreviewRejects
from booking_migrate.stores.places import (
    CollectionPlace,
    FileFormat,
    FilePlace,
    Place,
    StreamPlace,
    last_part,
    rejects_beside,
)
from booking_migrate.stores.ports import Replacement, TargetWriter, stores_any_bson
from booking_migrate.stores.rejects import RejectsKeeper
from booking_migrate.stores.scratch import Scratch
from booking_migrate.stores.validators import Verdict, enforced_validator

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.inspection import MongoDestination
    from booking_migrate.stores.mongo.target import MongoTarget


class PreviewTarget(TargetWriter, Protocol):
    """A target that writes nothing, not even an index."""

    def refusals(self) -> Sequence[Refused]:
        """Return what a migration into this target would be refused for; complete after `finish`."""


class CollectionPreview(PreviewTarget):
    """A collection that is only read."""

    def __init__(
        self,
        name: str,
        rejects: RejectsKeeper,
        real: "MongoTarget | None" = None,
        open_trial: "Callable[[], Trial] | None" = None,
    ) -> None:
        """Take the parts.

        Args:
            name: the collection's name.
            rejects: who gets the rejected bookings.
            real: the target that a migration would write; None: the server is not known, and the collection taken as empty.
            open_trial: makes what tries documents out; None: they are not.
        """
        self.name = name
        self._open_trial = open_trial
        self._trial: Trial | None = None
        self._real = real
        self._rejects = rejects
        self._joined = _Joined()
        self._refusals: list[Refused] = []
        self._changed = False
        self.rejects_name = self._rejects.name
        self.can_store = stores_any_bson

    @override
    def refusals(self) -> Sequence[Refused]:
        return (*self._refusals, *(() if self._trial is None else self._trial.refusals()))

    @override
    def prepare(self) -> None:
        # The real target is checked, and no index is made.
        self._rejects.prepare()
        try:
            if self._real is not None:
                self._real.check()
        except Refused as refusal:
            self._refusals.append(refusal)
            return
        if self._open_trial is not None:
            self._trial = self._open_trial()

    @override
    def scan_client_documents(self) -> Iterator[bytes]:
        return iter(()) if self._real is None else self._real.scan_client_documents()

    @override
    def scan_clients(self) -> Iterator[Any]:
        return iter(()) if self._real is None else self._real.scan_clients()

    @override
    def may_repeat_clients(self) -> bool:
        return self._real is not None and self._real.may_repeat_clients()

    @override
    def find_client_documents(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        # Joined documents replace their parts.
        there = iter(()) if self._real is None else self._real.find_client_documents(client_ids)
        return self._joined.instead_of(there)

    @override
    def join(self, changed: Replacement, removed: Sequence[bytes]) -> None:
        # The joined document is kept for look-ups.
        self._joined.add(changed.after)
        self._changed = True

    @override
    def refuse_taken_ids(self, documents: Sequence[bytes], freed: Container[bytes]) -> None:
        """Do nothing: nothing is written."""

    @override
    def write(
        self,
        new: Sequence[bytes],
        changed: Sequence[Replacement],
        rejected: Sequence[Rejection],
        removed: Sequence[bytes] = (),
    ) -> None:
        # Documents are tried out and dropped; the rejected bookings go where the user asked for them.
        self._changed |= bool(new or changed or removed)
        if self._trial is not None:
            self._trial.write(new, changed)
        for rejection in rejected:
            self._rejects.add(rejection)

    @override
    def finish(self) -> bool:
        self._rejects.finish()
        return self._changed

    @override
    def abandon(self) -> None:
        self._rejects.abandon()
        self._joined.close()
        if self._trial is not None:
            self._trial.close()


class _Joined:
    """Client documents that would be joined, by client; on disk, so that memory does not grow with their number."""

    def __init__(self) -> None:
        self._database = Scratch("CREATE TABLE joined (client BLOB PRIMARY KEY, raw BLOB) WITHOUT ROWID")
        self._is_empty = True

    def add(self, raw: bytes) -> None:
        self._is_empty = False
        self._database.execute("INSERT OR REPLACE INTO joined VALUES (?, ?)", _client_key(raw), raw)

    def instead_of(self, documents: Iterator[bytes]) -> Iterator[bytes]:
        if self._is_empty:
            yield from documents
            return
        shown: set[bytes] = set()
        for raw in documents:
            key = _client_key(raw)
            row = self._database.row("SELECT raw FROM joined WHERE client = ?", key)
            if row is None:
                yield raw
            elif key not in shown:
                shown.add(key)
                yield row[0]

    def close(self) -> None:
        self._database.close()


def _client_key(raw: bytes) -> bytes:
    return sort_key(read_fields(raw)["clientId"])


class Trial:
    """What the server would refuse of the documents of a run."""

    def __init__(self, place: "MongoDestination") -> None:
        """Take the collection; its indexes and options are looked at now, and nothing is written."""
        facts = place.facts()
        self._place = place
        self._validator = None if facts is None else enforced_validator(facts.options)
        self._verdict: Verdict | None = Verdict()
        indexes = () if facts is None else facts.indexes
        fields = ((index, lone_unique_field(index)) for index in indexes)
        self._keys = [_Keys(place, index, name) for index, name in fields if name is not None]

    def write(self, new: Sequence[bytes], changed: Sequence[Replacement]) -> None:
        """Try out documents that would be written together."""
        documents = [*new, *(change.after for change in changed)]
        if not documents:
            return
        if self._validator is not None and self._verdict is not None:
            matching = self._place.matching(self._validator, documents)
            broken = partial(self._place.broken_rules, self._validator)
            self._verdict = None if matching is None else self._verdict.after(documents, matching, broken)
        for keys in self._keys:
            keys.write(documents)

    def refusals(self) -> Sequence[Refused]:
        """Return what a migration would be refused for."""
        findings = [finding for keys in self._keys if (finding := keys.finding()) is not None]
        if self._validator is not None and self._verdict is not None and self._verdict.refused:
            findings.append(validator_finding(self._place.name, self._validator, self._verdict))
        refusal = refusal_of(self._place.name, findings)
        return () if refusal is None else (refusal,)

    def close(self) -> None:
        """Delete what is on disk."""
        for keys in self._keys:
            keys.close()


@dataclass(slots=True)
class _Keys:
    """The values of one field that is unique, of all documents so far."""

    place: "MongoDestination"
    index: Mapping[str, Any]
    name: str
    doubled: int = 0
    sample: str = ""
    _database: Scratch = field(init=False)

    def __post_init__(self) -> None:
        self._database = Scratch("CREATE TABLE key (value BLOB PRIMARY KEY) WITHOUT ROWID")

    def write(self, documents: Sequence[bytes]) -> None:
        name = self.name.encode()
        is_sparse = bool(self.index.get("sparse"))
        values = {sort_key(value_in(raw, b"_id")): value_in(raw, name) for raw in documents}
        there = {
            sort_key(value_in(raw, name))
            for raw in self.place.holding(self.name, list(values.values()))
            if sort_key(value_in(raw, b"_id")) not in values
        }
        for value in values.values():
            if value is None and is_sparse:
                continue
            key = sort_key(value)
            inserted = self._database.execute("INSERT OR IGNORE INTO key VALUES (?)", key).rowcount
            if not inserted or key in there:
                self.doubled += 1
                self.sample = self.sample or display_id(value)

    def finding(self) -> PlaceFinding | None:
        """Return what is to be said about the index; None if no value came twice."""
        if not self.doubled:
            return None
        return equal_values_finding(self.place.name, self.index, self.doubled, f"{self.name} {self.sample}")

    def close(self) -> None:
        self._database.close()


class OptionalRejects(RejectsKeeper):
    """Rejected bookings in a file, if they were asked for; if it cannot be written, the dry-run may continue without it."""

    def __init__(
        self, keeper: RejectsKeeper | None = None, on_loss: Callable[[WriteFailed], None] | None = None
    ) -> None:
        """Take the parts.

        Args:
            keeper: the file; None: the bookings are dropped.
            on_loss: is called if the file cannot be written; None: that ends the dry-run.
        """
        self._keeper = keeper
        self._on_loss = on_loss
        self._is_lost = False
        self.name = "" if self._keeper is None else self._keeper.name

    @override
    def prepare(self) -> None:
        if self._keeper is not None:
            self._keeper.prepare()

    @override
    def add(self, rejected: Rejection) -> None:
        self._try(lambda keeper: keeper.add(rejected))

    @override
    def flush(self) -> None:
        self._try(lambda keeper: keeper.flush())

    def finish(self) -> bool:
        """Publish the file, if it can be written; return False, since a migration would not change it."""
        self._try(lambda keeper: keeper.finish())
        return False

    @override
    def abandon(self) -> None:
        if self._keeper is not None:
            self._keeper.abandon()

    def _try(self, action: Callable[[RejectsKeeper], object]) -> None:
        if self._keeper is None or self._is_lost:
            return
        try:
            action(self._keeper)
        except WriteFailed as error:
            if self._on_loss is None:
                raise
            self._is_lost = True
            self._keeper.abandon()
            self._on_loss(error)


def open_preview(
    place: Place,
    connection: Connection,
    *,
    source_name: str,
    overwrite: bool,
    reject_file: Path | None = None,
    on_loss: Callable[[WriteFailed], None] | None = None,
    tries_out: bool = True,
) -> PreviewTarget:
    """Open a target for a dry-run, as `open.open_target` does for a migration.

    Args:
        place: the target.
        connection: the server and database of collections; a collection on no server is taken as empty.
        source_name: the name of the source, as for `open_target`.
        overwrite: whether a target file with other content may be replaced.
        reject_file: the file for the rejected bookings, which is replaced. None: they are dropped.
        on_loss: is called if that file cannot be written; None: that ends the dry-run.
        tries_out: whether each document is tried out with the collection's validator and unique indexes.
    """
    source, target = last_part(source_name), last_part(place.name)
    chosen = OptionalRejects()
    if reject_file is not None:
        file = FileRejects(reject_file, source=source, target=target, overwrite=True)
        chosen = OptionalRejects(file, on_loss)
    if isinstance(place, CollectionPlace):
        return _open_collection(place.name, connection, chosen, source_name, tries_out=tries_out)
    beside = rejects_beside(place)
    kept = PreviewRejects(beside, source=source, target=target, overwrite=overwrite, also=chosen)
    match place:
        case StreamPlace():
            return FilePreview(place.name, FileFormat.JSON_LINES, PreviewOutput(place.name, None), kept)
        case FilePlace():
            compared = PreviewOutput(place.name, place.path, compressed=place.gzip, overwrite=overwrite)
            return FilePreview(place.name, place.format, compared, kept)


def _open_collection(
    name: str, connection: Connection, rejects: RejectsKeeper, source_name: str, *, tries_out: bool
) -> CollectionPreview:
    if not connection.is_given:
        return CollectionPreview(name, rejects)
    collection = connection.collection(name)
    from booking_migrate.stores.mongo.target import MongoTarget  # noqa: PLC0415 - the driver is slow to import

    def open_trial() -> Trial:
        return Trial(open_destination(connection, name, source_name))

    real = MongoTarget(collection, OptionalRejects())
    return CollectionPreview(name, rejects, real, open_trial if tries_out else None)
