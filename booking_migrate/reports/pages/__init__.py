"""Builders of pages: one for each command, found by the report that the command makes."""

from functools import singledispatch

from booking_migrate.reports.lifecycle import IndexesReport, LifeReport
from booking_migrate.reports.model import Report
from booking_migrate.reports.model_dry_run import DryRunReport
from booking_migrate.reports.page import Page
from booking_migrate.reports.pages.dry_run import dry_run_page
from booking_migrate.reports.pages.lifecycle import (
    abort_page,
    cutover_page,
    finalize_page,
    indexes_page,
    rollback_page,
    status_page,
    view_page,
)
from booking_migrate.reports.pages.migrate import migration_page
from booking_migrate.reports.pages.verify import explanation_page, verification_page


@singledispatch
def page_of(report: Report) -> Page:
    """Return the page of a report of any command."""
    if report.explanation is not None:
        return explanation_page(report, report.explanation)
    if report.verification is not None and report.counts is not None:
        return verification_page(report, report.verification, report.counts)
    return migration_page(report)


page_of.register(DryRunReport, dry_run_page)
page_of.register(IndexesReport, indexes_page)


@page_of.register
def _of_lifecycle(report: LifeReport) -> Page:
    if report.undone is not None:
        return rollback_page(report, report.undone)
    if report.cutover is not None:
        return cutover_page(report, report.cutover)
    if report.aborted is not None:
        return abort_page(report, report.aborted)
    if report.finalized is not None:
        return finalize_page(report, report.finalized)
    if report.view is not None:
        return view_page(report, report.view)
    return status_page(report)
