"""The report of preflight."""

from pydantic import Field

from booking_migrate.bson.format import Line, Lines
from booking_migrate.errors import ExitCode
from booking_migrate.preflight.outcome import PreflightOutcome, State
from booking_migrate.reports.model import Part, Report, part_of


class CheckReport(Part):
    """One thing that was looked at."""

    subject: str = Field(description="a stable name, such as privileges")
    state: State = Field(description="`fine`, `unknown`, `caution` or `obstacle`")
    found: Line
    hint: Lines = Field(description="what helps, or empty")


class CommandReport(Part):
    """Whether one command can run."""

    command: str
    ready: bool = Field(description="whether nothing prevents it")
    checks: tuple[CheckReport, ...]


class PreflightReport(Report):
    """What preflight found."""

    server: tuple[CheckReport, ...] = Field(default=(), description="what holds for all commands")
    verdicts: tuple[CommandReport, ...] = Field(
        default=(), description="one for each command, in their order"
    )
    role: Line | None = Field(
        default=None,
        description="the shell's command that creates a role with what the commands take; null: not asked for",
    )


def report_of_preflight(
    outcome: PreflightOutcome,
    *,
    run_id: str,
    source: str,
    target: str,
    seconds: float,
    is_asked: bool,
    role: str | None,
) -> PreflightReport:
    """Build the report of preflight; if one command was asked for, the exit code is about that one."""
    is_refused = is_asked and not all(each.ready for each in outcome.verdicts)
    return part_of(
        PreflightReport,
        outcome,
        command="preflight",
        run_id=run_id,
        source=source,
        target=target,
        exit_code=ExitCode.REFUSED if is_refused else ExitCode.DONE,
        seconds=seconds,
        role=role,
    )
