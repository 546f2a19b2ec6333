"""The pages of verify and explain."""

from collections.abc import Iterator

from booking_migrate.domain.contract import RESERVED
from booking_migrate.domain.session import DROPPED
from booking_migrate.quantities import agreed, grouped, moment, plural
from booking_migrate.reports.model import (
    CountsReport,
    ExplainedField,
    ExplanationReport,
    Report,
    RuleReport,
    VerificationReport,
)
from booking_migrate.reports.page import (
    Check,
    Figure,
    Item,
    Medium,
    Mood,
    Page,
    Result,
    Section,
    Table,
    Verdict,
)
from booking_migrate.reports.pages.migrate import (
    accounted,
    conflict_figures,
    count_figure,
    error_check,
    final_verdict,
    finding_sections,
    mismatch_line,
    reading_sections,
    rejection_check,
    rejection_sections,
    route_line,
)
from booking_migrate.runs.status import NOTHING_MIGRATED, RUN_IS_WRITING, UNFINISHED

_EXAMPLES_SHOWN = 3
_LINES_SHOWN = 10


def verification_page(report: Report, verification: VerificationReport, counts: CountsReport) -> Page:
    verdict = final_verdict(report, _verdict(report, verification, counts), is_done=True)
    return Page(
        report,
        verdict,
        sections=(
            Section(figures=tuple(_figures(report, verification, counts))),
            *_rules(verification),
            *rejection_sections(report),
            # What the headline and the next step say is not said once more.
            *finding_sections(report, without=UNFINISHED if report.mismatch_count else frozenset()),
            *reading_sections(report),
        ),
        checks=tuple(map(_check, verification.rules)),
        route=route_line(report),
    )


def _verdict(report: Report, verification: VerificationReport, counts: CountsReport) -> Verdict:
    checked = plural(verification.clients_checked, "client")
    unfinished = next((each for each in report.findings if each.kind in UNFINISHED), None)
    if report.mismatch_count and unfinished is not None and unfinished.kind == NOTHING_MIGRATED:
        return Verdict(Mood.BAD, f"Not proven: {unfinished.title}", "The target is empty.")
    if report.mismatch_count and unfinished is not None:
        is_writing = unfinished.kind == RUN_IS_WRITING
        state = "is still writing" if is_writing else "is not finished"
        headline = f"Not proven: run {unfinished.sample_ids[0]} {state}"
        found = f"Some or all of the {_mismatches(report.mismatch_count)} are bookings that it has not written yet"
        if report.mismatch_count == 1:
            found = "The mismatch may be a booking that it has not written yet"
        return Verdict(Mood.BAD, headline, f"{found}; {checked} checked.")
    if report.mismatch_count:
        broken = sum(rule.mismatch_count > 0 for rule in verification.rules)
        explanation = f"{broken} of {len(verification.rules)} rules failed; {checked} checked."
        return Verdict(Mood.BAD, f"Not proven: {_mismatches(report.mismatch_count)}", explanation)
    if not verification.clients_seen:
        explanation = "Source and target are both empty. Are they the right places?"
        return Verdict(Mood.CAUTION, "Nothing was compared", explanation)
    if verification.sampled:
        explanation = f"{checked} of {grouped(verification.clients_seen)} checked, chosen at random; the others were not checked{_behind(report)}."
        return Verdict(Mood.CAUTION, "No mismatch in the sample", explanation)
    explanation = f"{_accounted(report, counts)}, byte for byte"
    if counts.rejected:
        explanation += f"; {grouped(counts.rejected)} rejected for a verified reason and kept unchanged"
    if report.cluster_time is not None:
        explanation += f"; as of the cluster time {moment(report.cluster_time)}"
    explanation += f"{_behind(report)}."
    mood, headline = (Mood.GOOD, "Proven")
    if report.behind:
        mood, headline = Mood.CAUTION, _so_far(report.behind, verification)
    return Verdict(mood, headline, explanation)


def _so_far(behind: int, verification: VerificationReport) -> str:
    """Return the headline of a verification that could not compare every client."""
    compared = max(verification.clients_checked - behind, 0)
    known = f"{grouped(compared)} of {plural(compared + behind, 'client')}"
    return agreed(f"Proven so far: {known}; {grouped(behind)} {{is|are}} behind", behind)


def _behind(report: Report) -> str:
    """Return what is said about the clients that are behind, which were not compared; empty without any."""
    if not report.behind:
        return ""
    later = "cutover will bring {it|them} up to date and verify {it|them}, without another migrate"
    said = f"{{client is|clients are}} behind, and nothing about {{it|them}} is proven yet; {later}"
    return agreed(f"; {grouped(report.behind)} {said}", report.behind)


def _accounted(report: Report, counts: CountsReport) -> str:
    if not report.behind:
        return accounted(counts)
    return f"{plural(counts.scanned, 'booking')} of the clients that are not behind are accounted for"


def _mismatches(number: int) -> str:
    return plural(number, "mismatch", "mismatches")


def _figures(report: Report, verification: VerificationReport, counts: CountsReport) -> Iterator[Figure]:
    about = "in the source, not counting clients that are behind" if report.behind else "in the source"
    yield count_figure("scanned", counts.scanned, f"bookings {about}")
    yield count_figure("migrated", counts.migrated, "are sessions, byte for byte")
    yield count_figure("already migrated", counts.already_migrated, "were sessions in the source, or copies")
    yield count_figure("rejected", counts.rejected, "for a verified reason, kept unchanged")
    yield from conflict_figures(counts)
    yield count_figure("clients", counts.clients, "with at least one session")
    yield count_figure("sessions", counts.sessions, "in their documents")
    yield count_figure("later sessions", verification.later_sessions, "added by the new application, allowed")
    if verification.changed_sessions:
        yield count_figure(
            "changed sessions", verification.changed_sessions, "changed by the new application, allowed"
        )
    if report.behind:
        clients = "client" if report.behind == 1 else "clients"
        yield count_figure(
            "behind", report.behind, f"{clients} changed since the run derived them, no mismatch"
        )
    yield count_figure("client documents", counts.client_documents, "already in the source")


def _rules(verification: VerificationReport) -> Iterator[Section]:
    """Yield the rules: on a terminal those that are broken, in files all of them."""
    broken = [rule for rule in verification.rules if rule.mismatch_count]
    file = verification.mismatches_file
    note = "" if file is None or not broken else f"All mismatches are in {file}."
    if broken:
        items = [
            Item(
                f"{rule.rule}  {grouped(rule.mismatch_count)}",
                Mood.BAD,
                tuple(map(mismatch_line, rule.examples[:_EXAMPLES_SHOWN])),
                rule.mismatch_count,
            )
            for rule in broken
        ]
        yield Section(title="Failed rules", medium=Medium.TERMINAL, items=tuple(items), note=note)
    rows = [
        (rule.rule, grouped(rule.mismatch_count) if rule.mismatch_count else "passed")
        for rule in verification.rules
    ]
    examples = [tuple(map(mismatch_line, rule.examples[:_LINES_SHOWN])) for rule in broken]
    yield Section(
        title="Rules",
        medium=Medium.FILES,
        table=Table(
            ("Rule", "Mismatches"),
            tuple(rows),
            right=1,
            flagged=frozenset(
                number for number, rule in enumerate(verification.rules) if rule.mismatch_count
            ),
        ),
        items=tuple(Item(lines[0], details=lines[1:]) for lines in examples),
        note=note,
    )


def _check(rule: RuleReport) -> Check:
    if not rule.mismatch_count:
        return Check(rule.rule)
    lines = [mismatch_line(example) for example in rule.examples[:_LINES_SHOWN]]
    said = f"{_mismatches(rule.mismatch_count)}, such as {lines[0]}"
    return Check(rule.rule, Result.FAILURE, rule.examples[0].kind, said, "\n".join(lines))


def explanation_page(report: Report, explanation: ExplanationReport) -> Page:
    """Return the page of an explanation: where one booking went."""
    verdict = final_verdict(report, _explained(explanation), is_done=False)
    return Page(
        report,
        verdict,
        sections=tuple(_explanation(explanation)),
        checks=(error_check(report, "every-booking-accounted-for", verdict), rejection_check(report)),
        route=route_line(report),
    )


def _explained(explanation: ExplanationReport) -> Verdict:
    booking = f"Booking {explanation.booking_id}"
    client = f"client {explanation.client_id}"
    owner = "It does not name a client" if explanation.client_id is None else f"It belongs to {client}"
    place = (
        f"It is session {explanation.session_number} of {explanation.session_count} in the client "
        f"document {explanation.document_id} of {client}."
    )
    match explanation.fate:
        case "migrated":
            return Verdict(Mood.GOOD, f"{booking} was migrated", place)
        case "different":
            return Verdict(Mood.BAD, f"{booking} was migrated, but its session differs from it", place)
        case "rejected":
            reasons = ", ".join(explanation.reasons)
            return Verdict(Mood.CAUTION, f"{booking} was rejected", f"{owner}. Reasons: {reasons}.")
        case _:
            said = f"{owner}. It is missing from both the target and the rejected bookings."
            return Verdict(Mood.BAD, f"{booking} is not accounted for", said)


def _session_cell(field: ExplainedField) -> str:
    """Return what a session has of a field; of a field that it does not have, where the value is instead."""
    if field.new is None:
        return DROPPED.get(field.name, "")
    return "the same" if field.old == field.new else field.new


def _explanation(explanation: ExplanationReport) -> Iterator[Section]:
    if explanation.mismatches:
        lines = map(mismatch_line, explanation.mismatches)
        yield Section(title="Differences", items=tuple(map(Item, lines)))
    if explanation.details:
        yield Section(title="Why it was rejected", items=tuple(map(Item, explanation.details)))
    fields = explanation.fields
    if fields and explanation.session_number is None:
        rows = tuple((field.name, field.old or "") for field in fields)
        yield Section(title="The booking", table=Table(("Field", "Booking"), rows))
    elif fields:
        compared = tuple(
            (field.name, field.old or RESERVED.get(field.name, ""), _session_cell(field)) for field in fields
        )
        changed = frozenset(number for number, field in enumerate(fields) if field.old != field.new)
        yield Section(
            title="The booking and its session",
            table=Table(("Field", "Booking", "Session"), compared, flagged=changed),
        )
