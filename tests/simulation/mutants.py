"""Guards of the protocol, each with a way to remove it. Names as in `model/README.md` where the model has the same one."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, NamedTuple
from unittest.mock import patch

from bson.timestamp import Timestamp

from booking_migrate.bson.order import sort_key
from booking_migrate.cutover import attempt, fencing, recovery, tail
from booking_migrate.cutover.attempt import Attempt
from booking_migrate.cutover.tail import TailChanges
from booking_migrate.follow.engine import Engine, Handled
from booking_migrate.follow.followed_target import FollowedTarget
from booking_migrate.follow.follower import Drained, Follower
from booking_migrate.follow.proven import ProvenDocuments
from booking_migrate.migrate.journaled_target import JournaledTarget
from booking_migrate.stores.changes import Change, Dirty, Position, Role, dirty_of
from booking_migrate.stores.journal import RunRecord
from tests.simulation.adapters import Feed, Places, Store, Target, id_of
from tests.simulation.process import Process
from tests.simulation.server import Journal, Kept, Live, Swap

_handle, _handle_at, _handle_all = Engine.handle, Follower.handle_at, Follower._handle_all
_drain, _note_fence, _annotate, _guard = Follower.drain, Attempt._note_fence, Journal.annotate, Live.guard
_clients, _concerns = Places.clients_of_bookings, Follower._concerns


def _save_first(self: Follower, dirty: Dirty) -> None:
    if self.position is not None:
        self._save(self.position)
    _handle_all(self, dirty)


def _remove_first(self: Follower, dirty: Dirty) -> None:
    while part := self._store.take(100):
        self._store.remove(part)
        dirty.add(part)
    _handle_all(self, dirty)


def _save_the_clock(self: Journal, run_id: str, **changes: Any) -> None:
    follow = changes.get("follow")
    if follow:
        world = self._world
        changes["follow"] = {**follow, **Position({"_data": str(len(world.oplog))}, world.now).saved()}
    _annotate(self, run_id, **changes)


def _concerns_without_copies(self: Follower, change: Change) -> bool:
    return change.role is not Role.COPY and _concerns(self, change)


def _covers_later_changes(self: ProvenDocuments, change: Change) -> bool:
    return change.role is self._role and sort_key(change.document_id) in self._times


def _drain_until_empty(self: Follower, _until: Timestamp, _deadline: float, into: Drained) -> None:
    while (batch := self._feed.read(0.0)).changes:
        into.dirty.add(dirty_of(batch.changes))
        self._backlog.position = batch.position


def _drain_and_save(self: Follower, until: Timestamp, deadline: float, into: Drained) -> None:
    _drain(self, until, deadline, into)
    if self.position is not None:
        self._save(self.position)


def _forget_drained(self: Follower, dirty: Dirty, time: Timestamp, deadline: float) -> int:
    handled = _handle_at(self, dirty, time, deadline)
    for entries in dirty.parts().values():
        entries.clear()
    return handled


def _keep_fence_time(self: Attempt, fenced: Timestamp | None) -> None:
    if fenced is None:
        _note_fence(self, fenced)
    else:
        self._run = self._run.model_copy(update={"fence_time": fenced})


def _ignore_foreign(_self: Engine, dirty: Dirty) -> tuple[Dirty, list[Any]]:
    return replace(dirty, documents={}), []


def _without_copy(
    self: Engine, dirty: Dirty, time: Timestamp, *, verified: bool, kept: Any = None
) -> Handled:
    _ = kept
    return _handle(self, dirty, time, verified=verified)


def _first_hit(self: Places, booking_ids: Sequence[Any]) -> Iterator[Any]:
    for value in booking_ids:
        yield from list(_clients(self, [value]))[:1]


def _no_clients(_self: Places, _booking_ids: Sequence[Any]) -> Iterator[Any]:
    return iter(())


def _guard_late(self: Live, *, is_live: bool = False) -> None:
    if is_live:
        _guard(self, is_live=True)


def _write_over(self: Target, before: bytes, after: bytes | None, operation: str) -> None:
    self._world.step("write target")
    self._world.tick()
    if after is not None or id_of(before) in self._documents():
        self._world.put(self.name, id_of(before), after, operation)


def _read_late(self: Places, time: Timestamp) -> None:
    self.time = Timestamp(max(1000, time.time - 1), 1)


def _opened_now(self: Process, run: RunRecord) -> Feed:
    return Feed(self.world, Position.of(run.follow) if "token" in run.follow else self.world.now)  # type: ignore[arg-type]


def _nothing(*_arguments: Any, **_options: Any) -> Any:
    return None


def _abort_at_once(self: Process) -> RunRecord:
    with patch.object(recovery, "apply_tail", _no_late):
        return recovery.abort(self.stores, self.live, self.request, self.tail)


def _handle_at_now(self: Follower, dirty: Dirty, time: Timestamp, deadline: float) -> int:
    return _handle_at(self, dirty, max(time, self._now()), deadline)


class Mutant(NamedTuple):
    """A guard, and what stands in its place."""

    guard: str
    patches: Sequence[tuple[Any, str, Any]]


def _no_late(_parts: Any, _fenced: Any) -> TailChanges:
    return TailChanges()


MUTANTS = {
    "CHECKPOINT_BY_CLOCK": Mutant(
        "the position is the token of a batch that was read, never a clock",
        [(Journal, "annotate", _save_the_clock)],
    ),
    "TOKEN_BEFORE_DIRTY": Mutant(
        "the position is saved after everything before it was handled",
        [(Follower, "_handle_all", _save_first)],
    ),
    "DIRTY_NOT_DURABLE": Mutant(
        "what is not handled before the position is saved is durable", [(Store, "add", _nothing)]
    ),
    "DIRTY_REMOVED_FIRST": Mutant(
        "an entry is removed after its clients are written", [(Follower, "_handle_all", _remove_first)]
    ),
    "STREAM_AFTER_COPY": Mutant(
        "the feed begins before the first read of the migration", [(Process, "feed", _opened_now)]
    ),
    "NO_MAP": Mutant(
        "the target knows which client has a deleted booking",
        [(Places, "clients_of_bookings", _no_clients)],
    ),
    "FIRST_HIT_ONLY": Mutant(
        "every document that holds the booking is derived again",
        [(Places, "clients_of_bookings", _first_hit)],
    ),
    "NO_AFTER_CLUSTER_TIME": Mutant(
        "reads are not older than the changes that they answer", [(Places, "read_at", _read_late)]
    ),
    "KEPT_COPY_NOT_UPDATED": Mutant(
        "the kept copy is brought up to date with the target", [(Engine, "handle", _without_copy)]
    ),
    "DRAIN_BY_CLOCK": Mutant(
        "the drain ends when the token is past T_f, not with an empty batch",
        [(Follower, "drain", _drain_until_empty)],
    ),
    "TOKEN_SAVED_IN_DRAIN": Mutant(
        "what the drain reads is in memory, so its token is not saved",
        [(Follower, "drain", _drain_and_save)],
    ),
    "DRAINED_FORGOTTEN": Mutant(
        "an attempt that was aborted leaves what it drained to the next one",
        [(Follower, "handle_at", _forget_drained)],
    ),
    "FENCE_NOT_REREAD": Mutant(
        "the fence is read again before the swap", [(Swap, "is_fenced", lambda _self: True)]
    ),
    "FENCE_LEFT": Mutant(
        "a cut-over that was aborted or killed lifts the fence", [(Live, "lift_fence", _nothing)]
    ),
    "FENCE_NOT_CONFIRMED": Mutant(
        "a fence that is raised after the lock was lost is lifted", [(fencing, "confirm_fence", _nothing)]
    ),
    "FENCE_TIME_IN_MEMORY": Mutant(
        "T_f is in the journal before the swap", [(Attempt, "_note_fence", _keep_fence_time)]
    ),
    "TARGET_EVENTS_IGNORED": Mutant(
        "documents of the target that others wrote stop the cut-over",
        [(Engine, "foreign", _ignore_foreign)],
    ),
    "FOREIGN_DERIVED_OVER": Mutant(
        "a document that others changed is not derived again before its change is read",
        [(FollowedTarget, "trace", JournaledTarget.trace)],
    ),
    "COPY_EVENTS_IGNORED": Mutant(
        "documents of the kept copy that others wrote stop the cut-over",
        [(Follower, "_concerns", _concerns_without_copies)],
    ),
    "PROOF_WITHOUT_CHANGES": Mutant(
        "clients that changed since the saved position are no mismatches",
        [(Process, "behind", lambda _self: None)],
    ),
    "LATER_CHANGES_SETTLED": Mutant(
        "a change of the target is not looked at only if its document was verified as of a later time",
        [(ProvenDocuments, "covers", _covers_later_changes)],
    ),
    "DDL_OUTLIVES_PROCESS": Mutant(
        "commands of a killed process have ended before the state is read",
        [(Live, "end_own_commands", _nothing)],
    ),
    "NO_TAIL": Mutant(
        "the feed is read up to the rename",
        [(attempt, "apply_tail", _no_late), (recovery, "apply_tail", _no_late)],
    ),
    "TAIL_NOT_CONTINUED": Mutant(
        "a cut-over that was killed after the swap is continued with the tail",
        [(recovery, "apply_tail", _no_late)],
    ),
    "ABORT_WITHOUT_TAIL": Mutant(
        "so it is by an abort that finds the swap done", [(Process, "abort", _abort_at_once)]
    ),
    "TAIL_ONCE": Mutant(
        "what the new application changed meanwhile is looked at again",
        [(tail, "_outdated", lambda _parts, _late: [])],
    ),
    "TAIL_OVERWRITES": Mutant(
        "a live document is replaced only if it is unchanged", [(Target, "_one", _write_over)]
    ),
    "TAIL_IGNORES_TARGET": Mutant(
        "what others wrote to the target between T_f and the rename is reported",
        [(tail, "_not_carried", lambda _parts, _ids: [])],
    ),
    "GUARD_AFTER_SWAP": Mutant(
        "the guard is on the target before it is live", [(Live, "guard", _guard_late)]
    ),
}

EQUIVALENT = {
    "DERIVE_LATEST": Mutant(
        "what is derived behind the fence is read as of T_f", [(Follower, "handle_at", _handle_at_now)]
    ),
    "COPY_NOT_COMPARED": Mutant(
        "the copy is compared with the source", [(Kept, "compare", lambda _self: iter(()))]
    ),
}
"""Guards that another one makes up for, for now."""


def removed(mutant: Mutant) -> ExitStack:
    """Remove a guard for as long as the block lasts."""
    stack = ExitStack()
    for owner, attribute, instead in mutant.patches:
        stack.enter_context(patch.object(owner, attribute, instead))
    return stack
