"""When the next chunk may be begun: not while another process has asked for a pause, a secondary lags, or the rate is used up.

What is asked is read from the run's record before a chunk, a few times a second at most. While it is waited for, the lock is
renewed by its own thread and the changes of the source are read, so that nothing is lost by a pause.
"""

from collections.abc import Callable, Iterable
from time import monotonic, sleep
from typing import Self

from booking_migrate.errors import LagNotMeasurable
from booking_migrate.events import Adjusted, Listener, Paused, Resumed, Warned
from booking_migrate.runs.commands import resume_of
from booking_migrate.runs.control import BEAT_SECONDS, TAKES, Request, Setting, requests_of, worker_record
from booking_migrate.runs.throttle import Pace, Throttle
from booking_migrate.stores.journal import RunJournal
from booking_migrate.stores.locks import Holder
from booking_migrate.stores.ports import LagGauge

_LOOK_SECONDS = 0.2
"""How often it is looked what others have asked."""


class Regulator:
    """Holds a command's next chunk back as long as necessary, by its own options and by what others ask of it."""

    def __init__(
        self,
        journal: RunJournal,
        listener: Listener,
        *,
        command: str,
        process: Holder,
        run_id: Callable[[], str | None],
        takes: Iterable[Setting] | None = None,
        gauge: LagGauge | None = None,
        maximum_lag: float | None = None,
        maximum_rate: float | None = None,
        beats: bool = False,
        pause: Callable[[float], None] = sleep,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Take the parts.

        Args:
            journal: has what is asked.
            listener: notified of pauses and of settings that are changed.
            command: what requests are for (`runs.control`).
            process: this one.
            run_id: returns the run; None as long as it is not recorded.
            takes: what can be asked; None: `control.TAKES` of the command.
            gauge: measures how far the slowest secondary is behind; None: `Setting.MAX_LAG` cannot be asked.
            maximum_lag: how far a secondary may be behind, in seconds, if nothing else is asked; None: the command does not wait.
            maximum_rate: how many bookings a second it may move, if nothing else is asked; None: as many as it can.
            beats: whether it has to record that it is running, since it holds no lock.
            pause: waits for a number of seconds.
            clock: returns the time in seconds.
        """
        self._journal, self._listener = journal, listener
        self._command, self._process = command, process
        self._find_run, self._run_id = run_id, ""
        self._takes = list(dict.fromkeys(TAKES[command] if takes is None else takes))
        self._gauge, self._beats = gauge, beats
        self._sleep, self._clock = pause, clock
        given = {Setting.MAX_RATE.value: maximum_rate, Setting.MAX_LAG.value: maximum_lag}
        self._limits = {name: limit for name, limit in given.items() if limit is not None}
        self._throttle = None if maximum_lag is None else self._limited(maximum_lag)
        self._pace = None if maximum_rate is None else Pace(maximum_rate, clock=clock)
        self._known: dict[Setting, Request] = {}
        self._ignored: dict[str, str] = {}
        self._paused: Request | None = None
        self._paused_at = 0.0
        self._looked_at: float | None = None
        self._beat_at = 0.0
        self.workers: int | None = None
        """How many processes to work with; None: no other number was asked for."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Record that the command has ended, if nothing else says so."""
        if self._beats and self._run_id and error is None:
            self._record(over=True)

    def check(self) -> None:
        """Check that the lag can be measured, if it is limited. Called before anything is written.

        Raises:
            LagNotMeasurable: it cannot.
            ConnectionProblem: the server does not answer.
        """
        if self._throttle is not None:
            self._throttle.check()

    def offer(self, setting: Setting) -> None:
        """Take one more setting from now on."""
        if setting not in self._takes:
            self._takes.append(setting)
            if self._run_id:
                self._record(over=False)

    def size(self, most: int) -> int:
        """Return how many bookings to move at a time: `most`, or fewer, so that the rate is kept evenly.

        It may be called from any thread.
        """
        pace = self._pace
        return most if pace is None else min(most, pace.batch)

    def took(self, bookings: int) -> None:
        """Count bookings as moved."""
        if self._pace is not None:
            self._pace.take(bookings)

    def wait(self, beside: Callable[[], None] | None = None) -> None:
        """Return when the next chunk may be begun.

        Args:
            beside: called again and again until then, and takes a moment each time; None: nothing has to be done.

        Raises:
            LagUnknown: the lag could not be measured for too long.
            ConnectionProblem, NotPermitted: the server cannot be asked.
        """
        self._look()
        while (seconds := self._delay()) > 0:
            if beside is None:
                self._sleep(min(seconds, _LOOK_SECONDS))
            else:
                beside()
            self._look()

    def _delay(self) -> float:
        """Return for how long the next chunk is held back, at least."""
        if self._paused is not None:
            seconds = self._clock() - self._paused_at
            command = resume_of(self._run_id)
            self._listener.notify(Paused(self._paused.by, self._paused.at, seconds, command))
            return _LOOK_SECONDS
        if self._throttle is not None and self._throttle.is_held():
            return _LOOK_SECONDS
        return 0.0 if self._pace is None else self._pace.delay

    def _look(self) -> None:
        """Look what is asked, if it is time."""
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        if not self._run_id:
            self._run_id = self._find_run() or ""
            if not self._run_id:
                return
            self._record(over=False)
        elif self._beats and now - self._beat_at >= BEAT_SECONDS:
            self._record(over=False)
        for asked in requests_of(self._journal.control(self._run_id), self._command):
            if asked.setting in self._takes and asked != self._known.get(asked.setting):
                self._known[asked.setting] = asked
                self._apply(asked)

    def _record(self, *, over: bool) -> None:
        self._beat_at = self._clock()
        name, value = worker_record(
            self._process.pid,
            self._process.birth,
            self._takes,
            over=over,
            paused=self._paused is not None,
            ignored=self._ignored,
            limits=self._limits,
        )
        self._journal.ask(self._run_id, self._command, name, value)

    def _apply(self, asked: Request) -> None:
        value = asked.value
        if asked.setting is Setting.PAUSE:
            self._pause_or_resume(asked)
            return
        match asked.setting:
            case Setting.MAX_RATE:
                self._change_rate(value)
            case Setting.MAX_LAG:
                if not self._change_lag(value, asked.by):
                    return
            case Setting.WORKERS:
                self.workers = None if value is None else int(value)
        self._listener.notify(Adjusted(asked.setting.value, value, asked.by))

    def _pause_or_resume(self, asked: Request) -> None:
        if asked.value:
            self._paused_at = self._clock() if self._paused is None else self._paused_at
            self._paused = asked
            self._record(over=False)
        elif self._paused is not None:
            self._paused = None
            self._record(over=False)
            self._listener.notify(Resumed(asked.by, self._clock() - self._paused_at))

    def _change_rate(self, rate: float | None) -> None:
        if rate is None:
            self._pace = None
        elif self._pace is None:
            self._pace = Pace(rate, clock=self._clock)
        else:
            self._pace.change(rate)

    def _change_lag(self, limit: float | None, by: str) -> bool:
        """Wait for secondaries by another limit; return False if the lag cannot be measured, which is said."""
        if self._ignored.pop(Setting.MAX_LAG, None) is not None:
            self._record(over=False)
        if limit is None:
            self._throttle = None
            return True
        changed = self._limited(limit)
        try:
            changed.check()
        except LagNotMeasurable as error:
            self._listener.notify(Warned(f"max-lag, set by {by}, is ignored: {error.message}"))
            self._ignored[Setting.MAX_LAG] = error.message
            self._record(over=False)
            return False
        self._throttle = changed
        return True

    def _limited(self, limit: float) -> Throttle:
        if self._gauge is None:
            raise RuntimeError("nothing measures the lag")
        return Throttle(self._gauge, limit, self._listener, clock=self._clock)


class Unregulated:
    """Holds nothing back."""

    workers: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Do nothing."""

    def offer(self, setting: Setting) -> None:
        """Do nothing, since nothing is asked."""

    def took(self, bookings: int) -> None:
        """Do nothing, since no rate is kept."""

    def wait(self, beside: Callable[[], None] | None = None) -> None:
        """Return at once."""
