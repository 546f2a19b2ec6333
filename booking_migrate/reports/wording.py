"""What every format says in the same words: the verdict and the names of the counts."""

from dataclasses import dataclass
from enum import Enum

from booking_migrate.errors import EXIT_CODE_MEANINGS, HookFailed, OutputFailed
from booking_migrate.reports.model import (
    CountsReport,
    ExplanationReport,
    MismatchReport,
    Report,
    VerificationReport,
)
from booking_migrate.reports.model_lifecycle import (
    FinalizedReport,
    LifeReport,
    RunReport,
    SinceReport,
    UndoneReport,
    ViewReport,
)
from booking_migrate.reports.numbers import duration, grouped, money, plural
from booking_migrate.runs.states import in_words
from booking_migrate.stores.views import Shape


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
    if report.error is None:
        return _came_to_its_end(report)
    if report.error.kind == HookFailed.__name__:
        said = _came_to_its_end(report)
        return Verdict(Mood.BAD, said.headline, f"{said.explanation} But {report.error.message}.")
    if report.error.kind == OutputFailed.__name__ and (isinstance(report, LifeReport) or report.counts):
        said = _came_to_its_end(report)
        return Verdict(
            Mood.BAD,
            said.headline,
            f"{said.explanation} {report.error.message[:1].upper()}{report.error.message[1:]}.",
        )
    return Verdict(Mood.BAD, f"Failed: {EXIT_CODE_MEANINGS[report.exit_code]}", f"{report.error.message}.")


def _came_to_its_end(report: Report) -> Verdict:
    counts = report.counts
    if isinstance(report, LifeReport):
        return _life_verdict(report)
    if report.explanation is not None:
        return _explained(report.explanation)
    if report.verification is not None and counts is not None:
        return _verified(report, report.verification, counts)
    return _migrated(report)


def _life_verdict(report: LifeReport) -> Verdict:
    if report.cutover is not None:
        cutover = report.cutover
        explanation = f"{cutover.live} holds the client documents; {cutover.legacy} keeps the old bookings."
        return Verdict(Mood.GOOD, "Cut over", explanation)
    if report.aborted is not None:
        explanation = f"{report.aborted.live} is live as before and accepts writes; {report.target} is kept."
        return Verdict(Mood.GOOD, "Cut-over aborted", explanation)
    if report.view is not None:
        return _viewed(report, report.view)
    if report.finalized is not None:
        return _finalized(report.finalized, report.mismatch_count or 0)
    return _lived(report) if report.undone is None else _undone(report.undone)


def _migrated(report: Report) -> Verdict:
    counts = report.counts
    if counts is None or not counts.scanned:
        return Verdict(
            Mood.CAUTION, "Nothing to migrate", "The source holds no bookings. Is it the right place?"
        )
    accounted = _accounted(counts)
    if counts.rejected:
        were = "was" if counts.rejected == 1 else "were"
        headline = f"Done, but {plural(counts.rejected, 'booking')} {were} rejected"
        return Verdict(Mood.CAUTION, headline, f"{accounted}.")
    if not report.changed:
        return Verdict(Mood.GOOD, "Nothing to do", f"{accounted}, and all of it was in the target already.")
    return Verdict(Mood.GOOD, "Migrated", f"{accounted}, and none was rejected.")


def _lived(report: LifeReport) -> Verdict:
    if not report.runs:
        return Verdict(
            Mood.GOOD, "No runs", "Nothing was migrated into this database, or its journal is gone."
        )
    alive = sum(run.alive for run in report.runs)
    stale = sum(run.stale for run in report.runs)
    at_work = f"{grouped(alive)} at work" if alive else "None is at work"
    if stale:
        return Verdict(Mood.CAUTION, plural(len(report.runs), "run"), f"{at_work}, {grouped(stale)} stale.")
    return Verdict(Mood.GOOD, plural(len(report.runs), "run"), f"{at_work}.")


def _finalized(finalized: FinalizedReport, mismatches: int) -> Verdict:
    if finalized.dropped:
        explanation = f"{finalized.archive} is dropped; there is no way back."
        return Verdict(Mood.GOOD, "Finalized", explanation)
    explanation = (
        f"{finalized.archive} is still there: the verification found mismatches ({grouped(mismatches)})."
    )
    return Verdict(Mood.BAD, "Not finalized: not proven", explanation)


def _viewed(report: LifeReport, view: ViewReport) -> Verdict:
    if view.shape is None:
        headline = "View dropped" if report.changed else "Nothing to drop"
        there = "is gone" if report.changed else "was not there"
        return Verdict(Mood.GOOD, headline, f"{view.name} {there}.")
    headline = "View created" if report.changed else "Nothing to do"
    unit = "one document per booking" if view.shape is Shape.OLD else "one document per client"
    return Verdict(Mood.GOOD, headline, f"{view.name} shows {report.source} with {unit}.")


def _undone(undone: UndoneReport) -> Verdict:
    if undone.already:
        return Verdict(Mood.GOOD, "Rolled back already", "An earlier rollback has undone this run.")
    if undone.since is not None:
        return _put_back(undone.since)
    # A document that others changed may be kept by several runs.
    most = max(undone.kept, *(run.kept for run in undone.earlier), 0)
    if most:
        kept = plural(most, undone.unit)
        explanation = f"{kept} stayed, because others have changed them since; everything else is as before."
        return Verdict(Mood.CAUTION, f"Rolled back, but {kept} kept", explanation)
    runs = f"{1 + len(undone.earlier)} runs" if undone.earlier else "run"
    return Verdict(Mood.GOOD, "Rolled back", f"The target is as it was before the {runs}; that was checked.")


def _put_back(since: SinceReport) -> Verdict:
    if not (since.later or since.changed or since.missing or since.lost):
        explanation = "The old bookings are live again, byte for byte; that was checked."
        return Verdict(Mood.GOOD, "Rolled back", explanation)
    if since.dropped:
        explanation = (
            "The old bookings are live again, byte for byte; what happened since was dropped, as asked."
        )
        return Verdict(Mood.GOOD, "Rolled back", explanation)
    explanation = "The old bookings are live again; what happened since was kept, and is listed."
    return Verdict(Mood.CAUTION, "Rolled back, with what happened since", explanation)


def _accounted(counts: CountsReport) -> str:
    if counts.scanned == 1:
        return "The one booking of the source is accounted for"
    return f"All {grouped(counts.scanned)} bookings of the source are accounted for"


def _verified(report: Report, verification: VerificationReport, counts: CountsReport) -> Verdict:
    checked = plural(verification.clients_checked, "client")
    if report.mismatch_count:
        broken = sum(rule.mismatch_count > 0 for rule in verification.rules)
        explanation = f"{plural(broken, 'rule')} of {len(verification.rules)} broken; {checked} checked."
        return Verdict(Mood.BAD, f"Not proven: {_mismatches(report.mismatch_count)}", explanation)
    if not verification.clients_seen:
        return Verdict(
            Mood.CAUTION,
            "Nothing was compared",
            "Source and target are both empty. Are they the right places?",
        )
    if verification.sampled:
        explanation = f"{checked} of {grouped(verification.clients_seen)} checked, chosen by chance; this proves no more."
        return Verdict(Mood.CAUTION, "No mismatch in the sample", explanation)
    explanation = f"{_accounted(counts)}, byte for byte"
    if counts.rejected:
        explanation += f"; {grouped(counts.rejected)} rejected for cause and kept whole"
    return Verdict(Mood.GOOD, "Proven", f"{explanation}.")


def _explained(explanation: ExplanationReport) -> Verdict:
    booking, where = f"Booking {explanation.booking_id}", _client(explanation.client_id)
    match explanation.fate:
        case "migrated" | "different":
            place = (
                f"It is session {explanation.session_number} of {explanation.session_count} in the client "
                f"document {explanation.document_id} of {where}."
            )
            if explanation.fate == "migrated":
                return Verdict(Mood.GOOD, f"{booking} was migrated", place)
            return Verdict(Mood.BAD, f"{booking} was migrated, but its session is not as it should be", place)
        case "rejected":
            reasons = ", ".join(explanation.reasons)
            return Verdict(
                Mood.CAUTION, f"{booking} was rejected", f"It is of {where}. The cause: {reasons}."
            )
        case _:
            return Verdict(
                Mood.BAD,
                f"{booking} is not accounted for",
                f"It is of {where}, and neither rightly in the target nor rightly among the rejected.",
            )


def _client(client_id: str | None) -> str:
    return "no client" if client_id is None else f"client {client_id}"


def mismatch_line(mismatch: MismatchReport) -> str:
    """A mismatch in one line for people: what is wrong, where, and how."""
    where = [
        f"client {mismatch.client_id}" if mismatch.client_id is not None else "",
        f"booking {mismatch.booking_id}" if mismatch.booking_id is not None else "",
        mismatch.field or "",
    ]
    said = [mismatch.detail] if mismatch.detail else []
    if mismatch.expected is not None or mismatch.found is not None:
        said.append(f"expected {mismatch.expected or 'nothing'}, found {mismatch.found or 'nothing'}")
    return ": ".join(filter(None, [mismatch.kind, ", ".join(filter(None, where)), "; ".join(said)]))


def _mismatches(number: int) -> str:
    return f"{grouped(number)} mismatch" if number == 1 else f"{grouped(number)} mismatches"


def _conflicts(number: int) -> list[Figure]:
    if not number:
        return []
    return [Figure("of them conflicts", grouped(number), "a changed client document has other content")]


def figures(report: Report) -> list[Figure]:
    """The counts in the order in which they are read; none of a failed command."""
    if isinstance(report, LifeReport):
        return _life_figures(report)
    counts = report.counts
    if counts is None:
        return []
    if report.verification is not None:
        return _verified_figures(report.verification, counts)
    rows = [
        Figure("scanned", grouped(counts.scanned), "bookings in the source"),
        Figure("migrated", grouped(counts.migrated), "became sessions now"),
        Figure("already migrated", grouped(counts.already_migrated), "were sessions before"),
        Figure("rejected", grouped(counts.rejected), "cannot be converted"),
        *_conflicts(counts.conflicts),
        Figure("clients", grouped(counts.clients), "with at least one session"),
        Figure("sessions", grouped(counts.sessions), "in their documents"),
        Figure("documents written", grouped(report.documents_written), "new in the target"),
        Figure("documents changed", grouped(report.documents_changed), "sessions added or derived again"),
    ]
    if report.documents_removed:
        removed = grouped(report.documents_removed)
        rows.append(Figure("documents removed", removed, "their clients have no bookings any more"))
    if counts.client_documents:
        rows.append(Figure("client documents", grouped(counts.client_documents), "already in the source"))
    return rows


def standing(run: RunReport) -> str:
    """How a run stands, in a few words."""
    if run.stale:
        return (
            f"{in_words(run.state)}, its process is dead; last heard of {run.heard_at:%Y-%m-%d %H:%M:%S} UTC"
        )
    return run.state.value


def _life_figures(report: LifeReport) -> list[Figure]:
    if report.cutover is not None:
        cutover = report.cutover
        return [
            Figure("writes refused", duration(cutover.refused_seconds), "from the fence to the swap"),
            Figure("carried", grouped(cutover.carried), "rejected bookings, in their old shape"),
        ]
    if report.aborted is not None:
        refused = duration(report.aborted.refused_seconds)
        return [Figure("writes refused", refused, "by the cut-over that was cut off")]
    if report.finalized is not None:
        changed = grouped(report.finalized.documents_changed)
        return [Figure("legacyBookingId", changed, "client documents that it was taken out of")]
    undone = report.undone
    if report.view is not None:
        return []
    if undone is None:
        return [Figure(run.run_id, standing(run), f"{run.source} -> {run.target}") for run in report.runs]
    return [
        Figure("removed", grouped(undone.removed), f"what the run had created, each a {undone.unit}"),
        Figure("restored", grouped(undone.restored), "again what they were before the run"),
        *_since_figures(undone.since),
        Figure("kept", grouped(undone.kept), ", ".join(undone.kept_ids[:3]) or "nothing that others changed"),
    ]


def _since_figures(since: SinceReport | None) -> list[Figure]:
    if since is None:
        return []
    fate = "dropped" if since.dropped else "in client documents of the new shape"
    return [
        Figure("booked since", grouped(since.later), fate),
        Figure(
            "changed since", grouped(since.changed), "dropped" if since.dropped else "in the old bookings"
        ),
        Figure("session gone", grouped(since.missing), "their bookings are back"),
    ]


def _verified_figures(verification: VerificationReport, counts: CountsReport) -> list[Figure]:
    return [
        Figure("scanned", grouped(counts.scanned), "bookings in the source"),
        Figure("migrated", grouped(counts.migrated), "are sessions, byte for byte"),
        Figure(
            "already migrated", grouped(counts.already_migrated), "were sessions in the source, or copies"
        ),
        Figure("rejected", grouped(counts.rejected), "for cause, and kept whole"),
        *_conflicts(counts.conflicts),
        Figure("clients", grouped(counts.clients), "with at least one session"),
        Figure("sessions", grouped(counts.sessions), "in their documents"),
        Figure("later sessions", grouped(verification.later_sessions), "of the new application, allowed"),
        *_changed_sessions(verification),
        Figure("client documents", grouped(counts.client_documents), "already in the source"),
    ]


def _changed_sessions(verification: VerificationReport) -> list[Figure]:
    changed = verification.changed_sessions
    return [Figure("changed since", grouped(changed), "by the new application, allowed")] if changed else []


def totals(report: Report) -> list[Figure]:
    """What was spent, by currency."""
    return [Figure(currency, money(total)) for currency, total in report.spent.items()]


def places(report: Report) -> str:
    """From where to where, as far as the command has both: status may have neither."""
    return " → ".join(filter(None, (report.source, report.target)))
