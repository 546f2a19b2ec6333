"""The command ``cutover``: make the target the live collection."""

from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from booking_migrate.cli import options, run
from booking_migrate.cli import verify_inputs as proof
from booking_migrate.cli.config_file import contract_of, hooks_of
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.open_places import DEFAULT_TARGET, Opened, Places, Rules, is_from_environment, opened
from booking_migrate.cli.printed_commands import GivenOptions
from booking_migrate.cli.streams import is_interactive
from booking_migrate.domain.rejection import ConflictPolicy
from booking_migrate.errors import CutoverRefused, NotConfirmed
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.open import CollectionPlace, open_reader, open_target, parse_place

if TYPE_CHECKING:
    from collections.abc import Callable

    from booking_migrate.cutover.readiness import RejectedPolicy
    from booking_migrate.cutover.run import CutoverPlaces
    from booking_migrate.domain.contract import Contract
    from booking_migrate.events import Listener
    from booking_migrate.reports.model import Report
    from booking_migrate.runs.plan import MigrationPlan
    from booking_migrate.runs.session import RunRequest
    from booking_migrate.stores.journal import RunRecord
    from booking_migrate.verify import VerificationOutcome

HELP = filled("""
Make the target the live collection, under the source's name, after a clean and current verify of its newest run.

Inserts and updates of the source are refused while it works. It brings in what has changed since, keeps the old
collection as SOURCE_legacy_RUN (a copy made by the server, counted and compared), proves the target against that copy,
and swaps with one atomic rename. Whatever fails before that leaves the source live as it was. A cut-over that was killed
is continued by the same command, and given up by --abort. It says for how long writes were refused. Use the options that
migrate had.

The server lets deletes pass meanwhile: one that comes before the copy is brought in, a later one ends the cut-over.
--block-all-writes refuses them too, and every other write of every user to the whole cluster, but of those who may
bypass it. It takes MongoDB 6.0, a replica set, and the roles restore and clusterMonitor.

\b
[bold]Examples[/bold]
  After migrate and verify:
    MONGODB_URI=mongodb://localhost booking-migrate cutover --db shop
  In a script, with rejected bookings staying in the copy:
    booking-migrate cutover --target clients --rejected leave --yes --json
""")

Rejected = Annotated[
    str | None,
    options.option(
        "--rejected",
        panel="What may pass",
        metavar="carry|leave",
        show_default=False,
        help="Take rejected bookings along in their old shape, or leave them in the copy of the old collection only.",
    ),
]


def _policy(text: str | None) -> "RejectedPolicy | None":
    from booking_migrate.cutover.readiness import RejectedPolicy  # noqa: PLC0415 - not needed to print help

    if text is not None and text not in set(RejectedPolicy):
        raise typer.BadParameter("it is carry or leave.", param_hint="--rejected")
    return None if text is None else RejectedPolicy(text)


BlockAllWrites = Annotated[
    bool,
    options.option(
        "--block-all-writes/--no-block-all-writes",
        panel="What may pass",
        show_default=False,
        help="Refuse every user's writes to the whole cluster meanwhile, deletes too (setUserWriteBlockMode).",
    ),
]


Abort = Annotated[
    bool,
    options.option(
        "--abort",
        panel="What may pass",
        show_default=False,
        help="Give up a cut-over that was killed: the source accepts writes again, and the target is kept.",
    ),
]


@dataclass(frozen=True, slots=True)
class _Start:
    """How the cut-over begins, and who hears of it."""

    run_id: str
    policy: "RejectedPolicy | None"
    block_all_writes: bool
    before: "Callable[[RunRecord], None]"
    """Asks whoever is at the terminal, and runs the hook."""

    listener: "Listener"
    signal_guard: SignalGuard
    is_abort: bool = False
    """Whether an unfinished cut-over is given up instead."""

    @property
    def own_options(self) -> dict[str, str]:
        """The options that only a cut-over has, as the journal keeps them."""
        policy = {} if self.policy is None else {"rejected": self.policy.value}
        return {**policy, **({"block-all-writes": str(True)} if self.block_all_writes else {})}


def cutover(
    ctx: typer.Context,
    *,
    source: options.Source = "bookings",
    target: options.Target = DEFAULT_TARGET,
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
    rejected: Rejected = None,
    block_all_writes: BlockAllWrites = False,
    abort: Abort = False,
    yes: options.Yes = False,
    json: options.Json = False,
    report: options.Reports = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Parse, and hand over to `_cutover`."""
    policy = _policy(rejected)
    places = Places(
        source=source,
        target=target,
        users=users,
        experts=experts,
        uri=uri,
        is_uri_from_environment=is_from_environment(ctx, "uri"),
        db=db,
        json_format=None,
    )
    rules = Rules(
        accept=frozenset(accept or ()),
        maximum_document_size=max_document_size,
        merge_client_documents=merge_client_documents,
        on_conflict=on_conflict,
        user_id_field=user_id_field,
        user_email_field=user_email_field,
        expert_user_field=expert_user_field,
        batch_size=10_000,
    )
    asked = run.Invocation(
        command="cutover",
        source=source,
        target=target,
        places=[str(place) for place in (source, target, users, experts, config) if place is not None],
        uri=uri,
        json=json,
        reports=tuple(report or ()),
        quiet=quiet,
        verbose=verbose,
        given=GivenOptions.of(ctx),
    )
    signal_guard = SignalGuard()

    def before(chosen: "RunRecord") -> None:
        from booking_migrate.reports.life.model import report_before_cutover  # noqa: PLC0415 - not needed to print help

        if not yes:
            _confirm(chosen)
        hooks_of(ctx).run_before(report_before_cutover(chosen), asked.redact)

    run.execute(
        asked,
        lambda run_id, listener: _cutover(
            places,
            rules,
            contract_of(ctx),
            _Start(run_id, policy, block_all_writes, before, listener, signal_guard, is_abort=abort),
        ),
        signal_guard,
        partial(hooks_of, ctx),
    )


def _cutover(places: Places, rules: Rules, contract: "Contract", start: _Start) -> "Report":
    """Open the places, let the engine do the work, and make the report of what came out."""
    # Here and not above: stores and engine are not needed to print help.
    from booking_migrate.cli.run_context import holder_of, run_options_of, stores_of  # noqa: PLC0415
    from booking_migrate.cutover.run import CutoverPlan, cut_over  # noqa: PLC0415
    from booking_migrate.reports.life.model import report_of_cutover  # noqa: PLC0415
    from booking_migrate.runs.session import RunRequest  # noqa: PLC0415

    began = monotonic()
    for side in (places.source, places.target):
        if not isinstance(parse_place(side), CollectionPlace):
            raise CutoverRefused(places.target, f"{side} is no collection", "A file is simply put in place.")
    places.check_distinct({})
    plan = rules.plan(contract)
    request = RunRequest(
        run_id=start.run_id,
        source=places.source,
        target=places.target,
        options=run_options_of(plan, places),
        holder=holder_of("cutover", start.run_id),
    )
    with opened(places, start.listener) as sides:
        if start.is_abort:
            return _abort(places, sides, request, began)

        stores = stores_of(sides.connection, target=places.target, source=places.source)

        def before(chosen: "RunRecord") -> None:
            _warn_of_options(places, sides, start.listener)
            start.before(chosen)
            stores.journal.annotate(chosen.run_id, cutover_options=start.own_options)

        outcome = cut_over(
            CutoverPlan(
                migration=plan,
                request=request,
                policy=start.policy,
                places=_places(places, plan, sides, start),
                stores=stores,
                listener=start.listener,
                signal_guard=start.signal_guard,
                before=before,
            )
        )
    return report_of_cutover(outcome, seconds=monotonic() - began)


def _abort(places: Places, sides: Opened, request: "RunRequest", began: float) -> "Report":
    from booking_migrate.cli.run_context import stores_of  # noqa: PLC0415 - as above
    from booking_migrate.cutover.run import abort  # noqa: PLC0415
    from booking_migrate.reports.life.model import report_of_abort  # noqa: PLC0415
    from booking_migrate.stores.open_journal import open_live  # noqa: PLC0415

    stores = stores_of(sides.connection, target=places.target, source=places.source)
    live = open_live(sides.connection, source=places.source, target=places.target)
    return report_of_abort(abort(stores, live, request), seconds=monotonic() - began)


def _warn_of_options(places: Places, sides: Opened, listener: "Listener") -> None:
    """Name the options of the old collection that the new one will not have, while nothing is changed yet."""
    from booking_migrate.events import Warned  # noqa: PLC0415 - as above
    from booking_migrate.stores.cutover import options_after  # noqa: PLC0415
    from booking_migrate.stores.open_destination import open_destination  # noqa: PLC0415

    source, target = (
        open_destination(sides.connection, name).facts() for name in (places.source, places.target)
    )
    if source is None or target is None:
        return
    for note in options_after(source.options, target.options):
        if not note.is_kept:
            listener.notify(Warned(f"{places.source} will lose its option {note.name}: {note.reason}"))


def _places(places: Places, plan: "MigrationPlan", sides: Opened, start: _Start) -> "CutoverPlaces":
    from booking_migrate.cutover.run import CutoverPlaces  # noqa: PLC0415 - as above
    from booking_migrate.stores.open_journal import open_live  # noqa: PLC0415

    connection = sides.connection
    return CutoverPlaces(
        source=sides.source,
        target=open_target(parse_place(places.target), connection, source_name=places.source),
        users=sides.users,
        experts=sides.experts,
        live=open_live(
            connection,
            source=places.source,
            target=places.target,
            block_all_writes=start.block_all_writes,
        ),
        verify=_proof(places, plan, sides, start.listener),
    )


def _proof(
    places: Places, plan: "MigrationPlan", sides: Opened, listener: "Listener"
) -> "Callable[[str], VerificationOutcome]":
    """The verification of the target against a collection, by the rules of the run."""
    from booking_migrate.stores.mongo.client_index import has_client_index  # noqa: PLC0415
    from booking_migrate.stores.rejects_reader import open_rejected_records  # noqa: PLC0415
    from booking_migrate.verify import VerificationPlan, verify  # noqa: PLC0415 - as above

    rules = proof.Rules(
        plan.accepted,
        plan.maximum_document_size,
        plan.lookup.user_id,
        plan.lookup.email,
        plan.lookup.expert_user,
        plan.on_conflict,
    )
    proof_plan = VerificationPlan(rules=rules.for_target(places.target, plan.contract), people=rules.people)
    target = parse_place(places.target)

    def check(kept: str) -> "VerificationOutcome":
        connection = sides.connection
        with (
            closing(open_reader(CollectionPlace(kept), connection)) as source,
            closing(open_reader(target, connection)) as result,
            closing(open_rejected_records(target, connection, source_name=places.source)) as rejected,
        ):
            return verify(
                replace(proof_plan, baselines=proof.baselines(places, connection, listener)),
                source,
                result,
                rejected,
                users=sides.users,
                experts=sides.experts,
                has_client_index=lambda: has_client_index(connection.collection(places.target)),
                listener=listener,
            )

    return check


def _confirm(chosen: "RunRecord") -> None:
    """Ask whoever is at the terminal to type the collection's name.

    Raises:
        NotConfirmed: nobody is, or it is another name.
    """
    what = f"cut-over of run {chosen.run_id} ({chosen.target} takes the place of {chosen.source})"
    if not is_interactive():
        raise NotConfirmed(what)
    typed = typer.prompt(f"{what}. Type {chosen.source} to go on", err=True, default="", show_default=False)
    if typed != chosen.source:
        raise NotConfirmed(what, typed, chosen.source)
