"""Restore the old bookings of the live collection after a cut-over.

Writes are refused from the fence to the swap. In between, the kept copy and the live collection are read by a merge join,
client by client, and the result of `domain.reversal` is written to a new collection. It is verified, and then gets the live
name by one atomic rename. On any failure before the rename, it is dropped and the fence is lifted: the result of the
cut-over stays live. The kept copy is dropped last.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from booking_migrate.bson.document import value_in
from booking_migrate.bson.format import display_id
from booking_migrate.cutover.refusal import (
    ACCEPTED,
    LIFTED_BY_OTHERS,
    STILL_REFUSED,
    RefusedTime,
    attempt_at_rest,
    confirm_fence,
)
from booking_migrate.cutover.tail import TailParts
from booking_migrate.domain.carried_changes import ChangesSince
from booking_migrate.errors import (
    LIVE_AS_BEFORE,
    BookingMigrateError,
    DuplicateKeys,
    LeaseLost,
    RestorationFailed,
    effect_of,
)
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.follow.selection import groups
from booking_migrate.rollback.relocations import id_key, id_of
from booking_migrate.rollback.restored_clients import RestorationPlaces, check_kept, restored_clients
from booking_migrate.rollback.swapped import was_swapped
from booking_migrate.runs.commands import rollback_of
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.plan import Limits
from booking_migrate.runs.reopening import Exists
from booking_migrate.runs.session import RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.states import check_transition
from booking_migrate.runs.undo import UndoOutcome, undo_rejects
from booking_migrate.stores.cutover import IndexNote
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.locks import Holder

if TYPE_CHECKING:
    from booking_migrate.rollback.window_parts import WindowParts
    from booking_migrate.stores.mongo.in_place import MongoInPlace

T = TypeVar("T")

_FLUSH_BYTES = 8 * 1024 * 1024
"""How many bytes of documents are written at a time."""

_FLUSH_DOCUMENTS = 5000
_OTHER_ID = "change the _id of the document that was made since the cut-over and run the same command again"
_PROVEN_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What a rollback undoes, and the parts that it needs."""

    run: RunRecord
    stores: RunStores
    holder: Holder
    exists: Exists
    places: Callable[[RunRecord], RestorationPlaces]
    """Opens the collections of a run's cut-over."""

    in_place: Callable[[RunRecord], "MongoInPlace"]
    """Opens the collection that a run was made in, if it was made in place."""

    listener: Listener
    signal_guard: SignalGuard
    """Defers a signal while a range is undone, and during the swap."""

    window: Callable[[RunRecord], "WindowParts"]
    """Opens the parts of a run's reverse window."""

    limits: Limits
    """For how long a rollback out of a reverse window may refuse writes, and another one hold them up for fence and swap."""

    converts_later: bool | None
    """Whether sessions booked since become old bookings where that is possible; None: if a window has converted them."""

    discard_later: bool
    """Whether changes of the application since the cut-over are dropped."""

    older: RunRecord | None
    """The run in place that is undone next, if one is."""

    tail: Callable[[RunRecord, HeldLock], TailParts]
    """Opens the parts for what passed the fence of a cut-over that was killed behind the swap."""

    @property
    def ending_options(self) -> Mapping[str, str]:
        """Return the options about what was booked and changed since, as the journal keeps them."""
        given = {
            "discard-later": self.discard_later,
            "convert-later": self.converts_later is True,
            "no-convert-later": self.converts_later is False,
        }
        return {name: str(True) for name, is_on in given.items() if is_on}


def restore(plan: RollbackPlan, run: RunRecord, lock: HeldLock) -> UndoOutcome:
    """Undo a run that was cut over and whose target's lock is held, or continue doing so.

    Raises:
        OldBookingsLost: the kept copy of the old collection was dropped; nothing was changed.
        LiveReplaced: as `was_swapped`; nothing was changed.
        RestorationFailed: it was aborted; the result of the cut-over stays live.
        LeaseLost: another run has taken the lock over.
    """
    return _Restoration(plan, run, lock).carry_out()


class _Restoration:
    """One running restoration."""

    def __init__(self, plan: RollbackPlan, run: RunRecord, lock: HeldLock) -> None:
        self._plan = plan
        self._places = plan.places(run)
        self._run = run
        self._lock = lock
        self._refused = RefusedTime()
        self._documents = 0
        self._count = 0
        self._since = ChangesSince()
        self._outcome = UndoOutcome(run, unit="booking", since=self._since, is_discarded=plan.discard_later)

    def carry_out(self) -> UndoOutcome:
        """Restore, or leave everything unchanged."""
        run, live = self._run, self._places.live
        self._lock.confirm()
        if run.state is RunState.RESTORING:
            # Commands of an earlier process may still be pending on the server.
            live.end_own_commands()
            if was_swapped(run, self._places):
                self._recall()
                return self._finish()
        check_kept(self._places)
        check_transition(run, RunState.RESTORING)
        self._run = self._plan.stores.journal.save(
            run.run_id,
            state=RunState.RESTORING.value,
            ending_options=self._plan.ending_options,
            # Continued after a kill: the fence may be raised already, and its validator hides the original settings.
            successor_settings=run.successor_settings or live.settings(),
        )
        try:
            self._outcome.indexes = self._prepare()
            return self._attempted(self._swap, lambda: ACCEPTED if self._is_swapped() else STILL_REFUSED)
        except BaseException as error:
            self._abort(error)
            raise

    def _prepare(self) -> Sequence[IndexNote]:
        """Do everything up to the swap; return how the indexes were handled."""
        live, restored = self._places.live, self._places.restored
        self._attempted(self._refuse_writes, self._accept_writes)
        self._count = live.count()
        restored.begin(self._run.live_settings or "")
        self._write()
        indexes = restored.complete(self._run.live_settings or "")
        self._prove()
        # After the swap the changes cannot be read any more, but a process that continues has to report them, and to recognize
        # what was built.
        self._run = self._plan.stores.journal.save(
            self._run.run_id,
            undone={
                "restored": self._outcome.restored,
                "since": asdict(self._since),
                "dropped": self._plan.discard_later,
                "built": restored.identity(),
            },
        )
        return indexes

    def _attempted(self, act: Callable[[float], T], undo: Callable[[], str]) -> T:
        return attempt_at_rest(act, undo, self._plan.limits, self._plan.listener, self._lock.confirm)

    def _refuse_writes(self, seconds: float) -> None:
        journal = self._plan.stores.journal
        now = journal.now()
        # Continued after a kill: the fence may have been raised since.
        since = self._run.fenced_at or now
        self._run = journal.save(self._run.run_id, fenced_at=since)
        self._refused.before += (now - since).total_seconds()
        self._refused.begin()
        self._places.live.raise_fence(seconds)
        confirm_fence(self._lock.confirm, self._is_swapped, self._lift_fence)

    def _lift_fence(self) -> None:
        self._places.live.lift_fence(self._run.successor_settings or "")

    def _accept_writes(self) -> str:
        self._lift_fence()
        self._run = self._plan.stores.journal.save(self._run.run_id, fenced_at=None)
        self._refused.stop()
        return ACCEPTED

    def _swap(self, seconds: float) -> UndoOutcome:
        with self._plan.signal_guard.critical_section():
            self._lock.confirm()
            # The answer of an attempt before may have been lost.
            if not self._is_swapped():
                self._check_unchanged()
                self._places.restored.swap(seconds)
                self._refused.stop()
            self._outcome.refused_seconds = self._refused.seconds
            return self._finish()

    def _is_swapped(self) -> bool:
        """Return whether the old bookings have their name back; what follows refuses no writes, however long it takes."""
        is_swapped = self._places.live.is_swapped(self._run.successor_settings or "")
        if is_swapped:
            self._refused.stop()
        return is_swapped

    def _check_unchanged(self) -> None:
        """Check that the live collection still is what was read: attempts at the swap may take minutes.

        Raises:
            RestorationFailed: it is not.
        """
        if not self._places.live.is_fenced():
            raise self._failure(LIFTED_BY_OTHERS)
        if self._places.live.count() != self._count:
            raise self._failure("documents were deleted meanwhile")

    def _recall(self) -> None:
        """Read the outcome that an earlier process recorded before it was killed after the swap."""
        undone = self._run.undone
        if "restored" not in undone:
            # Others have made the old bookings live themselves.
            return
        self._outcome.restored = undone["restored"]
        self._outcome.since = ChangesSince(**undone["since"])
        self._outcome.is_discarded = undone["dropped"]

    def _write(self) -> None:
        run, outcome, since = self._run, self._outcome, self._since
        self._plan.listener.notify(
            PhaseStarted(f"restoring {run.source}", self._places.kept.estimate_count())
        )
        batch: list[bytes] = []
        size = 0
        for client in restored_clients(self._places):
            documents = client.before if self._plan.discard_later else client.documents
            client.count_in(since)
            outcome.restored += client.bookings
            batch += documents
            size += sum(map(len, documents))
            if size > _FLUSH_BYTES or len(batch) >= _FLUSH_DOCUMENTS:
                self._insert(batch)
                batch, size = [], 0
        self._insert(batch)
        self._plan.listener.notify(PhaseEnded())

    def _insert(self, documents: Sequence[bytes]) -> None:
        if documents:
            with self._plan.signal_guard.critical_section():
                self._lock.confirm()
                try:
                    self._places.restored.insert(documents)
                except DuplicateKeys as error:
                    raise self._failure(self._clash(documents, error.sample), _OTHER_ID) from None
            self._documents += len(documents)
            self._plan.listener.notify(Advanced(len(documents)))

    def _clash(self, documents: Sequence[bytes], sample: str) -> str:
        """Return which two documents cannot be in one collection; for now only `_id` has an index."""
        for some in groups(documents):
            there = {id_key(raw): raw for raw in self._places.result.find(list(map(id_of, some)))}
            for raw in some:
                other = there.get(id_key(raw), raw)
                if other != raw:
                    whose = " and ".join(f"one of {_client_text(each)}" for each in (other, raw))
                    return f"two documents would have the _id {display_id(id_of(raw))}, {whose}"
        return f"two documents would have the {sample}"

    def _prove(self) -> None:
        """Read again what was written.

        Raises:
            RestorationFailed: it differs.
        """
        places = self._places
        if self._plan.discard_later or self._since.is_nothing:
            # Only the old documents may be present, so the server's hash decides.
            if not places.restored.is_same(places.kept.name):
                raise self._failure(f"what was restored is not what {places.kept.name} holds")
            return
        count = 0
        documents = (raw for client in restored_clients(places) for raw in client.documents)
        while some := list(islice(documents, _PROVEN_AT_ONCE)):
            count += len(some)
            if sorted(places.result.find([value_in(raw, b"_id") for raw in some])) != sorted(some):
                raise self._failure("what was restored is not what was read")
        if count != self._documents or places.restored.count() != count:
            raise self._failure("what was restored is more than what was read")

    def _finish(self) -> UndoOutcome:
        return complete(self._plan, self._run, self._lock, self._places, self._outcome)

    def _abort(self, error: BaseException) -> None:
        """Leave the live collection unchanged; if that fails, add a note: the next rollback does it."""
        if isinstance(error, LeaseLost):
            return
        live, run = self._places.live, self._run
        try:
            with self._plan.signal_guard.critical_section():
                self._lock.confirm()
                # The answer to the swap may have been lost while the server still waits to carry it out.
                live.end_own_commands()
                if live.is_swapped(run.successor_settings or ""):
                    error.add_note(
                        f"{run.source} holds the old bookings again. To finish: {rollback_of(run)}"
                    )
                    return
                # The fence first: whatever fails after it, the collection takes writes again.
                self._lift_fence()
                self._places.restored.drop()
                self._plan.stores.journal.save(
                    run.run_id, state=RunState.CUT_OVER.value, successor_settings=None, fenced_at=None
                )
            if not effect_of(error):
                error.add_note(f"{run.source} {LIVE_AS_BEFORE}")
        except BookingMigrateError as trouble:
            error.add_note(left_behind(run, self._places, trouble))

    def _failure(self, problem: str, remedy: str = RestorationFailed.remedy) -> RestorationFailed:
        run = self._run
        return RestorationFailed(run.run_id, run.source, problem, self._refused.seconds, remedy)


def _client_text(raw: bytes) -> str:
    client_id = value_in(raw, b"clientId")
    return "no client" if client_id is None else f"client {display_id(client_id)}"


def complete(
    plan: RollbackPlan, run: RunRecord, lock: HeldLock, places: RestorationPlaces, outcome: UndoOutcome
) -> UndoOutcome:
    """Drop what is not needed after the swap; return the outcome. May be repeated."""
    stores = plan.stores
    # Not before the swap: the collection must not expire restored documents until it is live.
    outcome.indexes = [*outcome.indexes, *places.restored.begin_expiry(run.live_settings or "")]
    undo_rejects(run, stores, lock, plan.signal_guard)
    lock.confirm()
    if run.legacy is not None:
        places.live.drop(run.legacy)
    outcome.run = stores.journal.save(run.run_id, state=RunState.ROLLED_BACK.value, fenced_at=None, window={})
    stores.journal.forget(run.run_id)
    return outcome


def left_behind(run: RunRecord, places: RestorationPlaces, trouble: BookingMigrateError) -> str:
    """Return the note about a rollback that could not be cleaned up: first of all whether writes are refused."""
    try:
        is_refusing = places.live.refuses_writes(run.successor_settings or "")
    except BookingMigrateError:
        is_refusing = True
    if is_refusing:
        return (
            f"The fence could not be lifted ({trouble.message}): {run.source} may still refuse writes. As soon as possible, "
            f"finish the rollback: {rollback_of(run)}"
        )
    return (
        f"{run.source} accepts writes again, but the rollback could not be cleaned up ({trouble.message}). "
        f"When that is possible: {rollback_of(run)}"
    )
