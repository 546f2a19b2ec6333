"""The end of a migration in place: verified once more, what only a rollback would need is dropped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from booking_migrate.errors import Finalized, NoRun, UnfinishedRun
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.in_place.archive import check_archive
from booking_migrate.runs.commands import possible_commands
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.session import RunStores
from booking_migrate.runs.states import FINAL, RESUMABLE, STANDING, check_transition, in_words
from booking_migrate.stores.cutover import OldBookings
from booking_migrate.stores.journal import Holder, RunJournal, RunRecord, RunState
from booking_migrate.verify.outcome import VerificationOutcome

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.in_place import MongoInPlace


@dataclass(frozen=True, slots=True)
class FinalizePlan:
    """What is to be done, and with whose help."""

    collection: "MongoInPlace"
    stores: RunStores
    holder: Holder
    verify: Callable[[], VerificationOutcome]
    drop_legacy_ids: bool
    listener: Listener


@dataclass(frozen=True, slots=True)
class FinalizeOutcome:
    """What a finalize did."""

    run: RunRecord
    """The newest of the runs."""

    verification: VerificationOutcome | None
    """None if an earlier finalize that was cut off had verified already."""

    is_done: bool
    """Whether the archive is dropped; not if the verification found mismatches."""

    documents_changed: int = 0
    """Client documents whose sessions lost `legacyBookingId`."""

    dropped: tuple[str, ...] = ()
    """After a cut-over: the archives of later runs in place, which were dropped, too."""

    old_bookings: OldBookings | None = None
    """After a cut-over: the old bookings that still stand in the live collection."""


def runs_to_finalize(journal: RunJournal, *, source: str, archive: str) -> Sequence[RunRecord]:
    """Return the runs in place of a collection that stand, the newest first.

    Raises:
        NoRun: the collection does not have one.
        UnfinishedRun: one of them has to be completed first.
        Finalized: all of them are.
    """
    runs = [run for run in journal.runs(source) if run.archive == archive]
    standing = [run for run in runs if run.state in STANDING or run.state is RunState.FINALIZING]
    if not standing:
        finalized = next((run for run in runs if run.state in FINAL), None)
        if finalized is not None:
            raise Finalized(finalized.run_id, archive)
        raise NoRun(f"run in place in {source} to finalize")
    for run in standing:
        if run.state in RESUMABLE or run.state is RunState.ROLLING_BACK:
            raise UnfinishedRun(run.run_id, in_words(run.state), possible_commands(run, is_newest=True))
    return standing


def finalize(plan: FinalizePlan) -> FinalizeOutcome:
    """Verify what was migrated in place, and if it is proven, drop the archive. May be repeated.

    Raises:
        NoRun, UnfinishedRun, Finalized: as `runs_to_finalize`.
        TargetBusy, LeaseLost: another run is active on the collection.
    """
    source, archive = plan.collection.name, plan.collection.archive_name
    runs_to_finalize(plan.stores.journal, source=source, archive=archive)
    lock = HeldLock.acquire(plan.stores.locks, source, plan.holder)
    try:
        # Another process may have undone or finalized it before this one held the lock.
        runs = runs_to_finalize(plan.stores.journal, source=source, archive=archive)
        outcome = _finalize(plan, runs, lock)
    except BaseException as error:
        lock.release_after(error)
        raise
    lock.release()
    return outcome


def _finalize(plan: FinalizePlan, runs: Sequence[RunRecord], lock: HeldLock) -> FinalizeOutcome:
    journal = plan.stores.journal
    verification = None
    if all(run.state is not RunState.FINALIZING for run in runs):
        check_archive(plan.collection, journal)
        verification = plan.verify()
        if verification.mismatch_count:
            return FinalizeOutcome(runs[0], verification, is_done=False)
    for run in runs:
        check_transition(run, RunState.FINALIZING)
        lock.confirm()
        journal.save(run.run_id, state=RunState.FINALIZING.value)
    changed = drop_legacy_ids(plan.collection, plan.listener, lock.confirm) if plan.drop_legacy_ids else 0
    lock.confirm()
    plan.collection.drop_archive(only_if_empty=False)
    for run in runs:
        lock.confirm()
        journal.forget(run.run_id)
        newest = journal.save(run.run_id, state=RunState.FINALIZED.value)
    return FinalizeOutcome(newest, verification, is_done=True, documents_changed=changed)


def drop_legacy_ids(collection: "MongoInPlace", listener: Listener, confirm: Callable[[], None]) -> int:
    """Remove `legacyBookingId` from all sessions; return how many client documents that changed.

    Args:
        collection: the collection.
        listener: notified of progress.
        confirm: checks that the lock is still held.
    """
    changed = 0
    listener.notify(PhaseStarted(f"taking legacyBookingId out of {collection.name}", None))
    for count in collection.drop_legacy_ids():
        changed += count
        listener.notify(Advanced(count))
        confirm()
    listener.notify(PhaseEnded())
    return changed
