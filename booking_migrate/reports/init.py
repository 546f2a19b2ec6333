"""The report of init."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from booking_migrate.bson.format import Line
from booking_migrate.dry_run.outcome import Reference
from booking_migrate.errors import ExitCode
from booking_migrate.init.outcome import BookingsFound, CollectionFound, InitOutcome, Setting
from booking_migrate.reports.model import NextStep, Part, Report, part_of
from booking_migrate.stores.places import DEFAULT_EXPERTS, DEFAULT_SOURCE, DEFAULT_USERS

_STREAM = "-"
_DEFAULT_FILE = "booking-migrate.toml"
"""The file that is written if none is named."""

_COLLECTIONS = {"source": DEFAULT_SOURCE, "users": DEFAULT_USERS, "experts": DEFAULT_EXPERTS}
"""What is decided by options of another look, with the usual names."""

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


def _steps_to_decide(outcome: InitOutcome, config: str, named: Mapping[str, str]) -> Iterator[NextStep]:
    """Yield how the file is completed: by another look once its collections are decided, and in it."""
    open_keys = [each.partition(":")[0] for each in outcome.undecided]
    collections = [key for key in open_keys if key in _COLLECTIONS]
    file = _DEFAULT_FILE if config == _STREAM else config
    words = [
        "booking-migrate",
        "init",
        *(word for key, value in named.items() for word in (f"--{key}", value)),
    ]
    if collections:
        for key in collections:
            candidates = [str(each.value) for each in outcome.settings if each.key == key]
            default = _COLLECTIONS[key]
            words += [f"--{key}", default if default in candidates else candidates[0]]
        sought = [each.key for each in outcome.settings if "is undecided" in each.reason]
        sought += ["references to bookings"] if "source" in collections else []
        also = f", which also finds {_enumerated(sought)}" if sought else ""
        replaces = "" if config == _STREAM else "; it replaces the file"
        text = f"Decide {_enumerated(collections)}, and look again with your choice{also}{replaces}. For example:"
        replacing = [] if config == _STREAM else ["--overwrite"]
        yield NextStep(text=text, command=shlex.join([*words, "--output", file, *replacing]))
    elif config == _STREAM:
        yield NextStep(text="Write it to a file:", command=shlex.join([*words, "--output", file]))
    if fields := [key for key in open_keys if key not in _COLLECTIONS]:
        yield NextStep(text=f"In that file, decide {_enumerated(fields)}.")


def _enumerated(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def report_of_init(
    outcome: InitOutcome, *, run_id: str, config: str, named: Mapping[str, str], seconds: float
) -> InitReport:
    """Build the report of init; ``config`` is the file that was written, ``named`` what the user had decided."""
    steps = list(_steps_to_decide(outcome, config, named))
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
