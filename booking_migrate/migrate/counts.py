"""Counting the result for every document, in memory that does not grow with their number."""

# ruff: noqa: SLF001 - counts are added to others of their class
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Protocol

from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.client_document import decimal_of, exact_sum
from booking_migrate.domain.consolidate import Consolidation
from booking_migrate.domain.rejection import Reason, Rejection
from booking_migrate.domain.session import Session
from booking_migrate.errors import UnaccountedBookings
from booking_migrate.fastpath.flat import Collector, FlatClient
from booking_migrate.migrate.rejected_values import RejectedValues
from booking_migrate.quantities import agreed
from booking_migrate.runs.plan import Counts, Finding, RejectedMoney, RejectionGroup

SAMPLES = 5
"""How many ids are kept as examples."""

_NOTHING = Decimal(0)


class Samples:
    """A count, and the first few ids in MongoDB's order, so that they do not depend on the order of reading."""

    def __init__(self) -> None:
        """Begin with none."""
        self.count = 0
        self._first: list[tuple[bytes, str]] = []

    def add(self, document_id: Any) -> None:
        """Count one, and keep its id if it is among the first."""
        self.count += 1
        key = sort_key(document_id)
        if len(self._first) < SAMPLES or key < self._first[-1][0]:
            insort(self._first, (key, display_id(document_id)))
            del self._first[SAMPLES:]

    def include(self, other: "Samples") -> None:
        """Add another count."""
        self.count += other.count
        self._first = sorted([*self._first, *other._first])[:SAMPLES]

    def saved(self) -> Mapping[str, Any]:
        """Return the count and the ids as values of BSON."""
        return {"count": self.count, "first": [[key, text] for key, text in self._first]}

    def add_saved(self, saved: Mapping[str, Any]) -> None:
        """Add a saved count."""
        self.count += saved["count"]
        others = [(bytes(key), text) for key, text in saved["first"]]
        self._first = sorted([*self._first, *others])[:SAMPLES]

    def ids(self) -> tuple[str, ...]:
        """Return the ids kept, as text."""
        return tuple(text for _, text in self._first)


class MigrationCounts:
    """The counts of one run."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.scanned = 0
        self.client_documents = 0
        self._migrated = 0
        self._already_migrated = 0
        self._clients = 0
        self._sessions = 0
        self._rejected: dict[Reason, Samples] = {}
        self._values = RejectedValues()
        self._disagreeing = Samples()
        self._kept = Samples()
        self._whole: Counter[str] = Counter()
        self._fractional: dict[str, Decimal] = {}

    def reject(self, rejections: Iterable[Rejection]) -> None:
        """Count rejected documents, each under its first reason."""
        for rejection in rejections:
            self._rejected.setdefault(rejection.reason, Samples()).add(rejection.document_id)
            self._values.add(rejection)

    def take(self, client_id: Any, consolidation: Consolidation) -> None:
        """Count the result for one client."""
        self.reject(consolidation.rejected)
        self.reject(consolidation.contradicting)
        self.scanned += len(consolidation.contradicting)
        self.client_documents -= len(consolidation.contradicting)
        self._migrated += len(consolidation.migrated)
        self._already_migrated += len(consolidation.already_migrated)
        if consolidation.migrated or consolidation.already_migrated:
            self._clients += 1
            self._sessions += consolidation.session_count
            self._spend(consolidation.migrated)
            self._spend(consolidation.already_migrated)
        for rejection in consolidation.kept:
            self._kept.add(rejection.document_id)
        if consolidation.disagreement:
            self._disagreeing.add(client_id)

    def take_flat(self, client: FlatClient, *, is_new: bool) -> None:
        """Count a flat client; if its document is not new, it was there already, byte for byte."""
        sessions = client.sessions
        if is_new:
            self._migrated += sessions
        else:
            self._already_migrated += sessions
        self._clients += 1
        self._sessions += sessions
        if isinstance(client.spent, int):
            self._whole[client.currency] += client.spent
        else:
            self._spend_fraction(client.currency, client.spent)

    def _spend(self, sessions: Iterable[Session]) -> None:
        for session in sessions:
            if isinstance(session.price, int):
                self._whole[session.currency] += session.price
            else:
                self._spend_fraction(session.currency, decimal_of(session.price))

    def _spend_fraction(self, currency: str, amount: Decimal) -> None:
        self._fractional[currency] = exact_sum((self._fractional.get(currency, _NOTHING), amount))

    def drain(self) -> "MigrationCounts":
        """Return what was counted since the last call, and begin at zero again."""
        drained = MigrationCounts()
        self.__dict__, drained.__dict__ = drained.__dict__, self.__dict__
        return drained

    def include(self, other: "MigrationCounts") -> None:
        """Add what was counted for other clients, in this process or in another one."""
        self.scanned += other.scanned
        self.client_documents += other.client_documents
        self._migrated += other._migrated
        self._already_migrated += other._already_migrated
        self._clients += other._clients
        self._sessions += other._sessions
        for reason, samples in other._rejected.items():
            self._rejected.setdefault(reason, Samples()).include(samples)
        self._values.include(other._values)
        self._disagreeing.include(other._disagreeing)
        self._kept.include(other._kept)
        self._whole.update(other._whole)
        for currency, amount in other._fractional.items():
            self._spend_fraction(currency, amount)

    @property
    def rejected(self) -> int:
        """Return how many documents were rejected."""
        return sum(samples.count for samples in self._rejected.values())

    def recount(self, sessions: int) -> None:
        """Subtract a client of this number of sessions that was counted before with fewer of its bookings."""
        self._clients -= 1
        self._sessions -= sessions

    def saved(self) -> Mapping[str, Any]:
        """Return everything but the rejections, as values of BSON."""
        return {
            "migrated": self._migrated,
            "already_migrated": self._already_migrated,
            "clients": self._clients,
            "sessions": self._sessions,
            "disagreeing": self._disagreeing.saved(),
            # As text: a sum may be larger than any number of BSON.
            "whole": [[currency, str(amount)] for currency, amount in self._whole.items()],
            "fractional": [[currency, str(amount)] for currency, amount in self._fractional.items()],
        }

    def add(self, saved: Mapping[str, Any]) -> None:
        """Add saved counts; an empty mapping adds nothing."""
        if not saved:
            return
        self._migrated += saved["migrated"]
        self._already_migrated += saved["already_migrated"]
        self.scanned += saved["migrated"] + saved["already_migrated"]
        self._clients += saved["clients"]
        self._sessions += saved["sessions"]
        self._disagreeing.add_saved(saved["disagreeing"])
        self._whole.update({currency: int(amount) for currency, amount in saved["whole"]})
        for currency, amount in saved["fractional"]:
            self._spend_fraction(currency, Decimal(amount))

    def check(self) -> None:
        """Make sure that every booking is accounted for: scanned = migrated + already migrated + rejected.

        Raises:
            UnaccountedBookings: one is not.
        """
        accounted = self._migrated + self._already_migrated + self.rejected
        if accounted != self.scanned:
            raise UnaccountedBookings(self.scanned, accounted)

    def counts(self, *, changed: bool) -> Counts:
        """Return the counts for the report.

        Args:
            changed: False if the target turned out to hold all of it already.
        """
        migrated = self._migrated if changed else 0
        return Counts(
            scanned=self.scanned,
            migrated=migrated,
            already_migrated=self._already_migrated + self._migrated - migrated,
            rejected=self.rejected,
            conflicts=self._rejected[Reason.CONFLICT].count if Reason.CONFLICT in self._rejected else 0,
            clients=self._clients,
            sessions=self._sessions,
            client_documents=self.client_documents,
        )

    def counts_with(self, rejected: "MigrationCounts") -> Counts:
        """Return the counts of moved bookings, and of rejected ones that were counted elsewhere.

        Raises:
            UnaccountedBookings: a booking is not accounted for.
        """
        self.check()
        rejected.check()
        return replace(
            self.counts(changed=True),
            scanned=self.scanned + rejected.scanned,
            rejected=rejected.rejected,
            conflicts=rejected.counts(changed=True).conflicts,
            client_documents=self.client_documents,
        )

    def rejections(self) -> tuple[RejectionGroup, ...]:
        """Return the rejections by reason, the most frequent first."""
        groups = [
            RejectionGroup(
                reason, samples.count, samples.ids(), self._values.of(reason), self._values.fields(reason)
            )
            for reason, samples in self._rejected.items()
        ]
        return tuple(sorted(groups, key=lambda group: (-group.count, group.reason)))

    def rejected_money(self) -> RejectedMoney:
        """Return the prices of the rejected bookings."""
        return self._values.money()

    def spent(self) -> dict[str, Decimal]:
        """Return the prices of all sessions migrated or already migrated, per currency."""
        currencies = sorted({*self._whole, *self._fractional})
        return {
            name: exact_sum((Decimal(self._whole[name]), self._fractional.get(name, _NOTHING)))
            for name in currencies
        }

    def findings(self) -> tuple[Finding, ...]:
        """Return the findings beside the rejections."""
        findings = []
        if self._disagreeing.count:
            findings.append(
                Finding(
                    kind="client-fields-disagree",
                    title=agreed(
                        "{client|clients} whose bookings name different user ids or email addresses",
                        self._disagreeing.count,
                    ),
                    count=self._disagreeing.count,
                    sample_ids=self._disagreeing.ids(),
                    advice="The last booking's were taken. Check these clients if the old ones matter.",
                )
            )
        if self._kept.count:
            findings.append(
                Finding(
                    kind="conflicts-kept-target",
                    title=agreed("{conflict|conflicts} decided for the target", self._kept.count),
                    count=self._kept.count,
                    sample_ids=self._kept.ids(),
                    advice="These sessions stay as they are (--on-conflict target), which is right if they were changed on purpose; the bookings are "
                    "kept with that decision. If the bookings are right after all, --on-conflict source overwrites the sessions.",
                )
            )
        currencies = tuple(self.spent())
        if len(currencies) > 1:
            findings.append(
                Finding(
                    kind="several-currencies",
                    title="currencies in one collection",
                    count=len(currencies),
                    sample_ids=currencies[:SAMPLES],
                    advice="The new application may accept only some; [contract] currencies of the config file says which.",
                )
            )
        return tuple(findings)


class Observer(Protocol):
    """Observes a migration without changing its result. Its methods are called very often."""

    collector: Collector | None
    """Collects facts about the bookings of flat clients, which are not notified one by one; None: nothing is collected."""

    def on_booking(self, result: Session | Rejection) -> None:
        """Observe a booking and its conversion."""

    def on_client(self, client_id: Any, consolidation: Consolidation) -> None:
        """Observe a client.

        Clients come in MongoDB's order of their ids, and a batch of them only after all of their bookings; no client
        has bookings in two batches.
        """

    def on_flat_bookings(self, collected: Any) -> None:
        """Observe what the collector returned for the bookings of some flat clients."""

    def on_flat_client(self, client: FlatClient) -> None:
        """Observe a flat client, in the same order as the other clients."""

    def on_end(self) -> None:
        """Observe that all clients have come; the target is still open."""


class NullObserver:
    """Ignores everything; the default."""

    collector: Collector | None = None

    def on_booking(self, result: Session | Rejection) -> None:
        """Ignore the booking."""

    def on_client(self, client_id: Any, consolidation: Consolidation) -> None:
        """Ignore the client."""

    def on_flat_bookings(self, collected: Any) -> None:
        """Ignore the bookings."""

    def on_flat_client(self, client: FlatClient) -> None:
        """Ignore the client."""

    def on_end(self) -> None:
        """Ignore the end."""
