"""Numbers, lengths of time and verdicts in words."""

import pytest

from booking_migrate.domain.rejection import Reason
from booking_migrate.reports.model import report_of_migration
from booking_migrate.reports.numbers import duration, money, plural, samples
from booking_migrate.reports.page import Mood
from booking_migrate.reports.pages import page_of
from booking_migrate.runs.outcome import Counts, MigrationOutcome, RejectionGroup
from tests.support import sample_reports


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (12.3, "12 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
    ],
)
def test_duration(seconds: float, expected: str) -> None:
    """A length of time has the two units that matter."""
    assert expected == duration(seconds)


@pytest.mark.parametrize(
    ("total", "expected"),
    [("0", "0.00"), ("14421.35", "14,421.35"), ("-1234.5", "-1,234.50"), ("0.123456789", "0.123456789")],
)
def test_money(total: str, expected: str) -> None:
    """A sum has at least two decimals and loses no digit."""
    assert expected == money(total)


def test_plural() -> None:
    """One is singular, everything else plural."""
    assert [plural(number, "booking") for number in (0, 1, 2000)] == [
        "0 bookings",
        "1 booking",
        "2,000 bookings",
    ]


@pytest.mark.parametrize(
    ("count", "shown", "expected"), [(2, 2, "a, b"), (5, 2, "a, b and 3 more"), (5, 1, "a and 4 more")]
)
def test_samples(count: int, shown: int, expected: str) -> None:
    """Sample ids say how many more there are."""
    assert expected == samples(("a", "b"), count, shown)


def _outcome(counts: Counts, *, changed: bool = True) -> MigrationOutcome:
    groups = (RejectionGroup(Reason.CONFLICT, counts.rejected, ("a",)),) if counts.rejected else ()
    return MigrationOutcome(counts=counts, rejections=groups, changed=changed)


@pytest.mark.parametrize(
    ("outcome", "mood", "headline"),
    [
        (_outcome(Counts(scanned=2, migrated=2)), Mood.GOOD, "Migrated"),
        (_outcome(Counts(scanned=2, already_migrated=2), changed=False), Mood.GOOD, "Nothing to do"),
        (
            _outcome(Counts(scanned=2, migrated=1, rejected=1)),
            Mood.CAUTION,
            "Done, but 1 booking was rejected",
        ),
        (_outcome(Counts(scanned=2, rejected=2)), Mood.CAUTION, "Done, but 2 bookings were rejected"),
        (_outcome(Counts()), Mood.CAUTION, "Nothing to migrate"),
    ],
)
def test_verdict(outcome: MigrationOutcome, mood: Mood, headline: str) -> None:
    """The verdict says in a few words what came of it."""
    report = report_of_migration(outcome, run_id="r", source="s", target="t", next_steps=())
    said = page_of(report).verdict

    assert (mood, headline) == (said.mood, said.headline)


def test_verdict_of_a_failure() -> None:
    """A failed command's verdict is its error."""
    said = page_of(sample_reports.failed()).verdict

    assert Mood.BAD is said.mood
    assert said.explanation == "bookings.jsonl, line 12: no JSON document."
