"""Every format of the reports of rewriting references and of undoing that, byte for byte."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO

import pytest
from bson.timestamp import Timestamp
from rich.console import Console

from booking_migrate.references.fields import NewId, ReferenceField
from booking_migrate.references.restoring import Kept, Stuck, UndoCounts, UndoOfReferences
from booking_migrate.references.rewrite import RewriteOutcome
from booking_migrate.references.tally import Left, Tally
from booking_migrate.reports.files import render_report
from booking_migrate.reports.model import Report
from booking_migrate.reports.rewriting import report_of_rewrite, report_of_undo
from booking_migrate.reports.terminal import render_terminal
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.reference_journal import RewriteRecord, RewriteState

Check = Callable[[str, str], None]
_AT = datetime(2026, 11, 23, 15, 11, tzinfo=UTC)
_RUN = RunRecord(
    run_id="20261123T151100Z-ab12cd",
    tool_version="1.2.3",
    source="bookings",
    target="clients",
    state=RunState.CUT_OVER,
    options={},
    user="ann",
    host="machine",
    pid=1,
    started_at=_AT,
    heartbeat_at=_AT,
    worked_from=_AT,
    legacy="bookings_legacy",
)
_FIELDS = (
    ReferenceField("payments", "bookingId", add={"clientDocumentId": NewId.CLIENT_DOCUMENT}),
    ReferenceField("reviews", "_id"),
    ReferenceField("events", "items.itemId", NewId.CLIENT_DOCUMENT, when={"items.type": ("booking",)}),
)
_AGAIN = "booking-migrate references rewrite --config references.toml"
_RECORD = RewriteRecord(
    rewrite_id="20261124T080000Z-cd34ef",
    run_id=_RUN.run_id,
    live="bookings",
    state=RewriteState.DONE,
    cluster_time=Timestamp(1_795_507_200, 1),
)


def rewritten(*, is_followed: bool = True) -> Report:
    """The report of a rewrite that has left some references."""
    tally = Tally(
        {
            ("payments", "bookingId", "rewritten"): 120_000,
            ("payments", "bookingId", "rejected"): 2,
            ("payments", "bookingId", "unknown"): 1,
            ("payments", "clientDocumentId", "added"): 120_000,
            ("reviews", "_id", "rewritten"): 40,
            ("reviews", "_id", "taken"): 1,
            ("events", "items.itemId", "refused"): 1,
            ("events", "items.itemId", "already"): 7,
        },
        [
            Left("payments", "bookingId", "1", "bookingId", "65f1a0000000000000000064", "rejected"),
            Left("payments", "bookingId", "2", "bookingId", "65f1a0000000000000000065", "rejected"),
            Left("payments", "bookingId", "3", "bookingId", "65f1a0000000000000ffffff", "unknown"),
            Left("reviews", "_id", "65f1a0000000000000000002", "_id", "65f1a0000000000000000002", "taken"),
            Left(
                "events",
                "items.itemId",
                "9",
                "items.0.itemId",
                "65f1a0000000000000000004",
                "refused",
                "the validator of events refuses document 9: total must be at most 5",
            ),
        ],
    )
    time = _RECORD.cluster_time if is_followed else None
    outcome = RewriteOutcome(
        _RECORD.model_copy(update={"cluster_time": time}),
        tally,
        documents=120_040,
        scanned=120_050,
        again=12,
        resumed=True,
        passes=1 if is_followed else 2,
    )
    return _golden(report_of_rewrite(outcome, _FIELDS, _RUN, seconds=8.5, again=_AGAIN))


def undone() -> Report:
    """The report of an undo that has kept what others have changed."""
    outcome = UndoOfReferences(
        [_RECORD],
        UndoCounts(documents=120_039, identical=120_030, values=240_038, kept=2, gone=1),
        [
            Kept("payments", "1", "bookingId", "65f1a0000000040000000000"),
            Kept("payments", "7", "items.0.b", "x"),
        ],
        left=1,
        stuck=[Stuck("events", "9", "the validator of events refuses document 9: total must be at most 5")],
    )
    return _golden(report_of_undo(outcome, _RUN, seconds=9.5, again="booking-migrate rollback --references"))


def _golden(report: Report) -> Report:
    return report.model_copy(update={"tool_version": "1.2.3", "database": "shop"})


REPORTS = {
    "references-rewrite": rewritten,
    "references-rewrite-passes": lambda: rewritten(is_followed=False),
    "references-undone": undone,
}


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("suffix", ["json", "md", "html", "xml"])
def test_report_file(name: str, suffix: str, check_golden: Check) -> None:
    """A report file is the golden one."""
    check_golden(f"{name}.{suffix}", render_report(REPORTS[name](), f".{suffix}"))


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("width", [40, 100])
def test_terminal_text(name: str, width: int, check_golden: Check) -> None:
    """The text on a terminal is the golden one, wide and narrow."""
    screen = StringIO()
    Console(file=screen, width=width).print(render_terminal(REPORTS[name](), width))

    check_golden(f"{name}.{width}.txt", screen.getvalue())
