"""Builders of pages: one for each command, found by the report that the command makes."""

from collections.abc import Callable
from pkgutil import resolve_name

from booking_migrate.reports.model import CountsReport, ExplanationReport, Report, VerificationReport
from booking_migrate.reports.page import Page
from booking_migrate.reports.pages.migrate import migration_page
from booking_migrate.reports.pages.verify import explanation_page, verification_page

_BUILDERS = {
    "DryRunReport": "dry_run:dry_run_page",
    "AuditReport": "audit:audit_page",
    "InitReport": "init:init_page",
    "ControlReport": "control:control_page",
    "PreflightReport": "preflight:preflight_page",
    "BookingMapReport": "booking_map:map_page",
    "KeptIndexReport": "booking_map:kept_index_page",
    "IndexesReport": "lifecycle:indexes_page",
    "FindReport": "references:find_page",
    "RewriteReport": "rewriting:rewrite_page",
    "VerifiedReferencesReport": "verified_references:verified_references_page",
    "LifeReport": "lifecycle:lifecycle_page",
}
"""By the report's class; loaded when used, since their models take a tenth of a small migration's time."""


def page_of(report: Report) -> Page:
    """Return the page of a report of any command."""
    builder = _BUILDERS.get(type(report).__name__)
    if builder is not None:
        build: Callable[[Report], Page] = resolve_name(f"{__name__}.{builder}")
        return build(report)
    match report:
        case Report(explanation=ExplanationReport() as explanation):
            return explanation_page(report, explanation)
        case Report(verification=VerificationReport() as verification, counts=CountsReport() as counts):
            return verification_page(report, verification, counts)
        case _:
            return migration_page(report)
