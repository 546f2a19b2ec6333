"""What a verification came to, gathered as it goes on; only examples are held in memory."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from booking_migrate.bson.format import display_id
from booking_migrate.domain.rejection import Reason
from booking_migrate.runs.outcome import Counts, Finding, RejectionGroup
from booking_migrate.verify.client_check import ClientResult
from booking_migrate.verify.mismatch import Mismatch, Rule

EXAMPLES = 10
"""How many mismatches of each rule are kept for reports."""

_SAMPLE_IDS = 5


@dataclass(frozen=True, slots=True)
class RuleResult:
    """How one rule fared."""

    rule: Rule
    count: int
    """How many mismatches break it."""

    examples: tuple[Mismatch, ...]
    """The first `EXAMPLES` of them."""


@dataclass(frozen=True, slots=True)
class VerificationOutcome:
    """What `verify.verify` found."""

    counts: Counts
    """``migrated`` and ``rejected`` count only the bookings that are as they must be."""

    results: tuple[RuleResult, ...]
    """One for each rule that was checked."""

    rejections: tuple[RejectionGroup, ...] = ()
    """The rejected bookings that are accounted for, by falling count, then by reason."""

    findings: tuple[Finding, ...] = ()
    later_sessions: int = 0
    """Sessions that the new application added and that were allowed."""

    changed_sessions: int = 0
    """Sessions that the new application has changed since, which was allowed."""

    clients_checked: int = 0
    clients_seen: int = 0
    sampled: bool = False
    """Whether only some clients were checked, so that the verdict is one about those."""

    rejects_name: str | None = None
    seconds: float = 0.0

    @property
    def mismatch_count(self) -> int:
        """How many mismatches there are."""
        return sum(result.count for result in self.results)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was there to be compared."""
        return not self.clients_seen


@dataclass(slots=True)
class VerificationCounts:
    """Adds up what the clients came to."""

    sink: Callable[[Mismatch], None]
    """Is given every mismatch as it is found."""

    totals: Counter[str] = field(default_factory=Counter)
    mismatches: Counter[Rule] = field(default_factory=Counter)
    _examples: dict[Rule, list[Mismatch]] = field(default_factory=dict)
    _reasons: Counter[str] = field(default_factory=Counter)
    _rejected_ids: dict[str, list[str]] = field(default_factory=dict)
    _wrong_totals: list[str] = field(default_factory=list)

    def add_client(self, result: ClientResult) -> None:
        """Take the numbers of one client."""
        self.totals["scanned"] += result.scanned
        self.totals["migrated"] += result.migrated
        self.totals["already_migrated"] += result.already_migrated
        self.totals["clients"] += bool(result.migrated or result.already_migrated)
        self.totals["sessions"] += result.sessions
        self.totals["client_documents"] += result.client_documents
        self.totals["later"] += result.later
        self.totals["changed"] += result.changed
        self.totals["wrong_totals"] += len(result.wrong_totals)
        room = _SAMPLE_IDS - len(self._wrong_totals)
        self._wrong_totals += map(display_id, result.wrong_totals[:room])

    def add_flat(self, clients: int, bookings: int) -> None:
        """Take so many usual clients, all of whose bookings were migrated rightly."""
        for name in ("scanned", "migrated", "sessions"):
            self.totals[name] += bookings
        self.totals["clients"] += clients

    def add_mismatch(self, mismatch: Mismatch) -> None:
        """Take one mismatch."""
        self.sink(mismatch)
        self.mismatches[mismatch.rule] += 1
        examples = self._examples.setdefault(mismatch.rule, [])
        if len(examples) < EXAMPLES:
            examples.append(mismatch)

    def add_rejected(self, reason: str, booking_id: Any) -> None:
        """Take a booking that is rightly among the rejected."""
        self._reasons[reason] += 1
        ids = self._rejected_ids.setdefault(reason, [])
        if len(ids) < _SAMPLE_IDS:
            ids.append(display_id(booking_id))

    def results(self, rules: tuple[Rule, ...]) -> tuple[RuleResult, ...]:
        """How each of these rules fared."""
        return tuple(
            RuleResult(rule, self.mismatches[rule], tuple(self._examples.get(rule, ()))) for rule in rules
        )

    def counts(self) -> Counts:
        """The counts of DESIGN.md, section 4."""
        totals: Mapping[str, int] = self.totals
        return Counts(
            scanned=totals["scanned"],
            migrated=totals["migrated"],
            already_migrated=totals["already_migrated"],
            rejected=sum(self._reasons.values()),
            conflicts=self._reasons[Reason.CONFLICT.value],
            clients=totals["clients"],
            sessions=totals["sessions"],
            client_documents=totals["client_documents"],
        )

    def rejections(self) -> tuple[RejectionGroup, ...]:
        """The accounted rejections by reason."""
        ordered = sorted(self._reasons.items(), key=lambda item: (-item[1], item[0]))
        return tuple(
            RejectionGroup(Reason(reason), count, tuple(self._rejected_ids[reason]))
            for reason, count in ordered
        )

    def findings(self) -> tuple[Finding, ...]:
        """What is no mismatch but should be known."""
        if not self._wrong_totals:
            return ()
        return (
            Finding(
                "client-document-totals-wrong",
                "client documents of the source whose own totals are wrong",
                self.totals["wrong_totals"],
                tuple(self._wrong_totals),
                "Nothing had to be added to them, so they were carried as they were. Mend them in the application.",
            ),
        )
