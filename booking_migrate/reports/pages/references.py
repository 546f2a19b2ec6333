"""The pages of the commands about references."""

from collections.abc import Iterator

from booking_migrate.quantities import grouped, plural
from booking_migrate.reports.page import Figure, Item, Mood, Page, Section, Table, Verdict
from booking_migrate.reports.pages.migrate import error_check, final_verdict
from booking_migrate.reports.references import FindReport, FoundFieldPart
from booking_migrate.reports.text import duration


def find_page(report: FindReport) -> Page:
    verdict = final_verdict(report, _verdict(report), is_done=True)
    documents = sum(each.documents for each in report.searched)
    return Page(
        report,
        verdict,
        sections=tuple(_sections(report)),
        checks=(error_check(report, "references-searched", verdict),),
        route=f"{plural(documents, 'document')} of {plural(len(report.searched), 'collection')} in "
        f"{duration(report.seconds)}; nothing was changed",
    )


def _verdict(report: FindReport) -> Verdict:
    count = len(report.fields)
    looked = (
        "Every document was read."
        if report.sample is None
        else f"At most {plural(report.sample, 'document')} of each collection were read: a field that holds ids rarely may be missing."
    )
    if report.unreadable:
        looked += f" {plural(len(report.unreadable), 'collection')} could not be read."
    if report.time_series:
        looked += f" {plural(len(report.time_series), 'time series', 'time series')} were not searched."
    if report.only_new:
        looked += f" {plural(len(report.only_new), 'field')} with new ids only."
    if not count:
        is_whole = report.sample is None and not report.unreadable and not report.time_series
        mood = Mood.GOOD if is_whole else Mood.CAUTION
        return Verdict(mood, "No field holds ids of bookings", looked)
    collections = len({each.collection for each in report.fields})
    headline = f"{plural(count, 'field')} of {plural(collections, 'collection')} hold ids of bookings"
    return Verdict(Mood.CAUTION, headline if count > 1 else headline.replace("hold ids", "holds ids"), looked)


def _sections(report: FindReport) -> Iterator[Section]:
    has_new = any(each.sessions or each.client_documents for each in report.fields)
    rows = tuple(
        (
            f"{each.collection}.{each.field}",
            ", ".join(each.forms),
            each.index or "none",
            *((grouped(each.sessions + each.client_documents),) if has_new else ()),
            f"{grouped(each.others)} ({_share(each.others, each.values)})",
            grouped(each.hits),
        )
        for each in report.fields
    )
    head = ("Field", "Form", "Index", *(("New ids",) if has_new else ()), "Of no booking", "Of bookings")
    yield Section(
        title="Fields with ids of bookings", table=Table(head, rows, right=len(head) - 1) if rows else None
    )
    yield Section(
        title="Fields with new ids only",
        facts=tuple(Figure(f"{each.collection}.{each.field}", _new_ids(each)) for each in report.only_new),
        head=("Field", "New ids"),
    )
    yield Section(
        title="To know before a rewrite",
        items=tuple(item for each in report.fields for item in _remarks(each)),
    )
    yield Section(
        title="For the config file",
        remark=f"written to {report.output}" if report.output else "",
        items=tuple(_tables(report.section)),
    )
    yield Section(
        title="Searched",
        facts=tuple(Figure(each.name, plural(each.documents, "document")) for each in report.searched),
        head=("Collection", "Read"),
    )
    yield Section(
        title="Not searched",
        items=(
            *(Item(f"{each}: this user may not read it", Mood.CAUTION) for each in report.unreadable),
            *(
                Item(f"{each}: a time series; look yourself for ids of bookings in it", Mood.CAUTION)
                for each in report.time_series
            ),
        ),
    )


def _new_ids(field: FoundFieldPart) -> str:
    """Return what the new ids of a field are of."""
    counts = ((field.sessions, "session"), (field.client_documents, "client document"))
    return " and ".join(f"{grouped(number)} of {name}s" for number, name in counts if number)


def _share(part: int, whole: int) -> str:
    percent = 100 * part / whole
    return f"{percent:.0f} %" if not 0 < percent < 1 else "< 1 %"


def _remarks(field: FoundFieldPart) -> Iterator[Item]:
    """Yield what is special about a field."""
    name = f"{field.collection}.{field.field}"
    if field.condition is not None:
        values = ", ".join(field.condition.values)
        yield Item(f"{name} refers to bookings where {field.condition.field} is {values}")
    elif field.others:
        dangling = ", ".join(field.dangling)
        which = "is the id" if field.others == 1 else "are ids"
        yield Item(
            f"{name} has {plural(field.others, 'value')} that {which} of no booking, such as {dangling}"
        )
    if field.sessions or field.client_documents:
        yield Item(f"{name} has new ids already: {_new_ids(field)}")
    for obstacle in field.obstacles:
        yield Item(f"{name}, {obstacle.name}: {obstacle.detail}", Mood.CAUTION)


def _tables(lines: tuple[str, ...]) -> Iterator[Item]:
    """Yield each table of the section, without its remarks."""
    table: list[str] = []
    for line in (*lines, "[[references]]"):
        if line.startswith("[[") and table:
            yield Item(table[0], None, tuple(table[1:]), len(table) - 1)
            table = []
        if line and not line.startswith("#"):
            table.append(line)
