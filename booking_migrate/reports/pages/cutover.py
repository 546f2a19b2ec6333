"""The pages of the other commands on collections: cutover, finalize, view and service-indexes."""

from collections.abc import Iterator

from booking_migrate.reports.model_lifecycle import (
    AbortedReport,
    CutoverReport,
    FinalizedReport,
    IndexesReport,
    LifeReport,
    ViewReport,
)
from booking_migrate.reports.numbers import duration, grouped, plural
from booking_migrate.reports.page import Figure, Item, Mood, Page, Section, Verdict
from booking_migrate.reports.pages.parts import final_verdict
from booking_migrate.reports.pages.runs import outcome_check
from booking_migrate.stores.views import Shape


def cutover_page(report: LifeReport, cutover: CutoverReport) -> Page:
    """Return the page of a cut-over."""
    explanation = f"{cutover.live} holds the client documents; {cutover.legacy} keeps the old bookings."
    route = f"run {report.run_id}: {report.target} -> {report.source}, {duration(report.seconds)}"
    return _page(report, Verdict(Mood.GOOD, "Cut over", explanation), *_switched(cutover), route=route)


def _switched(cutover: CutoverReport) -> Iterator[str]:
    yield f"writes were refused for {duration(cutover.refused_seconds)}"
    yield f"old bookings are kept in {cutover.legacy}"
    if cutover.caught_up:
        yield f"{plural(cutover.caught_up, 'client document')} brought up to date"
    if cutover.carried:
        yield f"{plural(cutover.carried, 'rejected booking')} carried over in the old shape"
    for index in cutover.indexes:
        if index.recreated_as is not None:
            yield f"index {index.name} ({index.keys}) is now {index.recreated_as}"
    for option in cutover.options:
        if option.kept:
            yield f"option {option.name} was kept: {option.definition}"


def abort_page(report: LifeReport, aborted: AbortedReport) -> Page:
    """Return the page of a cut-over that was aborted."""
    explanation = f"{aborted.live} is live as before and accepts writes; {report.target} is kept."
    refused = f"writes were refused for {duration(aborted.refused_seconds)}"
    return _page(report, Verdict(Mood.GOOD, "Cut-over aborted", explanation), refused)


def finalize_page(report: LifeReport, finalized: FinalizedReport) -> Page:
    """Return the page of a finalize."""
    archive, changed = finalized.archive, finalized.documents_changed
    if finalized.dropped:
        verdict = Verdict(Mood.GOOD, "Finalized", f"{archive} was dropped; this cannot be undone.")
    else:
        found = grouped(report.mismatch_count or 0)
        explanation = f"{archive} still exists: mismatches found by the verification: {found}."
        verdict = Verdict(Mood.BAD, "Not finalized: not proven", explanation)
    said = [f"legacyBookingId removed from {plural(changed, 'client document')}"] if changed else []
    return _page(report, verdict, *said)


def view_page(report: LifeReport, view: ViewReport) -> Page:
    """Return the page of a view that was created or dropped."""
    if view.shape is None:
        headline = "View dropped" if report.changed else "Nothing to drop"
        explanation = f"{view.name} {'was dropped' if report.changed else 'does not exist'}."
    else:
        headline = "View created" if report.changed else "Nothing to do"
        unit = "one document per booking" if view.shape is Shape.OLD else "one document per client"
        explanation = f"{view.name} shows {report.source} with {unit}."
    return _page(report, Verdict(Mood.GOOD, headline, explanation))


def _page(report: LifeReport, done: Verdict, *lines: str, route: str = "") -> Page:
    verdict = final_verdict(report, done, is_done=True)
    name = "cut-over" if report.command == "cutover" else report.command
    check = outcome_check(report, name, verdict)
    return Page(report, verdict, (Section(items=tuple(map(Item, lines))),), (check,), route)


def indexes_page(report: IndexesReport) -> Page:
    """Return the page of service-indexes."""
    created = sum(index.created for index in report.indexes)
    headline = f"{created} of {len(report.indexes)} indexes created" if created else "Nothing to do"
    facts = [
        Figure(
            "created" if index.created else "exists",
            f"{index.collection}: {', '.join(index.fields)}{' (unique)' if index.unique else ''}, for {index.purpose}",
        )
        for index in report.indexes
    ]
    return Page(
        report,
        Verdict(Mood.GOOD, headline, f"{report.source} has every index that the service needs."),
        sections=(Section(facts=tuple(facts), head=("", "Index", "")),),
    )
