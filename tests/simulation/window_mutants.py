"""Guards of a reverse window and of a rollback out of it, each with a way to remove it; see `mutants`."""

from collections.abc import Sequence
from typing import Any

from bson.timestamp import Timestamp

from booking_migrate.follow.follower import Follower
from booking_migrate.rollback import from_window, window_group
from booking_migrate.rollback.window_tail import _AffectedClients, _UnwrittenDocuments
from booking_migrate.stores.changes import ChangeFeed, Role
from booking_migrate.stores.ports import Replacement
from tests.simulation.adapters import Feed, Store, id_of
from tests.simulation.mutants import (
    Mutant,
    _concerns_without_copies,
    _drain_until_empty,
    _no_late,
    _nothing,
    _save_first,
)
from tests.simulation.server import Live, Swap
from tests.simulation.window_server import RESTORED, Notes, Undone, WindowLive
from tests.simulation.world import SOURCE

_watch_copy = Follower.watch_copy


def _watch_since_copy(self: Follower, feed: ChangeFeed, since: Timestamp) -> None:
    feed.close()
    world = feed._world  # type: ignore[attr-defined]
    _watch_copy(self, Feed(world, since, copy=RESTORED, roles={SOURCE: Role.SOURCE}), since)


def _write_over(self: _UnwrittenDocuments, ids: Sequence[Any], documents: Sequence[bytes]) -> None:
    wanted = {id_of(raw): raw for raw in documents}
    self._seen.read_up_to(self._now())
    there = {id_of(raw): raw for raw in self._live.find(ids)}
    self._live.remove([raw for key, raw in there.items() if wanted.get(key) != raw])
    self._live.insert(documents)


def _restore_in_two_steps(self: Undone, changes: Sequence[Replacement]) -> None:
    self.remove([change.before for change in changes])
    self.insert([change.after for change in changes])


MUTANTS = {
    "POSITION_BEFORE_CHANGES": Mutant(
        "the position is saved after everything before it was handled",
        [(Follower, "_handle_all", _save_first)],
    ),
    "KEPT_CHANGES_NOT_DURABLE": Mutant(
        "what is read while the old bookings are copied is durable", [(Store, "add", _nothing)]
    ),
    "FEED_FROM_THE_COMPARISON": Mutant(
        "the feed that shows writes of others begins where the one before has ended",
        [(Follower, "watch_copy", _watch_since_copy)],
    ),
    "PARTS_NOT_NOTED": Mutant(
        "it is known in whose documents a deleted or changed one had a part", [(Notes, "relate", _nothing)]
    ),
    "GROUP_NOT_CLOSED": Mutant(
        "clients are derived with what others have of their bookings",
        [(window_group, "_add_others", _nothing)],
    ),
    "FOREIGN_LEFT": Mutant(
        "what others write to what is kept ready is put right",
        [(Follower, "_concerns", _concerns_without_copies)],
    ),
    "DRAIN_BY_CLOCK": Mutant(
        "the drain ends when the token is past T_f, not with an empty batch",
        [(Follower, "drain", _drain_until_empty)],
    ),
    "FENCE_NOT_REREAD": Mutant(
        "the fence is read again before the swap", [(Swap, "is_fenced", lambda _self: True)]
    ),
    "FENCE_LEFT": Mutant(
        "a rollback that was aborted or killed lifts the fence", [(WindowLive, "lift_fence", _nothing)]
    ),
    "DDL_OUTLIVES_PROCESS": Mutant(
        "commands of a killed process have ended before the state is read",
        [(Live, "end_own_commands", _nothing)],
    ),
    "NO_TAIL": Mutant("what passed the fence is taken back", [(from_window, "apply_window_tail", _no_late)]),
    "TAIL_OVERWRITES": Mutant(
        "what the old application has written since the swap stays",
        [(_UnwrittenDocuments, "_update", _write_over)],
    ),
    "TAIL_IN_TWO_STEPS": Mutant(
        "the tail replaces a booking in one step", [(Undone, "restore", _restore_in_two_steps)]
    ),
    "TAIL_FORGETS_OTHERS": Mutant(
        "what stands with clients that late changes are not about stays",
        [(_AffectedClients, "holds", lambda _self, _raw: True)],
    ),
}
