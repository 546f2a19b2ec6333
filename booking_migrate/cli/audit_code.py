"""The command ``audit-code``: application code that still expects the old structure."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from booking_migrate.audit.findings import AuditOutcome, Confidence
from booking_migrate.cli import run
from booking_migrate.cli.annotations import code_annotations
from booking_migrate.cli.next_steps import same_command
from booking_migrate.cli.options import OUTPUT, RULES, Format, FormatOptions, OutputOptions
from booking_migrate.cli.parameters import Group, option
from booking_migrate.errors import BadConfiguration, MissingExtra
from booking_migrate.reports.files import check_output_path, replace_file
from booking_migrate.reports.model import NextStep

if TYPE_CHECKING:
    from booking_migrate.reports.audit import AuditReport

HELP = """
It reads JavaScript, TypeScript and Python, begins at what bookings come from (the model, the collection, the route of the API, types
with the fields of a booking, references), and follows the values: through functions, callbacks, components and modules. Each place
has its old and its new path, what to write, how sure it is, and whether a view or the service makes it work until then.

The exit code is 3 if a place was found that is neither in the baseline nor suppressed by a comment (booking-migrate: ignore).

\b
[bold]Examples[/bold]
    booking-migrate audit-code backend/src frontend/src
    booking-migrate audit-code . --root appointment --report audit.html
  In continuous integration, so that only new places fail:
    booking-migrate audit-code . --baseline audit.json --update-baseline
    booking-migrate audit-code . --baseline audit.json --format github --report audit.sarif
"""


@dataclass(frozen=True, slots=True)
class AuditOptions(Group, panel=RULES):
    """What is looked for, and what is reported of it."""

    root: list[str] | None = option(
        None,
        "Another name of bookings in this application, such as appointment; repeatable.",
        metavar="NAME",
    )
    confidence: Confidence = option(Confidence.LOOK, "The least confidence of what is reported.")
    baseline: Path | None = option(
        None, "A file with places that are known; only new ones count.", metavar="FILE"
    )
    update_baseline: bool = option(
        False, "Write all places into the baseline file, and exit with 0.", panel=OUTPUT
    )


def audit_code(
    ctx: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(help="Files and folders with code.", metavar="PATH...", show_default=False)
    ],
    *,
    given: AuditOptions,
    printed: FormatOptions,
    output: OutputOptions,
) -> None:
    asked = run.Invocation(ctx, output, None, " ".join(map(str, paths)), places=[given.baseline])
    run.execute(asked, lambda context: _audit(paths, given, printed, context))


def _audit(
    paths: Sequence[Path], given: AuditOptions, printed: FormatOptions, context: run.RunContext
) -> "AuditReport":
    if find_spec("ast_grep_py") is None or find_spec("pathspec") is None:
        raise MissingExtra("audit-code", "audit")
    # Here and not above: the packages of the extra may not be installed, and the help is there without them.
    from booking_migrate.audit.baseline import read_baseline  # noqa: PLC0415
    from booking_migrate.audit.run import AuditPlan, audit  # noqa: PLC0415
    from booking_migrate.reports.audit import report_of_audit  # noqa: PLC0415

    for path in paths:
        if not path.exists():
            raise BadConfiguration("PATH", f"{str(path)!r} does not exist")
    if given.update_baseline and given.baseline is None:
        raise BadConfiguration("--update-baseline", "it needs --baseline FILE")
    known = read_baseline(given.baseline) if given.baseline and not given.update_baseline else frozenset()
    plan = AuditPlan(paths, given.root or (), given.confidence, known)
    outcome = audit(plan, context.listener)
    if given.update_baseline and given.baseline is not None:
        outcome = _update(given.baseline, outcome)
    report = report_of_audit(
        outcome,
        run_id=context.run_id,
        paths=[str(path) for path in paths],
        seconds=context.seconds,
        next_steps=_next_steps(context.asked.ctx, outcome, given),
    )
    match printed.format:
        case Format.TEXT:
            is_annotated = os.environ.get("GITHUB_ACTIONS") == "true"
        case Format.GITHUB:
            is_annotated = True
    if is_annotated:
        sys.stderr.writelines(f"{line}\n" for line in code_annotations(report))
    return report


def _update(path: Path, outcome: AuditOutcome) -> AuditOutcome:
    """Write the baseline; what is in it is known from then on."""
    from booking_migrate.audit.baseline import baseline_text  # noqa: PLC0415

    check_output_path("--baseline", path)
    replace_file(path, baseline_text(outcome.findings))
    return replace(outcome, findings=(), known_count=len(outcome.findings))


def _next_steps(ctx: typer.Context, outcome: AuditOutcome, given: AuditOptions) -> list[NextStep]:
    if not outcome.findings:
        return []
    steps = [
        NextStep(
            text="These places work until the cut-over, and break at it (in place: at the first client that is migrated, so that the application "
            "has to read both shapes before). Usual: change them as shown in the new application, which starts right after the cut-over: deployed "
            "earlier, such queries find nothing, without an error. Then run the same command again:",
            command=same_command(ctx, ""),
        ),
        NextStep(
            text="For readers that cannot be changed yet: create a view in the old shape, now or later, and let them read bookings_flat in place of the "
            "collection before the cut-over. It shows the old bookings until then, and the sessions in the old shape afterwards; each query of it "
            "reads the whole collection:",
            command="booking-migrate view create --name bookings_flat",
        ),
    ]
    if given.baseline is None:
        steps += [
            NextStep(
                text="To fail only for new places from now on, write the present ones to a baseline, a file of places that are accepted:",
                command=same_command(ctx, "--baseline audit.json --update-baseline"),
            ),
            NextStep(
                text="Then look for places that are not in that file:",
                command=same_command(ctx, "--baseline audit.json"),
            ),
        ]
    return steps
