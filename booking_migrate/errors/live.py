"""Errors of following an application's writes, and of making data live beside it."""

from shlex import quote

from booking_migrate.errors.base import SAME_COMMAND, NothingToDo, Refused, RefusedUnchanged, either

REPLACED = "{collection} was dropped, renamed or replaced as a whole, which no change of a document shows"
"""What a feed cannot follow."""


class HistoryLost(Refused):
    """The server no longer has all changes since a run's last position."""

    database: str
    message = "the oplog no longer has all changes of {database} since the run read it last"
    hint = (
        "Enlarge the oplog (replSetResizeOplog), so that this does not happen again; then migrate and verify, which read everything "
        "once more."
    )


class StreamUnavailable(Refused):
    """The changes of a database cannot be read."""

    database: str
    reason: str
    message = "the changes of {database} cannot be followed: {reason}"
    hint = "A single server becomes a replica set of one member by mongod --replSet and rs.initiate()."


class FenceBlocked(Refused):
    """A collection is held by something else, so that the fence or the swap would have held up every writer."""

    collection: str
    blockers: str
    message = "{collection} is held by others: {blockers}"
    hint = "Run the same command again when that has ended; db.killOp() in mongosh ends an operation."


class TooSlow(Refused):
    """Writes would have been refused for longer than allowed; nothing was swapped."""

    milliseconds: int
    attempts: int
    blockers: str
    left = ""
    effect = "Writes are accepted again."
    message = "writes would have been refused for more than {milliseconds} ms, in {attempts:attempt|attempts}; {left} live as before"

    @property
    def hint(self) -> str:
        cause = f"The collection was held by {self.blockers}. " if self.blockers else ""
        return f"{cause}Run the same command again when less is written, or with a longer --max-outage."


class CutoverTooSlow(TooSlow):
    """A cut-over would have refused writes for longer than allowed; the source is live as before."""

    left = "the source is"


class RollbackTooSlow(TooSlow):
    """A rollback would have refused writes for longer than allowed; the client documents are live as before."""

    left = "the client documents are"


class CutoverRefused(RefusedUnchanged):
    """A precondition of a cut-over does not hold; nothing was changed."""

    target: str
    problem: str
    advice: str
    message = "cut-over to {target} refused: {problem}"


class WritesNotBlockable(RefusedUnchanged):
    """The writes of all users cannot be refused during a cut-over; nothing was changed."""

    problem: str
    advice: str
    message = "--block-all-writes is not possible: {problem}"

    @property
    def hint(self) -> str:
        first = (
            "Usual: leave the option out; a cut-over refuses inserts and updates of its source in any case"
        )
        needed = "Only if deletes, or writes to other collections, must be refused too"
        return (
            f"{first}: {SAME_COMMAND} without --block-all-writes\n"
            f"{needed}: {self.advice}, then run the same command again: {SAME_COMMAND}"
        )


class CutoverFailed(Refused):
    """A cut-over was aborted; the source is live as before and accepts writes again."""

    target: str
    problem: str
    advice: str
    refused_seconds: float
    """For how long writes to the source were refused."""

    examples: tuple[str, ...] = ()
    """The first mismatches, where mismatches are the problem."""

    effect = "Writes are accepted again."
    message = (
        "the cut-over to {target} was aborted: {problem}; the source is live as before "
        "(it refused writes for {refused_seconds:.1f} s)"
    )

    @property
    def hint(self) -> str:
        return "\n".join([*(f"  {each}" for each in self.examples), self.advice])


class RestorationFailed(Refused):
    """A rollback after a cut-over was aborted; the client documents are live as before and accept writes again."""

    run_id: str
    live: str
    problem: str
    refused_seconds: float
    """For how long writes were refused."""

    remedy: str = "run the same command again"
    """What helps."""

    effect = "Writes are accepted again."
    message = (
        "the rollback of run {run_id} was aborted: {problem}; {live} is live as before "
        "(it refused writes for {refused_seconds:.1f} s)"
    )
    hint = (
        f"All old bookings are kept: {{remedy}}: {SAME_COMMAND}\n"
        f"Only if nothing that was booked or changed since the cut-over is needed, drop it: {SAME_COMMAND} --discard-later"
    )


class NothingToFollow(NothingToDo):
    """A target has no finished run from a source, whose changes could be followed."""

    source: str
    target: str
    message = "no finished run from {source} into {target} that could be followed"

    @property
    def hint(self) -> str:
        return f"Migrate first: booking-migrate migrate --source {quote(self.source)} --target {quote(self.target)}"


class FollowingStopped(Refused):
    """The target of a run that is followed is not what it has to be."""

    target: str
    problem: str
    command: str
    message = "following stopped, {target} is not what it has to be: {problem}"
    hint = "See what differs: {command}"


class CollectionReplaced(Refused):
    """A collection that is followed was dropped, renamed, or replaced by another one, which no change of a document shows."""

    collection: str
    message = f"following stopped: {REPLACED}"
    hint = f"Everything has to be read again, which the same command does: {SAME_COMMAND}"


class WindowStopped(Refused):
    """What a reverse window keeps ready for a rollback cannot be kept so."""

    problem: str
    message = "a rollback cannot be kept ready: {problem}"
    hint = "A rollback works as without a window: it refuses writes while it restores everything."


class WindowReplaced(Refused):
    """A collection that a reverse window depends on was dropped, renamed, or replaced by another one."""

    collection: str
    restored: str
    """The collection that was kept ready; it stays unchanged."""

    message = f"a rollback cannot be kept ready: {REPLACED}"
    hint = (
        f"Usual, if {{collection}} is what it has to be: run the same command again, which reads everything: {SAME_COMMAND}\n"
        "Only if it is lost or damaged: first restore it from a backup. {restored} has the old bookings with all changes up to then; the "
        "next command drops it, so copy it first if no backup has them."
    )


class WindowUnavailable(Refused):
    """A reverse window is not possible here."""

    collection: str
    reason: str
    message = "--reverse-window is not possible for {collection}: {reason}"
    hint = (
        "Leave it out; a rollback works without it, too, and refuses writes while it restores everything: "
        f"{SAME_COMMAND} without --reverse-window"
    )


class StillRunning(Refused):
    """A command that an earlier process has sent does not end."""

    what: str
    """What it writes: a collection, or references."""

    operation: str
    message = (
        "a command about {what} that an earlier process has sent is still running: operation {operation}"
    )
    hint = (
        f"First end it, in mongosh: db.killOp({{operation}})\nThen run the same command again: {SAME_COMMAND}"
    )


class CutOverAlready(RefusedUnchanged):
    """The source of a migration is the result of an earlier one: it was cut over."""

    run_id: str
    source: str
    legacy: str
    """The collection that keeps the old bookings."""

    conversion: str
    """What is done about bookings which came since, as a line of a hint."""

    going_back: str
    """How the cut-over is undone, as a line of a hint."""

    message = (
        "{source} holds client documents since the cut-over of run {run_id}; the old bookings are in {legacy}"
    )
    hint = (
        "Nothing is left to migrate. To see whether an old application has written bookings since: "
        "booking-migrate status --run {run_id}\n"
        "If it names none as written by an old application since, nothing has to be done. Only if it does: {conversion}\n"
        "{going_back}"
    )


class NothingToCompare(Refused):
    """A result is to be verified whose old bookings finalize drops, or has dropped."""

    run_id: str
    source: str
    target: str
    state: str
    finalize: str = ""
    """The command that completes the finalize; empty: it is complete."""

    message = "run {run_id} is {state}: {target} is live as {source}, and the old bookings it was compared with are dropped"
    hint = either(
        "finalize",
        "finalize proves the result before it drops anything, and is completed by: {finalize}",
        "finalize has proven the result before. To see the run: booking-migrate status --run {run_id}",
    )


class PartOfCutover(RefusedUnchanged):
    """A run in place is to be finalized alone, although its collection was cut over: both end together."""

    archive: str
    run_id: str
    """The run that was cut over."""

    going_on: str
    message = "{archive} cannot be dropped alone: it belongs to the cut-over of run {run_id}, whose client documents are live"
    hint = "End the cut-over with all that belongs to it, this archive too: {going_on}"
