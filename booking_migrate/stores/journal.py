"""The port of the journal of all runs. The docstrings are promises.

A run is recorded before it writes, each range of clients before its documents are written, and the run's end after
everything. So the journal has everything that a killed run may have left in the target, and perhaps more. Everything is
durable (majority) when a method returns, unless the method says otherwise.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from booking_migrate.bson.document import value_in
from booking_migrate.bson.order import id_key

JOURNAL_VERSION = 9
"""The version of the journal's format. A journal that is newer than the program is refused.

History:
    1: runs, ranges with digests, images of what was there before, locks.
    2: cut-overs and verifications: their states and fields.
    3: the rollback after a cut-over: its state and field.
    4: runs in place: their fields, and notes of the bookings that were moved.
    5: ranges that the server groups, which no longer exist.
    6: since when a fence refuses writes; documents that a run removed or adopted.
    7: how far the source's changes have been followed; the guard of a live collection.
    8: the reverse window of a cut-over.
    9: in place: the ids of moved bookings in one value, and the progress of several transactions at a time.
"""


class RunState(StrEnum):
    """The state of a run. Which state may follow which: `runs.states.TRANSITIONS`. The values are an API."""

    PLANNED = "planned"
    """Recorded; nothing is written yet."""

    RUNNING = "running"
    """Active, or killed: a heartbeat that has stopped shows which."""

    INTERRUPTED = "interrupted"
    """Ended by a signal, after the current batch."""

    FAILED = "failed"
    """Ended by an error."""

    DONE = "done"
    """Everything is written."""

    UNCHANGED = "unchanged"
    """It found everything in the target already and wrote nothing."""

    CUTTING_OVER = "cutting-over"
    """Its target is being made the live collection; writes to the source may be refused."""

    CUT_OVER = "cut-over"
    """Its target is the live collection, under the source's name; the old one is kept."""

    RESTORING = "restoring"
    """The live collection is being given its old bookings back; writes to it may be refused."""

    ROLLING_BACK = "rolling-back"
    """What it wrote is being removed."""

    FINALIZING = "finalizing"
    """What a rollback would need is being dropped: the archive of a run in place, or the kept copy of a cut-over."""

    FINALIZED = "finalized"
    """The archive or the kept copy is dropped, and nothing of the run can be undone."""

    ROLLED_BACK = "rolled-back"
    """What it wrote is removed, except documents that others have changed since."""


class RunRecord(BaseModel):
    """The journal's record of one run. It never contains a connection string."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    version: int = JOURNAL_VERSION
    tool_version: str
    source: str
    """The source place as given."""

    target: str
    """The target place as given."""

    state: RunState = RunState.PLANNED
    options: Mapping[str, str]
    """Everything that decides the result, for people: a run is resumed under the same options only."""

    user: str
    host: str
    pid: int
    started_at: datetime
    heartbeat_at: datetime
    """The time of its last heartbeat; the server's time in a database."""

    worked_from: datetime
    """When it was started or resumed last; the rate counts from here."""

    documents: int = 0
    """The number of documents of the source that it has handled since `worked_from`."""

    total: int | None = None
    """How many there are, roughly."""

    resumed: int = 0
    """How often it was resumed."""

    target_existed: bool = False
    """Whether the target was there before the run."""

    index_existed: bool = False
    """Whether the target had its unique index on `clientId` before the run."""

    counts: Mapping[str, int] = {}
    """The counts of a run that has finished."""

    problem: str | None = None
    """What ended a run that failed."""

    kept: int = 0
    """How many client documents a rollback left in place because others have changed them."""

    written_at: datetime | None = None
    """When it wrote last; set once it has finished."""

    verified_at: datetime | None = None
    """When the last verification of its result began; None: its result has not been verified."""

    verified_time: Any = None
    """The cluster time at which that verification began; None if the server has none."""

    verified_clean: bool = False
    """Whether that verification found nothing wrong."""

    legacy: str | None = None
    """After a cut-over has begun: the collection that keeps the unchanged source."""

    fenced_at: datetime | None = None
    """Since when writes to the live collection may be refused; None: they are not."""

    fence_time: Any = None
    """The cluster time of the fence; None: nothing is followed, or writes are accepted."""

    refused_seconds: float = 0.0
    """For how long earlier attempts at a cut-over had refused writes, as far as is known; after an abort, the last one too."""

    refusals: int = 0
    """How many attempts that was."""

    last_refusal: float = 0.0
    """How much of it was that of the newest cut-over, if that was killed and its fence was lifted by a later process."""

    live_settings: str | None = None
    """After a cut-over has begun: the source's options and indexes, as Extended JSON."""

    successor_settings: str | None = None
    """While a cut-over is rolled back: the same of the collection that is live until then."""

    config: str | None = None
    """The config file that the run was started or resumed with last; None: none."""

    cutover_options: Mapping[str, str] = {}
    """The options that only `cutover` has, as they were given when a cut-over was begun last."""

    ending_options: Mapping[str, str] = {}
    """The options about the result that only `rollback` of live data, or `finalize`, has, as they were given when it was begun last."""

    archive: str | None = None
    """In place: the collection that the old bookings are moved to. None: the run is side by side."""

    archive_existed: bool | None = None
    """In place: whether the archive was there before the run; None: it has not been looked for yet."""

    archive_emptied: bool = False
    """In place: whether a rollback has restored everything, so that the archive may be gone."""

    indexes_made: tuple[str, ...] = ()
    """In place: the names of the indexes of the collection that the run creates."""

    server_session: bytes | None = None
    """In place: the ids of the server sessions of its last process, 16 bytes each."""

    noted: str | None = None
    """In place: the name of the last note that has become true as a whole."""

    tally: Mapping[str, Any] = {}
    """In place: what the run has moved, as `migrate.counts.MigrationCounts.saved` has it; until it is done, without what
    `RunJournal.progress` has."""

    follow: Mapping[str, Any] = {}
    """How far the changes of the source have been followed: `stores.changes.Position.saved`. Empty: not at all."""

    window: Mapping[str, Any] = {}
    """After a cut-over with a reverse window: since when and until when it is open, whether what it keeps ready is complete, and how
    far the live collection has been followed (`stores.changes.Position.saved`). Empty: it is not open."""

    undone: Mapping[str, Any] = {}
    """What a rollback of live data has restored so far, and the changes that it found; in place, without what
    `RunJournal.progress` has."""

    control: Mapping[str, Any] = {}
    """Requests of other processes to its commands, and the processes that run these: `runs.control` reads and writes it."""

    @property
    def is_guarded(self) -> bool:
        """Return whether its newest cut-over sets the guard."""
        return "no-guard" not in self.cutover_options


class NoteKind(StrEnum):
    """What a range of notes is about."""

    JOIN = "join"
    """Several client documents of one client that are made one, before anything else."""

    DOCUMENTS = "documents"
    """The client documents of one batch."""

    REJECTS = "rejects"
    """The rejected records of this source and target that were there before the run."""

    MOVED = "moved"
    """In place: the old bookings of one batch that go to the archive."""


class DocumentNote(NamedTuple):
    """One document that is about to be written, changed or removed."""

    identity: bytes
    """The BSON of ``{_id}``, as it will be."""

    after: bytes | None
    """The SHA-256 of its BSON as it will be; None if it will be gone."""

    before: bytes | None
    """Its BSON as it is; None if it is not there yet."""

    client: bytes = b""
    """The sort key of its `clientId`, as far as that is needed; the journal does not keep it."""

    @property
    def document_id(self) -> Any:
        """Return its `_id`, decoded."""
        return value_in(self.identity, b"_id")

    @property
    def key(self) -> bytes:
        """Return the sort key of its `_id`."""
        return id_key(self.identity)


class RangeNote(NamedTuple):
    """A note about a range of clients that is about to be written."""

    kind: NoteKind
    first: bytes
    """The sort key of the first client's id."""

    last: bytes
    """The sort key of the last client's id."""

    notes: Sequence[DocumentNote]
    name: str = ""
    """What the journal calls it, in the order of noting; empty before it is noted."""

    clients: bytes = b""
    """Of moved bookings: the ids of their clients, each of which is an ObjectId, twelve bytes each; empty: not known."""


class Span(NamedTuple):
    """Which clients a range of notes is about."""

    name: str
    first: bytes
    last: bytes
    """Cut off where they are long: a key may be beyond the last one by what was cut off."""


class RunJournal(Protocol):
    """The journal of all runs into the targets of one database.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: it cannot be read or written (any method).
    """

    def runs(self, target: str | None = None) -> Sequence[RunRecord]:
        """Return all runs, or those into one target, the newest first.

        Raises:
            JournalTooNew: a newer version of the program wrote one of them.
        """

    def now(self) -> datetime:
        """Return the time by the clock that the journal's times are taken from."""

    def create(self, run: RunRecord) -> RunRecord:
        """Record a new run, and return it with its times set."""

    def save(self, run_id: str, **changes: Any) -> RunRecord:
        """Change some fields of a run, set its heartbeat, and return it. ``worked_from=None`` stands for now."""

    def annotate(self, run_id: str, **changes: Any) -> None:
        """Change some fields of a run of another process, running or finished, without its heartbeat."""

    def control(self, run_id: str) -> Mapping[str, Any]:
        """Return the requests to the commands of a run; empty also for a run that is not recorded (yet)."""

    def ask(self, run_id: str, command: str, name: str, value: Mapping[str, Any]) -> None:
        """Record one request to a command of a run, with the time as ``at``; all others stay."""

    def remove(self, run_id: str) -> None:
        """Remove a run that turned out to be unnecessary."""

    def note(self, run_id: str, token: int, noted: RangeNote) -> Sequence[str]:
        """Record what is about to be written, and return the names of its parts. Those of another token never clash with these."""

    def drop(self, names: Sequence[str]) -> None:
        """Drop parts of notes, by their names, which later notes repeat."""

    def reserve(self) -> int:
        """Reserve a number for the notes of another process, which determines their order."""

    def note_under(self, run_id: str, token: int, number: int) -> None:
        """Note under a number that another process has reserved; a later attempt comes after an earlier one."""

    def ranges(self, run_id: str, *kinds: NoteKind, after: str | None = None) -> Iterator[RangeNote]:
        """Yield the notes of these kinds in their order; if a name is given, only those after the note of that name."""

    def between(self, run_id: str, first: bytes, last: bytes) -> Sequence[RangeNote]:
        """Return the ranges of client documents that overlap these sort keys, in the order of noting.

        Ranges just outside may come too.
        """

    def spans(self, run_id: str, kind: NoteKind) -> Iterator[Span]:
        """Yield the clients of all ranges of one kind, in the order of noting."""

    def named(self, names: Sequence[str]) -> Sequence[RangeNote]:
        """Return the ranges of these names, in the order of noting."""

    def progress(self, run_id: str) -> Sequence[Mapping[str, Any]]:
        """Return the progress that each concurrent worker of a run has recorded with its work."""

    def of_documents(self, run_ids: Sequence[str], identities: Sequence[bytes]) -> Sequence[RangeNote]:
        """Return the ranges of client documents of some runs that have a note of one of these ``{_id}``, with those notes only.

        The oldest run's come first. It is quick after `prepare_lookup`.
        """

    def prepare_lookup(self) -> None:
        """Create the index that `of_documents` looks notes up by."""

    def forget(self, run_id: str) -> None:
        """Drop a run's notes; the run itself stays."""
