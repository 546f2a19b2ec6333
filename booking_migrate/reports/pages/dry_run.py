"""The page of a dry-run: whether to migrate, what would happen, requirements, and the collections before and after."""

from collections.abc import Iterator, Sequence

from booking_migrate.dry_run import outcome
from booking_migrate.errors import ExitCode
from booking_migrate.quantities import grouped, plural, size
from booking_migrate.reports.model import CountsReport
from booking_migrate.reports.model_dry_run import DryRunPart, DryRunReport
from booking_migrate.reports.page import (
    Bar,
    Chart,
    Check,
    Figure,
    Item,
    Medium,
    Mood,
    Page,
    Pair,
    Result,
    Section,
    Table,
    Verdict,
)
from booking_migrate.reports.pages.migrate import (
    NOTHING_TO_MIGRATE,
    count_figure,
    error_check,
    final_verdict,
    finding_groups,
    reading_sections,
    rejection_check,
    rejection_sections,
)
from booking_migrate.reports.text import duration, money
from booking_migrate.runs.advice import WRONG_SOURCE

_REASONS_SHOWN = 5
_RISKS_SHOWN = 9
_LINES_SHOWN = 10
_FOLLOWING = frozenset({"sessions", "client documents"})
"""Counts that follow from others, so that a terminal leaves them out."""


def dry_run_page(report: DryRunReport) -> Page:
    part = report.dry_run
    verdict = final_verdict(report, _verdict(report), is_done=True)
    sampled = "" if part.sampled is None else grouped(part.sampled)
    return Page(
        report,
        verdict,
        sections=tuple(_sections(report)),
        checks=(
            error_check(report, "every-booking-accounted-for", verdict),
            rejection_check(report),
            _blocker_check(part),
        ),
        route=f"{report.source} -> {report.target}, read in {duration(report.seconds)}; nothing was written",
        remark="nothing was written",
        warning=f"Every figure is estimated from a sample of {sampled} bookings." if sampled else "",
    )


def _verdict(report: DryRunReport) -> Verdict:
    counts, part = report.counts, report.dry_run
    if report.exit_code is ExitCode.REFUSED:
        first = part.blockers[0]
        more = len(part.blockers) - 1
        also = f" (and {plural(more, 'more blocker')})" if more else ""
        return Verdict(Mood.BAD, "Not ready: migrate would be refused", f"{first.message}{also}.")
    if counts is None or not counts.scanned:
        return NOTHING_TO_MIGRATE
    about = _about(part)
    if counts.already_migrated == counts.scanned:
        all_of_them = f"All {about}{grouped(counts.scanned)} bookings are"
        explanation = f"{all_of_them if counts.scanned > 1 else 'The one booking is'} in the target already."
        return Verdict(Mood.GOOD, "Nothing to do", explanation)
    said = (
        f"{about}{grouped(counts.migrated)} of {about}{plural(counts.scanned, 'booking')} would be migrated"
    )
    documents = f"{about}{plural(part.gains.documents_after, 'client document')}"
    explanation = f"{said} into {documents}, in {_estimated_time(part)}."
    if counts.rejected:
        return _with_rejected(part, counts, explanation)
    if part.sampled is not None:
        return Verdict(Mood.CAUTION, "Ready, judging by a sample", explanation)
    return Verdict(Mood.GOOD, "Ready to migrate", explanation)


def _with_rejected(part: DryRunPart, counts: CountsReport, explanation: str) -> Verdict:
    if counts.are_all_rejected:
        of_what = "source" if part.sampled is None else "sample"
        headline = f"Not ready: every document of the {of_what} would be rejected"
        return Verdict(Mood.BAD, headline, f"{WRONG_SOURCE}.")
    headline = f"Ready, but {_about(part)}{plural(counts.rejected, 'booking')} would be rejected"
    return Verdict(Mood.CAUTION, headline, explanation)


def _about(part: DryRunPart) -> str:
    """Return the sign before a number if all numbers are estimated from a sample."""
    return "" if part.sampled is None else "≈"


def _estimated_time(part: DryRunPart) -> str:
    """Return how long the migration will take: ``about 12 s``, ``under a second``."""
    seconds = part.estimate.seconds
    return f"about {duration(seconds)}" if seconds >= 1 else "under a second"


def _blocker_check(part: DryRunPart) -> Check:
    name = "nothing-stands-in-the-way"
    if not part.blockers:
        return Check(name)
    lines = [f"{blocker.kind}: {blocker.message}" for blocker in part.blockers[:_LINES_SHOWN]]
    first = part.blockers[0]
    return Check(name, Result.FAILURE, first.kind, first.message, "\n".join(lines))


def _sections(report: DryRunReport) -> Iterator[Section]:
    part = report.dry_run
    # What helps is among the next steps, as commands.
    blockers = [Item(f"{each.message}.", Mood.BAD) for each in part.blockers]
    yield Section(title="Blockers", items=tuple(blockers))
    yield Section(figures=_figures(report))
    yield from rejection_sections(report, most_reasons=_REASONS_SHOWN)
    if report.findings:
        findings = finding_groups(report)
        yield Section(title="Risks", findings=findings, most=_RISKS_SHOWN, is_brief=True)
    if part.references:
        rows = [
            (f"{each.collection}.{each.field}", f"{grouped(each.hits)} of {grouped(each.sampled)}")
            for each in part.references
        ]
        yield Section(
            title="References to bookings",
            medium=Medium.FILES,
            table=Table(("Field", "Sampled values that are ids of bookings"), tuple(rows), right=1),
        )
    yield Section(
        title="Samples",
        remark="bookings beside the client document that they become; personal data is left out",
        medium=Medium.FILES,
        pairs=tuple(map(_pair, part.samples)),
    )
    yield Section(title="Requirements", facts=tuple(_needs(part)), head=("Requirement", "", ""), is_half=True)
    yield Section(
        title="Before and after", facts=tuple(_gains(report)), head=("", "Before → after", ""), is_half=True
    )
    yield from _charts(part)
    yield from reading_sections(report)


_SAMPLE_TITLES = {
    outcome.SampleKind.TYPICAL: "A typical client",
    outcome.SampleKind.COMPLETED: "Values that bookings lack",
    outcome.SampleKind.REJECTED: "A rejected booking",
}


def _pair(sample: outcome.Sample) -> Pair:
    title = _SAMPLE_TITLES[sample.kind] + (f". {sample.reason}" if sample.reason else "")
    return Pair(title, sample.bookings, () if sample.document is None else (sample.document,))


def _figures(report: DryRunReport) -> tuple[Figure, ...]:
    counts, about = report.counts, _about(report.dry_run)
    if counts is None:
        return ()
    rows = [
        ("scanned", counts.scanned, "bookings in the source"),
        ("migrated", counts.migrated, "would become sessions"),
        ("already migrated", counts.already_migrated, "are sessions in the target"),
        ("rejected", counts.rejected, "cannot be converted"),
        ("clients", counts.clients, "would have at least one session"),
        ("sessions", counts.sessions, "would be in their documents"),
        ("new documents", report.documents_written, "would be written to the target"),
        ("merged documents", report.documents_changed, "of the target would get more sessions"),
        ("client documents", counts.client_documents, "are already in the source"),
    ]
    return tuple(
        count_figure(label, number, note, about, only_in_files=label in _FOLLOWING)
        for label, number, note in rows
        if number or label in ("scanned", "migrated", "rejected")
    )


def _needs(part: DryRunPart) -> Iterator[Figure]:
    """Yield what the migration needs, one row a subject."""
    needs = part.needs
    if needs.server is None:
        yield Figure("server", "none", "only files are used")
    else:
        modes = [f"{mode.name} {'yes' if mode.possible else 'no'} ({mode.note})" for mode in needs.modes]
        yield Figure("server", f"MongoDB {needs.server.version}, {needs.server.topology.value}")
        yield Figure("modes", "; ".join(modes))
        yield _privileges(needs)
        yield from _indexes(needs)
        yield from _disk(needs)
        yield _oplog(needs) if needs.cutover is None else _cutover(needs.cutover, needs.oplog_seconds)
    yield Figure("time", _estimated_time(part), detail=f"{part.estimate.basis}.")


def _gains(report: DryRunReport) -> Iterator[Figure]:
    """Yield what the migration changes, one row a subject."""
    gains, about = report.dry_run.gains, _about(report.dry_run)
    per_client = ""
    if gains.documents_after:
        sessions = report.counts.sessions if report.counts else 0
        per_client = f"{sessions / gains.documents_after:.1f} sessions per client"
    documents = f"{about}{grouped(gains.documents_before)} → {about}{grouped(gains.documents_after)}"
    yield Figure("documents", documents, per_client)
    yield Figure("data", f"{about}{size(gains.data_bytes_before)} → {about}{size(gains.data_bytes_after)}")
    if gains.index_bytes_before is not None and gains.index_bytes_after is not None:
        indexes = f"{size(gains.index_bytes_before)} → ≈{size(gains.index_bytes_after)}"
        yield Figure("indexes", indexes, "on _id and clientId")
    share = 100 * gains.largest_document / gains.limit if gains.limit else 0
    limit = f"{float(f'{share:.2g}'):g} % of the limit, {size(gains.limit)}"
    yield Figure("largest document", f"{about}{size(gains.largest_document)}", limit)
    if report.spent:
        sums = ", ".join(f"{currency} {money(total)}" for currency, total in report.spent.items())
        yield Figure(
            "total price", sums, detail="of the bookings above, cancelled and refunded ones included"
        )


def _charts(part: DryRunPart) -> Iterator[Section]:
    shown = part.distributions
    is_by_year = bool(shown.bookings_by_month) and "-" not in shown.bookings_by_month[0].label
    period = "year" if is_by_year else "month"
    by_time = f"bookings, by the {period} of scheduledDate"
    yield from _chart("Bookings by time", by_time, shown.bookings_by_month, is_timeline=True)
    by_sessions, as_is = "clients, by how many sessions they have", "bookings, as they are in the source"
    yield from _chart("Sessions per client", by_sessions, shown.sessions_per_client)
    yield from _chart("Document sizes", "client documents, against the limit", shown.document_sizes)
    yield from _chart("Bookings by status", as_is, shown.bookings_by_status)
    yield from _chart("Bookings by payment status", as_is, shown.bookings_by_payment_status)
    if part.largest_clients:
        yield _largest_clients(part)


def _chart(
    title: str, remark: str, bars: Sequence[outcome.Bar], *, is_timeline: bool = False
) -> Iterator[Section]:
    """Yield a chart; empty bars at its start are left out, but never the one beyond a limit."""
    start = next((number for number, bar in enumerate(bars) if bar.count or bar.is_over), len(bars))
    total = sum(bar.count for bar in bars)
    shown = tuple(
        Bar(bar.label, bar.count, grouped(bar.count), _share(bar.count, total), bar.is_over)
        for bar in bars[start:]
    )
    if shown:
        yield Section(
            title=title,
            remark=remark,
            medium=Medium.FILES,
            chart=Chart(shown, is_timeline=is_timeline),
            is_half=not is_timeline,
        )


def _share(count: int, total: int) -> str:
    share = 100 * count / total if total else 0
    return f"{share:.0f} %" if share >= 1 or not count else "<1 %"


def _largest_clients(part: DryRunPart) -> Section:
    clients = part.largest_clients
    bars = [
        Bar(
            each.client_id,
            each.size,
            size(each.size),
            plural(each.sessions, "session"),
            each.size > part.gains.limit,
        )
        for each in clients
    ]
    rows = [(each.client_id, grouped(each.sessions), size(each.size)) for each in clients]
    return Section(
        title="Largest clients",
        medium=Medium.FILES,
        chart=Chart(tuple(bars)),
        table=Table(("Client", "Sessions", "Size"), tuple(rows), right=1),
    )


def _privileges(needs: outcome.Needs) -> Figure:
    missing = needs.missing_privileges
    if missing is None:
        return Figure("privileges", "unknown", detail="this user may not read them")
    if not missing:
        return Figure("privileges", "complete")
    actions = dict.fromkeys(one.privilege.action for one in missing)
    commands = dict.fromkeys(one.command for one in missing)
    detail = [f"{command}: {'; '.join(_lacking(needs, missing, command))}" for command in commands]
    return Figure("privileges", f"this user lacks {', '.join(actions)}", detail=f"{'. '.join(detail)}.")


def _lacking(
    needs: outcome.Needs, missing: Sequence[outcome.MissingPrivilege], command: str
) -> Iterator[str]:
    """Yield what one command lacks; collections on which it lacks the same are named together."""
    actions: dict[str, list[str]] = {}
    for one in missing:
        if one.command == command:
            where = one.privilege.collection or f"database {needs.database}"
            actions.setdefault(where, []).append(one.privilege.action)
    places: dict[str, list[str]] = {}
    for where, lacking in actions.items():
        places.setdefault(", ".join(lacking), []).append(where)
    for lacked, where_all in places.items():
        yield f"{lacked} on {', '.join(where_all)}"


def _indexes(needs: outcome.Needs) -> list[Figure]:
    said = []
    if needs.has_unique_index is not None:
        made = "exists" if needs.has_unique_index else "will be created first"
        said.append(f"unique on clientId of the target {made}")
    if needs.has_source_index is not None:
        said.append(
            "clientId of the source is indexed"
            if needs.has_source_index
            else "clientId of the source is not indexed, so the server sorts on disk"
        )
    return [Figure("indexes", "; ".join(said))] if said else []


def _disk(needs: outcome.Needs) -> list[Figure]:
    if needs.target_bytes is None:
        return []
    wanted = f"≈{size(needs.target_bytes)} for the target"
    if needs.archive_bytes is not None:
        wanted += f", {size(needs.archive_bytes)} for an archive"
    free = "free space unknown" if needs.disk is None else f"{size(needs.disk.free)} free"
    return [Figure("disk", f"{wanted}; {free}")]


def _cutover(cutover: outcome.CutoverNeeds, reach: float | None) -> Figure:
    way = "while the application runs" if cutover.is_followed else "at rest"
    oplog = "the oplog is unknown" if reach is None else f"the oplog covers {duration(reach)}"
    why = "" if cutover.reason is None else f"Change streams are not available: {cutover.reason}. "
    basis = f"{cutover.basis[0].upper()}{cutover.basis[1:]}."
    value = f"{way}, refuses writes for about {_outage(cutover.outage_seconds)}; {oplog}"
    return Figure("cut-over", value, detail=f"{why}{basis}")


def _outage(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 1 else duration(seconds)


def _oplog(needs: outcome.Needs) -> Figure:
    if needs.oplog_seconds is None:
        return Figure("oplog", "unknown", "this user may not read it")
    return Figure("oplog", f"covers the last {duration(needs.oplog_seconds)}")
