"""The JSON model of dry-run: the common report with a part of its own. Fields are only ever added."""

from collections.abc import Sequence

from pydantic import Field

from booking_migrate.dry_run.outcome import (
    Blocker,
    Distributions,
    DryRunOutcome,
    Gains,
    LargeClient,
    Needs,
    Reference,
    Sample,
    TimeEstimate,
)
from booking_migrate.errors import ExitCode
from booking_migrate.reports.model import NextStep, Part, Report, part_of, sums_by_currency


class DryRunPart(Part):
    """What only a dry-run knows."""

    sampled: int | None = Field(
        description="how many bookings were looked at; null if all. If not null, every figure is estimated"
    )
    blockers: tuple[Blocker, ...] = Field(
        description="[{`kind`, `message`, `hint`}]: why `migrate` would be refused"
    )
    estimate: TimeEstimate = Field(
        description="{`seconds`, `rate`, `basis`}: how long `migrate` will take, from bookings a second in this dry-run"
    )
    gains: Gains = Field(
        description="documents, data and indexes before and after, in bytes; the largest document and the limit"
    )
    needs: Needs = Field(
        description="server, modes, missing privileges, indexes, disk, oplog, and how a cut-over would go (`cutover`: {`is_followed`, `reason`, `changes_per_second`, `outage_seconds`, `basis`}); null where the user lacks the privilege to read it"
    )
    largest_clients: tuple[LargeClient, ...] = Field(
        description="[{`client_id`, `sessions`, `size`}]: the ten largest documents"
    )
    references: tuple[Reference, ...] = Field(
        description="[{`collection`, `field`, `sampled`, `hits`}]: fields elsewhere that hold ids of bookings"
    )
    samples: tuple[Sample, ...] = Field(
        default=(),
        description="[{`kind`, `reason`, `client_id`, `bookings`, `document`}]: sample bookings beside the client document that they "
        "become (`typical`, `completed`, `rejected`), as text without personal data",
    )
    distributions: Distributions = Field(
        description="[{`label`, `count`, `is_over`}] for each chart: sessions per client, sizes, months, statuses"
    )


class DryRunReport(Report):
    """The report of a dry-run that has finished; `migrated` and the like say what `migrate` would report."""

    dry_run: DryRunPart = Field(description="what only a dry-run knows")


def report_of_dry_run(
    outcome: DryRunOutcome,
    *,
    run_id: str,
    source: str,
    target: str,
    rejects: str | None,
    next_steps: Sequence[NextStep],
) -> DryRunReport:
    """Build the report of a dry-run; ``rejects`` is the file with the bookings that would be rejected, if one was wanted."""
    migration = outcome.migration
    return part_of(
        DryRunReport,
        migration,
        command="dry-run",
        run_id=run_id,
        source=source,
        target=target,
        exit_code=_exit_code(outcome),
        rejects=rejects,
        spent=sums_by_currency(migration.spent),
        rejected_spent=sums_by_currency(migration.rejected_money.prices),
        rejected_unpriced=migration.rejected_money.unpriced,
        documents_removed=0,
        next_steps=next_steps,
        dry_run=outcome,
    )


def _exit_code(outcome: DryRunOutcome) -> ExitCode:
    if outcome.blockers:
        return ExitCode.REFUSED
    return ExitCode.REJECTED if outcome.migration.counts.rejected else ExitCode.DONE
