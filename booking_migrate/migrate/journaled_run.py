"""A migration with a journal and a lock, which is continued after an interruption and undone on demand."""

from dataclasses import asdict, dataclass

from booking_migrate.events import Listener
from booking_migrate.migrate.dispatch import Delegation
from booking_migrate.migrate.journaled_target import JournaledTarget, ProgressCounter
from booking_migrate.migrate.pipeline import migrate as migrate_stream
from booking_migrate.runs.plan import MigrationOutcome, MigrationPlan
from booking_migrate.runs.session import RunRequest, RunSession, RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.undo import undo
from booking_migrate.stores.open_workers import Shared
from booking_migrate.stores.ports import DocumentReader, TargetWriter


@dataclass(frozen=True, slots=True)
class JournaledOutcome:
    """The outcome of a run that has a journal."""

    outcome: MigrationOutcome
    run_id: str
    """The id of the run; that of the interrupted run if one was continued."""

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
    signal_guard: SignalGuard,
    shared: Shared | None = None,
) -> JournaledOutcome:
    """Migrate side by side under a journal and a lock; an interrupted run of the same request is continued.

    The result is byte for byte that of a run that was never interrupted, and so are the counts.

    Args:
        plan: what is to be done.
        source: where the bookings are; only read.
        target: where the client documents go.
        stores: which record the run.
        request: what the caller requests to run.
        users: where users are looked up; None if they are not.
        experts: where experts are looked up; None if they are not.
        listener: notified of the progress.
        signal_guard: defers a signal while a batch is written.
        shared: where everything is, for workers that handle chunks completely; None: only this process writes.

    Raises:
        TargetBusy, LeaseLost: another process holds the lock of the target.
        OtherOptions, UnfinishedRun: an unfinished run exists that this request cannot continue.
        BookingMigrateError: as `migrate.pipeline.migrate`.
    """
    progress = ProgressCounter(listener)
    session = RunSession(
        stores,
        request,
        undo=lambda run, lock: undo(run, stores, lock, listener, signal_guard),
        listener=listener,
    )
    regulator = session.regulator()
    try:
        regulator.check()
        kept = JournaledTarget(target, session, signal_guard, progress, regulator)
        delegation = None
        if shared is not None:
            people, journal = (users, experts), stores.journal
            delegation = Delegation(
                plan, shared.places, session, journal, kept, shared.target, people, regulator, signal_guard
            )
        outcome = migrate_stream(
            plan,
            source,
            kept,
            users=users,
            experts=experts,
            listener=progress,
            history=kept,
            delegation=delegation,
            regulator=regulator,
        )
        with signal_guard.critical_section():
            session.finish(
                changed=outcome.changed, counts=asdict(outcome.counts), documents=progress.documents
            )
    except BaseException as error:
        session.fail(error)
        raise
    return JournaledOutcome(outcome, session.run_id, session.is_resumed)
