"""A precondition does not hold and nothing was written: exit code 5. What runs are refused for is in `runs`."""

from collections.abc import Sequence
from dataclasses import dataclass

from booking_migrate.errors.base import Refused


@dataclass(eq=False)
class PlaceNotFound(Refused):
    """A source file or collection does not exist."""

    place: str

    @property
    def message(self) -> str:
        return f"{self.place} does not exist"


@dataclass(eq=False)
class UnusablePlace(Refused):
    """A place exists but cannot be used: a directory, no permission, a view, a capped collection."""

    place: str
    problem: str
    advice: str = ""
    """What to do about it, if there is one thing."""

    @property
    def message(self) -> str:
        return f"{self.place} cannot be used: {self.problem}"

    @property
    def hint(self) -> str:
        return self.advice


@dataclass(eq=False)
class BrokenDocument(Refused):
    """A file holds something that is no document."""

    place: str
    position: str
    """``line 12`` or ``byte 4711``."""

    problem: str
    advice: str = "Nothing was written. Mend the file, or export it again."

    @property
    def message(self) -> str:
        return f"{self.place}, {self.position}: {self.problem}"

    @property
    def hint(self) -> str:
        return self.advice


@dataclass(eq=False)
class AmbiguousPeople(Refused):
    """Users or experts of which several documents with other content have one `_id`."""

    place: str
    noun: str
    """``users`` or ``experts``."""

    ids: Sequence[str]
    """The first few of these ids."""

    count: int

    @property
    def message(self) -> str:
        more = f" and {self.count - len(self.ids)} more" if self.count > len(self.ids) else ""
        return (
            f"{self.place} has several different {self.noun} with the same _id: {', '.join(self.ids)}{more}"
        )

    @property
    def hint(self) -> str:
        return "Nothing was written. Keep one document for each _id, then run the same command again."


@dataclass(eq=False)
class TargetHoldsOther(Refused):
    """A target file exists and is not what this run would write."""

    place: str

    @property
    def message(self) -> str:
        return f"{self.place} exists and holds something else than this run's result"

    @property
    def hint(self) -> str:
        return "Give another --target, or --overwrite to replace it."


@dataclass(eq=False)
class TargetInOldShape(Refused):
    """A target collection holds documents that are no client documents."""

    place: str
    sample_id: str

    @property
    def message(self) -> str:
        return f"{self.place} holds a document that is no client document: {self.sample_id}"

    @property
    def hint(self) -> str:
        return "Are --source and --target swapped?"


@dataclass(eq=False)
class DuplicateClientDocuments(Refused):
    """Clients that have more than one client document."""

    clients: Sequence[str]
    """One line a client: its id and the ids of its documents. Only the first few."""

    count: int
    advice: str = "Give --merge-client-documents to join them into the older one."

    @property
    def message(self) -> str:
        listed = "; ".join(self.clients)
        more = f"; and {self.count - len(self.clients)} more" if self.count > len(self.clients) else ""
        noun = "client has" if self.count == 1 else "clients have"
        return f"{self.count} {noun} more than one client document: {listed}{more}"

    @property
    def hint(self) -> str:
        return self.advice


@dataclass(eq=False)
class NoTransactions(Refused):
    """The server stands alone and has no transactions, which a migration in place beside an application needs."""

    hosts: str

    @property
    def message(self) -> str:
        return f"in place needs transactions, and {self.hosts} is no replica set"

    @property
    def hint(self) -> str:
        return "Make it a replica set, or stop the application and give --without-transactions."


@dataclass(eq=False)
class LagNotMeasurable(Refused):
    """The run is to wait for secondaries, and how far they are behind cannot be measured."""

    problem: str

    @property
    def message(self) -> str:
        return f"the lag of the secondaries, which --max-lag limits, cannot be measured: {self.problem}"

    @property
    def hint(self) -> str:
        return "Grant the privilege replSetGetStatus (role clusterMonitor) on a replica set that is up, or leave out --max-lag."


@dataclass(eq=False)
class NotPermitted(Refused):
    """The server's user lacks a privilege."""

    place: str
    problem: str

    @property
    def message(self) -> str:
        return f"the server does not permit this on {self.place}: {self.problem}"


@dataclass(eq=False)
class RecordTooLarge(Refused):
    """A rejected booking together with its reason is larger than any document may be."""

    place: str
    booking_id: str

    @property
    def message(self) -> str:
        return (
            f"the rejected booking {self.booking_id} with its reason is too large a document for {self.place}"
        )

    @property
    def hint(self) -> str:
        return "Give --rejects FILE: a file has no such limit."


@dataclass(eq=False)
class BookingNotFound(Refused):
    """A booking that is asked for is not in the source."""

    booking_id: str
    place: str

    @property
    def message(self) -> str:
        return f"{self.place} holds no booking {self.booking_id!r}"

    @property
    def hint(self) -> str:
        return "An id is 24 hex digits, a whole number, a text, or any other value in Extended JSON."


@dataclass(eq=False)
class PlanDiffers(Refused):
    """What would be migrated is no longer what a saved plan says."""

    plan: str
    differences: Sequence[str]

    @property
    def message(self) -> str:
        return f"this is not what {self.plan} planned: {'; '.join(self.differences)}"

    @property
    def hint(self) -> str:
        return "Run dry-run again with --plan, read its report, then migrate with the new plan."


@dataclass(eq=False)
class WriteFailed(Refused):
    """The target cannot take the result: a full disk, a validator."""

    place: str
    problem: str

    @property
    def message(self) -> str:
        return f"cannot write to {self.place}: {self.problem}"


@dataclass(eq=False)
class ValidationFailed(WriteFailed):
    """The validator of a collection refuses a document."""

    document_id: str
    remedy: str
    """The command that switches the validator off, for the server's shell."""

    @property
    def message(self) -> str:
        return f"the validator of {self.place} refuses document {self.document_id}: {self.problem}"

    @property
    def hint(self) -> str:
        return f"Change the validator so that it allows client documents, or switch it off: {self.remedy}"


@dataclass(eq=False)
class UnfitPlace(Refused):
    """Indexes or options of a collection would refuse, delete or change client documents; nothing was written."""

    place: str
    problems: Sequence[str]
    """One line each: what is in the way, its definition, and what it would do."""

    remedies: Sequence[str]
    """The commands that help, for the server's shell or this program."""

    @property
    def message(self) -> str:
        return f"{self.place} cannot take client documents: {'; '.join(self.problems)}"

    @property
    def hint(self) -> str:
        return f"Nothing was written. First: {'; '.join(self.remedies)}"


@dataclass(eq=False)
class MissingIndexes(Refused):
    """The booking service has no indexes to work with."""

    indexes: Sequence[str]
    """Each as collection and fields."""

    @property
    def message(self) -> str:
        noun = "an index is" if len(self.indexes) == 1 else f"{len(self.indexes)} indexes are"
        return f"{noun} missing: {'; '.join(self.indexes)}"

    @property
    def hint(self) -> str:
        return "Create them with booking-migrate service-indexes, or start with --create-indexes."


@dataclass(eq=False)
class StandaloneServer(Refused):
    """The booking service writes in transactions, which a server that stands alone does not have."""

    hosts: str

    @property
    def message(self) -> str:
        return f"the booking service needs transactions, and {self.hosts} is no replica set"
