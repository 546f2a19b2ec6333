"""The page of an audit: what each kind of place means, then the places by file."""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from booking_migrate.audit.findings import RULES, Bridge, Confidence, Rule
from booking_migrate.quantities import plural
from booking_migrate.reports.audit import AuditReport, CodePlace
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
from booking_migrate.reports.pages.migrate import error_check, final_verdict
from booking_migrate.reports.text import duration

_MOODS = {Confidence.CERTAIN: Mood.BAD, Confidence.LIKELY: Mood.CAUTION, Confidence.LOOK: None}
_BRIDGES = {
    Bridge.VIEW: "a view in the old shape, for readers",
    Bridge.SERVICE: "the booking service lists sessions one by one",
    Bridge.NOTHING: "nothing",
}


def audit_page(report: AuditReport) -> Page:
    verdict = final_verdict(report, _verdict(report), is_done=True)
    by_rule = Counter(each.rule for each in report.places)
    return Page(
        report,
        verdict,
        sections=(
            _summary(report),
            _meanings(by_rule),
            *(
                _section(path, list(places))
                for path, places in groupby(report.places, key=lambda each: each.path)
            ),
            Section(
                title="Not read, or only in part",
                items=tuple(Item(f"{each.path}: {each.problem}", Mood.CAUTION) for each in report.unread),
            ),
        ),
        checks=(error_check(report, "audit-ran", verdict), *_checks(report)),
        route=f"{report.source}: {plural(report.files, 'file')}, {duration(report.seconds)}; nothing was changed",
    )


def _verdict(report: AuditReport) -> Verdict:
    count = len(report.places)
    known = f" {plural(report.known, 'place')} in the baseline." if report.known else ""
    if not count:
        new = "new " if report.known else ""
        return Verdict(
            Mood.GOOD, "No code that expects the old structure", f"No {new}place was found.{known}".strip()
        )
    files = len({each.path for each in report.places})
    is_firm = any(each.confidence is not Confidence.LOOK for each in report.places)
    return Verdict(
        Mood.BAD if is_firm else Mood.CAUTION,
        f"{plural(count, 'place')} to change" if is_firm else f"{plural(count, 'place')} to look at",
        f"Code in {plural(files, 'file')} expects one document per booking.{known}",
    )


def _summary(report: AuditReport) -> Section:
    counts = Counter(each.confidence for each in report.places)
    notes = {
        Confidence.CERTAIN: "breaks",
        Confidence.LIKELY: "breaks, unless the data come from elsewhere",
        Confidence.LOOK: "depends on what is meant",
    }
    figures = [Figure(each.value, str(counts[each]), note) for each, note in notes.items() if counts[each]]
    if report.suppressed:
        figures.append(Figure("suppressed", str(report.suppressed), "by comments"))
    return Section(figures=tuple(figures))


def _meanings(by_rule: Counter[Rule]) -> Section:
    """Return what the rules mean, for files."""
    rows = tuple(
        (rule.value, str(by_rule[rule]), text.expects, text.why, _BRIDGES[text.bridge])
        for rule, text in RULES.items()
        if by_rule[rule]
    )
    head = ("rule", "places", "expects", "why it breaks", "until it is changed")
    table = Table(head, rows, right=1) if rows else None
    return Section(title="What was found", medium=Medium.FILES, table=table)


def _section(path: str, places: list[CodePlace]) -> Section:
    return Section(title=path, remark=plural(len(places), "place"), items=tuple(map(_item, places)))


def _item(place: CodePlace) -> Item:
    head = f"{place.line}:{place.column} {place.rule} ({place.confidence}): {place.old} → {place.new}"
    details = (place.text, place.suggestion)
    return Item(head, _MOODS[place.confidence], details, len(details))


def _checks(report: AuditReport) -> Iterator[Check]:
    for rule, text in RULES.items():
        found = [each for each in report.places if each.rule is rule]
        where = "\n".join(f"{each.path}:{each.line}:{each.column} {each.old}" for each in found)
        message = f"{plural(len(found), 'place')}: the code expects {text.expects}" if found else ""
        result = Result.FAILURE if found else Result.PASSED
        yield Check(f"no-old-{rule}", result, "OldStructure" if found else "", message, where)
