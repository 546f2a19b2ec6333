"""The parts of reports about following a source, and about keeping a reverse window."""

from datetime import datetime

from pydantic import Field

from booking_migrate.bson.format import Line
from booking_migrate.reports.model import Part


class FollowReport(Part):
    """How following the source of a run goes, or went when it ended."""

    state: str = Field(
        description="following; or ended: caught-up, interrupted, handed-over (to a cut-over), failed, killed"
    )
    problem: Line | None = Field(default=None, description="the error that ended it; null: none has")
    lag_seconds: int = Field(description="how far the target is behind the source")
    backlog: int = Field(description="the changes that the last round had to bring in")
    estimated_outage_ms: int = Field(
        description="for how long a cut-over would refuse writes, about, with as many changes left as the last round had; "
        "it waits, while writes are accepted, until that is less than its limit"
    )
    oplog_seconds_left: int | None = Field(
        description="how much further the server's oplog goes back than what is not followed yet; null: it may not be read"
    )
    ready: bool = Field(description="whether everything is verified and a cut-over is short")
    not_ready: str | None = Field(
        default=None, description="why it is not ready; null: it is, or following has ended"
    )
    as_of: datetime | None = Field(
        default=None,
        description="when these figures were taken; null: an earlier version did not record that",
    )
    unfollowed_seconds: int | None = Field(
        default=None,
        description="once it has ended: how far the last followed change is behind the server's newest one now; null: it has "
        "not ended, or the server does not say",
    )
    history_lost: bool | None = Field(
        default=None,
        description="once it has ended: whether the server's oplog has lost changes that are not followed; null: it has not "
        "ended, or the oplog may not be read",
    )


class WindowReport(Part):
    """How a reverse window goes, or went when its process ended."""

    state: str = Field(
        description="building, following; or ended: interrupted, handed-over (to a rollback or finalize), killed"
    )
    ends_at: datetime = Field(description="until when a rollback is kept ready")
    lag_seconds: int = Field(description="how far what a rollback restores is behind the live collection")
    backlog: int = Field(description="the changes that the last round had to bring in")
    estimated_outage_ms: int = Field(
        description="for how long a rollback would refuse writes, about, with as many changes left as the last round had; "
        "it waits, while writes are accepted, until that is less than its limit"
    )
    oplog_seconds_left: int | None = Field(
        description="how much further the server's oplog goes back than what is not followed yet; null: it may not be read"
    )
    ready: bool = Field(description="whether a rollback can use what is kept ready")
    as_of: datetime | None = Field(
        default=None,
        description="when these figures were taken; null: an earlier version did not record that",
    )
    unfollowed_seconds: int | None = Field(
        default=None,
        description="once it has ended: how far the last followed change is behind the server's newest one now; null: it has "
        "not ended, or the server does not say",
    )
    history_lost: bool | None = Field(
        default=None,
        description="once it has ended: whether the server's oplog has lost changes that are not in it; null: it has not "
        "ended, or the oplog may not be read",
    )
