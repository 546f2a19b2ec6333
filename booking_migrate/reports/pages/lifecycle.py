"""The pages of rollback, cutover, finalize, view and service-indexes."""

from collections.abc import Iterator, Sequence

from booking_migrate.quantities import clock, grouped, plural
from booking_migrate.reports.finalized import FinalizedReport
from booking_migrate.reports.lifecycle import (
    AbortedReport,
    CutoverReport,
    EarlierUndoneReport,
    FollowedReport,
    IndexesReport,
    KeptWindowReport,
    LifeReport,
    SinceReport,
    UndoneReport,
    ViewReport,
)
from booking_migrate.reports.page import Figure, Item, Mood, Page, Section, Verdict
from booking_migrate.reports.pages.migrate import final_verdict, route_line
from booking_migrate.reports.pages.rewriting import undo_page
from booking_migrate.reports.pages.status import old_booking_lines, outcome_check, status_page
from booking_migrate.reports.rewrite_status import StrandedReport, UnseenReport
from booking_migrate.reports.text import duration, outage
from booking_migrate.stores.connection import Shape


def lifecycle_page(report: LifeReport) -> Page:
    """Return the page of status, rollback, cutover, finalize or view."""
    if report.references is not None:
        return undo_page(report, report.references)
    if report.undone is not None:
        return _rollback_page(report, report.undone)
    if report.cutover is not None:
        explanation = _what_is_live(report.cutover)
        route = f"run {report.run_id}: {report.target} -> {report.source}, {duration(report.seconds)}"
        verdict = Verdict(Mood.GOOD, "Cut over", explanation)
        return _page(report, verdict, *_switched(report.cutover), route=route)
    if report.aborted is not None:
        explanation = f"{report.aborted.live} is live as before and accepts writes; {report.target} is kept."
        refused = _refused(report.aborted)
        return _page(report, Verdict(Mood.GOOD, "Cut-over aborted", explanation), *refused)
    if report.finalized is not None:
        return _finalize_page(report, report.finalized)
    return status_page(report) if report.view is None else _view_page(report, report.view)


def _what_is_live(cutover: CutoverReport) -> str:
    if cutover.window is not None and cutover.window.taken_by is not None:
        # What that command has done since is in its own report.
        return f"{cutover.live} held the client documents when the reverse window was handed over."
    return f"{cutover.live} holds the client documents; {cutover.legacy} keeps the old bookings."


def _rollback_page(report: LifeReport, undone: UndoneReport) -> Page:
    verdict = final_verdict(report, _undone(undone, report.source), is_done=True)
    return Page(
        report,
        verdict,
        sections=(Section(items=(*_items(undone), *_stranded(undone.stranded))),),
        checks=(outcome_check(report, "as-before-the-run", verdict),),
        route=f"run {report.run_id}: {route_line(report)}",
    )


def _undone(undone: UndoneReport, source: str) -> Verdict:
    if undone.stranded:
        values = sum(each.values for each in undone.stranded)
        explanation = (
            f"Other collections hold {plural(values, 'reference')} in the new form, which lead nowhere now."
        )
        return Verdict(Mood.CAUTION, "Rolled back, but references lead nowhere", explanation)
    if undone.already:
        return Verdict(
            Mood.GOOD,
            "Rolled back already",
            "An earlier rollback has undone this run"
            f"{'' if undone.unit == 'file' or undone.remaining else ', and no other one into the target is left to undo'}; nothing was "
            "changed now.",
        )
    if undone.since is not None:
        return _restored(undone.since)
    # A document that others changed may be kept by several runs.
    runs: Sequence[UndoneReport | EarlierUndoneReport] = (undone, *undone.earlier)
    most = max(runs, key=lambda run: run.kept)
    if most.kept:
        kept = plural(most.kept, most.unit)
        were, them = ("was", "it") if most.kept == 1 else ("were", "them")
        explanation = f"{kept} {were} kept, because others have changed {them} since; everything else is as before the run."
        return Verdict(Mood.CAUTION, f"Rolled back, but {kept} kept", explanation)
    if not undone.earlier:
        explanation = "The target is in its state from before the run; this was verified."
    else:
        explanation = (
            f"Without --run, all {1 + len(undone.earlier)} runs into the target were undone: it is in its state from before them, which was "
            f"verified; {source} was not changed."
        )
    return Verdict(Mood.GOOD, "Rolled back", explanation)


def _restored(since: SinceReport) -> Verdict:
    if not (since.later or since.changed or since.missing or since.lost):
        explanation = "The old bookings are live again, byte for byte; this was verified."
        return Verdict(Mood.GOOD, "Rolled back", explanation)
    if since.dropped:
        explanation = (
            "The old bookings are live again, byte for byte; later changes were dropped, as requested."
        )
        return Verdict(Mood.GOOD, "Rolled back", explanation)
    explanation = "The old bookings are live again; later changes were kept and are listed."
    return Verdict(Mood.CAUTION, "Rolled back, with later changes kept", explanation)


def _items(undone: UndoneReport) -> Iterator[Item]:
    since, unit = undone.since, undone.unit
    if since is None and (undone.removed or not (undone.already or undone.restored)):
        yield Item(f"{plural(undone.removed, unit)} removed")
    if undone.restored:
        before = ", first to what the earlier run had written" if undone.earlier and since is None else ""
        yield Item(f"{plural(undone.restored, unit)} restored{before}")
    for run in undone.earlier:
        yield from _earlier(run)
    if undone.index_removed:
        yield Item("unique index on clientId removed")
    if undone.target_dropped:
        yield Item("empty target dropped" if since is None else "empty archive dropped")
    if undone.refused_seconds:
        yield Item(f"writes were refused for {outage(undone.refused_seconds)}")
    if undone.followed is not None:
        for line in _followed(undone.followed):
            yield Item(line)
    yield from _listed(undone.kept, unit, "kept, changed by others", undone.kept_ids)
    if since is not None:
        yield from _since(since)


def _earlier(run: EarlierUndoneReport) -> Iterator[Item]:
    parts = f"{plural(run.removed, run.unit)} removed, {grouped(run.restored)} restored"
    if run.restored and not run.removed:
        # Such as bookings, of which none is removed.
        parts = f"{plural(run.restored, run.unit)} restored"
    yield Item(f"earlier run {run.run_id}: {parts}")
    yield from _listed(run.kept, run.unit, "kept there, changed by others", run.kept_ids)


def _stranded(fields: Sequence[StrandedReport]) -> Iterator[Item]:
    for each in fields:
        references = plural(each.values, "reference")
        said = f"{references} in the new form in {each.field}, leading nowhere, in documents:"
        yield Item(said, Mood.CAUTION, each.samples, each.values)


def _since(since: SinceReport) -> Iterator[Item]:
    if since.converted and not since.dropped:
        yield Item(f"{plural(since.converted, 'session')} booked since, old bookings now", Mood.CAUTION)
    if since.old and not since.dropped:
        yield Item(
            f"{plural(since.old, 'old booking')} written since by an old application, kept", Mood.CAUTION
        )
    staying = since.later if since.dropped else since.later - since.converted - since.old
    if staying:
        kept = "dropped" if since.dropped else "kept in the new shape:"
        ids = () if since.dropped else since.staying_ids
        listed = 0 if since.dropped else staying
        yield Item(f"{plural(staying, 'session')} booked since, {kept}", Mood.CAUTION, ids, listed)
    handled = "dropped" if since.dropped else "carried into the old booking"
    yield from _listed(since.changed, "change", handled, since.changes)
    yield from _listed(since.missing, "booking", "restored whose session had been deleted", since.missing_ids)
    lost = "to client fields dropped, because bookings do not have those fields"
    yield from _listed(since.lost, "change", lost, since.losses)


def _listed(count: int, noun: str, said: str, listed: Sequence[str]) -> Iterator[Item]:
    if count:
        yield Item(f"{plural(count, noun)} {said}:", Mood.CAUTION, tuple(listed), count)


def _followed(followed: FollowedReport) -> Iterator[str]:
    parts = (
        ("to begin to refuse them", followed.fence_ms),
        ("to read the last changes", followed.drain_ms),
        (
            f"to bring in and verify {plural(followed.clients_at_fence, 'client')} that changed last",
            followed.settle_ms,
        ),
        ("to rename", followed.rename_ms),
    )
    yield f"of that: {', '.join(f'{took} ms {what}' for what, took in parts)}; {plural(followed.attempts, 'attempt')} by this command"
    if followed.events:
        named = (f"{grouped(count)} {kind}" for kind, count in followed.events.items())
        yield f"changes followed: {', '.join(named)}"
    if followed.late_deletes or followed.late_writes:
        yield f"past the fence: deletes {followed.late_deletes}, inserts and replacements {followed.late_writes}"
    if followed.late_updates:
        yield f"updated past the fence, not taken in: {', '.join(followed.late_updates)}"
    if followed.changed_by_others:
        yield f"changed by others during the swap: {', '.join(followed.changed_by_others)}"
    if followed.kept_changed_by_others:
        yield f"changed by others in the kept copy during the swap: {', '.join(followed.kept_changed_by_others)}"


def _refused(done: CutoverReport | AbortedReport) -> Iterator[str]:
    """Yield for how long a cut-over refused writes, and earlier attempts apart."""
    earlier = done.earlier_refused_seconds
    if earlier:
        attempts = plural(done.earlier_attempts, "earlier attempt")
        yield f"{attempts}, of this command or one before, refused writes for {outage(earlier)}"
    if done.refused_seconds:
        # A window that is opened again does not refuse any.
        yield f"writes were refused for {outage(done.refused_seconds - earlier)}, and are accepted again"


def _switched(cutover: CutoverReport) -> Iterator[str]:
    yield from _refused(cutover)
    if cutover.followed is not None:
        yield from _followed(cutover.followed)
    if cutover.tail_unread is not None:
        yield f"what passed the fence is not known: {cutover.tail_unread}"
    if cutover.window is not None:
        yield from _kept_window(cutover.window)
    if cutover.window is None or cutover.window.taken_by is None:
        yield f"old bookings are kept in {cutover.legacy}"
    if cutover.caught_up:
        when = "" if cutover.followed is None else " in all, before and while writes were refused"
        yield f"{plural(cutover.caught_up, 'write')} to client documents{when}, to bring in what had changed"
    if cutover.carried:
        yield f"{plural(cutover.carried, 'rejected booking')} carried over in the old shape"
    yield from _kept_index(cutover.kept_index)
    yield from _recreated(cutover)
    for option in cutover.options:
        if option.kept:
            yield f"option {option.name} was kept: {option.definition}"


def _kept_index(name: str | None) -> Iterator[str]:
    if name is not None:
        yield f"index {name} is kept: by it, the sessions of old bookings are found (sessions.legacyBookingId)"


def _recreated(cutover: CutoverReport) -> Iterator[str]:
    for index in cutover.indexes:
        if index.recreated_as is not None:
            is_kept = index.recreated_as == index.keys
            what = "was kept" if is_kept else f"is now {index.recreated_as}"
            yield f"index {index.name} ({index.keys}) {what}"


def _kept_window(window: KeptWindowReport) -> Iterator[str]:
    to = "" if window.taken_by is None else f" to {window.taken_by}"
    ended = "ended" if window.end == "expired" else f"{window.end.replace('-', ' ')}{to}, would have ended"
    yield (
        f"reverse window: {ended} at {clock(window.ends_at)}; changes followed: {grouped(window.changes)}, clients "
        f"derived again: {grouped(window.clients)}"
    )


def _finalize_page(report: LifeReport, finalized: FinalizedReport) -> Page:
    archive, changed = finalized.archive, finalized.documents_changed
    if finalized.already:
        verdict = Verdict(Mood.GOOD, "Finalized already", f"An earlier finalize has dropped {archive}.")
    elif finalized.dropped:
        verdict = Verdict(Mood.GOOD, "Finalized", f"{archive} was dropped; this cannot be undone.")
    else:
        found = grouped(report.mismatch_count or 0)
        if finalized.missing_sessions:
            found += f", of which sessions that are gone: {grouped(finalized.missing_sessions)}"
        explanation = f"{archive} still exists: mismatches found by the verification: {found}."
        verdict = Verdict(Mood.BAD, "Not finalized: not proven", explanation)
    said = [f"{name} was dropped, too" for name in finalized.also_dropped]
    if finalized.deleted_sessions:
        deleted = plural(finalized.deleted_sessions, "session")
        gone = "gone for good" if finalized.dropped else "still there"
        theirs = "its old booking is" if finalized.deleted_sessions == 1 else "their old bookings are"
        said.append(f"{deleted} deleted by the application, which --allow-deleted allows: {theirs} {gone}")
    said += [f"legacyBookingId removed from {plural(changed, 'client document')}"] if changed else []
    said += [
        f"index {name} was dropped: without these ids it finds nothing" for name in finalized.indexes_dropped
    ]
    said += _unseen(finalized.unseen)
    said += _kept_index(finalized.kept_index)
    said += old_booking_lines(report.source, finalized.old_bookings)
    said += [f"records of runs stay in {', '.join(finalized.records)}"] if finalized.records else []
    return _page(report, verdict, *said)


def _unseen(parts: Sequence[UnseenReport]) -> Iterator[str]:
    if parts:
        yield f"not looked at for old ids, which lead nowhere now: {'; '.join(each.text for each in parts)}"


def _view_page(report: LifeReport, view: ViewReport) -> Page:
    if view.shape is None:
        headline = "View dropped" if report.changed else "Nothing to drop"
        explanation = f"{view.name} {'was dropped' if report.changed else 'does not exist'}."
    else:
        headline = "View created" if report.changed else "Nothing to do"
        explanation = f"{view.name} shows {report.source} with {_content(view.shape)}."
    return _page(report, Verdict(Mood.GOOD, headline, explanation))


def _content(shape: Shape) -> str:
    match shape:
        case Shape.OLD:
            return "one document per booking"
        case Shape.NEW:
            return "one document per client"


def _page(report: LifeReport, done: Verdict, *lines: str, route: str = "") -> Page:
    verdict = final_verdict(report, done, is_done=True)
    name = "cut-over" if report.command == "cutover" else report.command
    check = outcome_check(report, name, verdict)
    return Page(report, verdict, (Section(items=tuple(map(Item, lines))),), (check,), route)


def indexes_page(report: IndexesReport) -> Page:
    created = sum(index.created for index in report.indexes)
    headline = f"{created} of {len(report.indexes)} indexes created" if created else "Nothing to do"
    facts = [
        Figure(
            "created" if index.created else "exists",
            f"{index.collection}: {', '.join(index.fields)}{' (unique)' if index.unique else ''}, for {index.purpose}",
        )
        for index in report.indexes
    ]
    return Page(
        report,
        Verdict(Mood.GOOD, headline, f"{report.source} has every index that the service needs."),
        sections=(Section(facts=tuple(facts), head=("", "Index", "")),),
    )
