"""The plan of a cut-over and its outcome, as values."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from booking_migrate.cutover.fencing import LiveReport
from booking_migrate.cutover.live import Following
from booking_migrate.cutover.readiness import RejectedPolicy
from booking_migrate.cutover.tail import TailParts
from booking_migrate.events import Listener
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.plan import Limits, MigrationPlan
from booking_migrate.runs.session import RunRequest, RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.cutover import IndexNote, OptionNote
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.ports import DocumentReader, TargetWriter
from booking_migrate.verify import VerificationOutcome

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.cutover import MongoLive


@dataclass(frozen=True, slots=True)
class CutoverPlaces:
    """What a cut-over reads and writes."""

    source: DocumentReader
    target: TargetWriter
    users: DocumentReader | None
    experts: DocumentReader | None
    live: "MongoLive"
    verify: Callable[[str], VerificationOutcome]
    """Verifies the whole target against the collection of this name, which has the source's documents."""


@dataclass(frozen=True, slots=True)
class CutoverOutcome:
    """What a cut-over did."""

    run: RunRecord
    caught_up: int = 0
    """Client documents that were created, derived again or removed, because the source had changed."""

    refused_seconds: float = 0.0
    """For how long writes were refused by all attempts, as far as is known."""

    carried: int = 0
    """Rejected bookings that were carried into the live collection."""

    indexes: tuple[IndexNote, ...] = ()
    options: tuple[OptionNote, ...] = ()
    followed: LiveReport | None = None
    """What a cut-over that followed the application did; None if it read everything behind the fence."""

    own_refused_seconds: float = 0.0
    """For how long the successful attempt refused writes."""

    kept_index: str | None = None
    """The index by which old ids are found, if it was asked for."""

    references: tuple[str, ...] = ()
    """The fields of other collections that hold old ids, as samples show."""

    are_references_named: bool = False
    """Whether the config file has tables about references."""

    legacy_index: str | None = None
    """The index by which their sessions are found; None: without one, or not looked at, since no field was seen."""

    @property
    def earlier_attempts(self) -> int:
        """Return how many attempts, of earlier commands too, had refused writes before."""
        return self.run.refusals - self.is_completed

    @property
    def earlier_refused_seconds(self) -> float:
        """Return for how long they did."""
        return max(self.refused_seconds - self.own_refused_seconds, 0.0)

    is_completed: bool = False
    """Whether an earlier process had swapped, and was killed after that."""

    @property
    def tail_unread(self) -> str | None:
        """Return why the tail is not known; None: it was read."""
        found: str | None = self.run.follow.get(TAIL_UNREAD)
        return found


TAIL_UNREAD = "tail_unread"
"""The key in a run's record of why the tail is not known."""


@dataclass(frozen=True, slots=True)
class CutoverPlan:
    """What a cut-over does, and the parts that it works with."""

    migration: MigrationPlan
    """The plan of the run, by which bookings that were added since are converted."""

    request: RunRequest
    """Source, target and options of the run, and the holder of the lock."""

    policy: RejectedPolicy | None
    """What to do with rejected bookings; None: the cut-over fails if any booking is rejected."""

    places: CutoverPlaces
    stores: RunStores
    listener: Listener
    signal_guard: SignalGuard
    """Defers a signal during the swap."""

    before: Callable[[RunRecord], None]
    """Called under the lock when all preconditions hold and nothing is changed yet; raises to stop."""

    tail: Callable[[RunRecord, HeldLock], TailParts]
    """Opens the parts for what passed the fence, after a swap that followed the application."""

    confirm: Callable[[RunRecord], None] = lambda _run: None
    """Called once for a run that may be cut over, before a follower is asked for the lock; raises to stop."""

    limits: Limits = field(default_factory=Limits)
    """At rest, for how long every write may wait for the fence, and every read for the swap."""

    is_guarded: bool = True
    """Whether the new live collection refuses old bookings."""

    follow: Callable[[RunRecord, HeldLock], Following] | None = None
    """Opens the parts by which the application is followed; None: everything is read behind the fence."""
