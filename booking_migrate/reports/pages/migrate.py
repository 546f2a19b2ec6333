"""The page of a migration, and of any command that failed; and what other pages have in common with it."""

from collections.abc import Container, Iterator

from booking_migrate.errors import HookFailed, OutputFailed
from booking_migrate.events import ReadingWay
from booking_migrate.quantities import grouped, moment, plural
from booking_migrate.reports.model import CountsReport, MismatchReport, Report
from booking_migrate.reports.page import (
    Check,
    Figure,
    Group,
    Item,
    Medium,
    Mood,
    Page,
    Result,
    Section,
    Table,
    Verdict,
)
from booking_migrate.reports.text import duration, money
from booking_migrate.runs.advice import WRONG_SOURCE
from booking_migrate.runs.plan import RejectionGroup

_ALWAYS_SHOWN = frozenset({"scanned", "migrated", "rejected"})
"""The counts that a terminal shows even if they are zero."""

_REASONS_SHOWN = 8
_CURRENCIES_SHOWN = 6
_LINES_SHOWN = 10
_SAMPLES_SHOWN = 3

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
            *_plan_sections(report, counts),
            *rejection_sections(report),
            *spent_sections(report),
            *finding_sections(report),
            *reading_sections(report),
        ),
        checks=(error_check(report, "every-booking-accounted-for", verdict), rejection_check(report)),
        route=route_line(report),
    )


def _verdict(report: Report) -> Verdict:
    counts = report.counts
    if counts is None or not counts.scanned:
        return NOTHING_TO_MIGRATE
    if counts.are_all_rejected:
        return Verdict(Mood.BAD, "Done, but every document of the source was rejected", f"{WRONG_SOURCE}.")
    if counts.client_documents and counts.scanned == counts.rejected and not counts.conflicts:
        are = "is" if counts.rejected == 1 else "are"
        headline = f"Nothing new: {plural(counts.rejected, 'booking')} {are} still rejected"
        before = f"client documents that were there before: {grouped(counts.client_documents)}"
        explanation = f"{accounted(counts)}; {before}."
        return Verdict(Mood.CAUTION, headline, explanation)
    if counts.rejected:
        were = "was" if counts.rejected == 1 else "were"
        headline = f"Done, but {plural(counts.rejected, 'booking')} {were} rejected"
        return Verdict(Mood.CAUTION, headline, f"{accounted(counts)}.{_followed(report)}")
    if not report.changed:
        explanation = f"{accounted(counts)}, and all of them were in the target already."
        return Verdict(Mood.GOOD, "Nothing to do", explanation)
    explanation = f"{accounted(counts)}, and none was rejected."
    return Verdict(Mood.GOOD, "Migrated", f"{explanation}{_followed(report)}")


def _followed(report: Report) -> str:
    if report.cluster_time is None:
        return ""
    time = moment(report.cluster_time)
    return f" Changes up to the cluster time {time} are in the target, too; the numbers here do not include them, those of status do."


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


def _plan_sections(report: Report, counts: CountsReport | None) -> Iterator[Section]:
    """Yield what was planned beside the result."""
    planned = report.planned
    if planned is None or counts is None:
        return
    names = ("scanned", "migrated", "already_migrated", "rejected", "clients")
    pairs = [(name, getattr(planned, name), getattr(counts, name)) for name in names]
    yield Section(
        title="Plan and result",
        table=Table(
            ("", "Planned", "Result"),
            tuple((name.replace("_", " "), grouped(before), grouped(now)) for name, before, now in pairs),
            right=1,
            flagged=frozenset(row for row, (_, before, now) in enumerate(pairs) if before != now),
        ),
    )


def final_verdict(report: Report, done: Verdict, *, is_done: bool) -> Verdict:
    """Return the verdict on a command, with the error that it ended with, if any.

    Args:
        report: of the command.
        done: the verdict on what it did.
        is_done: whether it did it before the error.
    """
    error = report.error
    if error is None:
        return done
    if error.kind == HookFailed.__name__:
        return Verdict(Mood.BAD, done.headline, f"{done.explanation} But {error.message}.")
    if error.kind == OutputFailed.__name__ and is_done:
        said = f"{error.message[:1].upper()}{error.message[1:]}."
        return Verdict(Mood.BAD, done.headline, f"{done.explanation} {said}")
    return Verdict(Mood.BAD, f"Failed: {report.exit_code.meaning}", f"{error.message}.")


def route_line(report: Report) -> str:
    """Return from where to where a command went, and how long it took."""
    return f"{report.source} -> {report.target}, {duration(report.seconds)}"


def reading_sections(report: Report) -> Iterator[Section]:
    """Yield how collections were read; on a terminal only if one was too large for the usual way."""
    if report.reading:
        has_large = any(each.way is ReadingWay.SORT for each in report.reading)
        items = (Item(f"{each.place}: {_WAYS[each.way]}: {each.reason}.") for each in report.reading)
        medium = Medium.ALL if has_large else Medium.FILES
        yield Section(title="Reading", items=tuple(items), medium=medium)


_WAYS = {
    ReadingWay.INDEX: "read in ranges along its index on clientId",
    ReadingWay.SORT: "read in one scan that the server sorts on its disk",
}


def accounted(counts: CountsReport) -> str:
    """Return the beginning of a sentence: all bookings of the source are accounted for."""
    if counts.scanned == 1:
        return "The one booking of the source is accounted for"
    return f"All {grouped(counts.scanned)} bookings of the source are accounted for"


def count_figure(
    label: str, number: int, note: str, about: str = "", *, only_in_files: bool = False
) -> Figure:
    """Return a count; a terminal leaves most of them out if they are zero."""
    is_shown = label in _ALWAYS_SHOWN or (number > 0 and not only_in_files)
    return Figure(
        label,
        f"{about}{grouped(number)}",
        note,
        medium=Medium.ALL if is_shown else Medium.FILES,
        is_flagged=label == "rejected" and number > 0,
    )


def conflict_figures(counts: CountsReport) -> Iterator[Figure]:
    """Yield the number of conflicts, if there are any."""
    if counts.conflicts:
        yield count_figure(
            "of them conflicts", counts.conflicts, "client documents that others wrote or changed differ"
        )


def rejection_sections(report: Report, *, most_reasons: int = _REASONS_SHOWN) -> Iterator[Section]:
    """Yield the bookings rejected, by reason."""
    if report.rejections:
        yield Section(
            title="Rejected",
            groups=tuple(map(_rejected, report.rejections)),
            head=("Reason", "Bookings", "Such as"),
            most=most_reasons,
            remark=_rejected_money(report),
            detail="" if report.rejects is None else f"All rejected bookings are in {report.rejects}.",
        )


def _rejected(group: RejectionGroup) -> Group:
    """Return the bookings of one reason; the field is named once if all values are of the same one."""
    fields = {each.field for each in group.values}
    values = [f"{each.value} ({grouped(each.count)})" for each in group.values]
    if len(fields) == 1:
        values[0] = f"{group.values[0].field}: {values[0]}"
    else:
        values = [f"{each.field}: {text}" for each, text in zip(group.values, values, strict=True)]
    return Group(group.reason, group.count, group.sample_ids, values=tuple(values))


def _colon(values: tuple[str, ...]) -> str:
    return f": {', '.join(values)}" if values else ""


def _rejected_money(report: Report) -> str:
    """Return a few words about the prices of the rejected bookings; empty if nothing is known of them."""
    sums = ", ".join(f"{currency} {money(total)}" for currency, total in report.rejected_spent.items())
    unread = f"{plural(report.rejected_unpriced, 'price')} cannot be read" if report.rejected_unpriced else ""
    return "; ".join(filter(None, [sums and f"total price {sums}", unread]))


def spent_sections(report: Report) -> Iterator[Section]:
    """Yield the sums of the sessions' prices, by currency."""
    if report.spent:
        sums = tuple(Figure(currency, money(total)) for currency, total in report.spent.items())
        yield Section(
            title="Total price by currency",
            remark="of the bookings above, cancelled and refunded ones included",
            figures=sums,
            head=("Currency", "Sum"),
            most=_CURRENCIES_SHOWN,
        )


def finding_sections(report: Report, *, without: Container[str] = ()) -> Iterator[Section]:
    """Yield what is worth knowing although nothing is rejected for it, but for some kinds of findings."""
    if groups := finding_groups(report, without):
        yield Section(title="Worth knowing", findings=groups)


def finding_groups(report: Report, without: Container[str] = ()) -> tuple[Group, ...]:
    """Return the findings of a report, but for some kinds."""
    shown = [each for each in report.findings if each.kind not in without]
    return tuple(Group(each.title, each.count, each.sample_ids, each.advice) for each in shown)


def mismatch_line(mismatch: MismatchReport) -> str:
    """Return a mismatch in one line: what is wrong, where, and how."""
    where = [
        f"client {mismatch.client_id}" if mismatch.client_id is not None else "",
        f"booking {mismatch.booking_id}" if mismatch.booking_id is not None else "",
        mismatch.field or "",
    ]
    said = [mismatch.detail] if mismatch.detail else []
    if mismatch.expected is not None or mismatch.found is not None:
        said.append(f"expected {mismatch.expected or 'nothing'}, found {mismatch.found or 'nothing'}")
    return ": ".join(filter(None, [mismatch.kind, ", ".join(filter(None, where)), "; ".join(said)]))


def error_check(report: Report, name: str, verdict: Verdict) -> Check:
    """Return the check that a command did not fail."""
    if report.error is None:
        return Check(name)
    return Check(name, Result.ERROR, report.error.kind, verdict.explanation, report.error.hint)


def rejection_check(report: Report) -> Check:
    """Return the check that no booking was rejected."""
    name = "no-booking-rejected"
    if report.counts is None:
        return Check(name, Result.SKIPPED, message="the command failed")
    if not report.counts.rejected:
        return Check(name)
    lines = [
        f"{group.title}: {grouped(group.count)} ({group.samples(_SAMPLES_SHOWN)}){_colon(group.values)}"
        for group in map(_rejected, report.rejections[:_LINES_SHOWN])
    ]
    more = len(report.rejections) - _LINES_SHOWN
    if more > 0:
        lines.append(f"and {plural(more, 'more reason')}")
    said = f"{plural(report.counts.rejected, 'booking')} rejected"
    return Check(name, Result.FAILURE, "rejected", said, "\n".join(lines))
