"""What ``service-indexes`` did, as a report and for the terminal."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Group, RenderableType
from rich.text import Text

from booking_migrate.errors import ExitCode
from booking_migrate.reports.model import Line, Report


class ServiceIndex(BaseModel):
    """One index that the booking service works with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    collection: Line
    fields: tuple[Line, ...] = Field(description="all ascending")
    unique: bool
    purpose: str = Field(description="what is found by it, or kept from happening")
    created: bool = Field(description="whether it was created now; if not, it was there")


class IndexesReport(Report):
    """The report of `service-indexes`."""

    indexes: tuple[ServiceIndex, ...] = Field(description="every index that the service works with")


def report_of_indexes(indexes: Sequence[ServiceIndex], *, run_id: str, source: str) -> IndexesReport:
    """Make the report of `service-indexes`."""
    return IndexesReport(
        command="service-indexes",
        run_id=run_id,
        source=source,
        target="",
        exit_code=ExitCode.DONE,
        changed=any(index.created for index in indexes),
        indexes=tuple(indexes),
    )


def render_indexes_text(report: IndexesReport) -> RenderableType:
    """What a rich console prints of indexes."""
    lines = [
        Text(f"{'created' if one.created else 'there  '}  ", style="green" if one.created else "dim").append(
            f"{one.collection}: {', '.join(one.fields)}{' (unique)' if one.unique else ''}, for {one.purpose}",
            style="none",
        )
        for one in report.indexes
    ]
    return Group(*lines)
