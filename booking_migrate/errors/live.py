"""Errors of following an application's writes, and of making data live beside it."""

from booking_migrate.errors.base import NothingToDo, Refused


class HistoryLost(Refused):
    """The server no longer has all changes since a run's last position."""

    database: str
    message = "the oplog no longer has all changes of {database} since the run read it last"
    hint = "Run the same command again with a larger oplog; migrate, then verify, read everything once more."


class StreamUnavailable(Refused):
    """The changes of a database cannot be read."""

    database: str
    reason: str
    message = "the changes of {database} cannot be followed: {reason}"
    hint = "A single server becomes a replica set of one member by --replSet and rs.initiate()."


class FenceBlocked(Refused):
    """A collection is held by something else, so that the fence or the swap would have held up every writer."""

    collection: str
    blockers: str
    message = "{collection} is held by others: {blockers}"
    hint = "Run the command again when that has ended, or end it with db.killOp()."


class RollbackTooSlow(Refused):
    """A rollback would have refused writes for longer than allowed; the client documents are live as before."""

    milliseconds: int
    attempts: int
    blockers: str
    effect = "Writes are accepted again."
    message = (
        "writes would have been refused for more than {milliseconds} ms, attempts: {attempts}; the client documents are live "
        "as before"
    )

    @property
    def hint(self) -> str:
        cause = f"The collection was held by {self.blockers}. " if self.blockers else ""
        return f"{cause}Run rollback again when less is written, or with a longer --max-outage."


class CutoverRefused(Refused):
    """A precondition of a cut-over does not hold; nothing was changed."""

    target: str
    problem: str
    advice: str
    effect = "Nothing was changed."
    message = "cut-over to {target} refused: {problem}"


class WritesNotBlockable(Refused):
    """The writes of all users cannot be refused during a cut-over; nothing was changed."""

    problem: str
    advice: str
    effect = "Nothing was changed."
    message = "--block-all-writes is not possible: {problem}"
    again = ""
    again_without = "--block-all-writes"


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
        "All old bookings are kept: {remedy}. Only if nothing that was booked or changed since the cut-over is needed, add "
        "--discard-later, which drops it."
    )
    again = "\n--discard-later"


class CutoverTooSlow(Refused):
    """Writes would have been refused for longer than allowed; the source is live as before."""

    milliseconds: int
    attempts: int
    blockers: str
    effect = "Writes are accepted again."
    message = "writes would have been refused for more than {milliseconds} ms, attempts: {attempts}; the source is live as before"

    @property
    def hint(self) -> str:
        cause = f"The collection was held by {self.blockers}. " if self.blockers else ""
        return f"{cause}Run cutover again when less is written, or with a longer --max-outage."


class NothingToFollow(NothingToDo):
    """A target has no finished run from a source, whose changes could be followed."""

    source: str
    target: str
    message = "no finished run from {source} into {target} that could be followed"
    hint = "Run migrate first."


class FollowingStopped(Refused):
    """The target of a run that is followed is not what it has to be."""

    target: str
    problem: str
    command: str
    message = "following stopped, {target} is not what it has to be: {problem}"
    hint = "See what differs: {command}"


class WindowStopped(Refused):
    """What a reverse window keeps ready for a rollback cannot be kept so."""

    problem: str
    message = "a rollback cannot be kept ready: {problem}"
    hint = "A rollback works as without a window: it refuses writes while it restores everything."


class WindowUnavailable(Refused):
    """A reverse window is not possible here."""

    collection: str
    reason: str
    message = "--reverse-window is not possible for {collection}: {reason}"
    hint = "Leave it out. A rollback works without it, too: it refuses writes while it restores everything."


class StillRunning(Refused):
    """A command that an earlier process has sent does not end."""

    collection: str
    operation: str
    message = "a command about {collection} that an earlier process has sent is still running: operation {operation}"
    hint = "End it with db.killOp({operation}), then run the command again."
