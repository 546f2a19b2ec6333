"""From the options to what separates differences of time from mismatches: the verification of a database in use."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial

from bson.timestamp import Timestamp

from booking_migrate.cli.following import names_of, position_of
from booking_migrate.cli.open import Places
from booking_migrate.domain.rules import PeopleFields
from booking_migrate.errors import HistoryLost, JournalTooNew, NotPermitted
from booking_migrate.events import Announced, Listener, Warned
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.provenance import PointHistory, runs_in_effect
from booking_migrate.runs.states import newest_result
from booking_migrate.stores.changes import Position
from booking_migrate.stores.connection import Connection, open_journal
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.open_follow import (
    cluster_time_of,
    following_unavailable,
    open_dirty,
    open_feed,
    open_snapshot,
)
from booking_migrate.verify import VerificationPlan, VerificationRules
from booking_migrate.verify.behind import BehindClients, ChangedClients
from booking_migrate.verify.outcome import RecheckWay

_PLAIN = "clients with a difference are read again as they are, and those that change meanwhile may be listed as mismatches"


def verification_of(plan: MigrationPlan) -> VerificationPlan:
    """Return the strict verification of a collection that a plan's migration wrote."""
    rules = plan.rules
    return VerificationPlan(
        rules=VerificationRules(
            rules.contract, rules.accepted, rules.maximum_document_size, rules.on_conflict
        ),
        people=plan.people,
    )


@contextmanager
def read_in_use(
    plan: VerificationPlan, places: Places, connection: Connection, listener: Listener
) -> Iterator[VerificationPlan]:
    """Yield a verification's plan with what separates differences of time from mismatches; what it holds is closed at the end."""
    plan = plan_in_use(plan, places, connection, listener)
    try:
        yield plan
    finally:
        if plan.behind is not None:
            plan.behind.close()


def plan_in_use(
    plan: VerificationPlan, places: Places, connection: Connection, listener: Listener
) -> VerificationPlan:
    """Return a verification's plan with what knows the clients that changed since the newest run derived them.

    Where the changes cannot be followed, or the oplog no longer has them, clients with a difference are read again at one
    cluster time, and compared with the source at the run's; a server without cluster times reads them again as they are. Each
    is said. If the journal cannot be read, nothing is known of the run's time.

    Raises:
        ConnectionProblem: the server does not answer.
    """
    if not places.are_collections:
        return plan
    run, history = _derived(places, connection)
    begin = None if run is None else position_of(run)
    if run is None or begin is None:
        plan = _reading_twice(plan, places, connection)
        if plan.both_sides is None:
            listener.notify(
                Announced(f"note: {_PLAIN}: the server cannot read both sides at one cluster time")
            )
        return plan
    reason = following_unavailable(connection, places.source)
    if reason is None:
        try:
            known = _changed_since(run, history, places, plan.people, connection)
        except HistoryLost:
            reason = "the oplog no longer has them"
        else:
            return replace(plan, behind=known, recheck=RecheckWay.CHANGES)
    plan = _reading_twice(plan, places, connection)
    said = f"the changes since the run cannot be read ({reason})"
    if plan.both_sides is None:
        listener.notify(Announced(f"note: {said}; {_PLAIN}"))
        return plan
    listener.notify(
        Announced(f"note: {said}: clients with a difference are read again, both sides at one cluster time")
    )
    began = begin.time if isinstance(begin, Position) else begin

    def on_lost(why: str) -> None:
        said = "what the source was when the run derived it is no longer known"
        listener.notify(Warned(f"{said} ({why}): clients that changed since are listed as mismatches"))

    return replace(
        plan,
        behind=ChangedClients(
            plan.both_sides, began, history, open_dirty(connection, run.run_id).scan, on_lost=on_lost
        ),
    )


@contextmanager
def read_while_following(
    plan: VerificationPlan, places: Places, connection: Connection
) -> Iterator[VerificationPlan]:
    """Yield the plan of a verification beside which its own process follows the changes, and handles none until it has ended.

    A round derives whole clients as of a later time than that up to which it has read the changes, and brings only the bookings
    of these changes into the kept copy: the target has the others earlier. Their clients are behind.

    Raises:
        HistoryLost: the oplog no longer has the changes.
    """
    run, history = _derived(places, connection)
    if run is None:
        raise RuntimeError("a run that is followed has a record")
    with closing(_changed_since(run, history, places, plan.people, connection)) as known:
        yield replace(plan, behind=known)


def _changed_since(
    run: RunRecord,
    history: PointHistory | None,
    places: Places,
    people: PeopleFields,
    connection: Connection,
) -> BehindClients:
    """Return what knows the clients that changed since a run derived them.

    Raises:
        HistoryLost: the oplog no longer has the changes.
    """
    begin = position_of(run)
    if begin is None:
        raise RuntimeError("the record of a run that is followed has its position")
    feed = open_feed(connection, names_of(places, people), begin)
    try:
        feed.check()
    except BaseException:
        feed.close()
        raise
    now = partial(_cluster_time, connection, places)
    after = None if isinstance(begin, Position) else begin
    return BehindClients(feed, now, history, open_dirty(connection, run.run_id).scan, after=after)


def _derived(places: Places, connection: Connection) -> tuple[RunRecord | None, PointHistory | None]:
    """Return the run that made the newest result, and what the runs wrote; None if the journal does not say."""
    journal = open_journal(connection).journal
    try:
        run = newest_result(journal, places.target)
        if run is None or run.source != places.source:
            return None, None
        in_effect = runs_in_effect(journal, places.source, places.target)
    except (JournalTooNew, NotPermitted):
        return None, None
    return run, PointHistory(journal, [each.run_id for each in in_effect])


def _reading_twice(plan: VerificationPlan, places: Places, connection: Connection) -> VerificationPlan:
    sides = open_snapshot(connection, places.source, places.target)
    return replace(plan, both_sides=sides, recheck=RecheckWay.PLAIN if sides is None else RecheckWay.SNAPSHOT)


def _cluster_time(connection: Connection, places: Places) -> Timestamp:
    time = cluster_time_of(connection, places.source)
    if time is None:
        raise RuntimeError("a server whose changes can be followed has a cluster time")
    return time
