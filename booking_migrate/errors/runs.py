"""What a run's life may be refused for, be held up by, or not find: exit codes 5, 11 and 12."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from booking_migrate.errors.base import Locked, NothingToDo, Refused


@dataclass(eq=False)
class JournalTooNew(Refused):
    """A newer version of the program wrote the journal."""

    place: str
    version: int
    known: int

    @property
    def message(self) -> str:
        return f"the journal {self.place} has format {self.version}; this program knows {self.known} at most"

    @property
    def hint(self) -> str:
        return "Use the version of the program that began the run, or a newer one."


@dataclass(eq=False)
class OtherOptions(Refused):
    """An interrupted run cannot be continued, because something that decides the result is different now."""

    run_id: str
    differences: Sequence[str]
    """One line each: the option, what it was, what it is."""

    @property
    def message(self) -> str:
        return f"run {self.run_id} was interrupted under other options: {'; '.join(self.differences)}"

    @property
    def hint(self) -> str:
        return "Continue it with the options it had, or give --restart to undo it and start over."


@dataclass(eq=False)
class UnfinishedRun(Refused):
    """A run has to be brought to its end before another one can begin."""

    run_id: str
    state: str
    commands: Sequence[str]
    """What can be done about it; the first one goes on with it."""

    @property
    def message(self) -> str:
        return f"run {self.run_id} is not finished: it is {self.state}"

    @property
    def hint(self) -> str:
        onward, *others = self.commands
        back = [command for command in others if " rollback " in command]
        return f"Continue it: {onward}" + (f"\nOr undo it: {back[0]}" if back else "")


@dataclass(eq=False)
class OtherMode(Refused):
    """A run of the other mode stands on the same bookings: in place where side by side is asked for, or the reverse."""

    run_id: str
    source: str
    is_in_place: bool
    """Whether the run that stands is in place."""

    commands: Sequence[str]
    """What can be done about it; the first one goes on with it."""

    @property
    def message(self) -> str:
        mode = "in place" if self.is_in_place else "side by side"
        return f"{self.source} is being migrated {mode} by run {self.run_id}"

    @property
    def hint(self) -> str:
        return "\nOr: ".join(["Nothing was written. Continue with: " + self.commands[0], *self.commands[1:]])


@dataclass(eq=False)
class CutOverAlready(Refused):
    """The source of a migration is the result of an earlier one: it was cut over."""

    run_id: str
    source: str
    legacy: str
    """The collection that keeps the old bookings."""

    @property
    def message(self) -> str:
        return (
            f"{self.source} holds client documents since the cut-over of run {self.run_id}; "
            f"the old bookings are in {self.legacy}"
        )

    @property
    def hint(self) -> str:
        return (
            "Nothing is left to migrate. Bookings that an old application has written since: "
            f"booking-migrate migrate --in-place --source {shlex.quote(self.source)}\n"
            f"Or go back: booking-migrate rollback --run {self.run_id}"
        )


@dataclass(eq=False)
class LaterRun(Refused):
    """A run cannot be rolled back, because a later one wrote on top of it."""

    run_id: str
    later: str

    @property
    def message(self) -> str:
        return f"run {self.later} wrote on top of run {self.run_id}"

    @property
    def hint(self) -> str:
        return f"Roll back the later one first: booking-migrate rollback --run {self.later}"


@dataclass(eq=False)
class NotConfirmed(Refused):
    """Nobody is at the terminal, and ``--yes`` is not given."""

    what: str

    @property
    def message(self) -> str:
        return f"{self.what} was not confirmed"

    @property
    def hint(self) -> str:
        return "Give --yes where nobody is at the terminal."


@dataclass(eq=False)
class TargetBusy(Locked):
    """Another process is writing the same target."""

    place: str
    holder: str

    @property
    def message(self) -> str:
        return f"another run is writing {self.place}: {self.holder}"


@dataclass(eq=False)
class LeaseLost(Locked):
    """This process was taken for dead, and its lock was taken over; it has stopped writing."""

    place: str

    @property
    def message(self) -> str:
        return f"the lock on {self.place} was taken over by another run while this one was not heard of"

    @property
    def hint(self) -> str:
        return "Nothing more was written. booking-migrate status shows who is at work now."


@dataclass(eq=False)
class NoRun(NothingToDo):
    """No run is there that could be rolled back."""

    what: str
    """Which run was looked for, and where."""

    @property
    def message(self) -> str:
        return f"there is no {self.what}"

    @property
    def hint(self) -> str:
        return "booking-migrate status shows every run."


@dataclass(eq=False)
class Finalized(NothingToDo):
    """A run cannot be rolled back any more, because its old bookings were dropped as asked."""

    run_id: str
    archive: str

    @property
    def message(self) -> str:
        return f"run {self.run_id} is finalized: {self.archive}, which kept its old bookings, was dropped"

    @property
    def hint(self) -> str:
        return "There is no way back from finalize, except a backup of the database."


@dataclass(eq=False)
class OldBookingsLost(Refused):
    """The collection that kept the old bookings of a run was dropped."""

    kept: str
    going_on: str = ""
    """The command that goes on without them, if one does."""

    @property
    def message(self) -> str:
        return f"{self.kept}, which kept the old bookings, does not exist any more"

    @property
    def hint(self) -> str:
        back = "No way back remains except a backup of the database: "
        back += f"restore {self.kept} from it, then run the same command again."
        return f"{back} Bookings that are still in the old shape: {self.going_on}." if self.going_on else back


@dataclass(eq=False)
class ArchiveNotOwn(Refused):
    """The archive of a collection is one that somebody else uses."""

    archive: str
    run_id: str | None
    """The run that moved old bookings to a collection of that name; None: none did."""

    @property
    def message(self) -> str:
        if self.run_id is None:
            return f"{self.archive} holds documents that no run in place has moved there"
        return f"{self.archive} holds none of the old bookings that run {self.run_id} moved there"

    @property
    def hint(self) -> str:
        if self.run_id is None:
            return "Use --archive with a name that no collection has."
        return (
            f"Another collection has taken its name: rename that one, and restore {self.archive} from where it "
            "was moved or from a backup. Bookings that are still in the old shape: migrate --in-place --archive OTHER."
        )


@dataclass(eq=False)
class CutoverRefused(Refused):
    """A precondition of a cut-over does not hold; nothing was changed."""

    target: str
    problem: str
    advice: str

    @property
    def message(self) -> str:
        return f"no cut-over to {self.target}: {self.problem}"

    @property
    def hint(self) -> str:
        return self.advice


@dataclass(eq=False)
class WritesNotBlockable(Refused):
    """All users' writes are to be refused during a cut-over, and that cannot be done; nothing was changed."""

    problem: str
    advice: str

    @property
    def message(self) -> str:
        return f"all writes cannot be blocked: {self.problem}"

    @property
    def hint(self) -> str:
        return self.advice


@dataclass(eq=False)
class CutoverFailed(Refused):
    """A cut-over that had begun was given up; the source is live as it was and takes writes again."""

    target: str
    problem: str
    advice: str
    refused_seconds: float
    """For how long writes to the source were refused."""

    examples: tuple[str, ...] = ()
    """The first mismatches, where mismatches are the problem."""

    @property
    def message(self) -> str:
        return (
            f"the cut-over to {self.target} was given up: {self.problem}; the source is live as it was "
            f"(it refused writes for {self.refused_seconds:.1f} s)"
        )

    @property
    def hint(self) -> str:
        return "\n".join([*(f"  {each}" for each in self.examples), self.advice])


@dataclass(eq=False)
class RestorationFailed(Refused):
    """A rollback after a cut-over was given up; the client documents are live as they were and take writes again."""

    run_id: str
    live: str
    problem: str
    refused_seconds: float
    """For how long writes were refused."""

    @property
    def message(self) -> str:
        return (
            f"the rollback of run {self.run_id} was given up: {self.problem}; {self.live} is live as it was "
            f"(it refused writes for {self.refused_seconds:.1f} s)"
        )

    @property
    def hint(self) -> str:
        return "Run rollback again; nothing of the old bookings is lost."


@dataclass(eq=False)
class NothingLater(Refused):
    """There is no work of the application to be dropped, because its result was never live."""

    run_id: str
    state: str

    @property
    def message(self) -> str:
        return f"run {self.run_id} is {self.state}, not cut over: there is nothing that --discard-later could drop"

    @property
    def hint(self) -> str:
        return "Leave --discard-later out. What others have changed in the target is kept and listed."
