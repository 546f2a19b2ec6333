"""The report of an audit of application code."""

from collections.abc import Sequence

from pydantic import Field

from booking_migrate.audit.findings import RULES, AuditOutcome, Bridge, Confidence, Rule
from booking_migrate.bson.format import Line
from booking_migrate.errors import ExitCode
from booking_migrate.reports.model import NextStep, Part, Report, part_of


class CodePlace(Part):
    """One place in the code that expects the old structure."""

    path: Line = Field(description="the file, with slashes, from the current folder on")
    line: int
    column: int
    rule: Rule = Field(description="what the code does; a stable name")
    confidence: Confidence = Field(description="`certain`, `likely`, or `look`: worth a look")
    old: Line = Field(description="the old path, or what is expected")
    new: Line = Field(description="the new path")
    suggestion: Line = Field(description="what to write")
    bridge: Bridge = Field(description="what makes it work meanwhile: `view`, `service` or `nothing`")
    text: Line = Field(description="the line of code")
    fingerprint: str = Field(description="equal for the same place after lines above it have moved")


class UnreadFile(Part):
    """A file that was not read, or only in part."""

    path: Line
    problem: Line


class AuditReport(Report):
    """What audit-code found."""

    places: tuple[CodePlace, ...] = Field(description="by file and line; without those that are known")
    files: int = Field(description="how many files were read")
    known: int = Field(description="how many places are in the baseline")
    suppressed: int = Field(description="how many places comments suppress")
    unread: tuple[UnreadFile, ...] = Field(description="files that were not read, or only in part")


def report_of_audit(
    outcome: AuditOutcome,
    *,
    run_id: str,
    paths: Sequence[str],
    seconds: float,
    next_steps: Sequence[NextStep] = (),
) -> AuditReport:
    return AuditReport(
        command="audit-code",
        run_id=run_id,
        source=" ".join(paths),
        target="",
        exit_code=ExitCode.REJECTED if outcome.findings else ExitCode.DONE,
        seconds=seconds,
        places=tuple(
            part_of(CodePlace, each, line=each.at[0], column=each.at[1], bridge=RULES[each.rule].bridge)
            for each in outcome.findings
        ),
        files=outcome.file_count,
        known=outcome.known_count,
        suppressed=outcome.suppressed_count,
        unread=outcome.skipped,
        next_steps=tuple(next_steps),
    )
