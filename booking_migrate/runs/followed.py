"""How following a source, or keeping a reverse window, goes; once it has ended, what the server's oplog says of it now.

The figures in a run's record are those of its process. When that has ended they are of the past, and what can be known now
is the distance of its last position from both ends of the oplog.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bson.timestamp import Timestamp

from booking_migrate.runs.states import FOLLOWED, LIVE
from booking_migrate.stores.journal import RunRecord

FOLLOWING = "following"
"""The state of following while it continues, as the run's record has it."""

BUILDING = "building"
"""The state of a reverse window whose restored collection is not complete yet."""

CAUGHT_UP = "caught-up"
"""The state of following that was to end when everything was brought in."""

_KILLED = "killed"


def waits_until_short(command: str, limit: float) -> str:
    """Return what is said of a command that would refuse writes for longer than an attempt of it may: it does not begin one.

    Args:
        command: ``cut-over`` or ``rollback``.
        limit: for how many seconds an attempt may refuse writes.
    """
    return (
        f"a {command} waits, while writes are accepted, until it would refuse them for less than {round(limit * 1000)} ms, "
        "which the last changes take longer than now"
    )


class OplogReach(NamedTuple):
    """Both ends of a server's oplog."""

    newest: Timestamp
    """The cluster time of the newest write that the primary has taken."""

    oldest: Timestamp | None
    """The cluster time of the oldest change that the server still has; None: this user may not read it."""


Reach = Callable[[], OplogReach | None]
"""Returns both ends of the oplog; None: the server has none, or was not asked."""


def follow_facts(run: RunRecord, *, is_followed: bool, reach: Reach) -> Mapping[str, Any] | None:
    """Return how following a run goes, or went; what a killed process has left as its state is not true any more.

    Args:
        run: the run.
        is_followed: whether a process follows its source.
        reach: asked only about a run that is not followed any more.
    """
    facts: Mapping[str, Any] | None = run.follow.get("facts")
    if facts is None:
        return None
    facts = {**facts, "as_of": facts.get("at")}
    if is_followed and facts["state"] == FOLLOWING:
        return facts
    if is_followed:
        return {**facts, "state": FOLLOWING, "ready": False, "not_ready": "following has just begun"}
    state = _KILLED if facts["state"] == FOLLOWING else facts["state"]
    ended = {**facts, "state": state, "ready": False, "not_ready": None}
    return {**ended, **_since(run.follow, reach)} if run.state in FOLLOWED else ended


def window_facts(run: RunRecord, *, is_kept: bool, reach: Reach) -> Mapping[str, Any] | None:
    """Return how a run's reverse window goes, or went; None: the run does not have one.

    Args:
        run: the run.
        is_kept: whether a process keeps it.
        reach: asked only about a window that is not kept any more.
    """
    if run.state not in LIVE or "facts" not in run.window:
        return None
    facts = {**run.window["facts"], "ends_at": run.window["ends_at"]}
    facts["as_of"] = facts.get("at")
    if is_kept:
        return facts
    state = _KILLED if facts["state"] in {FOLLOWING, BUILDING} else facts["state"]
    return {**facts, "state": state, **_since(run.window, reach)}


def _since(position: Mapping[str, Any], reach: Reach) -> dict[str, Any]:
    """Return how far a position is from both ends of the oplog now; None for what is not known."""
    time: Timestamp | None = position.get("time")
    oplog = None if time is None else reach()
    if time is None or oplog is None:
        return {"unfollowed_seconds": None, "oplog_seconds_left": None, "history_lost": None}
    oldest = oplog.oldest
    return {
        "unfollowed_seconds": max(0, oplog.newest.time - time.time),
        "oplog_seconds_left": None if oldest is None else max(0, time.time - oldest.time),
        "history_lost": None if oldest is None else oldest > time,
    }
