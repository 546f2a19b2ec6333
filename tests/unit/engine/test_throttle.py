"""A run pauses while a secondary is behind, says why, and takes an unknown lag for one too large."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from booking_migrate.engine.throttle import Throttle
from booking_migrate.events import Event, Warned
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.locate_journal import open_journal
from booking_migrate.stores.mongo.lag import lag_of
from tests.support.server import Server

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Scene:
    """Lags that come one after the other, a clock that pauses move on, and what was said."""

    def __init__(self, *lags: float | None) -> None:
        self.lags = list(lags)
        self.time = 0.0
        self.said: list[str] = []

    def seconds(self) -> float | None:
        """The next lag."""
        return self.lags.pop(0)

    def notify(self, event: Event) -> None:
        """Take note of warnings."""
        if isinstance(event, Warned):
            self.said.append(event.message)

    def pause(self, seconds: float) -> None:
        """Let the time pass."""
        self.time += seconds

    def throttle(self) -> Throttle:
        """A throttle of ten seconds in this scene."""
        return Throttle(self, 10, self, pause=self.pause, clock=lambda: self.time)


def test_it_waits_until_the_secondary_is_near() -> None:
    """While the lag is above the limit it pauses, and it says why once."""
    scene = Scene(30, 20, 11, 10)
    scene.throttle().wait()

    assert (3.0, []) == (scene.time, scene.lags)
    assert ["pausing, a secondary is behind: 30 s, more than 10 s"] == scene.said


def test_not_measurable_means_pause() -> None:
    """A lag that nobody can tell is too large, and the message names the privilege."""
    scene = Scene(None, None, 0)
    scene.throttle().wait()

    assert 2.0 == scene.time
    assert "replSetGetStatus" in scene.said[0]


def test_it_looks_once_a_second() -> None:
    """Batches within a second of a good measurement are not held up by another one."""
    scene = Scene(0)
    throttle = scene.throttle()
    throttle.wait()
    throttle.wait()

    assert [] == scene.lags


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], 0.0),
        ([(2, 4), (2, 9)], 9.0),
        ([(7, 0)], 0.0),
        ([(2, 4), (8, 0)], None),
        ([(3, 0)], None),
    ],
)
def test_lag_of_members(others: list[tuple[int, int]], expected: float | None) -> None:
    """The slowest secondary counts, an arbiter does not, and one that is down or recovering cannot be told."""
    members: list[dict[str, Any]] = [
        {"state": state, "optimeDate": NOW - timedelta(seconds=behind)} for state, behind in [(1, 0), *others]
    ]

    assert expected == lag_of(members)


def test_a_real_server(server: Server) -> None:
    """A replica set of one has no lag."""
    connection = Connection(server.uri, "any")

    assert 0.0 == open_journal(connection).lag.seconds()
    connection.close()
