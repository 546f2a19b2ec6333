"""Handle a chunk completely: the same function for every chunk, in every process.

Chunks are independent, and handling one is idempotent: documents that are already in the target unchanged are left out, and
the documents from before the run are looked up in the journal.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from booking_migrate.migrate.batches import BatchReader, BuildResult
from booking_migrate.migrate.counts import MigrationCounts, Observer
from booking_migrate.migrate.lookup import Directory
from booking_migrate.migrate.merge import Effects, TargetMerge
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.provenance import TargetHistory
from booking_migrate.stores.chunks import Chunk
from booking_migrate.stores.ports import TargetWriter
from booking_migrate.stores.readers import Kind


class Elsewhere(NamedTuple):
    """What the coordinating process has to know about a chunk that another process handled."""

    changed: bool
    """Whether it changed anything in the target or in the rejected records."""

    record_ids: Sequence[str]
    """The ids of the chunk's rejected records."""

    asked: frozenset[Kind]
    """Which people it looked up."""


class HandledChunk(NamedTuple):
    """The outcome of handling a chunk, in this process or another one."""

    counts: MigrationCounts
    effects: Effects
    keys: Sequence[bytes]
    """The sort keys of its clients, in order."""

    documents: int
    """How many documents of the source it has."""

    elsewhere: Elsewhere | None = None
    """None: it was handled in this process."""


class ChunkHandler:
    """Reads, looks people up, converts, consults the target, writes and counts; a target with a journal notes before it writes."""

    def __init__(
        self,
        plan: MigrationPlan,
        directory: Directory,
        target: TargetWriter,
        history: TargetHistory,
        *,
        observer: Observer,
    ) -> None:
        """Take the parts.

        Args:
            plan: the rules of the conversion, and how much is done at a time.
            directory: looks up users and experts.
            target: where the client documents go.
            history: which documents of the target runs of this tool wrote.
            observer: notified of every booking and every client.
        """
        self._counts = MigrationCounts()
        self._reader = BatchReader(plan, directory, target, counts=self._counts, observer=observer)
        merge = TargetMerge(plan, self._reader, target, history, counts=self._counts, observer=observer)
        self._merge = merge.merge
        self._target = target
        self.chunk_documents = self._reader.chunk_documents

    @property
    def build(self) -> Callable[[Chunk], BuildResult]:
        """Return the first part of `handle`, which needs only the chunk, so that another process can do it ahead."""
        return self._reader.build

    def handle(self, chunk: Chunk, built: BuildResult | None = None) -> HandledChunk:
        """Handle a chunk. A target that writes in the background may still be writing the last batch.

        Args:
            chunk: all documents of some clients.
            built: what `build` made of it, if that was done ahead.

        Raises:
            ConnectionProblem, NotPermitted, UnusablePlace: a place cannot be read.
            TargetInOldShape: a document of the target is not a client document.
            DuplicateKeys, TargetChanged, WriteFailed: as `TargetWriter.write`.
        """
        effects, keys, documents = Effects(), list[bytes](), 0
        for batch in self._reader.batches_of(chunk, built or self._reader.build(chunk)):
            changes = self._merge(batch)
            self._target.write(changes.new, changes.changed, batch.rejected, changes.removed)
            effects = effects.plus(changes.effects)
            keys += changes.keys
            documents += batch.documents
        return HandledChunk(self._counts.drain(), effects, keys, documents)
