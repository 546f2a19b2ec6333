"""Requests to a running command: the report of `control`, and its part in that of `status`."""

from collections.abc import Iterator
from datetime import datetime

from pydantic import Field

from booking_migrate.bson.format import Line
from booking_migrate.errors import ExitCode
from booking_migrate.quantities import alternatives
from booking_migrate.reports.model import NextStep, Part, Report, facts_of_run
from booking_migrate.runs.asking import Asked
from booking_migrate.runs.commands import possible_commands, resume_of
from booking_migrate.runs.control import Request, Setting
from booking_migrate.runs.states import UNFINISHED, in_words


class RequestReport(Part):
    """A setting that was requested from a command."""

    command: str = Field(description="migrate, verify, rollback, references rewrite or rollback --references")
    setting: Setting = Field(description=alternatives([f"`{each}`" for each in Setting]))
    value: float | bool | None = Field(description="of a pause whether it lasts; null: no limit")
    by: Line = Field(description="the user: user@host")
    at: datetime = Field(description="the time of the request")
    in_force: bool | None = Field(
        default=None,
        description="of a pause: whether the process has paused; null: no pause",
    )
    ignored: Line = Field(default="", description="why the process ignores it; empty: it does not")


def request_report(request: Request) -> RequestReport:
    """Return one request as reports have it."""
    return RequestReport(
        command=request.command,
        setting=request.setting,
        value=request.value,
        by=request.by,
        at=request.at,
        in_force=request.is_in_force if request.setting is Setting.PAUSE else None,
        ignored=request.ignored,
    )


class ControlReport(Report):
    """The report of `control`."""

    state: str = Field(description="the state of the run")
    at_work: bool = Field(description="whether a command is running; if not, the next one is meant")
    commands: tuple[str, ...] = Field(description="the commands that it was requested from")
    asked: tuple[RequestReport, ...] = Field(
        description="what was requested now; empty: all of it was in effect already"
    )
    holds: tuple[RequestReport, ...] = Field(description="all requests that are in effect")
    pauses: bool | None = Field(description="whether a pause was requested or ended; null: neither")


def report_of_control(done: Asked, *, pauses: bool | None, seconds: float) -> ControlReport:
    run = done.chosen.run
    return ControlReport(
        **facts_of_run("control", run),
        exit_code=ExitCode.DONE,
        changed=bool(done.changed),
        seconds=seconds,
        state=in_words(run.state),
        at_work=done.chosen.is_alive,
        commands=tuple(done.chosen.commands),
        asked=tuple(map(request_report, done.changed)),
        holds=tuple(map(request_report, done.holds)),
        pauses=pauses,
        next_steps=tuple(_steps(done)),
    )


def _steps(done: Asked) -> Iterator[NextStep]:
    run = done.chosen.run
    run_id = run.run_id
    is_held = any(each.setting is Setting.PAUSE for each in done.holds)
    if is_held:
        alone = "" if done.chosen.is_alive else ", which does not start the run"
        yield NextStep(text=f"To end the pause{alone}:", command=resume_of(run_id))
    if not done.chosen.is_alive and run.state in UNFINISHED:
        first = possible_commands(run, is_newest=True)[0]
        then = "Then continue" if is_held else "Continue"
        yield NextStep(text=f"{first.purpose.replace('Continue', then, 1)}:", command=first.command)
    yield NextStep(text="To see its state:", command=f"booking-migrate status --run {run_id}")
