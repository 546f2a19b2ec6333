"""When a chunk may be begun: what others ask is taken up before the next one, and what cannot be done is said."""

from datetime import UTC, datetime
from typing import Any, cast

from booking_migrate.events import Adjusted, Event, Paused, Resumed, Warned
from booking_migrate.runs.control import Setting, requests_of
from booking_migrate.runs.regulator import Regulator
from booking_migrate.stores.journal import RunJournal
from booking_migrate.stores.locks import Holder

AT = datetime(2026, 11, 23, 15, 11, tzinfo=UTC)
ME = Holder("own", "migrate", "ann", "machine", 1, "")


class Scene:
    """A journal with what is asked, at which times, a clock that pauses move on, and what was said."""

    def __init__(self, *asked: tuple[float, str, float | bool | None]) -> None:
        self.asked = asked
        self.time = 0.0
        self.said: list[Event] = []
        self.recorded: list[tuple[str, Any]] = []

    def control(self, _run_id: str) -> dict[str, Any]:
        """What is asked by now."""
        values = {name: value for at, name, value in self.asked if at <= self.time}
        return {
            "migrate": {name: {"value": value, "by": "bob@far", "at": AT} for name, value in values.items()}
        }

    def ask(self, run_id: str, command: str, name: str, value: dict[str, Any]) -> None:
        """Take note of what the process records of itself."""
        self.recorded.append((f"{run_id} {command} {name}", value))

    def seconds(self, *, waits: bool = True) -> float | str:  # noqa: ARG002 - the port has it
        """A lag that cannot be measured."""
        return "no replica set"

    def notify(self, event: Event) -> None:
        """Take note of it."""
        self.said.append(event)

    def pause(self, seconds: float) -> None:
        """Let the time pass."""
        self.time += seconds

    def regulator(self, *takes: Setting, run_id: str | None = "run") -> Regulator:
        """A regulator in this scene."""
        return Regulator(
            cast("RunJournal", self),
            self,
            command="migrate",
            process=ME,
            run_id=lambda: run_id,
            takes=takes,
            gauge=self,
            pause=self.pause,
            clock=lambda: self.time,
        )


def test_a_pause_lasts_until_it_is_ended() -> None:
    """The chunk is held back, it is said with who asked and the command that ends it, and the process says what it takes, and that it is held."""
    scene = Scene((0.0, "pause", True), (3.0, "pause", False))
    scene.regulator(Setting.PAUSE).wait()
    pauses = [event for event in scene.said if isinstance(event, Paused)]

    assert 3.0 <= scene.time < 3.5
    assert ("bob@far", AT, "booking-migrate control resume --run run") == (
        pauses[0].by,
        pauses[0].since,
        pauses[0].resume,
    )
    assert isinstance(scene.said[-1], Resumed)
    assert [("run migrate worker", ["pause"], False, paused) for paused in (False, True, False)] == [
        (name, value["takes"], value["over"], value["paused"]) for name, value in scene.recorded
    ]


def test_something_is_done_beside_a_pause() -> None:
    """What has to be done meanwhile is called instead of waiting."""
    scene = Scene((0.0, "pause", True), (1.0, "pause", False))
    calls: list[float] = []

    def beside() -> None:
        calls.append(scene.time)
        scene.pause(0.25)

    scene.regulator(Setting.PAUSE).wait(beside)

    assert [0.0, 0.25, 0.5, 0.75] == calls


def test_a_rate_is_changed_while_it_is_waited_for() -> None:
    """A chunk that the old rate would hold back for minutes is begun as soon as the limit is removed."""
    scene = Scene((0.0, "max-rate", 1.0), (2.0, "max-rate", None))
    regulator = scene.regulator(Setting.MAX_RATE)
    regulator.wait()
    batch = regulator.size(500)
    regulator.took(500)
    regulator.wait()

    assert (1, 500) == (batch, regulator.size(500))
    assert 2.0 <= scene.time < 2.5
    assert [("max-rate", 1.0), ("max-rate", None)] == [
        (event.setting, event.value) for event in scene.said if isinstance(event, Adjusted)
    ]


def test_what_is_not_taken_is_left() -> None:
    """A setting of another version, and one that does not apply, change nothing; before the run is recorded nothing is read."""
    scene = Scene((0.0, "workers", 7.0), (0.0, "colour", 1.0), (0.0, "pause", True))
    regulator = scene.regulator(Setting.MAX_RATE)
    regulator.wait()
    scene.regulator(Setting.PAUSE, run_id=None).wait()

    assert (None, [], 0.0) == (regulator.workers, scene.said, scene.time)


def test_a_lag_that_cannot_be_measured_is_not_waited_for() -> None:
    """A running command does not end because another user asked for what this one may not measure."""
    scene = Scene((0.0, "max-lag", 5.0))
    scene.regulator(Setting.MAX_LAG).wait()
    asked = scene.control("run")
    asked["migrate"]["worker"] = {**scene.recorded[-1][1], "at": AT}
    (shown,) = requests_of(asked, "migrate")

    assert [
        "max-lag, set by bob@far, is ignored: the lag of the secondaries, which --max-lag limits, cannot be measured: no replica set"
    ] == [event.message for event in scene.said if isinstance(event, Warned)]
    assert (
        "the lag of the secondaries, which --max-lag limits, cannot be measured: no replica set"
        == shown.ignored
    )
