"""A run pauses while a secondary is behind, says why, and ends when the lag has been unknown for too long."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from booking_migrate.errors import LagNotMeasurable, LagUnknown
from booking_migrate.events import Event, WaitEnded, Waiting, Warned
from booking_migrate.runs.throttle import Throttle
from booking_migrate.stores.connection import Connection, open_journal
from booking_migrate.stores.mongo.replica_set import lag_of
from tests.support.server import Server

NOW = datetime(2026, 11, 23, tzinfo=UTC)
STATES = {1: "PRIMARY", 2: "SECONDARY", 3: "RECOVERING", 7: "ARBITER", 8: "(not reachable/healthy)"}


class Scene:
    """Lags that come one after the other, a clock that pauses move on, and what was said."""

    def __init__(self, *lags: float | str) -> None:
        self.lags = list(lags)
        self.time = 0.0
        self.said: list[str] = []
        self.waits: list[Any] = []

    def seconds(self, *, waits: bool = True) -> float | str:  # noqa: ARG002 - the port has it
        """The next lag."""
        return self.lags.pop(0)

    def notify(self, event: Event) -> None:
        """Take note of warnings and waits."""
        if isinstance(event, Warned):
            self.said.append(event.message)
        elif isinstance(event, Waiting | WaitEnded):
            self.waits.append(event)

    def throttle(self) -> Throttle:
        """A throttle of ten seconds in this scene."""
        return Throttle(self, 10, self, clock=lambda: self.time)

    def wait(self, throttle: Throttle | None = None) -> None:
        """Let time pass, a second at a time, until the next batch may be written."""
        throttle = throttle or self.throttle()
        while throttle.is_held():
            self.time += 1


def test_it_waits_until_the_secondary_is_near() -> None:
    """While the lag is above the limit it pauses, and it says why once."""
    scene = Scene(30, 20, 11, 10)
    scene.wait()

    assert (3.0, []) == (scene.time, scene.lags)
    assert ["pausing, a secondary is behind: 30 s, more than 10 s"] == scene.said


def test_a_pause_is_said_again_and_its_end() -> None:
    """What is waited for, since when and for how long at most is sent again and again from two seconds on, and that it is over."""
    scene = Scene(30, 30, 30, 30, 0)
    scene.wait()
    what = "secondaries to be at most 10 s behind"

    assert [Waiting(what, 2, None), Waiting(what, 3, None), WaitEnded(what, 4)] == scene.waits


def test_an_unknown_lag_has_a_limit() -> None:
    """That it cannot be measured is waited out for a minute, and said with this limit."""
    scene = Scene(*["db2 is down"] * 4, 0)
    scene.wait()

    assert (60, 4) == (scene.waits[0].limit, scene.waits[-1].seconds)


def test_not_measurable_means_pause() -> None:
    """While the lag is not known it pauses, and it says why once."""
    scene = Scene("db2 is down", "db2 is down", 0)
    scene.wait()

    assert 2.0 == scene.time
    assert ["pausing, the lag of the secondaries cannot be measured: db2 is down"] == scene.said


def test_a_lag_that_stays_unknown_ends_the_run() -> None:
    """A lag that is not known for a minute, whatever it was before, ends the run with the reason."""
    scene = Scene(30, *["db2 is down"] * 100)
    with pytest.raises(LagUnknown, match="60 s: db2 is down"):
        scene.wait()

    assert 60.0 == scene.time


def test_a_lag_that_cannot_be_measured_is_refused() -> None:
    """Before anything is written, a lag that cannot be measured is refused with the privilege and the option to leave out."""
    with pytest.raises(LagNotMeasurable, match="no replica set") as refused:
        Scene("no replica set").throttle().check()
    Scene(99).throttle().check()

    assert "role clusterMonitor" in refused.value.hint
    assert "leave out --max-lag" in refused.value.hint


def test_it_looks_once_a_second() -> None:
    """Batches within a second of a good measurement are not held up by another one."""
    scene = Scene(0)
    throttle = scene.throttle()
    scene.wait(throttle)
    scene.wait(throttle)

    assert [] == scene.lags


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], 0.0),
        ([(2, 4), (2, 9)], 9.0),
        ([(7, 0)], 0.0),
        ([(2, 4), (8, 0)], "not all members are up: db0 PRIMARY, db1 SECONDARY, db2 DOWN"),
        ([(3, 0)], "not all members are up: db0 PRIMARY, db1 RECOVERING"),
    ],
)
def test_lag_of_members(others: list[tuple[int, int]], expected: float | str) -> None:
    """The slowest secondary counts, an arbiter does not, and one that is down or recovering cannot be told."""
    members: list[dict[str, Any]] = [
        {
            "name": f"db{number}",
            "state": state,
            "stateStr": STATES[state],
            "health": float(state != 8),
            "optimeDate": NOW - timedelta(seconds=behind),
        }
        for number, (state, behind) in enumerate([(1, 0), *others])
    ]

    assert expected == lag_of(members)


def test_a_real_server(server: Server) -> None:
    """A replica set of one has no lag."""
    connection = Connection(server.uri, "any")

    assert 0.0 == open_journal(connection).lag.seconds()
    connection.close()
