"""The reports of `references map` and `references keep`: JSON models, and what builds them. Fields are only ever added."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from booking_migrate.bson.format import Line
from booking_migrate.errors import ExitCode
from booking_migrate.reports.model import CountsReport, NextStep, Part, Report, part_of
from booking_migrate.runs.plan import Counts

if TYPE_CHECKING:
    from booking_migrate.references.keep import KeptIndex
    from booking_migrate.references.map import MapCounts


class MapPart(Part):
    """What a map holds, and what it was made of."""

    place: Line = Field(description="where it is, as given")
    read_from: Line | None = Field(
        description="the collection whose client documents it was read from; null: derived from the bookings of the source"
    )
    entries: int = Field(description="old ids: sessions with legacyBookingId")
    clients: int = Field(description="client documents that hold those sessions")
    left_out: int = Field(
        description="rejected bookings, which have no session; references to them lead nowhere"
    )
    repeated: int = Field(
        description="of the entries: those left out of a collection, because another session has the same old id"
    )


class BookingMapReport(Report):
    """The report of `references map`."""

    map: MapPart = Field(description="what the map holds")


class IndexPart(Part):
    """The index by which old ids are found."""

    collection: Line
    name: Line
    made: bool = Field(description="whether it was made now; otherwise it existed")


class KeptIndexReport(Report):
    """The report of `references keep`."""

    index: IndexPart = Field(description="the index on sessions.legacyBookingId")


def report_of_map(
    done: "MapCounts",
    *,
    run_id: str,
    source: str,
    target: str,
    place: str,
    read_from: str | None,
    left_out: int,
    repeated: int,
    counts: Counts | None,
    changed: bool,
    seconds: float,
) -> BookingMapReport:
    return BookingMapReport(
        command="references map",
        run_id=run_id,
        source=source,
        target=target,
        exit_code=ExitCode.REJECTED if left_out else ExitCode.DONE,
        changed=changed,
        seconds=seconds,
        counts=None if counts is None else part_of(CountsReport, counts),
        map=part_of(MapPart, done, place=place, read_from=read_from, left_out=left_out, repeated=repeated),
        next_steps=tuple(_steps(left_out, repeated)),
    )


def _steps(left_out: int, repeated: int) -> Iterator[NextStep]:
    if left_out:
        yield NextStep(text="Decide what to do with references to rejected bookings: these have no session.")
    if repeated:
        yield NextStep(
            text="Old ids that several sessions have are in the collection once; a file has all of them."
        )


def report_of_kept_index(kept: "KeptIndex", *, run_id: str, seconds: float) -> KeptIndexReport:
    return KeptIndexReport(
        command="references keep",
        run_id=run_id,
        source=kept.collection,
        target="",
        exit_code=ExitCode.DONE,
        changed=kept.is_made,
        seconds=seconds,
        index=IndexPart(collection=kept.collection, name=kept.name, made=kept.is_made),
    )
