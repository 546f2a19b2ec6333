"""The report of init."""

import shlex

from pydantic import Field

from booking_migrate.bson.format import Line
from booking_migrate.dry_run.outcome import Reference
from booking_migrate.errors import ExitCode
from booking_migrate.init.outcome import BookingsFound, CollectionFound, InitOutcome, Setting
from booking_migrate.reports.model import NextStep, Part, Report, part_of

_STREAM = "-"
_DEFAULT_FILE = "booking-migrate.toml"
"""The file that is written if none is named."""

_CONTRACT = (
    "In [contract] of that file, decide with the developers of the new application which {} it accepts, and take out the # before "
    "the lines that are right; the next command counts what would be rejected."
)
"""What to do about values that the contract may have to allow."""


class InitPart(Part):
    """What only init knows."""

    config: Line = Field(description="the file that was written, or - for standard output")
    server: Line = Field(description="the server's version and topology")
    collections: tuple[CollectionFound, ...] = Field(
        description="what each collection is found to be, and why"
    )
    bookings: BookingsFound = Field(description="what a sample of the bookings looks like")
    settings: tuple[Setting, ...] = Field(
        description="the lines of the file; those that are not set are commented out"
    )
    undecided: tuple[Line, ...] = Field(description="what the user has to decide")
    references: tuple[Reference, ...] = Field(description="fields elsewhere that hold ids of bookings")
    unreadable: tuple[Line, ...] = Field(description="collections that this user may not read")


class InitReport(Report):
    """The report of init."""

    init: InitPart = Field(description="what only init knows")


def report_of_init(outcome: InitOutcome, *, run_id: str, config: str, seconds: float) -> InitReport:
    """Build the report of init; ``config`` is the file that was written."""
    steps = list[NextStep]()
    if config == _STREAM:
        command = f"booking-migrate init --output {_DEFAULT_FILE}"
        steps.append(NextStep(text="Write it to a file:", command=command))
    if outcome.undecided:
        open_keys = [each.partition(":")[0] for each in outcome.undecided]
        waiting = [each.key for each in outcome.settings if "is undecided" in each.reason]
        then = f", then {', '.join(waiting)}" if waiting else ""
        without = (
            " References were not looked for, because source is undecided." if "source" in open_keys else ""
        )
        steps.append(NextStep(text=f"In that file, decide {' and '.join(open_keys)}{then}.{without}"))
    if to_allow := [each.key for each in outcome.settings if each.table == "contract" and not each.is_set]:
        steps.append(NextStep(text=_CONTRACT.format(" and ".join(to_allow))))
    file = _DEFAULT_FILE if config == _STREAM else shlex.quote(config)
    following = f"booking-migrate dry-run --config {file}"
    steps.append(NextStep(text="Show what would be migrated, without writing:", command=following))
    source = next((each.value for each in outcome.settings if each.key == "source" and each.is_set), "")
    target = next((each.value for each in outcome.settings if each.key == "target"), "")
    return InitReport(
        command="init",
        run_id=run_id,
        source=source,
        target=target,
        exit_code=ExitCode.DONE,
        seconds=seconds,
        next_steps=tuple(steps),
        init=part_of(InitPart, outcome, config=config),
    )
