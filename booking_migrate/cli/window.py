"""From a run that was cut over to what its rollback restores, and to the reverse window that keeps it ready."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from booking_migrate.cli.following import FollowContext
from booking_migrate.cli.options import RULES
from booking_migrate.cli.parameters import Group, option
from booking_migrate.cli.run import RunContext
from booking_migrate.cutover.plan import CutoverOutcome
from booking_migrate.cutover.readiness import carries_rejected
from booking_migrate.errors import BookingMigrateError, WindowUnavailable
from booking_migrate.events import Announced
from booking_migrate.reports.lifecycle_outcomes import report_of_cutover
from booking_migrate.reports.model import Report
from booking_migrate.reports.text import outage
from booking_migrate.rollback.restored_clients import RestorationPlaces
from booking_migrate.rollback.window import Window, check_window_of
from booking_migrate.rollback.window_parts import WindowParts
from booking_migrate.runs.lock import WINDOW_COMMAND, HeldLock
from booking_migrate.runs.plan import Limits
from booking_migrate.runs.session import RunRequest
from booking_migrate.runs.states import newest_result
from booking_migrate.stores.connection import Connection, open_live, open_restored, open_undoable_target
from booking_migrate.stores.journal import RunJournal, RunRecord, RunState
from booking_migrate.stores.open import open_reader, open_rejected_records
from booking_migrate.stores.open_follow import oldest_change, open_swap
from booking_migrate.stores.open_window import (
    open_window_feed,
    open_window_places,
    window_dirty,
    window_names,
)
from booking_migrate.stores.places import CollectionPlace

DEFAULT_OUTAGE = f"{Limits().outage * 1000:g}ms"
_OUTAGE = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s)")
_WINDOW = re.compile(r"(\d+(?:\.\d+)?) ?(s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class OutageOptions(Group, panel=RULES):
    """For how long a cut-over, or a rollback of one, may refuse writes: the base of their options."""

    max_outage: str = option(
        DEFAULT_OUTAGE,
        "Refuse writes for at most this long, such as 500ms or 2s; an attempt that takes longer is aborted. At rest, and without "
        "a reverse window: half of it for raising the fence.",
        metavar="DURATION",
    )
    attempts: int = option(
        Limits().attempts,
        "Try so often to stay within --max-outage, with growing pauses.",
        metavar="N",
        min=1,
    )

    @property
    def limits(self) -> Limits:
        """Return for how long and how often writes may be refused.

        Raises:
            typer.BadParameter: it is not a duration.
        """
        return Limits(parse_outage(self.max_outage), self.attempts)


def parse_outage(text: str) -> float:
    """Return the seconds of a limit such as ``500ms``.

    Raises:
        typer.BadParameter: it is not one.
    """
    advice = f"it is a number with ms or s, such as {DEFAULT_OUTAGE}."
    too_short = f"no cut-over is possible without refusing writes for a moment; {DEFAULT_OUTAGE} is usual."
    return _seconds(_OUTAGE, text, "--max-outage", advice, too_short)


def parse_window(text: str) -> float:
    """Return the seconds of a window such as ``2h``.

    Raises:
        typer.BadParameter: it is not one.
    """
    advice = "it is a number with s, m, h or d, such as 2h."
    too_short = "it is longer than 0; leave it out for a cut-over without a reverse window."
    return _seconds(_WINDOW, text, "--reverse-window", advice, too_short)


def _seconds(pattern: re.Pattern[str], text: str, option: str, advice: str, too_short: str) -> float:
    found = pattern.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(advice, param_hint=option)
    seconds = float(found[1]) * _SECONDS[found[2]]
    if not seconds:
        raise typer.BadParameter(too_short, param_hint=option)
    return seconds


def restoration_places(
    connection: Connection, chosen: RunRecord, *, converts_later: bool = False
) -> RestorationPlaces:
    """Return the collections of a run's cut-over."""
    restored = open_restored(connection, source=chosen.source, run_id=chosen.run_id)
    rejects = chosen.options.get("rejects")
    return RestorationPlaces(
        live=open_live(connection, source=chosen.source, target=chosen.target),
        restored=restored,
        kept=open_reader(CollectionPlace(chosen.legacy or ""), connection),
        current=open_reader(CollectionPlace(chosen.source), connection),
        result=open_reader(CollectionPlace(restored.name), connection),
        rejected=open_rejected_records(
            CollectionPlace(chosen.target),
            connection,
            source_name=chosen.source,
            rejects=None if rejects is None else Path(rejects),
        ),
        has_carried=carries_rejected(chosen),
        converts_later=converts_later,
    )


def open_window(connection: Connection, chosen: RunRecord) -> WindowParts:
    """Return what a reverse window of a run keeps ready, and what it is kept with. Nothing is read yet."""
    whole = restoration_places(connection, chosen, converts_later=True)
    names, kept = window_names(chosen.source, whole.restored.name), chosen.legacy or ""
    return WindowParts(
        places=open_window_places(
            connection,
            source=chosen.source,
            target=chosen.target,
            kept=kept,
            restored=whole.restored.name,
            run_id=chosen.run_id,
        ),
        whole=whole,
        feed=lambda begin: open_window_feed(connection, names, begin, kept=kept),
        live_feed=lambda begin: open_window_feed(connection, names, begin, kept=kept, has_restored=False),
        tail=lambda begin: open_window_feed(connection, names, begin, is_tail=True),
        store=window_dirty(connection, chosen.run_id),
        swap=open_swap(connection, names),
        late=open_undoable_target(connection, chosen.source, source_name=chosen.source),
        oplog_began=lambda: oldest_change(connection),
    )


def check_window(follow: FollowContext, *, at_rest: bool) -> None:
    """Refuse a reverse window where the live collection cannot be followed, before anything is changed.

    Raises:
        WindowUnavailable: it cannot.
    """
    reason = "--at-rest follows nothing" if at_rest else follow.unavailable()
    if reason is not None:
        raise WindowUnavailable(follow.places.source, reason)


def keep_window(
    follow: FollowContext,
    request: RunRequest,
    length: str,
    done: CutoverOutcome,
    context: RunContext,
    *,
    is_new: bool,
) -> Report:
    """Report what the cut-over did, and keep a rollback ready until the window ends."""
    try:
        return _kept(follow, request, length, done, context, is_new=is_new)
    except (BookingMigrateError, KeyboardInterrupt) as error:
        if is_new and _is_cut_over(follow, done.run):
            error.add_note(f"The cut-over is complete: {done.run.source} holds the client documents.")
        raise


def _is_cut_over(follow: FollowContext, run: RunRecord) -> bool:
    """Return whether a run's cut-over is in effect, as far as that is known."""
    try:
        now = newest_result(follow.stores.journal, run.target)
    except BookingMigrateError:
        return False
    return now is not None and now.run_id == run.run_id and now.state is RunState.CUT_OVER


def _kept(
    follow: FollowContext,
    request: RunRequest,
    length: str,
    done: CutoverOutcome,
    context: RunContext,
    *,
    is_new: bool,
) -> Report:
    chosen, stores = done.run, follow.stores
    if is_new:
        refused = f"writes were refused for {outage(done.refused_seconds)}"
        follow.listener.notify(Announced(f"cut over: {chosen.source} holds the client documents; {refused}"))
        # What it starts is not to wait for the end of the window.
        context.run_hook(report_of_cutover(done, seconds=context.seconds))
    else:
        context.run_hook(None)
    holder = request.holder._replace(command=WINDOW_COMMAND)
    lock = HeldLock.acquire(stores.locks, chosen.target, holder)
    try:
        chosen = check_window_of(newest_result(stores.journal, chosen.target), chosen.source, chosen.target)
        if not is_new and not chosen.window:
            follow.listener.notify(Announced(_opened_again(chosen, length)))
        # What status and the report print is the command that resumes this window.
        recorded = {**chosen.cutover_options, "reverse-window": length}
        stores.journal.annotate(chosen.run_id, cutover_options=recorded)
        chosen = chosen.model_copy(update={"cutover_options": recorded})
        parts = open_window(follow.sides.connection, chosen)
        kept = Window(chosen, parts, stores.journal, lock, follow.listener).keep(parse_window(length))
        # What the next steps are depends on what the window has made ready.
        chosen = chosen.model_copy(update={"window": _window_now(stores.journal, chosen)})
    except BaseException as error:
        lock.release_after(error)
        raise
    lock.release()
    return report_of_cutover(replace(done, run=chosen), seconds=context.seconds, window=kept)


def _window_now(journal: RunJournal, run: RunRecord) -> Mapping[str, Any]:
    """Return what the journal has of a run's window: empty when it has ended."""
    return next((each.window for each in journal.runs(run.target) if each.run_id == run.run_id), {})


def _opened_again(chosen: RunRecord, length: str) -> str:
    """Return what is said when a cut-over of the past gets a window: one that has ended is not resumed."""
    before = chosen.cutover_options.get("reverse-window")
    ended = "" if before is None else f"the reverse window of {before} has ended; "
    return f"{ended}a new one is opened for {length}: what a rollback restores is copied again"
