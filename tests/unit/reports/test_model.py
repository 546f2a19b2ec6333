"""The report model: made of outcomes, harmless whatever the data holds."""

import json

import pytest

from booking_migrate.bson.format import LONGEST_ID, one_line
from booking_migrate.domain.rejection import Reason
from booking_migrate.errors import ExitCode
from booking_migrate.reports.model import Report, render_json
from booking_migrate.runs.plan import RejectionGroup
from tests.support import sample_reports


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("65f1a0", "65f1a0"),
        ("Zoë → 東京", "Zoë → 東京"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\ud800", "\\ud800"),
        ("\u202eabc", "\\u202eabc"),
    ],
)
def test_text_is_one_printable_line(text: str, expected: str) -> None:
    """What prints stays as it is; what does not becomes an escape."""
    assert expected == one_line(text)


@pytest.mark.parametrize("text", ["x" * 1_000_000, "\x00" * 1_000_000])
def test_long_text_is_cut(text: str) -> None:
    """A text is never longer than its limit, however much escaping adds."""
    cut = one_line(text, 80)

    assert len(cut) <= 80
    assert "…" in cut


def test_sample_ids_are_cut() -> None:
    """A sample id in a report is at most `LONGEST_ID` characters."""
    group = RejectionGroup(Reason.EMAIL_INVALID, count=1, sample_ids=("y" * 5000,))
    report = sample_reports.rejected().model_dump() | {"rejections": [group]}

    assert len(Report(**report).rejections[0].sample_ids[0]) <= LONGEST_ID


def test_exit_code_follows_rejections() -> None:
    """A migration exits with 3 if it rejected anything, else with 0."""
    assert sample_reports.rejected().exit_code == ExitCode.REJECTED
    assert sample_reports.clean().exit_code == ExitCode.DONE


def test_counts_account_for_every_booking() -> None:
    """The JSON counts are those of the outcome: scanned = migrated + already migrated + rejected."""
    counts = json.loads(render_json(sample_reports.rejected()))["counts"]

    assert counts["scanned"] == counts["migrated"] + counts["already_migrated"] + counts["rejected"]


def test_failure_has_no_counts() -> None:
    """A failed command claims no counts: what it had done until then is not known."""
    report = json.loads(render_json(sample_reports.failed()))

    assert report["counts"] is None
    assert report["error"]["kind"] == "BrokenDocument"
    assert report["exit_code"] == 5
