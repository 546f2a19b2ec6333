"""The reports of the commands about references."""

from collections.abc import Sequence

from pydantic import Field

from booking_migrate.bson.format import Id, Line
from booking_migrate.errors import ExitCode
from booking_migrate.references.outcome import FindOutcome
from booking_migrate.references.values import Form
from booking_migrate.reports.model import NextStep, Part, Report, part_of


class ConditionPart(Part):
    """A field beside a reference that says what it refers to."""

    field: Line
    values: tuple[Line, ...] = Field(description="what it holds beside ids of bookings")
    others: int = Field(
        description="of the values that were looked at and are ids of no booking, those with another value beside them"
    )


class ObstaclePart(Part):
    """What a rewrite of a field may run into."""

    kind: str = Field(description="unique-index, compound-unique-index, validator or document-id")
    name: Line = Field(description="the index, or the field that the validator has a rule on")
    detail: Line


class FoundFieldPart(Part):
    """A field of another collection that holds ids of bookings."""

    collection: Line
    field: Line = Field(description="its path, array positions left out")
    documents: int = Field(description="documents with at least one value there that could be an id")
    values: int = Field(description="values there that could be ids")
    hits: int = Field(description="of those, ids of bookings")
    misses: int = Field(description="the other values; the following three add up to it")
    sessions: int = Field(
        description="of those, ids of sessions: rewritten already, or written by the new application"
    )
    client_documents: int = Field(description="of those, ids of client documents")
    others: int = Field(description="of those, ids of other things, or dangling")
    forms: dict[Form, int] = Field(description="the hits by how they spell the id")
    dangling: tuple[Id, ...] = Field(description="some of the others")
    condition: ConditionPart | None = Field(
        description="a field that says the type of a polymorphic reference; null if none separates the two"
    )
    index: Line | None = Field(description="an index that serves the field; null: none")
    obstacles: tuple[ObstaclePart, ...]


class SearchedPart(Part):
    """A collection that was searched."""

    name: Line
    documents: int = Field(description="how many of its documents were read")


class FindReport(Report):
    """What references find found."""

    fields: tuple[FoundFieldPart, ...] = Field(
        description="those with ids of old bookings, by collection and field"
    )
    only_new: tuple[FoundFieldPart, ...] = Field(
        description="fields that have new ids and no old ones: a rewrite would find nothing"
    )
    searched: tuple[SearchedPart, ...]
    unreadable: tuple[Line, ...] = Field(description="collections that this user may not read")
    time_series: tuple[Line, ...] = Field(description="time series, which are not searched")
    sample: int | None = Field(
        description="how many documents of each collection were read at most; null: all"
    )
    section: tuple[Line, ...] = Field(description="the lines for the config file")
    output: Line | None = Field(description="the file that they were written to; null: none")


def report_of_find(
    outcome: FindOutcome,
    *,
    run_id: str,
    source: str,
    section: str,
    output: str | None,
    next_steps: Sequence[NextStep],
) -> FindReport:
    return part_of(
        FindReport,
        outcome,
        command="references find",
        run_id=run_id,
        source=source,
        target="",
        exit_code=ExitCode.DONE,
        section=tuple(section.splitlines()),
        output=output,
        next_steps=tuple(next_steps),
    )
