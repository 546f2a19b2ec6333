"""An invariant does not hold: a fault of the tool, or data that changed under it; exit code 1."""

from dataclasses import dataclass

from booking_migrate.errors.tree import Unexpected


@dataclass(eq=False)
class UnaccountedBookings(Unexpected):
    """scanned = migrated + already migrated + rejected does not hold (DESIGN.md, invariant 1)."""

    scanned: int
    accounted: int

    @property
    def message(self) -> str:
        return f"{self.scanned} bookings were scanned but {self.accounted} are accounted for"


@dataclass(eq=False)
class DuplicateKeys(Unexpected):
    """The server refused client documents as duplicates: somebody else writes to the target."""

    place: str
    count: int
    sample: str

    @property
    def message(self) -> str:
        noun = "client document" if self.count == 1 else "client documents"
        return f"{self.place} refused {self.count} {noun} as duplicates, such as {self.sample}"

    @property
    def hint(self) -> str:
        return "Somebody else writes to the target. Stop them, then run again: what is already there is kept."


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
    """Somebody else wrote to the same documents at the same time; nothing was done, and it can be tried again."""

    place: str

    @property
    def message(self) -> str:
        return f"somebody else writes to the same documents of {self.place} again and again"


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

    obstacle: str | None = None
    """Why it could not be started; None: it was, and has ended."""

    @property
    def message(self) -> str:
        if self.obstacle is not None:
            return f"a process that is to read and convert could not be started: {self.obstacle}"
        return "a process that read and converted has ended in the middle of it"

    @property
    def hint(self) -> str:
        return (
            "Run again: what is already there is kept. If memory was short, fewer --workers take less of it."
        )
