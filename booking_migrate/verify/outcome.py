"""What a verification is asked to prove, and what it found: plan, mismatches, counts and outcome, as values.

Only examples of mismatches are held in memory; all of them go to a sink as they are found.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from booking_migrate.bson.document import read_fields
from booking_migrate.bson.format import display_id
from booking_migrate.domain.rejection import Reason
from booking_migrate.domain.rules import DEFAULT_PEOPLE_FIELDS, PeopleFields, Rules
from booking_migrate.quantities import agreed
from booking_migrate.runs.causing_values import CausingValues
from booking_migrate.runs.plan import Counts, Finding, RejectionGroup
from booking_migrate.stores.ports import Baseline, CanHold, stores_any_bson
from booking_migrate.verify.mismatch import Mismatch, Rule

if TYPE_CHECKING:
    from booking_migrate.verify.behind import Behind, BothSides

EXAMPLES = 10
"""The mismatches of each rule that are kept for reports."""

_SAMPLE_IDS = 5


@dataclass(frozen=True, slots=True)
class VerificationRules(Rules):
    """The rules of the migration, and what else decides the content of the target."""

    can_store: CanHold = stores_any_bson
    """Whether the target can store a document unchanged."""

    allow_later: bool = False
    """Whether sessions that the new application added are counted instead of reported."""

    allow_changed: bool = False
    """Whether sessions that the new application changed are counted instead of reported."""

    allow_deleted: bool = False
    """Whether sessions and client documents that are gone, as if the new application deleted them, are counted only."""


@dataclass(frozen=True, slots=True)
class VerificationPlan:
    """Everything that a verification needs to know beside the places."""

    rules: VerificationRules = field(default_factory=VerificationRules)
    people: PeopleFields = DEFAULT_PEOPLE_FIELDS
    sample: int | None = None
    """The number of clients to check, chosen at random; None: all."""

    workers: int = 1
    """The number of processes that check clients. Has no influence on the result."""

    recheck_seconds: float = 0.0
    """The wait before a client with a mismatch is read again; 0: it is not."""

    behind: "Behind | None" = None
    """Knows the clients that changed since the target was derived; None: every difference is a mismatch."""

    both_sides: "BothSides | None" = None
    """Reads both sides at one cluster time, for clients with a mismatch; None: one side after the other, as they are."""

    recheck: "RecheckWay | None" = None
    """How clients with a mismatch are read again, for the report."""

    batch_bookings: int = 2000
    """The bookings that are read before their clients are checked. Has no influence on the result."""

    baselines: Callable[[Sequence[bytes]], Mapping[bytes, Baseline]] = field(default=lambda _documents: {})
    """Return what the target held in the place of these client documents before the migration, as a journal may know it, by
    the BSON of ``{_id}``. Documents that it does not know, or that were not there, are left out. It is called in client
    order, and only with documents that are not what their bookings alone make."""


class RecheckWay(StrEnum):
    """How clients with a difference are read again in a database. The values are an API."""

    CHANGES = "changes"
    """Both sides as they are; those whose changes the change stream has are behind."""

    SNAPSHOT = "snapshot"
    """Both sides at one cluster time; those whose bookings are other than at the run's cluster time are behind."""

    PLAIN = "plain"
    """One side after the other, as they are; none is behind."""


class BrokenRule(NamedTuple):
    """One reason why a booking cannot be converted."""

    reason: Reason
    field: str | None


class UnresolvedBooking(NamedTuple):
    """A booking whose session is not as it must be; the rejected records decide whether that is right."""

    raw: bytes
    booking_id: Any
    client_id: Any
    broken: tuple[BrokenRule, ...]
    """Why it cannot be converted; empty if it can."""

    differing: tuple[Mismatch, ...] = ()
    """The differences of its session; empty if it has none."""

    is_decidable: bool = True
    """Whether a recorded decision can keep its session: not one that breaks the contract or is there twice."""


@dataclass(slots=True)
class ClientResult:
    """The result of checking one client."""

    mismatches: list[Mismatch] = field(default_factory=list)
    unresolved: list[UnresolvedBooking] = field(default_factory=list)
    foreign: list[Mismatch] = field(default_factory=list)
    """Sessions from before the migration whose booking the client does not have: mismatches if another client has it."""

    scanned: int = 0
    migrated: int = 0
    already_migrated: int = 0
    sessions: int = 0
    client_documents: int = 0
    later: int = 0
    changed: int = 0
    missing: int = 0
    """What was there before the migration and is gone: sessions, and client documents without any."""

    wrong_totals: list[Any] = field(default_factory=list)
    """The `_id` of client documents that were correctly carried unchanged, with totals that do not fit."""


@dataclass(frozen=True, slots=True)
class RuleResult:
    """The result for one rule."""

    rule: Rule
    count: int
    """The number of mismatches that break it."""

    examples: tuple[Mismatch, ...]
    """The first `EXAMPLES` of them."""


@dataclass(frozen=True, slots=True)
class VerificationOutcome:
    """What `run.verify` found."""

    counts: Counts
    """``migrated`` and ``rejected`` count only the bookings that are as they must be."""

    results: tuple[RuleResult, ...]
    """One for each rule that was checked."""

    rejections: tuple[RejectionGroup, ...] = ()
    """The rejected bookings that are accounted for, by falling count, then by reason."""

    findings: tuple[Finding, ...] = ()
    behind: int = 0
    """Clients that the application has changed since the run derived them; not mismatches, and not proven."""

    knows_behind: bool = False
    """Whether such clients are known: then a mismatch has another cause."""

    later_sessions: int = 0
    """Sessions that the new application added and that were allowed."""

    changed_sessions: int = 0
    """Sessions that the new application changed, which was allowed."""

    deleted_sessions: int = 0
    """Sessions that are gone and whose bookings are not among the rejected, which was allowed. A client document without
    sessions that is gone counts as one."""

    missing_sessions: int = 0
    """The same, where it was not allowed, so that each is a mismatch."""

    clients_checked: int = 0
    clients_seen: int = 0
    sampled: bool = False
    """Whether only some clients were checked, so that the verdict is about those."""

    rejects_name: str | None = None
    as_of: datetime | None = None
    """The cluster time at which the reading began: what was written later may be in it or not; None if unknown."""

    seconds: float = 0.0
    recheck: RecheckWay | None = None
    """How clients with a difference were read again; None if the sides are not two collections that are migrated."""

    @property
    def mismatch_count(self) -> int:
        """Return the number of mismatches."""
        return sum(result.count for result in self.results)

    @property
    def is_empty(self) -> bool:
        """Return whether neither side had anything to compare."""
        return not self.clients_seen


@dataclass(slots=True)
class _Examples:
    """A count, and the first few of what is counted."""

    most: int
    count: int = 0
    first: list[Any] = field(default_factory=list)

    def add(self, one: Any) -> None:
        self.count += 1
        if len(self.first) < self.most:
            self.first.append(one)


@dataclass(slots=True)
class VerificationCounts:
    """Adds up the results of clients."""

    sink: Callable[[Mismatch], None]
    """Takes every mismatch as it is found."""

    totals: Counter[str] = field(default_factory=Counter)
    _mismatches: dict[Rule, _Examples] = field(
        default_factory=lambda: {rule: _Examples(EXAMPLES) for rule in Rule}
    )
    _rejected: dict[str, _Examples] = field(default_factory=dict)
    _values: CausingValues = field(default_factory=CausingValues)
    _wrong_totals: _Examples = field(default_factory=lambda: _Examples(_SAMPLE_IDS))

    def add_client(self, result: ClientResult) -> None:
        """Add the numbers of one client."""
        for name in _ADDED:
            self.totals[name] += getattr(result, name)
        self.totals["clients"] += bool(result.migrated or result.already_migrated)
        for document_id in result.wrong_totals:
            self._wrong_totals.add(display_id(document_id))

    def add_flat(self, clients: int, bookings: int) -> None:
        """Add flat clients, all of whose bookings were migrated correctly."""
        for name in ("scanned", "migrated", "sessions"):
            self.totals[name] += bookings
        self.totals["clients"] += clients

    def add_mismatch(self, mismatch: Mismatch) -> None:
        """Add one mismatch."""
        self.sink(mismatch)
        self._mismatches[mismatch.rule].add(mismatch)

    def add_rejected(self, reason: str, booking: UnresolvedBooking) -> None:
        """Add a booking that is correctly among the rejected."""
        self._rejected.setdefault(reason, _Examples(_SAMPLE_IDS)).add(display_id(booking.booking_id))
        at_fault = next((each.field for each in booking.broken if each.reason == reason), None)
        if at_fault is not None:
            self._values.add(reason, at_fault, read_fields(booking.raw))

    def results(self, rules: tuple[Rule, ...]) -> tuple[RuleResult, ...]:
        """Return the results for these rules."""
        found = ((rule, self._mismatches[rule]) for rule in rules)
        return tuple(RuleResult(rule, each.count, tuple(each.first)) for rule, each in found)

    def counts(self) -> Counts:
        """Return the counts for reports."""
        totals: Mapping[str, int] = self.totals
        rejected = {reason: each.count for reason, each in self._rejected.items()}
        return Counts(
            scanned=totals["scanned"],
            migrated=totals["migrated"],
            already_migrated=totals["already_migrated"],
            rejected=sum(rejected.values()),
            conflicts=rejected.get(Reason.CONFLICT.value, 0),
            clients=totals["clients"],
            sessions=totals["sessions"],
            client_documents=totals["client_documents"],
        )

    def rejections(self) -> tuple[RejectionGroup, ...]:
        """Return the rejections that are accounted for, by reason."""
        ordered = sorted(self._rejected.items(), key=lambda item: (-item[1].count, item[0]))
        values = self._values
        return tuple(
            RejectionGroup(
                Reason(reason), each.count, tuple(each.first), values.of(reason), values.fields(reason)
            )
            for reason, each in ordered
        )

    def findings(self) -> tuple[Finding, ...]:
        """Return what is not a mismatch but should be known."""
        if not self._wrong_totals.count:
            return ()
        return (
            Finding(
                "client-document-totals-wrong",
                agreed(
                    "{client document|client documents} of the source whose own totals are wrong",
                    self._wrong_totals.count,
                ),
                self._wrong_totals.count,
                tuple(self._wrong_totals.first),
                "Nothing had to be added to them, so they were carried as they were. Correct them in the application.",
            ),
        )


_ADDED = (
    "scanned",
    "migrated",
    "already_migrated",
    "sessions",
    "client_documents",
    "later",
    "changed",
    "missing",
)
"""The numbers of a `ClientResult` that are added up."""
