"""The page of verifying references."""

from collections.abc import Iterator

from booking_migrate.quantities import grouped, moment, plural
from booking_migrate.references.proof import SAMPLES
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
from booking_migrate.reports.verified_references import ReferenceMismatchPart, VerifiedReferencesReport

_RULES = {
    "no-old-id-is-left": "unrewritten",
    "rewritten-references-resolve": "lost",
    "new-ids-are-those-of-their-bookings": "wrong",
    "records-have-the-numbers-of-their-notes": "count",
}
"""What is proven, by the kind of mismatch that breaks it. The names are an API."""

_NOTHING_ELSE = "nothing-else-was-changed"

_WORDS = {
    "unrewritten": "ids of old bookings that find nothing, or that a rewrite has passed over",
    "lost": "new ids that a rewrite wrote, and that nothing has now",
    "wrong": "new ids that are not those of their bookings",
    "count": "numbers of a rewrite's record that are not those of its notes",
}
_LISTED = {"rejected": "to rejected bookings", "dangling": "to nothing, which no rewrite wrote"}
_SHOWN = 10


def verified_references_page(report: VerifiedReferencesReport) -> Page:
    verdict = final_verdict(report, _verdict(report), is_done=True)
    documents = sum(each.documents for each in report.read)
    return Page(
        report,
        verdict,
        sections=tuple(_sections(report)),
        checks=(error_check(report, "references-read", verdict), *_checks(report)),
        route=f"run {report.run_id}: {plural(documents, 'document')} and "
        f"{grouped(report.notes.documents)} noted read, {duration(report.seconds)}",
    )


def _verdict(report: VerifiedReferencesReport) -> Verdict:
    values = sum(each.values for each in report.fields)
    unfinished = next((each for each in report.rewrites if each.state != "done"), None)
    if report.mismatch_count:
        broken = [kind for kind in _WORDS if any(each.kind == kind for each in report.reference_mismatches)]
        headline = f"Not proven: {_mismatched(report.mismatch_count)}"
        if unfinished is not None:
            headline = f"Not proven: rewrite {unfinished.rewrite_id} is not complete"
        return Verdict(Mood.BAD, headline, f"{plural(values, 'value')} read; found: {', '.join(broken)}.")
    if unfinished is not None:
        headline = f"No mismatch, but rewrite {unfinished.rewrite_id} is not complete"
        return Verdict(Mood.CAUTION, headline, f"{plural(values, 'value')} read.")
    if not values and not report.notes.documents:
        explanation = "The fields do not have any value that may be an id. Are they the right ones?"
        return Verdict(Mood.CAUTION, "Nothing was compared", explanation)
    return Verdict(Mood.GOOD, "Proven", f"{'; '.join(_said(report))}.")


def _said(report: VerifiedReferencesReport) -> Iterator[str]:
    """Yield what was proven, in parts of a sentence."""
    new, kept = (sum(getattr(each, name) for each in report.fields) for name in ("new", "kept"))
    yield f"{plural(new, 'reference')} to sessions or client documents"
    if kept:
        yield f"{grouped(kept)} to old bookings, found by index {report.kept_index}"
    notes = report.notes
    if notes.documents:
        yield f"{grouped(notes.identical)} of {plural(notes.documents, 'rewritten document')} unchanged but for their references"
    if notes.changed or notes.gone:
        yield f"{grouped(notes.changed + notes.gone)} changed or deleted by others since"
    if report.behind:
        yield f"{grouped(report.behind)} in documents that are being written, not judged"
    if report.cluster_time is not None:
        yield f"as of the cluster time {moment(report.cluster_time)}"


def _sections(report: VerifiedReferencesReport) -> Iterator[Section]:
    rows = tuple(
        (
            f"{each.collection}.{each.field}",
            grouped(each.new),
            grouped(each.kept + each.excluded),
            _with_then(each.rejected, each.rejected_then),
            _with_then(each.dangling, each.dangling_then),
            grouped(each.lost + each.unrewritten),
        )
        for each in report.fields
    )
    flagged = frozenset(
        number for number, each in enumerate(report.fields) if each.lost + each.unrewritten > 0
    )
    head = ("Field", "New ids", "Kept or excluded", "Rejected", "Of nothing", "Mismatches")
    yield Section(title="Values", table=Table(head, rows, right=5, flagged=flagged) if rows else None)
    mismatches = tuple(_mismatches(report))
    is_cut = any(each.count > len(each.details) for each in mismatches)
    note = f"The first {SAMPLES} of each kind are in a JSON report: --report FILE.json" if is_cut else ""
    yield Section(title="Mismatches", items=mismatches, note=note)
    yield Section(title="Left as they are", items=tuple(_listed(report)))
    yield Section(
        title="Documents with rewritten references",
        facts=tuple(_notes(report)),
        items=tuple(_changed(report)),
        head=("What", "How many"),
    )
    yield Section(
        title="Read",
        medium=Medium.FILES,
        facts=tuple(Figure(each.name, plural(each.documents, "document")) for each in report.read),
        head=("Collection", "Documents"),
    )


def _mismatched(number: int) -> str:
    return f"{grouped(number)} {'mismatch' if number == 1 else 'mismatches'}"


def _with_then(now: int, then: int | None) -> str:
    """Return a number, with that of the rewrite if it was another one."""
    return grouped(now) if then is None or then == now else f"{grouped(now)} (rewrite: {grouped(then)})"


def _mismatches(report: VerifiedReferencesReport) -> Iterator[Item]:
    for kind, words in _WORDS.items():
        found = [each for each in report.reference_mismatches if each.kind == kind]
        if found:
            lines = tuple(map(_line, found[:_SHOWN]))
            yield Item(f"{kind}: {words}", Mood.BAD, lines, _number(report, kind, len(found)))


def _number(report: VerifiedReferencesReport, kind: str, known: int) -> int:
    """Return how many mismatches of a kind there are: at least the examples, and what the fields count."""
    counted = sum(getattr(each, kind, 0) for each in report.fields)
    return max(known, counted)


def _line(mismatch: ReferenceMismatchPart) -> str:
    where = (
        f"{mismatch.collection} {mismatch.document_id}, {mismatch.path}"
        if mismatch.path
        else mismatch.collection
    )
    said = f"expected {mismatch.expected}, found {mismatch.found}" if mismatch.expected else mismatch.found
    return ": ".join(filter(None, [mismatch.detail, where, said]))


def _listed(report: VerifiedReferencesReport) -> Iterator[Item]:
    for field in report.fields:
        for what, words in _LISTED.items():
            count = getattr(field, what)
            if count:
                named = (field.collection, field.field, what)
                samples = [
                    each for each in report.listed if (each.collection, each.field, each.what) == named
                ]
                lines = tuple(f"{each.path} of {each.document_id}: {each.value}" for each in samples[:_SHOWN])
                text = f"{field.collection}.{field.field}: {plural(count, 'reference')} {words}"
                yield Item(text, None, lines, count)


def _notes(report: VerifiedReferencesReport) -> Iterator[Figure]:
    notes = report.notes
    if not notes.documents:
        return
    yield Figure("Unchanged but for their references", grouped(notes.identical))
    yield Figure("Changed by others since", grouped(notes.changed), is_flagged=notes.changed > 0)
    if notes.gone:
        yield Figure("Deleted by others since", grouped(notes.gone))
    if notes.open:
        yield Figure("Not written yet", grouped(notes.open))


def _changed(report: VerifiedReferencesReport) -> Iterator[Item]:
    for what, words in (("changed", "changed since"), ("gone", "deleted since")):
        count = getattr(report.notes, what)
        if count:
            lines = tuple(
                f"{each.collection} {each.document_id}" for each in report.listed if each.what == what
            )
            yield Item(f"{plural(count, 'document')} {words}, by others", None, lines[:_SHOWN], count)


def _checks(report: VerifiedReferencesReport) -> Iterator[Check]:
    for name, kind in _RULES.items():
        found = [each for each in report.reference_mismatches if each.kind == kind]
        if not found:
            yield Check(name)
            continue
        lines = [_line(each) for each in found[:_SHOWN]]
        said = f"{_mismatched(_number(report, kind, len(found)))}, such as {lines[0]}"
        yield Check(name, Result.FAILURE, kind, said, "\n".join(lines))
    notes = report.notes
    if notes.changed:
        said = f"{plural(notes.changed, 'document')} changed by others since: for these it cannot be said"
        yield Check(_NOTHING_ELSE, Result.SKIPPED, "changed", said)
    else:
        yield Check(_NOTHING_ELSE)
