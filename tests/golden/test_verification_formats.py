"""Every format of the reports of verify, byte for byte."""

from collections.abc import Callable
from io import StringIO

import pytest
from bson.int64 import Int64
from bson.objectid import ObjectId
from rich.console import Console

from booking_migrate.bson.document import element_of
from booking_migrate.domain.rejection import Reason
from booking_migrate.reports.files import render_report
from booking_migrate.reports.model import NextStep, Report
from booking_migrate.reports.pages import page_of
from booking_migrate.reports.terminal import render_terminal
from booking_migrate.reports.verification import report_of_verification
from booking_migrate.runs.plan import Counts, RejectionGroup
from booking_migrate.verify import Kind, Mismatch, Rule, VerificationOutcome
from booking_migrate.verify.outcome import RuleResult
from tests.support.sample_reports import HOSTILE

Check = Callable[[str, str], None]
FORMATS = ["json", "md", "html", "xml"]
CLIENT, BOOKING = ObjectId("68b6134f8e21e1ae686349f7"), ObjectId("68b61bd7a4c0bf9eaab38ee5")


def _report(mismatches: dict[Rule, list[Mismatch]]) -> Report:
    outcome = VerificationOutcome(
        counts=Counts(scanned=403, migrated=400, rejected=3, clients=40, sessions=400),
        results=tuple(
            RuleResult(rule, 3 * len(mismatches.get(rule, ())), tuple(mismatches.get(rule, ())))
            for rule in Rule
        ),
        rejections=(RejectionGroup(Reason.CURRENCY_NOT_ALLOWED, 3, ("a", "b", "c")),),
        clients_checked=40,
        clients_seen=40,
        rejects_name="booking_migrate_rejected",
        seconds=1.2,
    )
    return report_of_verification(
        outcome,
        run_id="20261123T151100Z-ab12cd",
        source="bookings",
        target="bookings_consolidated",
        next_steps=(NextStep(text="Look at one:", command="booking-migrate explain ID"),)
        if mismatches
        else (),
        mismatches_file="mismatches.jsonl" if mismatches else None,
    ).model_copy(update={"tool_version": "1.2.3"})


def proven() -> Report:
    """A result that is right."""
    return _report({})


def not_proven() -> Report:
    """A result with mismatches, one of which tries to break the report."""
    price = Mismatch(
        Kind.CONTENT, CLIENT, BOOKING, "price", element_of("price", 20), element_of("price", Int64(20))
    )
    lost = Mismatch(Kind.MISSING, CLIENT, BOOKING, detail="the booking is neither in the target nor rejected")
    hostile = Mismatch(Kind.EXTRA, HOSTILE, HOSTILE, HOSTILE, detail=HOSTILE)
    return _report(
        {Rule.CONTENT: [price, price], Rule.EVERY_BOOKING_ONCE: [lost], Rule.NOTHING_ELSE: [hostile]}
    )


REPORTS = {"proven": proven, "not-proven": not_proven}


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("suffix", FORMATS)
def test_report_file(name: str, suffix: str, check_golden: Check) -> None:
    """A report file is the golden one."""
    check_golden(f"verify-{name}.{suffix}", render_report(REPORTS[name](), f".{suffix}"))


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("width", [40, 100])
def test_terminal_text(name: str, width: int, check_golden: Check) -> None:
    """The text on a terminal is the golden one, wide and narrow."""
    screen = StringIO()
    Console(file=screen, width=width).print(render_terminal(REPORTS[name](), width))

    check_golden(f"verify-{name}.{width}.txt", screen.getvalue())


def test_bookings_of_clients_that_are_behind_are_not_accounted_for() -> None:
    """A verification beside an application speaks only of the clients that it compared."""
    whole = page_of(proven())
    live = page_of(proven().model_copy(update={"behind": 12}))

    assert whole.verdict.explanation.startswith("All 403 bookings of the source are accounted for")
    assert live.verdict.explanation.startswith(
        "403 bookings of the clients that are not behind are accounted for"
    )
    assert (
        "12 clients are behind, and nothing about them is proven yet; cutover will bring them up to date and verify them, without another migrate"
        in live.verdict.explanation
    )
    assert ("Proven", "Proven so far: 28 of 40 clients; 12 are behind") == (
        whole.verdict.headline,
        live.verdict.headline,
    )
