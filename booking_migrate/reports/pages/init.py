"""The page of init: what was decided, what is left to the user, and what the database holds."""

from collections.abc import Iterator

from booking_migrate.init.outcome import CollectionFound, Role, Setting
from booking_migrate.quantities import grouped, plural
from booking_migrate.reports.init import InitPart, InitReport
from booking_migrate.reports.page import Figure, Item, Medium, Mood, Page, Section, Table, Verdict
from booking_migrate.reports.pages.migrate import error_check, final_verdict
from booking_migrate.reports.text import duration

_MEANT = {Role.USERS: "ids of clients", Role.EXPERTS: "ids of experts"}


def init_page(report: InitReport) -> Page:
    part = report.init
    verdict = final_verdict(report, _verdict(part), is_done=True)
    return Page(
        report,
        verdict,
        sections=tuple(_sections(part)),
        checks=(error_check(report, "config-written", verdict),),
        route=f"{part.server}, read in {duration(report.seconds)}; nothing was written to it",
    )


def _verdict(part: InitPart) -> Verdict:
    written = "Printed" if part.config == "-" else f"Written to {part.config}"
    found = part.bookings
    about = f"{plural(found.sampled, 'booking')} sampled"
    if found.first_generation:
        about += f", {grouped(found.first_generation)} without user ids and emails, which are looked up"
    if part.undecided:
        headline = f"{written}; {plural(len(part.undecided), 'setting')} to decide"
        return Verdict(Mood.CAUTION, headline, f"{about}. What could not be decided is commented out.")
    return Verdict(Mood.GOOD, written, f"{about}.")


def _sections(part: InitPart) -> Iterator[Section]:
    yield Section(title="To decide", items=tuple(Item(each, Mood.CAUTION) for each in part.undecided))
    yield Section(
        title="Settings",
        facts=tuple(Figure(each.key, _value(each), each.reason) for each in part.settings if each.is_set),
        head=("Setting", "", "Why"),
    )
    yield Section(
        title="Commented out",
        medium=Medium.FILES,
        facts=tuple(Figure(each.key, _value(each), each.reason) for each in part.settings if not each.is_set),
        head=("Setting", "", "Why"),
    )
    shown = [each for each in part.collections if each.role is not Role.OTHER]
    yield Section(
        title="Collections",
        table=Table(("Collection", "Holds", "Sampled"), tuple(map(_row, shown))),
    )
    references = [
        Item(
            f"{each.collection}.{each.field} holds ids of bookings: {grouped(each.hits)} of {grouped(each.sampled)} sampled values"
        )
        for each in part.references
    ]
    unreadable = [Item(f"{each} was not looked at: this user may not read it") for each in part.unreadable]
    yield Section(title="References", items=(*references, *unreadable))


def _value(setting: Setting) -> str:
    return setting.value if isinstance(setting.value, str) else ", ".join(setting.value)


def _row(found: CollectionFound) -> tuple[str, str, str]:
    count = "" if found.documents is None else f" ({plural(found.documents, 'document')})"
    what = _MEANT.get(found.role, "sampled documents")
    return found.name, f"{found.role}{count}", f"{grouped(found.matching)} of {grouped(found.sampled)} {what}"
