"""The command ``cutover``: make the target the live collection."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import contract_of, hooks_of
from booking_migrate.cli.cutover_parts import open_following, open_tail, verify_against
from booking_migrate.cli.following import FollowContext
from booking_migrate.cli.open import (
    OpenPlaces,
    Places,
    migration_plan,
    open_places,
    open_run_stores,
    refuse_unready,
    run_request,
)
from booking_migrate.cli.options import (
    RULES,
    ConnectionOptions,
    OutputOptions,
    PeopleOptions,
    PlaceOptions,
    RuleOptions,
    WritingOptions,
    YesOption,
    keep_index_option,
)
from booking_migrate.cli.parameters import only, option
from booking_migrate.cli.references_config import references_of
from booking_migrate.cli.references_look import look_for_references, warn_of_references
from booking_migrate.cli.streams import confirm_by_name
from booking_migrate.cli.window import DEFAULT_OUTAGE, OutageOptions, check_window, keep_window, parse_window
from booking_migrate.cutover.live import Following
from booking_migrate.cutover.plan import CutoverOutcome, CutoverPlaces, CutoverPlan
from booking_migrate.cutover.readiness import RejectedPolicy
from booking_migrate.cutover.recovery import abort
from booking_migrate.cutover.run import cut_over
from booking_migrate.errors import CutoverRefused
from booking_migrate.events import Listener, Warned
from booking_migrate.quantities import alternatives
from booking_migrate.references.keep import keep_index
from booking_migrate.reports.lifecycle_outcomes import (
    report_before_cutover,
    report_of_abort,
    report_of_cutover,
)
from booking_migrate.reports.model import Report
from booking_migrate.reports.text import outage
from booking_migrate.runs.advice import STOP_THE_OLD
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.plan import Limits
from booking_migrate.runs.session import RunRequest
from booking_migrate.runs.states import newest_result
from booking_migrate.stores.connection import open_destination, open_legacy_index, open_live
from booking_migrate.stores.cutover import options_after
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.open import open_target
from booking_migrate.stores.own_collections import kept_copy
from booking_migrate.stores.places import CollectionPlace, parse_place

HELP = f"""
The target takes the source's name, after a clean and current verify of its newest run.

The application may write: what it changes is brought in and verified, and the old collection is kept as {kept_copy("SOURCE", "RUN")}, a
copy that is compared and kept current. Only for the last changes are inserts and updates refused, then one atomic rename
swaps the collections. An attempt that would take longer than --max-outage is aborted and repeated. Whatever fails before the
rename leaves the source live and unchanged. A cut-over that was killed is continued by the same command, and aborted by
--abort. Use the options that migrate had.

With --reverse-window the command stays: it keeps what a rollback restores ready, with what the new application writes. A
rollback from another terminal takes over, and refuses writes as briefly as the cut-over did. Ctrl-C ends the waiting, and the
same command resumes it; the window's end and finalize drop what was kept ready.

Deletes pass meanwhile and are taken out after the rename. --block-all-writes refuses them too, and every other write of every
user to the whole cluster, but of those who may bypass it. It takes MongoDB 6.0, a replica set, and the roles restore and
clusterMonitor. Where changes cannot be followed (a standalone server), and with --at-rest, writes are refused until everything
has been read and proven again; a late delete ends that.

\b
[bold]Examples[/bold]
  After migrate and verify:
    MONGODB_URI=mongodb://localhost booking-migrate cutover --db shop
  With an equally quick rollback kept ready for two hours:
    booking-migrate cutover --db shop --reverse-window 2h
  In a script, with rejected bookings staying in the copy:
    booking-migrate cutover --target clients --rejected leave --yes --json
"""


@dataclass(frozen=True, slots=True)
class CutoverOptions(OutageOptions, panel=RULES):
    """How the cut-over goes about it."""

    rejected: str | None = option(
        None,
        "Take rejected bookings along in their old shape, or leave them in the copy of the old collection only.",
        metavar="|".join(RejectedPolicy),
    )
    block_all_writes: bool = option(
        False,
        "Refuse every user's writes to the whole cluster meanwhile, deletes too.",
        negatable=True,
    )
    at_rest: bool = option(
        False,
        "Refuse writes while everything is read and compared again, instead of following the application.",
        negatable=True,
    )
    no_guard: bool = option(
        False,
        "Let the new live collection accept old bookings, which an old application may still write.",
        show_default=False,
    )
    keep_index: bool = keep_index_option()
    reverse_window: str | None = option(
        None,
        "After the swap, stay and keep a rollback ready for so long, such as 2h: it refuses writes as briefly as the cut-over.",
        metavar="DURATION",
    )
    abort: bool = option(
        False,
        "Abort a cut-over that was killed: the source accepts writes again, and the target is kept.",
        show_default=False,
    )

    @property
    def window(self) -> float | None:
        """Return for how many seconds a quick rollback is kept ready; None: it is not.

        Raises:
            typer.BadParameter: it is not a duration.
        """
        return None if self.reverse_window is None else parse_window(self.reverse_window)

    @property
    def policy(self) -> RejectedPolicy | None:
        """Return what happens to rejected bookings.

        Raises:
            typer.BadParameter: it is another word.
        """
        if self.rejected is not None and self.rejected not in set(RejectedPolicy):
            raise typer.BadParameter(f"it is {alternatives(list(RejectedPolicy))}.", param_hint="--rejected")
        return None if self.rejected is None else RejectedPolicy(self.rejected)

    @property
    def as_recorded(self) -> dict[str, str]:
        """Return the options that only a cut-over has, as the journal keeps them."""
        switches = {
            "block-all-writes": self.block_all_writes,
            "at-rest": self.at_rest,
            "no-guard": self.no_guard,
            "keep-index": self.keep_index,
        }
        recorded = {} if self.rejected is None else {"rejected": self.rejected}
        if self.max_outage != DEFAULT_OUTAGE:
            recorded["max-outage"] = self.max_outage
        if self.attempts != Limits().attempts:
            recorded["attempts"] = str(self.attempts)
        if self.reverse_window is not None:
            recorded["reverse-window"] = self.reverse_window
        return {**recorded, **{name: str(True) for name, is_on in switches.items() if is_on}}


def cutover(
    ctx: typer.Context,
    *,
    given: Annotated[PlaceOptions, only("source", "target")],
    connection: ConnectionOptions,
    people: PeopleOptions,
    rules: RuleOptions,
    options: CutoverOptions,
    asking: YesOption,
    output: OutputOptions,
) -> None:
    # A wrong policy is a usage error, which is raised before anything else.
    _ = options.policy, options.limits, options.window
    places = Places.of(ctx, given, people, connection)
    run.execute(
        run.Invocation.about(ctx, output, places),
        lambda context: _cutover(places, rules, options, context, yes=asking.yes),
    )


def _cutover(
    places: Places, rules: RuleOptions, options: CutoverOptions, context: run.RunContext, *, yes: bool
) -> Report:
    """Open the places, cut over or abort a cut-over, and make the report."""
    contract = contract_of(context.asked.ctx)
    _refuse_files(places)
    places.check_distinct({})
    plan = migration_plan(contract, rules, places.people, WritingOptions(workers=1))
    request = run_request("cutover", context.run_id, places, plan)
    with open_places(places, context.listener) as sides:
        stores = open_run_stores(sides.connection, target=places.target, source=places.source)
        follow = FollowContext(
            places=places,
            sides=sides,
            stores=stores,
            plan=plan,
            listener=context.listener,
            signal_guard=context.signal_guard,
        )
        if options.abort:
            live = open_live(sides.connection, source=places.source, target=places.target)
            tail = open_tail(follow)
            return report_of_abort(abort(stores, live, request, tail), seconds=context.seconds)
        refuse_unready("cutover", places, sides.connection)
        if options.reverse_window is not None:
            check_window(follow, at_rest=options.at_rest)
            known = newest_result(stores.journal, places.target)
            if known is not None and known.state is RunState.CUT_OVER:
                return keep_window(
                    follow, request, options.reverse_window, CutoverOutcome(known), context, is_new=False
                )
        return _carry_out(follow, request, options, context, yes=yes)


def _carry_out(
    follow: FollowContext, request: RunRequest, options: CutoverOptions, context: run.RunContext, *, yes: bool
) -> Report:
    """Cut over, keep the reverse window if that was asked for, and make the report."""
    places, sides, stores = follow.places, follow.sides, follow.stores
    following = _following(follow, options)
    referring: list[str] = []

    def confirm(chosen: RunRecord) -> None:
        _warn_of_options(places, sides, context.listener)
        referring[:] = warn_of_references(
            sides.connection,
            source=places.source,
            target=places.target,
            keeps_index=options.keep_index,
            listener=context.listener,
        )
        if not yes:
            confirm_by_name(
                _question(chosen, options.limits, is_followed=following is not None), chosen.source
            )

    def before(chosen: RunRecord) -> None:
        hooks_of(context.asked.ctx).run_before(report_before_cutover(chosen), context.asked.redact)
        stores.journal.annotate(chosen.run_id, cutover_options=options.as_recorded)
        if options.keep_index:
            # Before the fence: it takes as long as the target is large.
            keep_index(open_legacy_index(sides.connection, places.target))

    done = cut_over(
        CutoverPlan(
            migration=follow.plan,
            request=request,
            policy=options.policy,
            places=_cutover_places(follow, options),
            stores=stores,
            listener=context.listener,
            signal_guard=context.signal_guard,
            confirm=confirm,
            before=before,
            is_guarded=not options.no_guard,
            limits=options.limits,
            follow=following,
            tail=open_tail(follow),
        )
    )
    index = open_legacy_index(sides.connection, places.source)
    if options.keep_index:
        done = replace(done, kept_index=keep_index(index).name)
    if done.is_completed:
        # An interrupted cut-over was completed, without a question.
        referring[:] = look_for_references(
            sides.connection, source=places.source, target=places.target, listener=context.listener
        )
    if referring:
        done = replace(
            done,
            references=tuple(referring),
            are_references_named=bool(references_of(context.asked.ctx)),
            legacy_index=index.found(),
        )
    if options.reverse_window is not None:
        return keep_window(follow, request, options.reverse_window, done, context, is_new=True)
    return report_of_cutover(done, seconds=context.seconds)


def _refuse_files(places: Places) -> None:
    for side in (places.source, places.target):
        if not isinstance(parse_place(side), CollectionPlace):
            raise CutoverRefused(
                places.target, f"{side} is not a collection", "A file is simply put in place."
            )


def _question(chosen: RunRecord, limits: Limits, *, is_followed: bool) -> str:
    """Return what is about to happen, and for how long writes will be refused: at most, and about if that is known to be less."""
    what = f"cut-over of run {chosen.run_id} ({chosen.target} takes the place of {chosen.source})"
    if not is_followed:
        return f"{what}; writes are refused until everything has been read and proven again; {STOP_THE_OLD}"
    estimate = chosen.follow.get("facts", {}).get("estimated_outage_ms")
    # An attempt begins only when less is left than its limit allows.
    is_within = estimate is not None and estimate <= limits.outage * 1000
    about = f"for about {estimate} ms, and " if is_within else ""
    limit = f"at most {outage(limits.outage)} an attempt (--max-outage)"
    return f"{what}; writes are refused {about}for {limit}; {STOP_THE_OLD}"


def _cutover_places(follow: FollowContext, options: CutoverOptions) -> CutoverPlaces:
    """Return what a cut-over reads and writes."""
    places, sides, connection = follow.places, follow.sides, follow.sides.connection
    return CutoverPlaces(
        source=sides.source,
        target=open_target(parse_place(places.target), connection, source_name=places.source),
        users=sides.users,
        experts=sides.experts,
        live=open_live(
            connection,
            source=places.source,
            target=places.target,
            block_all_writes=options.block_all_writes,
        ),
        verify=partial(verify_against, follow),
    )


def _following(
    follow: FollowContext, options: CutoverOptions
) -> Callable[[RunRecord, HeldLock], Following] | None:
    """Return what opens the parts for following the application; None, with a warning, where that is not possible.

    Raises:
        BookingMigrateError: whether it is possible is not known. An error must not make an outage of minutes.
    """
    if options.at_rest:
        return None
    reason = follow.unavailable()
    if reason is not None:
        said = f"the application's writes cannot be followed ({reason}): they are refused until everything is read again"
        follow.listener.notify(Warned(said))
        return None
    return open_following(follow, options.limits)


def _warn_of_options(places: Places, sides: OpenPlaces, listener: Listener) -> None:
    """Name the options of the old collection that the new one will not have, while nothing is changed yet."""
    source, target = (
        open_destination(sides.connection, name).facts() for name in (places.source, places.target)
    )
    if source is None or target is None:
        return
    if target.options.get("validator") and target.options.get("validationLevel") == "off":
        off = f"the validator of {places.target} is switched off (validationLevel), and stays off when it is live as {places.source}"
        listener.notify(Warned(off))
    for note in options_after(source.options, target.options):
        if not note.is_kept:
            listener.notify(Warned(f"{places.source} will lose its option {note.name}: {note.reason}"))
