"""The command ``verify``: proves a migration's result, or lists every mismatch."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from booking_migrate.cli import options, run
from booking_migrate.cli.config_file import contract_of, hooks_of
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.in_place import check_mode_options
from booking_migrate.cli.open_places import is_from_environment
from booking_migrate.cli.path_conflicts import is_same_file
from booking_migrate.cli.printed_commands import GivenOptions, similar_command
from booking_migrate.cli.verify_inputs import ProofPlaces, Rules, baselines, check_own_archive
from booking_migrate.domain.rejection import ConflictPolicy
from booking_migrate.errors import BadConfiguration, OutputFailed, Refused
from booking_migrate.events import Warned
from booking_migrate.stores.open import CollectionPlace, Connection, parse_place, written_beside
from booking_migrate.stores.open_in_place import default_archive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from booking_migrate.domain.contract import Contract
    from booking_migrate.events import Listener
    from booking_migrate.reports.model import Report
    from booking_migrate.runs.outcome import Finding
    from booking_migrate.runs.states import VerifiedRun

HELP = filled("""
Prove that the target is what the source had to become, or list every mismatch. Nothing is written to either.

Both sides are read once. Each client document is taken apart into the bookings that it claims to hold, and these are
compared byte for byte with the source; ids, order, totals, dates and rejected bookings are worked out anew, by code
that the migration does not use. Give the same --users, --experts, --accept, --max-document-size and \\[contract] as
for the migration: they decide what had to come out.

Rejected bookings that are kept whole and have a cause are no mismatch.

With --in-place, the old bookings are those of the archive and those that are still in the source, and the client
documents are the source's. Sessions that the application has added or changed since are counted, not reported: changed is
one whose own updatedAt, or that of its client document, says so.

\b
[bold]Examples[/bold]
  Files:
    booking-migrate verify --source bookings.jsonl --target clients.jsonl \\
      --users users.jsonl --experts experts.jsonl
  Within a database, by a user who may only read:
    MONGODB_URI=mongodb://reader@localhost booking-migrate verify --db shop
  In CI, with a test case for each rule:
    booking-migrate verify --source bookings.jsonl --target clients.jsonl \\
      --report verify.xml --report verify.md --mismatches mismatches.jsonl
  After migrate --in-place, while the application runs:
    booking-migrate verify --in-place --source bookings --db shop
  A quick look at a large collection that is in use already:
    booking-migrate verify --db shop --sample 1000 --allow-later
""")

_CHECKING = "Checking"
ONLY_SIDE_BY_SIDE = ("target", "rejects")
ONLY_IN_PLACE = ("archive",)
_RECHECK_SECONDS = 1.0
"""What a difference on a collection waits by default: longer than a majority write takes to be seen."""

Workers = Annotated[
    int,
    options.option(
        "--workers",
        panel=_CHECKING,
        min=1,
        max=64,
        help="Read and check in so many processes. It changes speed, never the result.",
    ),
]
Sample = Annotated[
    int | None,
    options.option(
        "--sample",
        panel=_CHECKING,
        metavar="N",
        min=1,
        show_default=False,
        help="Check only N clients, chosen by chance, for a quick look.",
    ),
]
RecheckSeconds = Annotated[
    float | None,
    options.option(
        "--recheck",
        panel=_CHECKING,
        metavar="SECONDS",
        min=0,
        max=3600,
        show_default="1 for collections, 0 for files",
        help="Read a client that is not right again after so long, before it is reported.",
    ),
]
AllowLater = Annotated[
    bool | None,
    options.option(
        "--allow-later/--no-allow-later",
        panel=_CHECKING,
        show_default="only with --in-place",
        help="Count sessions that the new application added since, instead of reporting them.",
    ),
]
Mismatches = Annotated[
    Path | None,
    options.option(
        "--mismatches",
        panel="Output",
        metavar="FILE",
        show_default=False,
        help="Write every mismatch to a file of Extended JSON lines, with the values expected and found.",
    ),
]


@dataclass(frozen=True, slots=True)
class _Manner:
    """How to go about it."""

    workers: int
    sample: int | None
    recheck: float | None
    allow_later: bool | None
    mismatches: Path | None


@dataclass(frozen=True, slots=True)
class _Onward:
    """Commands about the same places that make sense after mismatches."""

    migrate: str
    explain: str


def verify(
    ctx: typer.Context,
    *,
    source: options.Source = "bookings",
    target: options.Target = "bookings_consolidated",
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
    on_conflict: options.OnConflict = ConflictPolicy.REJECT,
    workers: Workers = 2,
    sample: Sample = None,
    recheck: RecheckSeconds = None,
    allow_later: AllowLater = None,
    in_place: options.InPlaceProof = False,
    archive: options.Archive = None,
    mismatches: Mismatches = None,
    json: options.Json = False,
    report: options.Reports = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Parse, and hand over to `_verify`."""
    places = ProofPlaces(
        source=source,
        target=source if in_place else target,
        users=users,
        experts=experts,
        uri=uri,
        is_uri_from_environment=is_from_environment(ctx, "uri"),
        db=db,
        json_format=json_format,
        rejects=rejects,
        archive=(archive or default_archive(source)) if in_place else None,
    )
    rules = Rules(
        frozenset(accept or ()),
        max_document_size,
        user_id_field,
        user_email_field,
        expert_user_field,
        on_conflict,
    )
    manner = _Manner(workers, sample, recheck, allow_later, mismatches)
    asked = run.Invocation(
        command="verify",
        source=source,
        target=places.target,
        places=[*places.named, *(str(path) for path in (config, mismatches) if path is not None)],
        uri=uri,
        json=json,
        reports=tuple(report or ()),
        quiet=quiet,
        verbose=verbose,
        given=GivenOptions.of(ctx),
    )

    def body(run_id: str, listener: "Listener") -> "Report | run.Incomplete":
        check_mode_options(ctx, ONLY_SIDE_BY_SIDE if in_place else ONLY_IN_PLACE, in_place=in_place)
        onward = _Onward(
            migrate=similar_command(ctx, "migrate"), explain=similar_command(ctx, "explain", "BOOKING_ID")
        )
        return _verify(places, rules, manner, contract_of(ctx), onward, run_id=run_id, listener=listener)

    run.execute(asked, body, hooks=partial(hooks_of, ctx))


def _verify(
    places: ProofPlaces,
    rules: Rules,
    manner: _Manner,
    contract: "Contract",
    onward: _Onward,
    *,
    run_id: str,
    listener: "Listener",
) -> "Report | run.Incomplete":
    """Open the places, let the engine check them, and make the report of what it found."""
    # Here and not above: stores and engine are not needed to print help.
    from booking_migrate.cli.next_steps import steps_after_verify  # noqa: PLC0415
    from booking_migrate.reports.mismatch_file import MismatchFile  # noqa: PLC0415
    from booking_migrate.reports.verification import report_of_verification  # noqa: PLC0415
    from booking_migrate.verify import VerificationPlan  # noqa: PLC0415
    from booking_migrate.verify import verify as check  # noqa: PLC0415
    from booking_migrate.verify.run import ignore  # noqa: PLC0415

    default_recheck = _RECHECK_SECONDS if places.in_database else 0.0
    is_in_place = places.archive is not None
    plan = VerificationPlan(
        rules=rules.for_target(
            places.target,
            contract,
            allow_later=is_in_place if manner.allow_later is None else manner.allow_later,
            allow_changed=is_in_place and manner.allow_later is not False,
        ),
        people=rules.people,
        sample=manner.sample,
        workers=manner.workers,
        recheck_seconds=default_recheck if manner.recheck is None else manner.recheck,
    )
    with places.open(listener) as evidence, ExitStack() as stack:
        check_own_archive(places, evidence.connection)
        listed: MismatchFile | None = None
        if manner.mismatches is not None:
            _check_no_clash(manner.mismatches, places)
            listed = stack.enter_context(MismatchFile(manner.mismatches))
        for side in (places.source, places.target):
            # A proof of what a majority had an hour ago would prove nothing.
            if isinstance(parse_place(side), CollectionPlace):
                evidence.connection.await_majority(side)
        run_to_tell = _run_to_tell(places, evidence.connection, manner)
        outcome = check(
            replace(plan, baselines=baselines(places, evidence.connection, listener)),
            evidence.source,
            evidence.target,
            evidence.rejected,
            users=evidence.users,
            experts=evidence.experts,
            has_client_index=evidence.has_client_index,
            sink=listed.write if listed else ignore,
            listener=listener,
        )
        if listed:
            listed.finish()
        failure = listed.failure if listed else None
        unfinished = _unfinished(places, evidence.connection)
        outcome = replace(outcome, findings=(*outcome.findings, *unfinished))
        if run_to_tell is not None:
            run_to_tell.note(is_clean=not outcome.mismatch_count)
            if run_to_tell.problem is not None:
                listener.notify(
                    Warned(
                        f"the result is not kept, so cutover will not know of this verification: {run_to_tell.problem}"
                    )
                )
    report = report_of_verification(
        outcome,
        run_id=run_id,
        source=places.source,
        target=places.target,
        next_steps=tuple(
            steps_after_verify(
                outcome,
                migrate=onward.migrate,
                explain=onward.explain,
                listed=listed is not None and failure is None,
            )
        ),
        mismatches_file=None if listed is None or failure is not None else str(manner.mismatches),
    ).model_copy(update={"archive": places.archive})
    if failure is None:
        return report
    return run.Incomplete(
        report, [OutputFailed("verify", "list of mismatches", failure.place, failure.problem)]
    )


def _unfinished(places: ProofPlaces, connection: Connection) -> "Sequence[Finding]":
    """What to say about a run that has not finished the target; nothing where the journal cannot be read.

    That it cannot be read is said where the target's documents of before are looked up.
    """
    from booking_migrate.runs.status import unfinished_run  # noqa: PLC0415 - not needed to print help
    from booking_migrate.stores.open_journal import open_journal  # noqa: PLC0415

    if not isinstance(parse_place(places.target), CollectionPlace):
        return ()
    journal, locks, _ = open_journal(connection)
    try:
        found = unfinished_run(journal, locks, target=places.target)
    except Refused:
        return ()
    return () if found is None else (found,)


def _run_to_tell(places: ProofPlaces, connection: Connection, manner: _Manner) -> "VerifiedRun | None":
    """The run to tell of this verification, if that is whole and from a collection to a collection."""
    from booking_migrate.runs.states import VerifiedRun  # noqa: PLC0415 - not needed to print help
    from booking_migrate.stores.open_journal import may_write_journal, open_journal  # noqa: PLC0415

    sides = (parse_place(places.source), parse_place(places.target))
    if manner.sample is not None or not all(isinstance(side, CollectionPlace) for side in sides):
        return None
    return VerifiedRun(
        open_journal(connection).journal,
        source=places.source,
        target=places.target,
        may_write=lambda: may_write_journal(connection),
    )


def _check_no_clash(mismatches: Path, places: ProofPlaces) -> None:
    """Refuse a file of mismatches that would overwrite what is read."""
    for place in [*places.named, *map(str, written_beside(parse_place(places.target)).values())]:
        if is_same_file(mismatches, place):
            raise BadConfiguration("--mismatches", f"{str(mismatches)!r} is also read as {place!r}")
