"""What every format says in the same words: the verdict, the names of the counts, numbers for people."""

from dataclasses import dataclass
from enum import Enum

from booking_migrate.errors import EXIT_CODE_MEANINGS
from booking_migrate.reports.model import Report


class Mood(Enum):
    """How good the news is."""

    GOOD = "good"
    CAUTION = "caution"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The first thing to read."""

    mood: Mood
    headline: str
    """A few words, without a full stop."""

    explanation: str
    """One sentence with its full stop."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its name."""

    label: str
    value: str
    note: str = ""
    """What the number means, in a few words."""


def verdict(report: Report) -> Verdict:
    """What the report comes to, in two lines."""
    counts = report.counts
    if report.error is not None:
        return Verdict(
            Mood.BAD, f"Failed: {EXIT_CODE_MEANINGS[report.exit_code]}", f"{report.error.message}."
        )
    if counts is None or not counts.scanned:
        return Verdict(
            Mood.CAUTION, "Nothing to migrate", "The source holds no bookings. Is it the right place?"
        )
    accounted = (
        "The one booking of the source is accounted for"
        if counts.scanned == 1
        else f"All {grouped(counts.scanned)} bookings of the source are accounted for"
    )
    if counts.rejected:
        were = "was" if counts.rejected == 1 else "were"
        headline = f"Done, but {plural(counts.rejected, 'booking')} {were} rejected"
        return Verdict(Mood.CAUTION, headline, f"{accounted}.")
    if not report.changed:
        return Verdict(Mood.GOOD, "Nothing to do", f"{accounted}, and all of it was in the target already.")
    return Verdict(Mood.GOOD, "Migrated", f"{accounted}, and none was rejected.")


def figures(report: Report) -> list[Figure]:
    """The counts in the order in which they are read; none of a failed command."""
    counts = report.counts
    if counts is None:
        return []
    rows = [
        Figure("scanned", grouped(counts.scanned), "bookings in the source"),
        Figure("migrated", grouped(counts.migrated), "became sessions now"),
        Figure("already migrated", grouped(counts.already_migrated), "were sessions before"),
        Figure("rejected", grouped(counts.rejected), "cannot be converted"),
        Figure("clients", grouped(counts.clients), "with at least one session"),
        Figure("sessions", grouped(counts.sessions), "in their documents"),
        Figure("documents written", grouped(report.documents_written), "new in the target"),
        Figure("documents changed", grouped(report.documents_changed), "got more sessions"),
    ]
    if counts.client_documents:
        rows.append(Figure("client documents", grouped(counts.client_documents), "already in the source"))
    return rows


def totals(report: Report) -> list[Figure]:
    """What was spent, by currency."""
    return [Figure(currency, money(total)) for currency, total in report.spent.items()]


def grouped(number: int) -> str:
    """A number with its digits in groups of three, as ``1,234,567``."""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """``1 booking``, ``2,000 bookings``."""
    return f"{grouped(number)} {noun}" if number == 1 else f"{grouped(number)} {noun}s"


def money(total: str) -> str:
    """A decimal sum with grouped digits and at least two decimals; none of its digits is lost."""
    sign, digits = ("-", total[1:]) if total.startswith("-") else ("", total)
    whole, _, decimals = digits.partition(".")
    return f"{sign}{int(whole):,}.{decimals:0<2}" if whole.isdigit() else total


def duration(seconds: float) -> str:
    """A length of time for people: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 07 min``."""
    whole = round(seconds)
    if seconds < 10:  # noqa: PLR2004 - below ten seconds a tenth is worth saying
        return f"{seconds:.1f} s"
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


def samples(sample_ids: tuple[str, ...], count: int, shown: int) -> str:
    """The first few ids, and how many more there are."""
    listed = ", ".join(sample_ids[:shown])
    more = count - min(shown, len(sample_ids))
    if not listed:
        return ""
    return f"{listed} and {grouped(more)} more" if more else listed
