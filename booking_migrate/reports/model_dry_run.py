"""The JSON model of dry-run: the common report with a part of its own. Fields are only ever added."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from booking_migrate.errors import ExitCode
from booking_migrate.reports.model import Id, Line, NextStep, Part, Report, part_of, sums_by_currency
from booking_migrate.stores.destination import Topology

if TYPE_CHECKING:
    # The caller that has an outcome has loaded its module; other commands do not need it.
    from booking_migrate.dry_run.outcome import DryRunOutcome


class BlockerReport(Part):
    """A reason for which `migrate` would be refused."""

    kind: str
    message: Line
    hint: Line


class EstimateReport(Part):
    """How long a migration will take."""

    seconds: float
    rate: float
    basis: Line


class GainsReport(Part):
    """Before and after; null where it cannot be known."""

    documents_before: int
    documents_after: int
    data_bytes_before: int
    data_bytes_after: int
    index_bytes_before: int | None
    index_bytes_after: int | None
    storage_bytes_after: int | None
    largest_document: int
    limit: int


class ServerReport(Part):
    """The server that was asked."""

    version: Line
    topology: Topology


class ModeReport(Part):
    """A way to migrate."""

    name: str
    possible: bool
    note: Line


class PrivilegeReport(Part):
    """One action on one collection; an empty name stands for the database as a whole."""

    action: str
    collection: Line


class MissingPrivilegeReport(Part):
    """A privilege that a later command needs and the user lacks."""

    command: str
    privilege: PrivilegeReport


class DiskReport(Part):
    """The file system of the server's data, in bytes."""

    total: int
    used: int


class NeedsReport(Part):
    """What a migration needs; null where the user lacks the privilege to read it."""

    database: Line | None
    server: ServerReport | None
    modes: tuple[ModeReport, ...]
    missing_privileges: tuple[MissingPrivilegeReport, ...] | None
    has_source_index: bool | None
    has_unique_index: bool | None
    disk: DiskReport | None
    target_bytes: int | None
    archive_bytes: int | None
    oplog_seconds: float | None


class LargeClientReport(Part):
    """A client with one of the largest documents."""

    client_id: Id
    sessions: int
    size: int


class ReferenceReport(Part):
    """A field of another collection that holds ids of bookings."""

    collection: Line
    field: Line
    sampled: int
    hits: int


class BarReport(Part):
    """One bar of a chart."""

    label: Id
    count: int
    is_over: bool


class DistributionsReport(Part):
    """What the charts show."""

    sessions_per_client: tuple[BarReport, ...]
    document_sizes: tuple[BarReport, ...]
    bookings_by_month: tuple[BarReport, ...]
    bookings_by_status: tuple[BarReport, ...]
    bookings_by_payment_status: tuple[BarReport, ...]


class DryRunPart(Part):
    """What only a dry-run knows."""

    sampled: int | None = Field(
        description="how many bookings were looked at; null if all. If not null, every figure is estimated"
    )
    blockers: tuple[BlockerReport, ...] = Field(
        description="[{`kind`, `message`, `hint`}]: why `migrate` would be refused"
    )
    estimate: EstimateReport = Field(
        description="{`seconds`, `rate`, `basis`}: how long `migrate` will take, from bookings a second in this dry-run"
    )
    gains: GainsReport = Field(
        description="documents, data and indexes before and after, in bytes; the largest document and the limit"
    )
    needs: NeedsReport = Field(
        description="server, modes, missing privileges, indexes, disk, oplog; null where the user lacks the privilege to read it"
    )
    largest_clients: tuple[LargeClientReport, ...] = Field(
        description="[{`client_id`, `sessions`, `size`}]: the ten largest documents"
    )
    references: tuple[ReferenceReport, ...] = Field(
        description="[{`collection`, `field`, `sampled`, `hits`}]: fields elsewhere that hold ids of bookings"
    )
    distributions: DistributionsReport = Field(
        description="[{`label`, `count`, `is_over`}] for each chart: sessions per client, sizes, months, statuses"
    )


class DryRunReport(Report):
    """The report of a dry-run that has finished; `migrated` and the like say what `migrate` would report."""

    dry_run: DryRunPart = Field(description="what only a dry-run knows")


def report_of_dry_run(
    outcome: "DryRunOutcome",
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
        documents_removed=0,
        next_steps=next_steps,
        dry_run=outcome,
    )


def _exit_code(outcome: "DryRunOutcome") -> ExitCode:
    if outcome.blockers:
        return ExitCode.REFUSED
    return ExitCode.REJECTED if outcome.migration.counts.rejected else ExitCode.DONE
