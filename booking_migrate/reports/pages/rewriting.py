"""The pages of rewriting references, and of undoing that."""

from collections.abc import Iterator

from booking_migrate.quantities import grouped, moment, plural
from booking_migrate.reports.lifecycle import LifeReport, ReferencesUndonePart
from booking_migrate.reports.page import Figure, Item, Mood, Page, Section, Table, Verdict
from booking_migrate.reports.pages.migrate import error_check, final_verdict
from booking_migrate.reports.rewriting import RewriteReport, RewrittenFieldPart
from booking_migrate.reports.text import duration

_REASONS = {
    "rejected": "to rejected bookings",
    "unmigrated": "to bookings that are not migrated",
    "taken": "in documents whose new _id another one has",
    "duplicate_name": "in documents in which a name on the path occurs twice",
    "dangling": "to no booking",
    "no_id": "without the form of an id",
    "refused": "in documents that the server refuses with their new ids",
}
"""What is left, by the name of its count."""

_STORED = {"dangling": "unknown", "no_id": "no-id", "duplicate_name": "duplicate-name"}
"""The reasons of samples that have another name."""

_SHOWN = 20


def rewrite_page(report: RewriteReport) -> Page:
    verdict = final_verdict(report, _verdict(report), is_done=True)
    return Page(
        report,
        verdict,
        sections=tuple(_sections(report)),
        checks=(error_check(report, "references-rewritten", verdict),),
        route=f"run {report.run_id}: {plural(report.looked_at, 'document')} read, "
        f"{grouped(report.documents)} changed, {duration(report.seconds)}",
    )


def _verdict(report: RewriteReport) -> Verdict:
    rewritten = sum(each.rewritten for each in report.fields)
    left = sum(map(_number_left, report.fields))
    if report.cluster_time is None:
        until = f"The last of {plural(report.passes, 'pass')} found no old id."
    else:
        until = f"Everything written until {moment(report.cluster_time)} was looked at."
    if not report.calm:
        return Verdict(Mood.CAUTION, "References rewritten, but old ids are still written", until)
    if left:
        headline = f"{plural(rewritten, 'reference')} rewritten, {grouped(left)} left"
        return Verdict(Mood.CAUTION, headline, until)
    if not rewritten:
        return Verdict(Mood.GOOD, "Nothing to rewrite", until)
    return Verdict(Mood.GOOD, f"{plural(rewritten, 'reference')} rewritten", until)


def _sections(report: RewriteReport) -> Iterator[Section]:
    rows = tuple(
        (
            f"{each.collection}.{each.field}",
            each.to,
            grouped(each.already),
            grouped(_number_left(each)),
            grouped(each.unknown),
            grouped(each.rewritten),
        )
        for each in report.fields
    )
    head = ("Field", "To", "New before", "Left", "Of no booking", "Rewritten")
    yield Section(title="Fields", table=Table(head, rows, right=5))
    yield Section(title="Left as they are", items=tuple(_left(report)))
    facts = [Figure("Read again since it began", plural(report.again, "document"))]
    facts += [Figure("Set beside references", plural(report.added, "field"))] if report.added else []
    facts += [Figure("Continued", "a rewrite that was interrupted")] if report.resumed else []
    yield Section(title="How", facts=tuple(facts), head=("What", "How much"))


def _number_left(field: RewrittenFieldPart) -> int:
    return field.rejected + field.unmigrated + field.taken + field.duplicate_name + field.refused


def _left(report: RewriteReport) -> Iterator[Item]:
    for field in report.fields:
        for reason, words in _REASONS.items():
            count = getattr(field, reason)
            if not count:
                continue
            named = (field.collection, field.field, _STORED.get(reason, reason))
            samples = [each for each in report.left if (each.collection, each.field, each.reason) == named][
                :_SHOWN
            ]
            lines = tuple(
                f"{each.path} of {each.document_id}: {each.detail or each.value}" for each in samples
            )
            mood = None if reason in ("dangling", "no_id") else Mood.CAUTION
            what = "value" if reason == "no_id" else "reference"
            text = f"{field.collection}.{field.field}: {plural(count, what)} {words}"
            yield Item(text, mood, lines, count)


def undo_page(report: LifeReport, undone: ReferencesUndonePart) -> Page:
    verdict = final_verdict(report, _undone(undone), is_done=True)
    return Page(
        report,
        verdict,
        sections=(Section(items=tuple(_undone_items(undone))),),
        checks=(error_check(report, "references-as-before", verdict),),
        route=f"run {report.run_id}: {plural(undone.documents, 'document')}, {duration(report.seconds)}",
    )


def _undone(undone: ReferencesUndonePart) -> Verdict:
    if undone.computed:
        how = "No journal was found: old ids were computed from the new ones."
    else:
        how = "Each document was read again afterwards."
    if undone.left:
        refused = plural(undone.left, "document")
        return Verdict(
            Mood.CAUTION,
            f"References restored, but not in {refused}",
            f"They keep new ids, for the causes below. {how}",
        )
    if undone.kept:
        kept = plural(undone.kept, "value")
        return Verdict(
            Mood.CAUTION, f"References restored, but {kept} kept", f"Others have changed them since. {how}"
        )
    return Verdict(Mood.GOOD, "References restored", how)


def _undone_items(undone: ReferencesUndonePart) -> Iterator[Item]:
    yield Item(f"{plural(undone.values, 'value')} restored in {plural(undone.documents, 'document')}")
    if not undone.computed:
        yield Item(f"{plural(undone.identical, 'document')} byte for byte as before the rewrite")
        if others := undone.documents - undone.identical:
            yield Item(f"{plural(others, 'document')} changed by others since in other fields, which stay")
    if undone.superseded:
        yield Item(f"{plural(undone.superseded, 'value')} replaced since by ids of old bookings, kept")
    if undone.gone:
        yield Item(f"{plural(undone.gone, 'document')} deleted since")
    if undone.left:
        lines = tuple(f"{each.collection} {each.document_id}: {each.why}" for each in undone.left_samples)
        text = f"{plural(undone.left, 'document')} left with new ids:"
        yield Item(text, Mood.CAUTION, lines, undone.left)
    if undone.kept:
        lines = tuple(
            f"{each.collection} {each.document_id}, {each.path}: was {each.noted}" for each in undone.samples
        )
        yield Item(
            f"{plural(undone.kept, 'value')} changed by others since, kept:", Mood.CAUTION, lines, undone.kept
        )
