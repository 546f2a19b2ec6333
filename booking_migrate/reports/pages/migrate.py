"""The page of a migration, and of any command that failed."""

from booking_migrate.reports.model import CountsReport, Report
from booking_migrate.reports.numbers import plural
from booking_migrate.reports.page import Figure, Mood, Page, Section, Verdict
from booking_migrate.reports.pages.parts import (
    accounted,
    conflict_figures,
    count_figure,
    error_check,
    final_verdict,
    finding_sections,
    rejection_check,
    rejection_sections,
    route_line,
    spent_sections,
)

NOTHING_TO_MIGRATE = Verdict(
    Mood.CAUTION, "Nothing to migrate", "The source holds no bookings. Is it the right place?"
)


def migration_page(report: Report) -> Page:
    """Return the page of a migration; it claims no counts if the command failed."""
    counts = report.counts
    verdict = final_verdict(report, _verdict(report), is_done=counts is not None)
    figures = () if counts is None else _figures(report, counts)
    return Page(
        report,
        verdict,
        sections=(
            Section(figures=figures),
            *rejection_sections(report),
            *spent_sections(report),
            *finding_sections(report),
        ),
        checks=(error_check(report, "every-booking-accounted-for", verdict), rejection_check(report)),
        route=route_line(report),
    )


def _verdict(report: Report) -> Verdict:
    counts = report.counts
    if counts is None or not counts.scanned:
        return NOTHING_TO_MIGRATE
    if counts.rejected:
        were = "was" if counts.rejected == 1 else "were"
        headline = f"Done, but {plural(counts.rejected, 'booking')} {were} rejected"
        return Verdict(Mood.CAUTION, headline, f"{accounted(counts)}.")
    if not report.changed:
        explanation = f"{accounted(counts)}, and all of them were in the target already."
        return Verdict(Mood.GOOD, "Nothing to do", explanation)
    return Verdict(Mood.GOOD, "Migrated", f"{accounted(counts)}, and none was rejected.")


def _figures(report: Report, counts: CountsReport) -> tuple[Figure, ...]:
    figures = [
        count_figure("scanned", counts.scanned, "bookings in the source"),
        count_figure("migrated", counts.migrated, "newly converted to sessions"),
        count_figure("already migrated", counts.already_migrated, "were sessions before this run"),
        count_figure("rejected", counts.rejected, "cannot be converted"),
        *conflict_figures(counts),
        count_figure("clients", counts.clients, "with at least one session"),
        count_figure("sessions", counts.sessions, "in their documents"),
        count_figure("documents written", report.documents_written, "new in the target"),
        count_figure("documents changed", report.documents_changed, "sessions added or derived again"),
    ]
    if report.documents_removed:
        removed = report.documents_removed
        figures.append(
            count_figure("documents removed", removed, "their clients do not have bookings any more")
        )
    if counts.client_documents:
        figures.append(count_figure("client documents", counts.client_documents, "already in the source"))
    return tuple(figures)
