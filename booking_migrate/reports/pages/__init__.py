"""Builders of pages: one for each command, found by the report that the command makes."""

from booking_migrate.reports.init import InitReport
from booking_migrate.reports.lifecycle import IndexesReport, LifeReport
from booking_migrate.reports.model import CountsReport, ExplanationReport, Report, VerificationReport
from booking_migrate.reports.model_dry_run import DryRunReport
from booking_migrate.reports.page import Page
from booking_migrate.reports.pages.dry_run import dry_run_page
from booking_migrate.reports.pages.init import init_page
from booking_migrate.reports.pages.lifecycle import indexes_page, lifecycle_page
from booking_migrate.reports.pages.migrate import migration_page
from booking_migrate.reports.pages.preflight import preflight_page
from booking_migrate.reports.pages.verify import explanation_page, verification_page
from booking_migrate.reports.preflight import PreflightReport


def page_of(report: Report) -> Page:  # noqa: PLR0911 - one for each kind of report
    """Return the page of a report of any command."""
    match report:
        case DryRunReport():
            return dry_run_page(report)
        case InitReport():
            return init_page(report)
        case PreflightReport():
            return preflight_page(report)
        case IndexesReport():
            return indexes_page(report)
        case LifeReport():
            return lifecycle_page(report)
        case Report(explanation=ExplanationReport() as explanation):
            return explanation_page(report, explanation)
        case Report(verification=VerificationReport() as verification, counts=CountsReport() as counts):
            return verification_page(report, verification, counts)
        case _:
            return migration_page(report)
