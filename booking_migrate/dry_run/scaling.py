"""From a sample to the whole: every figure times the same factor."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from booking_migrate.dry_run.outcome import Bar, Distributions, Gains, TimeEstimate
from booking_migrate.runs.outcome import Counts, Finding, MigrationOutcome

_CENT = Decimal("0.01")


def scaled_migration(outcome: MigrationOutcome, factor: float) -> MigrationOutcome:
    """Return what a migration of the whole would report; its counts add up as those of any other."""
    if factor == 1:
        return outcome
    counts = outcome.counts
    groups = tuple(replace(group, count=_times(group.count, factor)) for group in outcome.rejections)
    migrated, already = _times(counts.migrated, factor), _times(counts.already_migrated, factor)
    rejected = sum(group.count for group in groups)
    return replace(
        outcome,
        counts=Counts(
            scanned=migrated + already + rejected,
            migrated=migrated,
            already_migrated=already,
            rejected=rejected,
            clients=_times(counts.clients, factor),
            sessions=_times(counts.sessions, factor),
            client_documents=_times(counts.client_documents, factor),
        ),
        rejections=groups,
        spent={name: (total * Decimal(factor)).quantize(_CENT) for name, total in outcome.spent.items()},
        documents_written=_times(outcome.documents_written, factor),
        documents_changed=_times(outcome.documents_changed, factor),
    )


def scaled_findings(findings: Sequence[Finding], factor: float) -> list[Finding]:
    """Risks of the whole."""
    return [replace(finding, count=_times(finding.count, factor)) for finding in findings]


def scaled_gains(gains: Gains, factor: float) -> Gains:
    """Before and after of the whole; the largest document is that of the sample."""
    return replace(
        gains,
        documents_before=_times(gains.documents_before, factor),
        documents_after=_times(gains.documents_after, factor),
        data_bytes_before=_times(gains.data_bytes_before, factor),
        data_bytes_after=_times(gains.data_bytes_after, factor),
        index_bytes_after=_scaled(gains.index_bytes_after, factor),
        storage_bytes_after=_scaled(gains.storage_bytes_after, factor),
    )


def scaled_distributions(shown: Distributions, factor: float) -> Distributions:
    """Return the charts of the whole."""
    return Distributions(
        sessions_per_client=_bars(shown.sessions_per_client, factor),
        document_sizes=_bars(shown.document_sizes, factor),
        bookings_by_month=_bars(shown.bookings_by_month, factor),
        bookings_by_status=_bars(shown.bookings_by_status, factor),
        bookings_by_payment_status=_bars(shown.bookings_by_payment_status, factor),
    )


def scaled_estimate(estimate: TimeEstimate, factor: float) -> TimeEstimate:
    """Return the time for the whole."""
    basis = f"{estimate.basis}; that times {factor:.3g} for the whole"
    return replace(estimate, seconds=estimate.seconds * factor, basis=basis)


def _bars(bars: Sequence[Bar], factor: float) -> tuple[Bar, ...]:
    return tuple(replace(bar, count=_times(bar.count, factor)) for bar in bars)


def _scaled(number: int | None, factor: float) -> int | None:
    return None if number is None else _times(number, factor)


def _times(number: int, factor: float) -> int:
    return round(number * factor)
