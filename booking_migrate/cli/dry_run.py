"""The command ``dry-run``: everything that ``migrate`` would do, and nothing written."""

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from booking_migrate.cli import options, run
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.open_places import DEFAULT_TARGET, Opened, Places, Rules, is_from_environment, opened
from booking_migrate.cli.printed_commands import GivenOptions
from booking_migrate.domain.rejection import ConflictPolicy
from booking_migrate.errors import NotPermitted, OutputFailed, WriteFailed
from booking_migrate.events import Warned
from booking_migrate.stores.open import CollectionPlace, Connection, parse_place

if TYPE_CHECKING:
    from collections.abc import Callable

    from booking_migrate.domain.contract import Contract
    from booking_migrate.dry_run.needs import ServerSurroundings
    from booking_migrate.dry_run.outcome import DryRunOutcome
    from booking_migrate.events import Listener
    from booking_migrate.reports.model import Report
    from booking_migrate.runs.plan import MigrationPlan
    from booking_migrate.runs.provenance import TargetHistory
    from booking_migrate.stores.ports import DocumentReader
    from booking_migrate.stores.preview import PreviewTarget

HELP = filled("""
Read everything, write nothing: what would be migrated, what could hurt, what it needs and what it gains.

The counts are those that migrate will report, because it is the same engine. A user who may only read is enough: no
document, no index and no collection is written, on either side.

With --plan, what was looked at is saved: options, contract, and the data's fingerprint. migrate --plan then refuses
other options, another contract and other files, naming the difference; of a collection it says what has changed since.

\b
[bold]Examples[/bold]
  Within a database, with a report to read and one to mail:
    MONGODB_URI=mongodb://localhost booking-migrate dry-run --db shop --report report.html
  Of a file, with the bookings that would be rejected:
    booking-migrate dry-run --source bookings.jsonl --users users.jsonl --experts experts.jsonl \\
      --reject-file rejected.jsonl
  A quick look at a large collection:
    booking-migrate dry-run --db shop --sample 50000
  Look, then do exactly that:
    booking-migrate dry-run --db shop --plan plan.json && booking-migrate migrate --db shop --plan plan.json
""")


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a dry-run writes beside its report, and how closely it looks."""

    is_target_given: bool
    reject_file: Path | None
    plan: Path | None
    sample: int | None


def dry_run(
    ctx: typer.Context,
    *,
    source: options.Source = "bookings",
    target: options.OptionalTarget = None,
    json_format: options.JsonFormatOption = None,
    sample: options.Sample = None,
    uri: options.Uri = None,
    db: options.Db = None,
    users: options.Users = None,
    experts: options.Experts = None,
    user_id_field: options.UserIdField = "user_id",
    user_email_field: options.UserEmailField = "email",
    expert_user_field: options.ExpertUserField = "userId",
    accept: options.Accept = None,
    max_document_size: options.MaxDocumentSize = options.DEFAULT_DOCUMENT_SIZE,
    merge_client_documents: options.MergeClientDocuments = False,
    on_conflict: options.OnConflict = ConflictPolicy.REJECT,
    overwrite: options.Overwrite = False,
    batch_size: options.BatchSize = 10_000,
    workers: options.Workers = 2,
    reject_file: options.RejectFile = None,
    plan: options.SavedPlan = None,
    json: options.Json = False,
    report: options.Reports = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Parse, and hand over to `_dry_run`."""
    places = Places(
        source=source,
        target=target or DEFAULT_TARGET,
        users=users,
        experts=experts,
        uri=uri,
        is_uri_from_environment=is_from_environment(ctx, "uri"),
        db=db,
        json_format=json_format,
        overwrite=overwrite,
    )
    rules = Rules(
        accept=frozenset(accept or ()),
        maximum_document_size=max_document_size,
        merge_client_documents=merge_client_documents,
        on_conflict=on_conflict,
        user_id_field=user_id_field,
        user_email_field=user_email_field,
        expert_user_field=expert_user_field,
        batch_size=batch_size,
        workers=workers,
    )
    extras = _Inputs(target is not None, reject_file, plan, sample)
    read_or_written = (source, target, users, experts, reject_file, plan, config)
    asked = run.Invocation(
        command="dry-run",
        source=source,
        target=places.target,
        places=[str(place) for place in read_or_written if place is not None],
        uri=uri,
        json=json,
        reports=tuple(report or ()),
        quiet=quiet,
        verbose=verbose,
        given=GivenOptions.of(ctx),
    )
    run.execute(
        asked,
        lambda run_id, listener: _dry_run(
            places, rules, contract_of(ctx), extras, run_id=run_id, listener=listener
        ),
    )


def _dry_run(
    places: Places, rules: Rules, contract: "Contract", extras: _Inputs, *, run_id: str, listener: "Listener"
) -> "Report | run.Incomplete":
    """Open the places, let the engine look, and make the report of what it saw."""
    # Here and not above: stores, engine and reports are not needed to print help.
    from booking_migrate.cli.next_steps import steps_after_dry_run  # noqa: PLC0415
    from booking_migrate.cli.plan_file import current_plan, write_plan  # noqa: PLC0415
    from booking_migrate.reports.dry_run.model import report_of_dry_run  # noqa: PLC0415
    from booking_migrate.reports.files import check_output_path  # noqa: PLC0415
    from booking_migrate.runs.saved_plan import ExpectedCounts  # noqa: PLC0415

    plan = rules.plan(contract)
    is_in_database = isinstance(parse_place(places.source), CollectionPlace)
    if places.is_uri_from_environment and not is_in_database and not extras.is_target_given:
        # A MONGODB_URI for other programs is no reason to ask a server about a file.
        places = replace(places, uri=None)
    places.check_distinct({"--reject-file": extras.reject_file, "--plan": extras.plan})
    for option, path in {"--reject-file": extras.reject_file, "--plan": extras.plan}.items():
        if path is not None:
            check_output_path(option, path)
    with opened(places, listener) as sides:
        # The fingerprint first: what changes while the data is read must not be part of it.
        saved = current_plan(places, plan, sides.connection) if extras.plan is not None else None
        lost: list[OutputFailed] = []

        def lose_rejects(error: WriteFailed) -> None:
            lost.append(OutputFailed("dry-run", "list of rejected bookings", error.place, error.problem))

        outcome = _look(places, plan, extras, sides, lose_rejects=lose_rejects, listener=listener)
    report = report_of_dry_run(
        outcome,
        run_id=run_id,
        source=places.source,
        target=places.target,
        rejects=str(extras.reject_file)
        if extras.reject_file and outcome.migration.counts.rejected and not lost
        else None,
        next_steps=tuple(steps_after_dry_run(outcome, sides.absences)),
    )
    if extras.plan is not None and saved is not None:
        if outcome.sampled is None:
            expected = ExpectedCounts.model_validate(outcome.migration.counts, from_attributes=True)
            saved = saved.model_copy(update={"expected": expected})
        try:
            write_plan(extras.plan, saved)
        except WriteFailed as error:
            lost.append(OutputFailed("dry-run", "plan", error.place, error.problem))
    return run.Incomplete(report, lost) if lost else report


def _look(
    places: Places,
    plan: "MigrationPlan",
    extras: _Inputs,
    sides: Opened,
    *,
    lose_rejects: "Callable[[WriteFailed], None]",
    listener: "Listener",
) -> "DryRunOutcome":
    from booking_migrate.dry_run.run import dry_run as look  # noqa: PLC0415 - not needed to print help
    from booking_migrate.stores.preview import open_preview  # noqa: PLC0415 - as above
    from booking_migrate.stores.sampling import sample  # noqa: PLC0415 - as above
    from booking_migrate.stores.scratchpad import DiskScratchpad  # noqa: PLC0415 - as above

    target = parse_place(places.target)

    def open_target() -> "PreviewTarget":
        return open_preview(
            target,
            sides.connection,
            source_name=places.source,
            # A sample is not what a target file would be, so there is nothing to compare.
            overwrite=places.overwrite or extras.sample is not None,
            reject_file=extras.reject_file,
            on_loss=lose_rejects,
        )

    source: DocumentReader = sides.source
    if extras.sample is not None:
        source = sample(source, parse_place(places.source), sides.connection, extras.sample)
    with closing(DiskScratchpad()) as scratchpad:
        return look(
            plan,
            source,
            open_target,
            surroundings=_inspect_surroundings(places, sides.connection),
            scratchpad=scratchpad,
            users=sides.users,
            experts=sides.experts,
            listener=listener,
            history=_history(places, sides.connection, listener),
        )


def _history(places: Places, connection: Connection, listener: "Listener") -> "TargetHistory | None":
    """What earlier runs wrote to the target; None, with a warning, if this user may not read the journal."""
    from booking_migrate.runs.provenance import history_of  # noqa: PLC0415 - as above
    from booking_migrate.stores.open_journal import open_journal  # noqa: PLC0415

    if not connection.is_given or not isinstance(parse_place(places.target), CollectionPlace):
        return None
    try:
        return history_of(open_journal(connection).journal, source=places.source, target=places.target)
    except NotPermitted as error:
        listener.notify(Warned(f"what earlier runs wrote to {places.target} is not known: {error.message}"))
        return None


def _inspect_surroundings(places: Places, connection: Connection) -> "ServerSurroundings":
    from booking_migrate.dry_run.needs import ServerSurroundings, inspect_surroundings  # noqa: PLC0415 - as above

    sides = (parse_place(places.source), parse_place(places.target))
    names = [side.name if isinstance(side, CollectionPlace) else None for side in sides]
    if not connection.is_given or names == [None, None]:
        return ServerSurroundings()
    anchor = connection.collection(next(name for name in names if name is not None))
    from booking_migrate.stores.mongo.inspection import MongoInspector  # noqa: PLC0415 - as above

    people = [place.name for place, _ in places.people.values() if isinstance(place, CollectionPlace)]
    return inspect_surroundings(MongoInspector(anchor), names[0], names[1], people)
