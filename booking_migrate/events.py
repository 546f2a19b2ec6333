"""Typed events of running work, the protocol of their listeners, and a default listener that ignores them.

Verbs and stores import no progress bar and no logger; progress bars, status lines and tests are listeners.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from booking_migrate.quantities import moment


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A phase of the work has started; the previous one, if any, has ended."""

    label: str
    """What is being done, for the screen: ``reading bookings.jsonl``."""

    total: int | None
    """The estimated number of documents; None if it is not known."""

    unit: str = "booking"
    """What they are, for the screen."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """Documents were processed since the previous event of this kind. Sent per batch, not per document."""

    documents: int


@dataclass(frozen=True, slots=True)
class PhaseEnded:
    """The phase that started last has ended."""


@dataclass(frozen=True, slots=True)
class Warned:
    """A problem that does not stop the work, for the user to know."""

    message: str


@dataclass(frozen=True, slots=True)
class Announced:
    """Something that the user waits for has come."""

    message: str


class ReadingWay(StrEnum):
    """A way of reading a collection in client order."""

    INDEX = "index"
    """Along the index on `clientId`, in ranges."""

    SORT = "sort"
    """In one scan of the collection, which the server sorts on its disk."""


@dataclass(frozen=True, slots=True)
class ReadingChosen:
    """It was decided how a collection is read in client order."""

    place: str
    way: ReadingWay
    reason: str
    """Why, as part of a sentence."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing proceeds until something has come. Sent again and again while that lasts."""

    what: str
    """As an object of "waiting for": ``a primary``."""

    seconds: float
    """For how long so far."""

    limit: float | None
    """After how many seconds it is aborted; None: it is not."""

    @property
    def text(self) -> str:
        """Return it as a line for people."""
        most = "without a limit" if self.limit is None else f"at most {self.limit:.0f} s"
        return f"waiting for {self.what} since {self.seconds:.0f} s, {most}"


@dataclass(frozen=True, slots=True)
class WaitEnded:
    """What was announced by `Waiting` has come, or is no longer waited for."""

    what: str
    seconds: float

    @property
    def text(self) -> str:
        """Return it as a line for people."""
        return f"waited {self.seconds:.0f} s for {self.what}"


@dataclass(frozen=True, slots=True)
class Paused:
    """Another process has asked for a pause. Sent again and again while that lasts."""

    by: str
    """Who asked: ``user@host``."""

    since: datetime
    """When that was asked."""

    seconds: float
    """For how long this process has paused."""

    resume: str
    """The command that ends the pause."""

    @property
    def text(self) -> str:
        """Return it in a few words."""
        return f"paused by {self.by} since {moment(self.since)}"


@dataclass(frozen=True, slots=True)
class Resumed:
    """A pause has ended that another process had asked for."""

    by: str
    """Who ended it."""

    seconds: float
    """How long this process has paused."""

    @property
    def text(self) -> str:
        """Return it as a line for people."""
        return f"resumed by {self.by} after {self.seconds:.0f} s"


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Another process has changed a setting, which counts from the next chunk on."""

    setting: str
    value: float | None
    """None: no limit."""

    by: str
    """Who asked: ``user@host``."""

    @property
    def text(self) -> str:
        """Return it as a line for people."""
        value = "none" if self.value is None else f"{self.value:g}"
        return f"{self.setting} is {value} from now on, set by {self.by}"


@dataclass(frozen=True, slots=True)
class Retried:
    """Something failed for a passing reason and is tried again."""

    problem: str
    """What the server or the driver said, without content of documents."""

    attempt: int
    """The number of the attempt that failed, from 1."""


@dataclass(frozen=True, slots=True)
class RunOpened:
    """A run was recorded, or an unfinished one is continued."""

    run_id: str
    taken_over_from: str | None
    """Who worked on an unfinished run last; None: it is a new run."""


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """What has been done so far is recorded, and is not done again after a kill."""

    documents: int
    total: int | None


Event = (
    PhaseStarted
    | Advanced
    | PhaseEnded
    | Warned
    | Announced
    | ReadingChosen
    | Waiting
    | WaitEnded
    | Paused
    | Resumed
    | Adjusted
    | Retried
    | RunOpened
    | Checkpointed
)


class Listener(Protocol):
    """Receives the events of running work."""

    def notify(self, event: Event) -> None:
        """Handle one event. Called on the working thread, so it must return at once and never raise."""


class NullListener:
    """A listener that ignores every event."""

    def notify(self, event: Event) -> None:
        """Ignore the event."""
