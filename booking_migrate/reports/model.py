"""The one report that all formats are made of. Its JSON form is an API: fields are only ever added.

Texts that come from data (ids, names of places, messages) are made harmless when a report is built, so no renderer has
to: cut to one short line, with everything that does not print written as an escape.

Builders of reports take an outcome, the run's name, and the places as the user wrote them.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from booking_migrate import __version__
from booking_migrate.bson.format import Id, Line, Lines, short
from booking_migrate.errors import ExitCode
from booking_migrate.events import ReadingWay
from booking_migrate.quantities import alternatives
from booking_migrate.runs.commands import taken_over_by
from booking_migrate.runs.plan import ExpectedCounts, Finding, MigrationOutcome, RejectionGroup, all_rejected
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.locks import Holder
from booking_migrate.verify.mismatch import Kind

Seconds = Annotated[float, AfterValidator(lambda seconds: round(seconds, 3))]
"""A length of time, to the millisecond."""


class Part(BaseModel):
    """A part of a report: immutable, and strict about its fields; the texts of outcomes in it are made harmless."""

    model_config = ConfigDict(
        defer_build=True, frozen=True, extra="forbid", from_attributes=True, revalidate_instances="always"
    )


class CountsReport(Part):
    """Numbers of documents. ``scanned = migrated + already_migrated + rejected``."""

    scanned: int = Field(description="bookings in the source")
    migrated: int = Field(description="bookings that became sessions in this run")
    already_migrated: int = Field(description="bookings that were sessions before this run")
    rejected: int = Field(description="bookings that cannot be converted")
    conflicts: int = Field(
        default=0,
        description="of the rejected: bookings whose session has other content in a client document that others wrote",
    )
    clients: int = Field(description="clients with at least one booking migrated or already migrated")
    sessions: int = Field(description="sessions in the documents of those clients")
    client_documents: int = Field(description="client documents that were already in the source")

    @property
    def are_all_rejected(self) -> bool:
        """See `runs.plan.all_rejected`."""
        return all_rejected(self.model_dump())


class EngineReport(Part):
    """What one engine did of a migration, for one reason."""

    engine: str = Field(description="server or stream")
    reason: Line = Field(description="why this engine did it")
    ranges: int = Field(description="ranges of clients that it processed as a whole")
    documents: int = Field(description="documents of the source that it processed")


class RewriteStatusReport(Part):
    """One rewrite of references that stands."""

    rewrite_id: Line
    run_id: Line = Field(description="the migration whose new ids were written")
    state: str = Field(
        description="running, interrupted, failed or done; restoring-running, restoring-interrupted or restoring-failed"
    )
    fields: tuple[Line, ...] = Field(description="collections and paths")
    documents: int = Field(description="documents that were changed")
    looked_at: int = Field(description="documents that were read")
    values: int = Field(description="references that were rewritten")
    restored: int = Field(description="documents that have old ids again")
    problem: Line | None = Field(description="the error that ended it")
    holder: Line | None = Field(description="the process that works on it; null: none does")
    possible: tuple[Line, ...] = Field(description="the commands that are possible now")
    purposes: tuple[Line, ...] = Field(description="what each of `possible` does, in their order")


class ErrorReport(Part):
    """Why the command failed."""

    kind: str = Field(description="the error's name, such as PlaceNotFound")
    message: Line
    hint: Lines = Field(description="what to do next, or empty")
    commands: tuple[Line, ...] = Field(
        default=(),
        description="the same command with what helps, complete; more than one if there is a choice",
    )
    rewrite: RewriteStatusReport | None = Field(
        default=None,
        description="references rewrite, rollback --references: how far the rewrite or its undo was; null if none was begun",
    )


class NextStep(Part):
    """Something worth doing after this run."""

    text: Line
    command: Line | None = Field(default=None, description="the command to type, if any")


class MismatchReport(Part):
    """One difference that verify found."""

    kind: str = Field(description=alternatives(list(Kind)))
    client_id: Id | None
    booking_id: Id | None
    field: Line | None = Field(description="the field at fault; null if it is the document as a whole")
    expected: Line | None = Field(description="the value that should be there, with its type; null if none")
    found: Line | None = Field(description="the value that is there, with its type; null if none")
    detail: Line = Field(description="what is wrong, where the values do not say it")


class RuleReport(Part):
    """The result of one rule of verify."""

    rule: str = Field(description="a stable name")
    mismatch_count: int = Field(description="how many mismatches break it")
    examples: tuple[MismatchReport, ...] = Field(description="the first few of them")


class VerificationReport(Part):
    """What verify looked at."""

    rules: tuple[RuleReport, ...] = Field(description="one for each rule that was checked")
    clients_checked: int
    clients_seen: int = Field(description="the clients of both sides")
    sampled: bool = Field(description="whether only some clients were checked, chosen at random")
    later_sessions: int = Field(description="sessions of the new application that were allowed")
    changed_sessions: int = Field(
        default=0, description="sessions that the new application has changed since, which was allowed"
    )
    mismatches_file: Line | None = Field(default=None, description="where every mismatch is listed")
    recheck: str | None = Field(
        default=None,
        description="how clients with a difference were read again: changes (of the change stream), snapshot (both sides at one cluster time), plain",
    )


class ExplainedField(Part):
    """One field of a booking beside the same field of its session, as text."""

    name: Line
    old: Line | None
    new: Line | None


class ExplanationReport(Part):
    """Where one booking went."""

    fate: str = Field(description="migrated, rejected, different or missing")
    booking_id: Id
    client_id: Id | None
    document_id: Id | None = Field(description="the client document that holds its session")
    session_number: int | None = Field(description="which of its sessions, counted from 1")
    session_count: int
    fields: tuple[ExplainedField, ...]
    reasons: tuple[str, ...] = Field(description="why it was rejected; the first one counts")
    details: tuple[Line, ...] = Field(default=(), description="the fields at fault and what was found there")
    mismatches: tuple[MismatchReport, ...] = Field(description="what differs")


class ReadingReport(Part):
    """How a collection was read in client order."""

    place: Line
    way: ReadingWay = Field(
        description="`index`: in ranges along the index; `sort`: one scan that the server sorted"
    )
    reason: Line = Field(description="why, as part of a sentence")


class PlannedReport(Part):
    """What a plan expected of a migration."""

    scanned: int
    migrated: int
    already_migrated: int
    rejected: int
    clients: int


class Report(Part):
    """What one command did. It never contains a connection string."""

    schema_version: Literal[1] = Field(default=1, description="the version of this format")
    tool_version: str = Field(default=__version__, description="the version of the program")
    command: str = Field(description="the command that ran")
    run_id: str = Field(
        description="unique id of the run (UTC time and a random suffix); never written to migrated data"
    )
    database: Line | None = Field(default=None, description="the database; null if only files were used")
    host: Line | None = Field(
        default=None, description="the servers of the connection string, without credentials; null likewise"
    )
    started_at: datetime | None = Field(default=None, description="when the command began, UTC")
    ended_at: datetime | None = Field(default=None, description="when it ended, UTC")
    options: dict[str, Line] = Field(
        default_factory=dict,
        description="the options that were set, by the command line, the environment or the config file, as text; "
        "never the connection string",
    )
    source: Line = Field(description="the source place as given")
    target: Line = Field(description="the target place as given")
    exit_code: ExitCode = Field(description="the exit code of the command")
    error: ErrorReport | None = Field(default=None, description="null if the command and its hook succeeded")
    counts: CountsReport | None = Field(default=None, description="null if the command failed")
    planned: PlannedReport | None = Field(
        default=None,
        description="migrate --plan: what the plan expected, {`scanned`, `migrated`, `already_migrated`, `rejected`, `clients`}; "
        "null without a plan",
    )
    rejections: tuple[RejectionGroup, ...] = Field(
        default=(),
        description="[{`reason`, `count`, `sample_ids`, `values`, `fields`}], by falling count; `values` are the most frequent "
        "ones of the `fields` at fault, [{`field`, `value`, `count`}], without personal data",
    )
    rejected_spent: dict[str, Id] = Field(
        default_factory=dict,
        description="decimal sums of the prices of rejected bookings, by currency, as far as they can be read",
    )
    rejected_unpriced: int = Field(default=0, description="rejected bookings whose price cannot be read")
    rejects: Line | None = Field(default=None, description="where the rejected bookings are kept")
    spent: dict[str, Id] = Field(
        default_factory=dict, description="decimal sums of the sessions' prices, by currency"
    )
    findings: tuple[Finding, ...] = Field(
        default=(),
        description="[{`kind`, `title`, `count`, `sample_ids`, `advice`}]: not a reason to reject, but worth knowing",
    )
    archive: Line | None = Field(default=None, description="in place: the collection with the old bookings")
    passes: int | None = Field(default=None, description="in place: the number of passes over the collection")
    documents_written: int = Field(default=0, description="client documents new in the target")
    documents_changed: int = Field(default=0, description="client documents of the target that were changed")
    documents_removed: int = Field(
        default=0,
        description="client documents of earlier runs that were removed: their clients do not have bookings any more",
    )
    changed: bool = Field(default=False, description="whether the target was changed")
    engines: tuple[EngineReport, ...] = Field(
        default=(),
        description="always empty since the program converts all bookings itself; kept for readers of older reports",
    )
    mismatch_count: int | None = Field(
        default=None, description="how many mismatches verify found; null for other commands"
    )
    mismatches: tuple[MismatchReport, ...] = Field(
        default=(),
        description="[{`kind`, `client_id`, `booking_id`, `field`, `expected`, `found`, `detail`}]: "
        "the first few of each rule",
    )
    cluster_time: datetime | None = Field(
        default=None,
        description="the cluster time of the source that the result is about; null: the source is not in a replica set",
    )
    reading: tuple[ReadingReport, ...] = Field(
        default=(),
        description="[{`place`, `way`, `reason`}]: how collections were read in client order, `index` or `sort`, and why",
    )
    behind: int | None = Field(
        default=None,
        description="verify: clients that the application has changed since the run derived them; "
        "no mismatches: cutover or migrate brings them in",
    )
    verification: VerificationReport | None = Field(default=None, description="what verify looked at")
    explanation: ExplanationReport | None = Field(default=None, description="what explain found")
    seconds: Seconds = Field(default=0.0, description="how long it took")
    next_steps: tuple[NextStep, ...] = Field(default=(), description="[{`text`, `command`}]: what to do next")


AnyPart = TypeVar("AnyPart", bound=Part)


def step_after_hand_over(taken_by: Holder) -> NextStep:
    """Return the only step of a command that has handed its lock over: to look at what the other command does."""
    return NextStep(text=f"{taken_over_by(taken_by)} To see how that goes:", command="booking-migrate status")


def part_of(kind: type[AnyPart], outcome: object, **further: Any) -> AnyPart:
    """Return a report, or a part of one, with every field that an outcome has under the same name.

    Args:
        kind: what to make.
        outcome: what was done or found.
        further: the fields that it does not have, or has in another form.
    """
    own = {name: getattr(outcome, name) for name in kind.model_fields if hasattr(outcome, name)}
    return kind(**{**own, **further})


def facts_of_run(command: str, run: RunRecord) -> dict[str, Any]:
    """Return what the report of a command on a run has of the two."""
    return {"command": command, "run_id": run.run_id, "source": run.source, "target": run.target}


def report_of_migration(
    outcome: MigrationOutcome,
    *,
    run_id: str,
    source: str,
    target: str,
    next_steps: Sequence[NextStep],
    cluster_time: datetime | None = None,
    planned: ExpectedCounts | None = None,
) -> Report:
    return part_of(
        Report,
        outcome,
        command="migrate",
        run_id=run_id,
        source=source,
        target=target,
        exit_code=ExitCode.REJECTED if outcome.counts.rejected else ExitCode.DONE,
        rejects=outcome.rejects_name,
        spent=sums_by_currency(outcome.spent),
        rejected_spent=sums_by_currency(outcome.rejected_money.prices),
        rejected_unpriced=outcome.rejected_money.unpriced,
        next_steps=next_steps,
        cluster_time=cluster_time,
        planned=planned,
    )


def sums_by_currency(spent: Mapping[str, Decimal]) -> dict[str, str]:
    """Return sums of money as a report has them."""
    return {short(currency): f"{total:f}" for currency, total in sorted(spent.items())}


def render_json(report: Report) -> str:
    """Return the report as JSON: one document, indented, with a line end; keys in the order of the model.

    It is plain ASCII, so that it is valid JSON under whatever encoding standard output has.
    """
    return json.dumps(report.model_dump(mode="json"), indent=2) + "\n"
