"""What every format says of a dry-run in the same words."""

from collections.abc import Iterator, Sequence

from booking_migrate.errors import ExitCode
from booking_migrate.reports.model_dry_run import DryRunReport, MissingPrivilegeReport, NeedsReport
from booking_migrate.reports.numbers import duration, grouped, plural
from booking_migrate.reports.wording import Figure, Mood, Verdict


def dry_run_verdict(report: DryRunReport) -> Verdict:
    """Whether to migrate, in two lines."""
    counts, part = report.counts, report.dry_run
    if report.exit_code is ExitCode.REFUSED:
        first = part.blockers[0]
        more = len(part.blockers) - 1
        also = f" (and {plural(more, 'more blocker')})" if more else ""
        return Verdict(Mood.BAD, "Not ready: migrate would be refused", f"{first.message}{also}.")
    if counts is None or not counts.scanned:
        return Verdict(
            Mood.CAUTION, "Nothing to migrate", "The source holds no bookings. Is it the right place?"
        )
    about = approximately(report)
    if counts.already_migrated == counts.scanned:
        return Verdict(
            Mood.GOOD,
            "Nothing to do",
            f"All {about}{grouped(counts.scanned)} bookings are in the target already.",
        )
    said = (
        f"{about}{grouped(counts.migrated)} of {about}{plural(counts.scanned, 'booking')} would be migrated"
    )
    documents = f"{about}{plural(part.gains.documents_after, 'client document')}"
    explanation = f"{said} into {documents}, in {estimated_time(report)}."
    if counts.rejected:
        headline = f"Ready, but {about}{plural(counts.rejected, 'booking')} would be rejected"
        return Verdict(Mood.CAUTION, headline, explanation)
    if part.sampled is not None:
        return Verdict(Mood.CAUTION, "Ready, as far as a sample shows", explanation)
    return Verdict(Mood.GOOD, "Ready to migrate", explanation)


def approximately(report: DryRunReport) -> str:
    """The sign before a number if all of them are estimated from a sample."""
    return "" if report.dry_run.sampled is None else "≈"


def estimated_time(report: DryRunReport) -> str:
    """How long the migration will take: ``about 12 s``, ``under a second``."""
    seconds = report.dry_run.estimate.seconds
    return f"about {duration(seconds)}" if seconds >= 1 else "under a second"


def dry_run_figures(report: DryRunReport) -> list[Figure]:
    """What would happen, in the order in which it is read."""
    counts = report.counts
    if counts is None:
        return []
    about = approximately(report)
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
    return [
        Figure(label, f"{about}{grouped(number)}", note)
        for label, number, note in rows
        if number or label in ("scanned", "migrated", "rejected")
    ]


def need_rows(report: DryRunReport) -> list[Figure]:
    """What the migration needs, one row a subject; the note is a warning if there is one."""
    needs = report.dry_run.needs
    estimate = report.dry_run.estimate
    time = Figure("time", estimated_time(report), f"{estimate.basis}.")
    if needs.server is None:
        return [Figure("server", "none asked", "only files are known"), time]
    modes = "; ".join(f"{mode.name} {'yes' if mode.possible else 'no'} ({mode.note})" for mode in needs.modes)
    return [
        Figure("server", f"MongoDB {needs.server.version}, {needs.server.topology.value}"),
        Figure("modes", modes),
        Figure("privileges", *_privileges(needs)),
        *_indexes(needs),
        *_disk(needs),
        Figure("oplog", *_oplog(needs)),
        time,
    ]


def gain_rows(report: DryRunReport) -> list[Figure]:
    """Before and after, one row a subject."""
    gains, about = report.dry_run.gains, approximately(report)
    rows = [
        Figure(
            "documents",
            f"{about}{grouped(gains.documents_before)} → {about}{grouped(gains.documents_after)}",
            f"{_per_client(report)} sessions per client" if gains.documents_after else "",
        ),
        Figure("data", f"{about}{size(gains.data_bytes_before)} → {about}{size(gains.data_bytes_after)}"),
    ]
    if gains.index_bytes_before is not None and gains.index_bytes_after is not None:
        rows.append(
            Figure(
                "indexes",
                f"{size(gains.index_bytes_before)} → ≈{size(gains.index_bytes_after)}",
                "on _id and clientId",
            )
        )
    share = 100 * gains.largest_document / gains.limit if gains.limit else 0
    rows.append(
        Figure(
            "largest document",
            f"{about}{size(gains.largest_document)}",
            f"{share:.2g} % of the limit, {size(gains.limit)}",
        )
    )
    return rows


def size(number: int) -> str:
    """A number of bytes for people: ``812 B``, ``1.4 MiB``."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:  # noqa: PLR2004 - the step between units
            return f"{amount:.3g} {unit}" if unit != "B" else f"{number} B"
        amount /= 1024
    return f"{amount:,.3g} TiB"


def _per_client(report: DryRunReport) -> str:
    counts, gains = report.counts, report.dry_run.gains
    sessions = counts.sessions if counts else 0
    return f"{sessions / gains.documents_after:.1f}"


def _privileges(needs: NeedsReport) -> tuple[str, str]:
    missing = needs.missing_privileges
    if missing is None:
        return "unknown", "the server does not tell this user"
    if not missing:
        return "all there", ""
    actions = dict.fromkeys(one.privilege.action for one in missing)
    commands = dict.fromkeys(one.command for one in missing)
    detail = [f"{command}: {'; '.join(_lacking(needs, missing, command))}" for command in commands]
    return f"this user lacks {', '.join(actions)}", f"{'. '.join(detail)}."


def _lacking(needs: NeedsReport, missing: Sequence[MissingPrivilegeReport], command: str) -> Iterator[str]:
    """What one command lacks; collections on which it lacks the same are named together."""
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


def _indexes(needs: NeedsReport) -> list[Figure]:
    said = []
    if needs.has_unique_index is not None:
        made = "is there" if needs.has_unique_index else "will be made first"
        said.append(f"unique on clientId of the target {made}")
    if needs.has_source_index is not None:
        said.append(
            "clientId of the source is indexed"
            if needs.has_source_index
            else "clientId of the source has none, so the server sorts on its disk"
        )
    return [Figure("indexes", "; ".join(said))] if said else []


def _disk(needs: NeedsReport) -> list[Figure]:
    if needs.target_bytes is None:
        return []
    wanted = f"≈{size(needs.target_bytes)} for the target"
    if needs.archive_bytes is not None:
        wanted += f", {size(needs.archive_bytes)} for an archive"
    free = "free space unknown" if needs.disk is None else f"{size(needs.disk.total - needs.disk.used)} free"
    return [Figure("disk", f"{wanted}; {free}")]


def _oplog(needs: NeedsReport) -> tuple[str, str]:
    if needs.oplog_seconds is None:
        return "unknown", "this user may not see it"
    return f"reaches back {duration(needs.oplog_seconds)}", ""
