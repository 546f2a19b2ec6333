"""The end of a migration in place: verified once more, what only a rollback would need is dropped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from booking_migrate.errors import NoRun
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.in_place.archive import check_archive
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.reopening import Exists, reopen
from booking_migrate.runs.session import RunStores
from booking_migrate.runs.states import IN_EFFECT, RESUMABLE, check_transition
from booking_migrate.runs.status import not_finished
from booking_migrate.stores.cutover import OldBookings
from booking_migrate.stores.journal import RunJournal, RunRecord, RunState
from booking_migrate.stores.locks import Holder
from booking_migrate.verify.outcome import VerificationOutcome

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.in_place import MongoInPlace


@dataclass(frozen=True, slots=True)
class FinalizePlan:
    """What a finalize does, and the parts that it needs."""

    collection: "MongoInPlace"
    stores: RunStores
    holder: Holder
    exists: Exists
    verify: Callable[[], VerificationOutcome]
    check_privileges: Callable[[Sequence[str]], None]
    """Called with the names of what is dropped; raises if the user may not do all that is to be done."""

    allow_deleted: bool
    """Whether the verification allows deleted sessions, for what is suggested if it ends before it is done."""

    drop_legacy_ids: bool
    is_named: bool
    """Whether the user named the archive."""

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

    indexes_dropped: tuple[str, ...] = ()
    """The indexes on that field which the program had made, and which find nothing without it."""

    indexes_left: tuple[str, ...] = ()
    """Those of others on that field, which find nothing any more, either."""

    was_finalized: bool = False
    """Whether an earlier finalize has done everything, and nothing was changed."""

    dropped: tuple[str, ...] = ()
    """After a cut-over: the archives of later runs in place, which were dropped, too."""

    old_bookings: OldBookings | None = None
    """After a cut-over: the old bookings that are still in the live collection."""

    kept_index: str | None = None
    """The index by which old ids are found, if it was asked for."""


def runs_to_finalize(
    journal: RunJournal, *, source: str, archive: str, is_named: bool = True
) -> Sequence[RunRecord]:
    """Return the runs in place of a collection that were not undone, the newest first; or else one that is finalized.

    Args:
        journal: has the runs.
        source: the collection.
        archive: its archive.
        is_named: whether the user named that; if not, a cut-over of the collection may be the one that is finalized.

    Raises:
        NoRun: the collection has neither.
        UnfinishedRun: one of them has to be completed first.
    """
    runs = [run for run in journal.runs(source) if run.archive == archive]
    found = [run for run in runs if run.state in IN_EFFECT or run.state is RunState.FINALIZING]
    if not found:
        alike = [run for run in journal.runs() if run.source == source and run.state is RunState.FINALIZED]
        for run in alike:
            if run.archive == archive or (not is_named and run.archive is None and run.legacy is not None):
                return [run]
        in_place = f"run in place in {source} with the archive {archive}"
        raise NoRun(
            f"{in_place} to finalize" if is_named else f"cut-over of {source} and no {in_place} to finalize"
        )
    refuse_unfinished(found)
    return found


def refuse_unfinished(runs: Sequence[RunRecord]) -> None:
    """Refuse to finalize runs of which one has not ended.

    Raises:
        UnfinishedRun: one has to be completed first.
    """
    for run in runs:
        if run.state in RESUMABLE or run.state is RunState.ROLLING_BACK:
            raise not_finished(run)


def finalize(plan: FinalizePlan) -> FinalizeOutcome:
    """Verify what was migrated in place, and if it is proven, drop the archive. May be repeated.

    Raises:
        NoRun, UnfinishedRun: as `runs_to_finalize`.
        NotReady: the user lacks a privilege that is needed to the end; nothing was changed.
        TargetBusy, LeaseLost: another run is active on the collection.
    """
    source, archive = plan.collection.name, plan.collection.archive_name
    runs = runs_to_finalize(plan.stores.journal, source=source, archive=archive, is_named=plan.is_named)
    if runs[0].state is RunState.FINALIZED:
        return FinalizeOutcome(runs[0], None, is_done=True, was_finalized=True)
    lock = HeldLock.acquire(plan.stores.locks, source, plan.holder)
    try:
        # One that ended before it dropped the archive is begun again: everything may have changed since.
        reopen(plan.stores.journal, source, plan.exists, lock.confirm, plan.collection.guard)
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
    if runs[0].state is RunState.FINALIZED:
        return FinalizeOutcome(runs[0], None, is_done=True, was_finalized=True)
    plan.check_privileges([plan.collection.archive_name])
    verification = None
    if all(run.state is not RunState.FINALIZING for run in runs):
        check_archive(plan.collection, journal)
        verification = plan.verify()
        if verification.mismatch_count:
            return FinalizeOutcome(runs[0], verification, is_done=False)
    for run in runs:
        check_transition(run, RunState.FINALIZING)
        lock.confirm()
        journal.save(
            run.run_id,
            state=RunState.FINALIZING.value,
            ending_options=ending_options(
                drops_legacy_ids=plan.drop_legacy_ids, allows_deleted=plan.allow_deleted
            ),
        )
    lock.confirm()
    plan.collection.drop_archive(only_if_empty=False)
    # Behind the drop: without these ids a rollback would not know the bookings of the sessions.
    dropped = (
        drop_legacy_ids(plan.collection, plan.listener, lock.confirm)
        if plan.drop_legacy_ids
        else DroppedIds()
    )
    for run in runs:
        lock.confirm()
        journal.forget(run.run_id)
        newest = journal.save(run.run_id, state=RunState.FINALIZED.value)
    return FinalizeOutcome(newest, verification, is_done=True, **dropped._asdict())


class DroppedIds(NamedTuple):
    """What was done about `legacyBookingId`; the fields are those of `FinalizeOutcome`."""

    documents_changed: int = 0
    indexes_dropped: tuple[str, ...] = ()
    indexes_left: tuple[str, ...] = ()


def ending_options(*, drops_legacy_ids: bool, allows_deleted: bool) -> dict[str, str]:
    """Return the options of a finalize that its continuation needs, as the journal keeps them."""
    chosen = {"drop-legacy-ids": drops_legacy_ids, "allow-deleted": allows_deleted}
    return {option: str(True) for option, is_chosen in chosen.items() if is_chosen}


def drop_legacy_ids(
    collection: "MongoInPlace", listener: Listener, confirm: Callable[[], None]
) -> DroppedIds:
    """Remove `legacyBookingId` from all sessions, and the program's indexes on it.

    Args:
        collection: the collection.
        listener: notified of progress.
        confirm: checks that the lock is still held.
    """
    changed = 0
    listener.notify(PhaseStarted(f"taking legacyBookingId out of {collection.name}", None, "client document"))
    for count in collection.drop_legacy_ids():
        changed += count
        listener.notify(Advanced(count))
        confirm()
    listener.notify(PhaseEnded())
    confirm()
    dropped, left = collection.drop_legacy_indexes()
    return DroppedIds(changed, tuple(dropped), tuple(left))
