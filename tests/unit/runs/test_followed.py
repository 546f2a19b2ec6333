"""What is known of following, and of a reverse window, once its process has ended."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson.timestamp import Timestamp

from booking_migrate.cli.cutover import _question
from booking_migrate.reports.following import FollowReport, WindowReport
from booking_migrate.reports.pages import status as page
from booking_migrate.runs.followed import OplogReach, follow_facts, window_facts
from booking_migrate.runs.plan import Limits
from booking_migrate.stores.journal import RunRecord, RunState

_AT = datetime(2020, 11, 23, 15, 11, 20, tzinfo=UTC)
_FACTS: dict[str, Any] = {
    "lag_seconds": 0,
    "backlog": 0,
    "estimated_outage_ms": 60,
    "oplog_seconds_left": 50,
    "ready": True,
    "not_ready": None,
    "at": _AT,
}


def followed(how: str, **changed: Any) -> RunRecord:
    """A run whose source was followed up to second 1000."""
    facts = {"state": how, **_FACTS}
    times = {"started_at": _AT, "heartbeat_at": _AT, "worked_from": _AT}
    position = {"token": {}, "time": Timestamp(1000, 1), "facts": facts}
    record: dict[str, Any] = {
        "run_id": "1",
        "tool_version": "1",
        "source": "bookings",
        "target": "clients",
        "state": RunState.DONE,
        "options": {},
        "user": "ann",
        "host": "machine",
        "pid": 1,
        **times,
        "follow": position,
        "window": {**position, "ends_at": _AT + timedelta(hours=2)},
        **changed,
    }
    return RunRecord(**record)


def reach(newest: int, oldest: int | None) -> Callable[[], OplogReach]:
    """Both ends of an oplog, in seconds."""
    return lambda: OplogReach(Timestamp(newest, 1), None if oldest is None else Timestamp(oldest, 1))


def not_asked() -> OplogReach | None:
    """Stand in for a server that must not be asked."""
    raise AssertionError


@pytest.mark.parametrize(
    ("oldest", "left", "is_lost"), [(400, 600, False), (1200, 0, True), (None, None, None)]
)
@pytest.mark.parametrize("state", ["following", "interrupted", "handed-over"])
def test_what_has_ended_is_compared_with_the_oplog(
    state: str, oldest: int | None, left: int | None, is_lost: bool | None
) -> None:
    """Both ends of the oplog are compared with the last position, for following and for a window; nothing is ready."""
    following = follow_facts(followed(state), is_followed=False, reach=reach(1720, oldest)) or {}
    kept = window_facts(followed(state, state=RunState.CUT_OVER), is_kept=False, reach=reach(1720, oldest))

    for facts in (following, kept or {}):
        assert ("killed" if state == "following" else state) == facts["state"]
        assert (_AT, 720, left, is_lost) == (
            facts["as_of"],
            facts["unfollowed_seconds"],
            facts["oplog_seconds_left"],
            facts["history_lost"],
        )
    assert not following["ready"]


def test_what_is_at_work_is_not_compared() -> None:
    """The figures of a process that works are its own, with the time at which it took them."""
    run = followed("following")

    for facts in (
        follow_facts(run, is_followed=True, reach=not_asked),
        window_facts(run.model_copy(update={"state": RunState.CUT_OVER}), is_kept=True, reach=not_asked),
        # Followed to its cut-over: how far it was does not matter any more.
        follow_facts(run.model_copy(update={"state": RunState.CUT_OVER}), is_followed=False, reach=not_asked),
    ):
        assert facts is not None
        assert (_AT, 50) == (facts["as_of"], facts["oplog_seconds_left"])


def test_without_a_replica_set_nothing_is_known() -> None:
    """Where the server has no oplog, none of the old figures stands for now."""
    facts = follow_facts(followed("interrupted"), is_followed=False, reach=lambda: None) or {}

    assert (None, None, None) == tuple(
        facts[name] for name in ("unfollowed_seconds", "oplog_seconds_left", "history_lost")
    )
    assert "how far behind it is now is not known" in page._follow(FollowReport(**_fields(facts)))


@pytest.mark.parametrize(
    ("oldest", "said"),
    [
        (400, "the oplog goes back 10 min 00 s further"),
        (1200, "the oplog has lost changes since: everything will be read again"),
        (None, "whether the oplog still has all changes since is not known: this user may not read it"),
    ],
)
def test_status_says_as_of_when(oldest: int | None, said: str) -> None:
    """No figure of the past stands there as if it were of now."""
    run = followed("interrupted", state=RunState.DONE)
    following = follow_facts(run, is_followed=False, reach=reach(1720, oldest)) or {}
    cut_over = run.model_copy(update={"state": RunState.CUT_OVER})
    window = window_facts(cut_over, is_kept=False, reach=reach(1720, oldest)) or {}
    shown = page._follow(FollowReport(**_fields(following)))
    kept = page._window(WindowReport(**_fields(window, "ends_at", "not_ready"), ends_at=_AT))

    assert (
        "changes of the application: following ended (interrupted), 0 s behind, backlog 0 as of 2020-11-23 15:11:20 UTC, "
        f"now 12 min 00 s behind the newest write of the server, {said}"
    ) == shown
    assert (
        "reverse window: no longer kept (interrupted), ended at 2020-11-23 15:11:20 UTC, 0 s behind as of 2020-11-23 "
        f"15:11:20 UTC, now 12 min 00 s behind the newest write of the server, {said}"
    ) == kept


def _fields(facts: Any, *but: str) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in ("at", *but)}


def test_a_cut_over_waits_rather_than_refuse_writes_beyond_its_limit() -> None:
    """A long last round does not make an outage: such an attempt does not begin, and no figure above the limit is shown, for a window too."""
    busy = {"estimated_outage_ms": 6675, "ready": False, "not_ready": "a cut-over waits"}
    facts = follow_facts(followed("following", **_with(busy)), is_followed=True, reach=not_asked) or {}
    shown = page._follow(FollowReport(**_fields(facts)))
    window = followed("following", **_with(busy | {"ready": True}), state=RunState.CUT_OVER)
    kept = window_facts(window, is_kept=True, reach=not_asked) or {}
    rollback = page._window(WindowReport(**_fields(kept, "not_ready")))

    assert "not ready to cut over: a cut-over waits" in shown
    assert "6675" not in shown + rollback
    assert "a rollback waits, while writes are accepted, until" in rollback
    chosen = followed("following", **_with(busy))
    assert "writes are refused for at most 500 ms an attempt" in _question(chosen, Limits(), is_followed=True)
    longer = Limits(outage=10)
    assert "for about 6675 ms, and for at most 10 s" in _question(chosen, longer, is_followed=True)


def _with(changed: dict[str, Any]) -> dict[str, Any]:
    """What a record holds of following, and of a window, with changed figures."""
    record = followed("following")
    return {
        name: {**held, "facts": {**held["facts"], **changed}}
        for name, held in (("follow", record.follow), ("window", record.window))
    }
