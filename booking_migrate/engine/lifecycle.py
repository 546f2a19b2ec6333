"""A migration with a life: noted down, locked, continued after an interruption, and undone on demand."""

from dataclasses import asdict, dataclass, replace

from booking_migrate.engine.interruption import Shield
from booking_migrate.engine.journaled_target import JournaledTarget, Odometer
from booking_migrate.engine.outcome import Engine, EngineShare, MigrationOutcome
from booking_migrate.engine.plan import MigrationPlan
from booking_migrate.engine.server import Grouping, NoGrouping, ServerAssistedReader
from booking_migrate.engine.session import RunRequest, RunSession, RunStores
from booking_migrate.engine.stream import migrate as migrate_stream
from booking_migrate.engine.tally import Tally
from booking_migrate.engine.throttle import NoThrottle, Throttle
from booking_migrate.engine.undo import undo
from booking_migrate.events import Listener
from booking_migrate.stores.base import DocumentReader, TargetWriter

_RANGE_BATCHES = 8
"""How many batches of bookings the server groups at a time: it likes larger portions than the stream engine."""

_LARGEST_RANGE = 20_000
"""In bookings: the clients of a range are named in one command, and noted down in memory."""


@dataclass(frozen=True, slots=True)
class JournaledOutcome:
    """What a run came to that has a journal."""

    outcome: MigrationOutcome
    run_id: str
    """The run's name; that of the interrupted run if one was continued."""

    is_resumed: bool


def migrate(
    plan: MigrationPlan,
    source: DocumentReader,
    target: TargetWriter,
    *,
    stores: RunStores,
    request: RunRequest,
    users: DocumentReader | None,
    experts: DocumentReader | None,
    listener: Listener,
    shield: Shield,
    grouping: Grouping | NoGrouping,
) -> JournaledOutcome:
    """Migrate side by side under a journal and a lock; an interrupted run of the same request is continued.

    The result is byte for byte that of a run that was never interrupted, and so are the counts.

    Args:
        plan: what is to be done.
        source: where the bookings are; only read.
        target: where the client documents go.
        stores: where the run's life is kept.
        request: what somebody wants to run.
        users: where users are looked up; None if nowhere.
        experts: where experts are looked up; None if nowhere.
        listener: who wants to know how it goes.
        shield: holds a signal back while a batch is written.
        grouping: the server that groups bookings by itself, or why the stream engine does everything.

    Raises:
        TargetBusy, LeaseLost: another run is at work on the target.
        OtherOptions, UnfinishedRun: an interrupted run is there that this request does not continue.
        BookingMigrateError: as `engine.stream.migrate`.
    """
    odometer = Odometer(listener)
    session = RunSession(
        stores, request, listener, undo=lambda run, lock: undo(run, stores, lock, listener, shield)
    )
    limit = request.maximum_lag
    throttle = NoThrottle() if limit is None else Throttle(stores.lag, limit, listener)
    tally = Tally()
    assisted = None
    if isinstance(grouping, Grouping):
        bookings = min(plan.batch_bookings * _RANGE_BATCHES, _LARGEST_RANGE)
        assisted = ServerAssistedReader(
            source,
            grouping,
            session,
            tally,
            odometer,
            shield=shield,
            throttle=throttle,
            range_bookings=bookings,
            expect=target.expect,
        )
    try:
        outcome = migrate_stream(
            plan,
            assisted or source,
            JournaledTarget(target, session, shield, odometer, throttle),
            users=users,
            experts=experts,
            listener=odometer,
            tally=tally,
            note_read=None if assisted is None else assisted.note_read,
        )
        with shield.protected():
            session.finish(
                changed=outcome.changed, counts=asdict(outcome.counts), documents=odometer.documents
            )
    except BaseException as error:
        try:
            if assisted is not None:
                # The lock is let go of only when nothing is under way any more.
                assisted.close()
        finally:
            session.fail(error)
        raise
    outcome = replace(outcome, engines=_shares(grouping, assisted, outcome))
    return JournaledOutcome(outcome, session.run_id, session.is_resumed)


def _shares(
    grouping: Grouping | NoGrouping, assisted: ServerAssistedReader | None, outcome: MigrationOutcome
) -> tuple[EngineShare, ...]:
    if assisted is not None:
        return assisted.shares
    reason = grouping.reason if isinstance(grouping, NoGrouping) else ""
    return (EngineShare(Engine.STREAM, reason, 0, outcome.counts.scanned),)
