"""An invariant does not hold: a fault of the tool, or data that changed under it; exit code 1."""

from collections.abc import Sequence
from dataclasses import dataclass

from booking_migrate.errors.base import Unexpected


@dataclass(eq=False)
class UnaccountedBookings(Unexpected):
    """scanned = migrated + already migrated + rejected does not hold (DESIGN.md, invariant 1)."""

    scanned: int
    accounted: int

    @property
    def message(self) -> str:
        return f"{self.scanned} bookings were scanned but {self.accounted} are accounted for"


@dataclass(eq=False)
class SlicingFault(Unexpected):
    """The fast path slices a document in another way than the plain BSON reader reads it."""

    booking_id: str
    """As text."""

    field: str

    @property
    def message(self) -> str:
        return (
            f"booking {self.booking_id}: what the fast path slices for {self.field} differs from the booking's BSON, "
            "so nothing is proven"
        )

    @property
    def hint(self) -> str:
        return (
            "This is a fault of the tool, and what it migrated may be wrong: keep the old bookings, "
            "and report the names and types of this booking's fields."
        )


@dataclass(eq=False)
class DuplicateKeys(Unexpected):
    """The server refused documents as duplicates in the unique index on `clientId`: another process writes them, too."""

    place: str
    count: int
    sample: str
    """The key that is there already, as text."""

    @property
    def message(self) -> str:
        noun = "client document" if self.count == 1 else "client documents"
        return f"{self.place} refused {self.count} {noun} as duplicates, such as {self.sample}"

    @property
    def hint(self) -> str:
        return (
            f"Another process writes client documents to {self.place}. "
            "Stop it, then run again: what is already there is kept."
        )


@dataclass(eq=False)
class UniqueIndexViolated(DuplicateKeys):
    """The server refused documents as duplicates in a unique index that is not the one on `clientId`."""

    index: str
    keys: str
    """The indexed fields and their directions, as text."""

    @property
    def message(self) -> str:
        noun = "document" if self.count == 1 else "documents"
        return (
            f"{self.place} refused {self.count} {noun} as duplicates in its unique index {self.index} "
            f"({self.keys}), such as {self.sample}"
        )

    @property
    def hint(self) -> str:
        return (
            "Two clients have the same value there, or it is absent in both. Correct the source, or drop the index: "
            f'db.getCollection("{self.place}").dropIndex("{self.index}"); then run again.'
        )


@dataclass(eq=False)
class TargetChanged(Unexpected):
    """A client document of the target changed between reading and writing it."""

    place: str
    document_id: str

    @property
    def message(self) -> str:
        return f"client document {self.document_id} in {self.place} was changed by somebody else just now"

    @property
    def hint(self) -> str:
        return "Run again: it is read anew."


@dataclass(eq=False)
class Contended(Unexpected):
    """Other processes wrote to the same documents at the same time; nothing was done, and it can be tried again."""

    place: str
    clients: Sequence[str] = ()
    """The clients, where one was tried again and again."""

    @property
    def message(self) -> str:
        whose = f" of client {', '.join(self.clients)}" if self.clients else ""
        return f"other processes write to the same documents{whose} in {self.place} all the time"

    @property
    def hint(self) -> str:
        return "Run the same command again when fewer writes come: what was done is kept."


@dataclass(eq=False)
class BookingsLeft(Unexpected):
    """A migration in place gave up on clients, so that their bookings are neither migrated nor rejected."""

    place: str
    bookings: int
    clients: int
    sample: Sequence[str]
    """The first of these clients, as text."""

    passes: int

    @property
    def message(self) -> str:
        bookings = "1 booking" if self.bookings == 1 else f"{self.bookings} bookings"
        clients = "1 client" if self.clients == 1 else f"{self.clients} clients"
        more = f" and {self.clients - len(self.sample)} more" if self.clients > len(self.sample) else ""
        passes = "1 pass" if self.passes == 1 else f"{self.passes} passes"
        return (
            f"{bookings} of {clients} in {self.place} could not be moved in {passes}, because other processes "
            f"write to these clients all the time: {', '.join(self.sample)}{more}"
        )

    @property
    def hint(self) -> str:
        return "Run the same command again when fewer writes come, or with more --passes: what was moved is kept."


@dataclass(eq=False)
class IllegalTransition(Unexpected):
    """A run was to go from a state to one that cannot follow it."""

    run_id: str
    before: str
    after: str

    @property
    def message(self) -> str:
        return f"run {self.run_id} is {self.before} and cannot become {self.after}"


@dataclass(eq=False)
class NotRestored(Unexpected):
    """After a rollback the target is not as it was before the run."""

    place: str
    count: int
    sample: str
    unit: str = "client document"

    @property
    def message(self) -> str:
        noun = f"{self.unit} is" if self.count == 1 else f"{self.unit}s are"
        return f"{self.count} {noun} not as before the run in {self.place}, such as {self.sample}"

    @property
    def hint(self) -> str:
        return "Run the rollback again: it goes on from what is already undone."


@dataclass(eq=False)
class WorkerLost(Unexpected):
    """A process that worked for this one has ended, or could not be started: the system was short of memory or processes."""

    unsupported_reason: str | None = None
    """Why it could not be started; None: it was, and has ended."""

    @property
    def message(self) -> str:
        if self.unsupported_reason is not None:
            return f"a process that is to read and convert could not be started: {self.unsupported_reason}"
        return "a process that read and converted has ended in the middle of it"

    @property
    def hint(self) -> str:
        return (
            "Run again: what is already there is kept. If memory was short, fewer --workers take less of it."
        )
