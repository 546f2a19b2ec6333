"""Every format of the report of verifying references, byte for byte."""

from collections.abc import Callable, Mapping
from io import StringIO

import pytest
from rich.console import Console

from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.proof import Fate, FieldProof, Kind, Listed, Mismatch, NotesProof, Proof
from booking_migrate.reports.files import render_report
from booking_migrate.reports.model import NextStep, Report
from booking_migrate.reports.terminal import render_terminal
from booking_migrate.reports.verified_references import report_of_verified_references
from tests.golden.test_rewriting_formats import _RECORD, _RUN

Check = Callable[[str, str], None]


def field(collection: str, path: str, *, is_rewritten: bool = True, **counts: int) -> FieldProof:
    """What the values of a field stand for."""
    proof = FieldProof(ReferenceField(collection, path), is_rewritten)
    proof.counts.update({Fate(name): number for name, number in counts.items()})
    return proof


def proven() -> Report:
    """The report of a verification without mismatches, beside an application."""
    saved = {"collection": "payments", "field": "bookingId"}
    counts = (
        {**saved, "what": "rejected", "number": 2},
        {**saved, "what": "unknown", "number": 3},
    )
    record = _RECORD.model_copy(update={"fields": (saved,), "counts": counts, "documents": 120_000})
    proof = Proof(
        fields=[
            field("payments", "bookingId", new=120_000, rejected=2, dangling=1, behind=1),
            field("notes", "text", is_rewritten=False, kept=40, excluded=0),
        ],
        collections={"payments": 120_004, "notes": 40},
        notes=NotesProof(documents=120_000, values=240_000, identical=119_998, changed=1, gone=1),
        rewrites=[record],
        listed=[
            Listed("rejected", "payments", "bookingId", "1", "bookingId", "65f1a0000000000000000064"),
            Listed("rejected", "payments", "bookingId", "2", "bookingId", "65f1a0000000000000000065"),
            Listed("dangling", "payments", "bookingId", "3", "bookingId", "65f1a0000000000000ffffff"),
            Listed("changed", "payments", "", "7", "", ""),
            Listed("gone", "payments", "", "8", "", ""),
        ],
        kept_index="booking_migrate_legacy_ids",
        cluster_time=_RECORD.cluster_time,
        looked_again=1,
    )
    return _report(proof, NextStep(text="To end the migration:", command="booking-migrate finalize"))


def broken() -> Report:
    """The report of a verification with a mismatch of each kind."""
    proof = Proof(
        fields=[
            field("payments", "bookingId", new=12, lost=1, unrewritten=300),
            field("reviews", "_id", excluded=4),
        ],
        collections={"payments": 313, "reviews": 4},
        notes=NotesProof(documents=13, values=13, identical=13),
        rewrites=[_RECORD],
    )
    old, new = "65f1a0000000000000000064", "65f1a0000000640000000000"
    for number in range(300):
        proof.fail(Mismatch(Kind.UNREWRITTEN, "payments", "bookingId", str(number), "bookingId", None, old))
    proof.fail(Mismatch(Kind.LOST, "payments", "bookingId", "<b>", "items.0.bookingId", None, new))
    proof.fail(Mismatch(Kind.WRONG, "payments", "bookingId", "7", "bookingId", new, old))
    proof.fail(
        Mismatch(
            Kind.COUNT,
            "payments",
            "bookingId",
            "",
            "",
            "14 values",
            "13 values",
            "rewrite 20261124T080000Z-cd34ef: its record and its notes",
        )
    )
    return _report(
        proof, NextStep(text="To restore the old ids:", command="booking-migrate rollback --references")
    )


def _report(proof: Proof, step: NextStep) -> Report:
    report = report_of_verified_references(proof, _RUN, seconds=8.5, next_steps=[step])
    return report.model_copy(update={"tool_version": "1.2.3", "database": "shop"})


REPORTS = {"references-proven": proven, "references-not-proven": broken}


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


@pytest.mark.parametrize(
    "changed",
    [
        {"collection": "payments_of_all_the_years", "field": "positions.bookingId"},
        {"field": "booking.legacyId", "rejected": 1, "rejected_then": 2, "dangling": 3, "dangling_then": 1},
    ],
)
def test_headings_stay_whole_on_a_usual_screen(changed: Mapping[str, str | int]) -> None:
    """However long a field's name is, also beside counts of its rewrite, no word of the table's head is broken at 80 columns."""
    report = broken()
    (first, *others) = report.fields  # type: ignore[attr-defined]
    fields = (first.model_copy(update=changed), *others)
    screen = StringIO()
    console = Console(file=screen, width=80)
    console.print(render_terminal(report.model_copy(update={"fields": fields}), 80))

    table, _, _ = screen.getvalue().partition("\nMismatches\n")
    assert {"Mismatches", "Rejected", "excluded", "nothing"} <= {*table.split()}
