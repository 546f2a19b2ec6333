"""The command ``cutover``: make the target the live collection."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import Annotated, ClassVar

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import contract_of, hooks_of
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.open import (
    OpenPlaces,
    Places,
    current_process,
    migration_plan,
    open_places,
    open_run_stores,
    options_of_run,
)
from booking_migrate.cli.options import (
    RULES,
    ConnectionOptions,
    OutputOptions,
    PeopleOptions,
    PlaceOptions,
    RuleOptions,
    WritingOptions,
    Yes,
)
from booking_migrate.cli.parameters import only, option
from booking_migrate.cli.streams import is_interactive
from booking_migrate.cli.verify_inputs import baselines, verification_rules
from booking_migrate.cutover.readiness import RejectedPolicy
from booking_migrate.cutover.run import CutoverPlaces, CutoverPlan, abort, cut_over
from booking_migrate.domain.contract import Contract
from booking_migrate.errors import CutoverRefused, NotConfirmed
from booking_migrate.events import Listener, Warned
from booking_migrate.reports.lifecycle import report_before_cutover, report_of_abort, report_of_cutover
from booking_migrate.reports.model import Report
from booking_migrate.runs.session import RunRequest
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.connection import client_index_check, open_destination, open_live
from booking_migrate.stores.cutover import options_after
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.open import (
    CollectionPlace,
    open_reader,
    open_rejected_records,
    open_target,
    parse_place,
)
from booking_migrate.verify import VerificationOutcome, VerificationPlan, verify

HELP = filled("""
The target takes the source's name, after a clean and current verify of its newest run.

Inserts and updates of the source are refused meanwhile. The command brings in what has changed since, keeps the old
collection as SOURCE_legacy_RUN (a copy made by the server, counted and compared), proves the target against that copy,
and swaps with one atomic rename. Whatever fails before that leaves the source live and unchanged. A cut-over that was killed
is continued by the same command, and aborted by --abort. It says for how long writes were refused. Use the options that
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


@dataclass(frozen=True, slots=True)
class CutoverOptions:
    """How the cut-over goes about it."""

    panel: ClassVar[str] = RULES

    rejected: Annotated[
        str | None,
        option(
            metavar="carry|leave",
            show_default=False,
            help="Take rejected bookings along in their old shape, or leave them in the copy of the old collection only.",
        ),
    ] = None
    block_all_writes: Annotated[
        bool,
        option(
            negatable=True,
            show_default=False,
            help="Refuse every user's writes to the whole cluster meanwhile, deletes too (setUserWriteBlockMode).",
        ),
    ] = False
    abort: Annotated[
        bool,
        option(
            show_default=False,
            help="Abort a cut-over that was killed: the source accepts writes again, and the target is kept.",
        ),
    ] = False

    @property
    def policy(self) -> RejectedPolicy | None:
        """Return what happens to rejected bookings.

        Raises:
            typer.BadParameter: it is neither of the two.
        """
        if self.rejected is not None and self.rejected not in set(RejectedPolicy):
            raise typer.BadParameter("it is carry or leave.", param_hint="--rejected")
        return None if self.rejected is None else RejectedPolicy(self.rejected)


@dataclass(frozen=True, slots=True)
class _RunContext:
    """What a cut-over takes beside its places and rules."""

    run_id: str
    options: CutoverOptions
    policy: RejectedPolicy | None
    before: Callable[[RunRecord], None]
    """Asks at the terminal, and runs the hook."""

    listener: Listener
    signal_guard: SignalGuard

    @property
    def own_options(self) -> dict[str, str]:
        """Return the options that only a cut-over has, as the journal keeps them."""
        policy = {} if self.policy is None else {"rejected": self.policy.value}
        return {**policy, **({"block-all-writes": str(True)} if self.options.block_all_writes else {})}


def cutover(
    ctx: typer.Context,
    *,
    given: Annotated[PlaceOptions, only("source", "target")],
    connection: ConnectionOptions,
    people: PeopleOptions,
    rules: RuleOptions,
    options: CutoverOptions,
    yes: Yes = False,
    output: OutputOptions,
) -> None:
    """Parse, and hand over to `_cutover`."""
    policy = options.policy
    places = Places(given.source, given.target, people, connection)
    asked = output.invocation(
        ctx, uri=connection.uri, source=places.source, target=places.target, places=places.named
    )
    signal_guard = SignalGuard()

    def before(chosen: RunRecord) -> None:
        if not yes:
            _confirm(chosen)
        hooks_of(ctx).run_before(report_before_cutover(chosen), asked.redact)

    run.execute(
        asked,
        lambda run_id, listener: _cutover(
            places,
            rules,
            contract_of(ctx),
            _RunContext(run_id, options, policy, before, listener, signal_guard),
        ),
        signal_guard,
        partial(hooks_of, ctx),
    )


def _cutover(places: Places, rules: RuleOptions, contract: Contract, context: _RunContext) -> Report:
    """Open the places, cut over or give a cut-over up, and make the report."""
    began = monotonic()
    for side in (places.source, places.target):
        if not isinstance(parse_place(side), CollectionPlace):
            raise CutoverRefused(
                places.target, f"{side} is not a collection", "A file is simply put in place."
            )
    places.check_distinct({})
    plan = migration_plan(contract, rules, places.people, WritingOptions(workers=1))
    request = RunRequest(
        run_id=context.run_id,
        source=places.source,
        target=places.target,
        options=options_of_run(plan, places),
        holder=current_process("cutover", context.run_id),
    )
    with open_places(places, context.listener) as sides:
        stores = open_run_stores(sides.connection, target=places.target, source=places.source)
        if context.options.abort:
            live = open_live(sides.connection, source=places.source, target=places.target)
            outcome = abort(stores, live, request)
            return report_of_abort(outcome, seconds=monotonic() - began)

        def before(chosen: RunRecord) -> None:
            _warn_of_options(places, sides, context.listener)
            context.before(chosen)
            stores.journal.annotate(chosen.run_id, cutover_options=context.own_options)

        done = cut_over(
            CutoverPlan(
                migration=plan,
                request=request,
                policy=context.policy,
                places=_cutover_places(places, rules, contract, sides, context),
                stores=stores,
                listener=context.listener,
                signal_guard=context.signal_guard,
                before=before,
            )
        )
    return report_of_cutover(done, seconds=monotonic() - began)


def _warn_of_options(places: Places, sides: OpenPlaces, listener: Listener) -> None:
    """Name the options of the old collection that the new one will not have, while nothing is changed yet."""
    source, target = (
        open_destination(sides.connection, name).facts() for name in (places.source, places.target)
    )
    if source is None or target is None:
        return
    for note in options_after(source.options, target.options):
        if not note.is_kept:
            listener.notify(Warned(f"{places.source} will lose its option {note.name}: {note.reason}"))


def _cutover_places(
    places: Places, rules: RuleOptions, contract: Contract, sides: OpenPlaces, context: _RunContext
) -> CutoverPlaces:
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
            block_all_writes=context.options.block_all_writes,
        ),
        verify=_verification(places, rules, contract, sides, context.listener),
    )


def _verification(
    places: Places, rules: RuleOptions, contract: Contract, sides: OpenPlaces, listener: Listener
) -> Callable[[str], VerificationOutcome]:
    """Return the verification of the target against a collection, by the rules of the run."""
    plan = VerificationPlan(
        rules=verification_rules(contract, rules, places.target), people=places.people.fields
    )
    target = parse_place(places.target)

    def check(kept: str) -> VerificationOutcome:
        connection = sides.connection
        with (
            closing(open_reader(CollectionPlace(kept), connection)) as source,
            closing(open_reader(target, connection)) as result,
            closing(open_rejected_records(target, connection, source_name=places.source)) as rejected,
        ):
            return verify(
                replace(plan, baselines=baselines(places, connection, listener)),
                source,
                result,
                rejected,
                users=sides.users,
                experts=sides.experts,
                has_client_index=client_index_check(connection, target),
                listener=listener,
            )

    return check


def _confirm(chosen: RunRecord) -> None:
    """Ask the user at the terminal to type the collection's name.

    Raises:
        NotConfirmed: standard input is not a terminal, or it is another name.
    """
    what = f"cut-over of run {chosen.run_id} ({chosen.target} takes the place of {chosen.source})"
    if not is_interactive():
        raise NotConfirmed(what)
    typed = typer.prompt(
        f"{what}. Type {chosen.source} to continue", err=True, default="", show_default=False
    )
    if typed != chosen.source:
        raise NotConfirmed(what, typed, chosen.source)
