"""The command ``migrate``: side by side, from any place to any place, or within one collection."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from booking_migrate.cli import options, run
from booking_migrate.cli.config_file import config_path, contract_of, hooks_of
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.in_place import (
    ONLY_IN_PLACE,
    ONLY_SIDE_BY_SIDE,
    InPlace,
    Start,
    check_mode_options,
    check_options,
    migrate_in_place,
)
from booking_migrate.cli.open_places import DEFAULT_TARGET, Places, Rules, is_from_environment, opened
from booking_migrate.cli.option_values import waivable
from booking_migrate.cli.printed_commands import GivenOptions
from booking_migrate.domain.rejection import ConflictPolicy
from booking_migrate.errors import BadConfiguration, BadPlace
from booking_migrate.events import Warned
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.open import (
    CollectionPlace,
    FilePlace,
    StreamPlace,
    check_writable,
    open_target,
    parse_place,
    rejects_beside,
    written_beside,
)

if TYPE_CHECKING:
    from booking_migrate.cli.open_places import Opened
    from booking_migrate.domain.contract import Contract
    from booking_migrate.events import Listener
    from booking_migrate.migrate.lifecycle import JournaledOutcome
    from booking_migrate.reports.model import Report
    from booking_migrate.runs.outcome import Finding
    from booking_migrate.runs.plan import MigrationPlan
    from booking_migrate.runs.session import RunRequest

HELP = filled(f"""
Write one client document per client to the target, side by side; the source is not touched. With --in-place, everything
happens within the source collection, while the application uses it: for each few clients, one transaction writes their
documents and moves their old bookings to an archive.

Bookings that cannot be converted are kept whole in a place of their own, with every reason, and nothing else waits for
them. The command can be repeated: what is already there is left as it is.

A PLACE is a collection's name, a file ending in .jsonl, .ndjson, .json or .bson (each also .gz), or - for standard
input or output. A rule is waived by its REASON, one of: {", ".join(waivable())}.

Every option is also read from BOOKING_MIGRATE_ and its name, such as BOOKING_MIGRATE_BATCH_SIZE, and from the config
file; an option ranks before the environment, and that before the file.

\b
[bold]Examples[/bold]
  From a file to a file:
    booking-migrate migrate --source bookings.jsonl --target clients.jsonl \\
      --users users.jsonl --experts experts.jsonl
  Within a database:
    MONGODB_URI=mongodb://localhost booking-migrate migrate --db shop
  From a dump to a server, with a report to mail:
    booking-migrate migrate --source dump/shop/bookings.bson.gz --target clients \\
      --uri mongodb://localhost --db shop --report report.html
  In the live collection, at 2000 bookings a second:
    booking-migrate migrate --in-place --source bookings --db shop --max-rate 2000
  In a script:
    booking-migrate migrate --source bookings.jsonl --target clients.jsonl --json --quiet
""")


@dataclass(frozen=True, slots=True)
class _SideBySide:
    """What is asked for beyond what ``migrate`` always takes, side by side."""

    rejects: Path | None
    plan: Path | None


def migrate(
    ctx: typer.Context,
    *,
    source: options.Source = "bookings",
    target: options.Target = DEFAULT_TARGET,
    rejects: options.Rejects = None,
    json_format: options.JsonFormatOption = None,
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
    engine: options.EngineOption = None,
    workers: options.Workers = 2,
    max_lag: options.MaxLag = None,
    restart: options.Restart = False,
    in_place: options.InPlaceOption = False,
    archive: options.Archive = None,
    passes: options.Passes = 10,
    max_rate: options.MaxRate = None,
    without_transactions: options.WithoutTransactions = False,
    plan: options.FollowedPlan = None,
    json: options.Json = False,
    report: options.Reports = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Parse, and hand over to `_migrate`."""
    places = Places(
        source=source,
        target=target,
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
    asked = run.Invocation(
        command="migrate",
        source=source,
        target=source if in_place else target,
        places=[
            str(place)
            for place in (source, target, users, experts, rejects, plan, config)
            if place is not None
        ]
        + _files_beside(target),
        uri=uri,
        json=json,
        reports=tuple(report or ()),
        quiet=quiet,
        verbose=verbose,
        given=GivenOptions.of(ctx),
    )
    asked_side_by_side = _SideBySide(rejects, plan)
    signal_guard = SignalGuard()
    asked_in_place = InPlace(archive, passes, max_rate, without_transactions)

    def body(run_id: str, listener: "Listener") -> "Report":
        check_mode_options(ctx, ONLY_SIDE_BY_SIDE if in_place else ONLY_IN_PLACE, in_place=in_place)
        if engine is not None:
            listener.notify(Warned(options.ENGINE_IGNORED))
        start = Start(run_id, restart, max_lag, listener, signal_guard, config_path(ctx))
        if in_place and on_conflict is ConflictPolicy.TARGET:
            raise BadConfiguration("--on-conflict", "in place it is reject or source")
        if not isinstance(parse_place(asked.target), CollectionPlace):
            check_options(ctx, ("max_lag",), "only a collection has secondaries that may lag behind")
        if in_place:
            return migrate_in_place(places, rules.plan(contract_of(ctx)), asked_in_place, start)
        return _migrate(places, rules, contract_of(ctx), asked_side_by_side, start)

    run.execute(asked, body, signal_guard, partial(hooks_of, ctx))


def _files_beside(target: str) -> list[str]:
    """The files that the run writes beside a target file; no report may be one of them."""
    try:
        return [str(path) for path in written_beside(parse_place(target)).values()]
    except BadPlace:
        # Told where the places are opened, in a report like any other problem.
        return []


def _migrate(
    places: Places, rules: Rules, contract: "Contract", wanted: _SideBySide, start: Start
) -> "Report":
    """Open the places, let the engine do the work, and make the report of what came out."""
    # Here and not above: stores and engine are not needed to print help.
    from booking_migrate.cli.next_steps import steps_after_migrate  # noqa: PLC0415
    from booking_migrate.cli.plan_file import check_plan  # noqa: PLC0415
    from booking_migrate.reports.model import report_of_migration  # noqa: PLC0415

    plan = rules.plan(contract)
    places.check_distinct({"--rejects": wanted.rejects})
    target = parse_place(places.target)
    check_writable(target, rejects=wanted.rejects)
    with opened(places, start.listener) as sides:
        if wanted.plan is not None:
            check_plan(wanted.plan, places, plan, sides.connection, start.listener)
        if isinstance(parse_place(places.source), CollectionPlace):
            sides.connection.await_majority(places.source)
        done = _run(plan, places, wanted, start, sides)
    return report_of_migration(
        done.outcome,
        run_id=done.run_id,
        source=places.source,
        target=places.target,
        next_steps=tuple(
            steps_after_migrate(
                done.outcome, into_file=isinstance(target, FilePlace), absences=sides.absences
            )
        ),
    )


def _run(
    plan: "MigrationPlan", places: Places, wanted: _SideBySide, start: Start, sides: "Opened"
) -> "JournaledOutcome":
    """A collection gets a journal and a lock, a file a sidecar, standard output neither."""
    from booking_migrate.cli.run_context import stores_of  # noqa: PLC0415 - as above
    from booking_migrate.migrate.lifecycle import JournaledOutcome, migrate  # noqa: PLC0415
    from booking_migrate.migrate.pipeline import migrate as migrate_stream  # noqa: PLC0415
    from booking_migrate.migrate.to_file import SidecarTarget, migrate_to_file  # noqa: PLC0415
    from booking_migrate.stores.files.sidecar import Sidecar  # noqa: PLC0415

    place = parse_place(places.target)
    target = open_target(
        place,
        sides.connection,
        source_name=places.source,
        rejects=wanted.rejects,
        overwrite=places.overwrite,
    )
    request = _request(plan, places, wanted, start)
    match place:
        case CollectionPlace():
            named = _examined(plan, places, sides)
            stores = stores_of(sides.connection, target=places.target, source=places.source)
            done = migrate(
                plan,
                sides.source,
                target,
                stores=stores,
                request=request,
                users=sides.users,
                experts=sides.experts,
                listener=start.listener,
                signal_guard=start.signal_guard,
            )
            outcome = replace(done.outcome, findings=(*done.outcome.findings, *named))
            return replace(done, outcome=outcome)
        case FilePlace():
            written = [place.path, wanted.rejects or rejects_beside(place)]
            kept = SidecarTarget(target, Sidecar(place.path), request, written, start.listener)
            return migrate_to_file(
                plan,
                sides.source,
                kept,
                run_id=start.run_id,
                users=sides.users,
                experts=sides.experts,
                listener=start.listener,
            )
        case StreamPlace():
            outcome = migrate_stream(
                plan, sides.source, target, users=sides.users, experts=sides.experts, listener=start.listener
            )
            return JournaledOutcome(outcome, start.run_id, is_resumed=False)


def _examined(plan: "MigrationPlan", places: Places, sides: "Opened") -> "tuple[Finding, ...]":
    """What is to be said about the target's indexes and options.

    Raises:
        UnfitPlace: one of them is in the way of client documents; nothing was written.
    """
    from booking_migrate.migrate.destination import SAMPLE, examine_target, findings_of  # noqa: PLC0415 - as above
    from booking_migrate.stores.destination import refuse_unfit  # noqa: PLC0415
    from booking_migrate.stores.open_destination import first_and_last, open_destination  # noqa: PLC0415

    found = examine_target(
        plan,
        open_destination(sides.connection, places.target, places.source),
        first_and_last(parse_place(places.source), sides.connection, SAMPLE),
        users=sides.users,
        experts=sides.experts,
    )
    refuse_unfit(places.target, found)
    return tuple(findings_of(places.target, found))


def _request(plan: "MigrationPlan", places: Places, wanted: _SideBySide, start: Start) -> "RunRequest":
    from booking_migrate.cli.run_context import holder_of, run_options_of  # noqa: PLC0415 - as above
    from booking_migrate.runs.session import RunRequest  # noqa: PLC0415

    return RunRequest(
        run_id=start.run_id,
        source=places.source,
        target=places.target,
        options=run_options_of(plan, places, wanted.rejects),
        holder=holder_of("migrate", start.run_id),
        maximum_lag=start.maximum_lag,
        restart=start.restart,
        config=start.config,
    )
