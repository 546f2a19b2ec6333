"""The pages of references map and references keep."""

from booking_migrate.quantities import grouped, plural
from booking_migrate.reports.booking_map import BookingMapReport, KeptIndexReport
from booking_migrate.reports.page import Figure, Mood, Page, Section, Verdict
from booking_migrate.reports.pages.migrate import error_check, final_verdict
from booking_migrate.reports.text import duration


def map_page(report: BookingMapReport) -> Page:
    done = report.map
    basis = (
        "Derived from the bookings, as a migration would convert them."
        if done.read_from is None
        else f"Read from the client documents in {done.read_from}."
    )
    is_whole = not (done.left_out or done.repeated)
    headline = f"{plural(done.entries, 'old id')} mapped"
    verdict = final_verdict(
        report, Verdict(Mood.GOOD if is_whole else Mood.CAUTION, headline, basis), is_done=True
    )
    facts = [
        Figure("Old ids", grouped(done.entries), f"in {plural(done.clients, 'client document')}"),
        Figure("Left out", grouped(done.left_out), "rejected bookings", is_flagged=bool(done.left_out)),
    ]
    if done.repeated:
        facts.append(
            Figure(
                "Repeated", grouped(done.repeated), "entries whose old id was there already", is_flagged=True
            )
        )
    return Page(
        report,
        verdict,
        sections=(Section(facts=tuple(facts)),),
        checks=(error_check(report, "map-written", verdict),),
        route=f"{report.source} -> {done.place} in {duration(report.seconds)}",
    )


def kept_index_page(report: KeptIndexReport) -> Page:
    index = report.index
    verdict = Verdict(
        Mood.GOOD,
        "Index made" if index.made else "Nothing to do",
        f"By {index.name} on {index.collection}, old ids find their sessions (sessions.legacyBookingId).",
    )
    verdict = final_verdict(report, verdict, is_done=True)
    return Page(report, verdict, checks=(error_check(report, "index-kept", verdict),))
