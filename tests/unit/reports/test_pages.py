"""Numbers, lengths of time, and the pages of reports in words."""

from html import unescape
from io import StringIO
from pkgutil import iter_modules, resolve_name

import pytest
from rich.console import Console

from booking_migrate import reports
from booking_migrate.domain.rejection import Reason
from booking_migrate.errors import ExitCode
from booking_migrate.quantities import plural, size
from booking_migrate.reports import pages
from booking_migrate.reports.files import render_report
from booking_migrate.reports.html import FEWEST_COLUMNS, columns_of
from booking_migrate.reports.lifecycle import (
    EarlierUndoneReport,
    LifeReport,
    ServiceIndex,
    SinceReport,
    UndoneReport,
)
from booking_migrate.reports.lifecycle_outcomes import report_of_indexes
from booking_migrate.reports.model import (
    ErrorReport,
    ExplainedField,
    ExplanationReport,
    Report,
    report_of_migration,
)
from booking_migrate.reports.page import Bar, Chart, Mood
from booking_migrate.reports.pages import page_of
from booking_migrate.reports.terminal import render_terminal
from booking_migrate.reports.text import duration, money, outage, samples
from booking_migrate.runs.plan import Counts, MigrationOutcome, RejectionGroup
from tests.support import sample_dry_runs, sample_reports


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
    ("seconds", "expected"), [(0, "0 ms"), (0.114, "114 ms"), (1, "1.0 s"), (12.3, "12 s")]
)
def test_outage(seconds: float, expected: str) -> None:
    """Below a second, an outage is named as its limit is: in milliseconds."""
    assert expected == outage(seconds)


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
        (
            _outcome(Counts(scanned=3, migrated=1, rejected=2)),
            Mood.CAUTION,
            "Done, but 2 bookings were rejected",
        ),
        (
            _outcome(Counts(scanned=2, rejected=2)),
            Mood.BAD,
            "Done, but every document of the source was rejected",
        ),
        (
            _outcome(Counts(scanned=2, rejected=2, conflicts=2)),
            Mood.CAUTION,
            "Done, but 2 bookings were rejected",
        ),
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


def _explanation(new_status: str) -> Report:
    fields = (
        ExplainedField(name="price", old="int32 20", new="int32 20"),
        ExplainedField(name="status", old="string 'pending'", new=new_status),
    )
    explanation = ExplanationReport(
        fate="migrated",
        booking_id="b",
        client_id="c",
        document_id="d",
        session_number=2,
        session_count=3,
        fields=fields,
        reasons=(),
        mismatches=(),
    )
    return Report(
        command="explain",
        run_id="r",
        source="s",
        target="t",
        exit_code=ExitCode.DONE,
        explanation=explanation,
    )


def test_an_explanation_compares_field_by_field() -> None:
    """A field that is equal on both sides is not repeated, and one that differs is marked."""
    table = page_of(_explanation("string 'cancelled'")).sections[0].table

    assert table is not None
    assert (
        ("price", "int32 20", "the same"),
        ("status", "string 'pending'", "string 'cancelled'"),
    ) == table.rows
    assert {1} == table.flagged


def _life(command: str, **parts: object) -> LifeReport:
    facts = {"command": command, "run_id": "r", "source": "s", "target": "t", "exit_code": ExitCode.DONE}
    return LifeReport.model_validate({**facts, **parts})


ABORTED = _life("cutover", aborted={"live": "bookings", "refused_seconds": 1.5})
FINALIZED = _life("finalize", finalized={"archive": "old", "dropped": True, "documents_changed": 2})
NOT_FINALIZED = _life(
    "finalize", finalized={"archive": "old", "dropped": False, "documents_changed": 0}, mismatch_count=4
)
VIEW = _life("view", view={"name": "v", "shape": "old"}, changed=True)
NO_VIEW = _life("view", view={"name": "v", "shape": None}, changed=False)
INDEX = ServiceIndex(collection="bookings", fields=("clientId",), unique=True, purpose="lists", created=True)
INDEXES = report_of_indexes([INDEX], run_id="r", source="bookings")


@pytest.mark.parametrize(
    ("report", "mood", "headline", "line"),
    [
        (ABORTED, Mood.GOOD, "Cut-over aborted", "writes were refused for 1.5 s"),
        (FINALIZED, Mood.GOOD, "Finalized", "legacyBookingId removed from 2 client documents"),
        (NOT_FINALIZED, Mood.BAD, "Not finalized: not proven", "mismatches found by the verification: 4"),
        (VIEW, Mood.GOOD, "View created", "v shows s with one document per booking."),
        (NO_VIEW, Mood.GOOD, "Nothing to drop", "v does not exist."),
        (INDEXES, Mood.GOOD, "1 of 1 indexes created", "bookings: clientId (unique), for lists"),
    ],
)
def test_every_format_says_the_same(report: Report, mood: Mood, headline: str, line: str) -> None:
    """Whatever a command did, each format that people read has the verdict and what was done."""
    screen = StringIO()
    Console(file=screen, width=120).print(render_terminal(report, 120))
    markdown = render_report(report, ".md").replace("\\", "")
    page = unescape(render_report(report, ".html"))

    assert (mood, headline) == (page_of(report).verdict.mood, page_of(report).verdict.headline)
    assert [True] * 3 == [headline in text and line in text for text in (screen.getvalue(), markdown, page)]


def test_a_failed_hook_shows_in_a_dry_run() -> None:
    """A dry-run whose hook failed is not called ready without it."""
    error = ErrorReport(kind="HookFailed", message="after_dry_run ended with 7", hint="")
    verdict = page_of(sample_dry_runs.ready().model_copy(update={"error": error})).verdict

    assert (Mood.BAD, "Ready to migrate") == (verdict.mood, verdict.headline)
    assert verdict.explanation.endswith("But after_dry_run ended with 7.")


def test_few_months_are_drawn_as_rows() -> None:
    """A chart of time stands upright only if it has enough bars to show a course."""
    bars = tuple(Bar(f"2026-{month:02}", month, str(month), "") for month in range(1, FEWEST_COLUMNS + 1))

    assert columns_of(Chart(bars[1:], is_timeline=True)) is None
    columns = columns_of(Chart(bars, is_timeline=True))
    assert columns is not None
    assert ("6", "3", "2026-01", "2026-06") == (columns.highest, columns.half, columns.first, columns.last)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1_023_000, "999 KiB"),
        (1_024_000, "1,000 KiB"),
        (1_048_000, "1,023 KiB"),
        (1_048_576, "1 MiB"),
        (5_000 << 40, "5,000 TiB"),
    ],
)
def test_sizes_are_written_without_an_exponent(number: int, text: str) -> None:
    """A size has three digits, or four just below the next unit."""
    assert size(number) == text


def test_each_kind_of_report_has_a_builder() -> None:
    """Those of commands with a model of their own are found by the model's name, and each leads to a function."""
    for module in iter_modules(reports.__path__, "booking_migrate.reports."):
        resolve_name(module.name)

    assert {each.__name__ for each in Report.__subclasses__()} == pages._BUILDERS.keys()
    assert all(callable(resolve_name(f"{pages.__name__}.{each}")) for each in pages._BUILDERS.values())


def test_each_run_that_was_undone_has_its_own_unit() -> None:
    """After a cut-over bookings come back, and what earlier runs into the target had written is client documents."""
    since = SinceReport(
        dropped=False, later=0, changed=0, changes=(), missing=0, missing_ids=(), lost=0, losses=()
    )
    earlier = (
        EarlierUndoneReport(run_id="b", unit="client document", removed=4, restored=1, kept=1),
        EarlierUndoneReport(run_id="a", unit="booking", removed=0, restored=1, kept=0),
    )
    undone = UndoneReport(
        already=False,
        unit="booking",
        removed=0,
        restored=8,
        kept=0,
        kept_ids=(),
        index_removed=False,
        target_dropped=False,
        since=since,
        earlier=earlier,
    )
    report = LifeReport(
        command="rollback", run_id="c", source="bookings", target="clients", exit_code=3, undone=undone
    )
    (section,) = page_of(report).sections

    assert [
        "8 bookings restored",
        "earlier run b: 4 client documents removed, 1 restored",
        "1 client document kept there, changed by others:",
        "earlier run a: 1 booking restored",
    ] == [item.text for item in section.items]
