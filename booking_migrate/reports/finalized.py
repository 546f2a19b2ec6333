"""The parts of reports about the end of a migration, and about old bookings that stay after it."""

from pydantic import Field

from booking_migrate.bson.format import Id, Line
from booking_migrate.reports.model import Part
from booking_migrate.reports.rewrite_status import UnseenReport


class OldBookingsReport(Part):
    """The old bookings in the live collection after a cut-over."""

    carried: int = Field(description="those that the cut-over has carried along")
    later: int = Field(description="all others: an old application has written them since")
    carried_ids: tuple[Id, ...] = Field(description="the first of those carried along")
    later_ids: tuple[Id, ...] = Field(description="the first of the others")


class FinalizedReport(Part):
    """What a finalize did."""

    archive: Line = Field(description="the collection that kept the old bookings")
    dropped: bool = Field(description="whether it was dropped; not if the verification found mismatches")
    already: bool = Field(
        default=False, description="whether an earlier finalize has done everything, and nothing was changed"
    )
    deleted_sessions: int = Field(
        default=0,
        description="--allow-deleted: sessions that the application has deleted, whose old bookings are gone with the archive",
    )
    missing_sessions: int = Field(
        default=0,
        description="without it: sessions that are gone, and whose old bookings are not among the rejected; all of them are mismatches",
    )
    documents_changed: int = Field(
        description="client documents whose sessions lost legacyBookingId, if that was asked for"
    )
    indexes_dropped: tuple[Line, ...] = Field(
        default=(),
        description="indexes on sessions.legacyBookingId that the program had made, dropped with these ids",
    )
    indexes_left: tuple[Line, ...] = Field(
        default=(), description="indexes of others on that field, which find nothing any more"
    )
    unseen: tuple[UnseenReport, ...] = Field(
        default=(), description="with --drop-legacy-ids: where ids of old bookings were not looked for"
    )
    also_dropped: tuple[Line, ...] = Field(
        default=(),
        description="after a cut-over: the archives of later runs in place, which were dropped, too",
    )
    old_bookings: OldBookingsReport | None = Field(
        default=None, description="after a cut-over: the old bookings in the live collection, which stay"
    )
    kept_index: Line | None = Field(
        default=None,
        description="--keep-index: the index on sessions.legacyBookingId, by which references to old bookings are found",
    )
    records: tuple[Line, ...] = Field(
        default=(),
        description="the collections in which the program keeps records of runs and rejected bookings, and that stay",
    )
