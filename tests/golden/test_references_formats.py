"""Every format of the reports about references, byte for byte."""

from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from booking_migrate.init.references_text import references_text
from booking_migrate.references.outcome import Condition, FindOutcome, FoundField, Obstacle, Searched
from booking_migrate.references.values import Form
from booking_migrate.reports.files import render_report
from booking_migrate.reports.model import NextStep
from booking_migrate.reports.references import FindReport, report_of_find
from booking_migrate.reports.terminal import render_terminal

Check = Callable[[str, str], None]
OUTCOME = FindOutcome(
    fields=(
        FoundField(
            "payments",
            "bookingId",
            documents=1204,
            values=1204,
            hits=1200,
            forms={Form.OBJECT_ID: 1190, Form.TEXT: 10},
            dangling=("65f1a0000000000000ffffff", "65f1a0000000000000fffffe"),
            index="bookingId_1",
            obstacles=(Obstacle("unique-index", "bookingId_1", "It is unique."),),
        ),
        FoundField(
            "transactions",
            'items."x".itemId',
            documents=90,
            values=310,
            hits=120,
            sessions=9,
            client_documents=1,
            forms={Form.OBJECT_ID: 120},
            dangling=("65f1b0000000000000000001",),
            condition=Condition("items.type", ("booking", "appointment"), 180),
        ),
        FoundField("reviews", "_id", 40, 40, 40, forms={Form.DOCUMENT_ID: 40}),
    ),
    only_new=(FoundField("refunds", "sessionId", 12, 12, 0, sessions=12),),
    searched=(Searched("payments", 1500), Searched("reviews", 40), Searched("transactions", 100)),
    unreadable=("secrets",),
    seconds=2.5,
)


def found() -> FindReport:
    """The report of a search that found something, and could not search everything."""
    report = report_of_find(
        OUTCOME,
        run_id="20261123T151100Z-ab12cd",
        source="bookings",
        section=references_text(OUTCOME),
        output=None,
        next_steps=[
            NextStep(
                text="Write the tables for the config file:",
                command="booking-migrate references find --output references.toml",
            )
        ],
    )
    return report.model_copy(update={"tool_version": "1.2.3", "database": "shop"})


def test_section(check_golden: Check) -> None:
    """The section for the config file is the golden one."""
    check_golden("references-find.toml", references_text(OUTCOME))


@pytest.mark.parametrize("suffix", ["json", "md", "html", "xml"])
def test_report_file(suffix: str, check_golden: Check) -> None:
    """A report file is the golden one."""
    check_golden(f"references-find.{suffix}", render_report(found(), f".{suffix}"))


@pytest.mark.parametrize("width", [40, 100])
def test_terminal_text(width: int, check_golden: Check) -> None:
    """The text on a terminal is the golden one, wide and narrow."""
    screen = StringIO()
    Console(file=screen, width=width).print(render_terminal(found(), width))

    check_golden(f"references-find.{width}.txt", screen.getvalue())
