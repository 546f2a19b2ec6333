"""The commands that are possible for a run now, complete with its options, without the address of a server."""

import shlex
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from booking_migrate.runs.advice import (
    CARRYING,
    CONVERT_LATER,
    LEAVING,
    NOT_READY_YET,
    STOP_IT_TOO,
    STOP_THE_NEW,
    STOP_THE_NEW_AFTER,
    STOP_THE_OLD,
    UNDO,
    UNREADY,
)
from booking_migrate.runs.control import MIGRATE, limits_given
from booking_migrate.runs.plan import MigrationPlan, all_rejected
from booking_migrate.runs.states import options_as_text
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.locks import Holder
from booking_migrate.stores.own_collections import default_archive
from booking_migrate.stores.places import DEFAULT_EXPERTS, DEFAULT_USERS

_PEOPLE = {"users": DEFAULT_USERS, "experts": DEFAULT_EXPERTS}
"""Options of every command that converts, with their defaults."""

_RULES = (
    "accept",
    "max-document-size",
    "on-conflict",
    "user-id-field",
    "user-email-field",
    "expert-user-field",
)
_FLAGS = (
    "merge-client-documents",
    "without-transactions",
    "block-all-writes",
    "at-rest",
    "no-guard",
    "keep-index",
    "drop-legacy-ids",
    "allow-deleted",
    "discard-later",
    "convert-later",
    "no-convert-later",
)
_PLACES = ("rejects", "json-format")
_SIDE_BY_SIDE = frozenset({*_PLACES, "merge-client-documents"})
"""The options of a migration side by side only."""

CONFIG_PLACEHOLDER = "CONFIG.toml"
"""The placeholder for a config file whose name is not known."""

_TAKEN = {
    "migrate": {*_PEOPLE, *_RULES, *_FLAGS, *_PLACES},
    "verify": {*_PEOPLE, *_RULES, *_PLACES},
    "cutover": {*_PEOPLE, *_RULES, "merge-client-documents"},
    "finalize": {*_PEOPLE, *_RULES},
}
"""The options of a run that each command takes as well."""


_TAKES_OVER = {
    "cutover": "makes the client documents live",
    "rollback": "makes the old bookings live again",
    "finalize": "ends the migration and drops the old bookings",
}
"""The commands to which a process that waits hands its lock over, and what each one does."""


class PossibleCommand(NamedTuple):
    """A command that is possible for a run now."""

    purpose: str
    """What it does about the run, as an order: ``Undo it``."""

    command: str

    def __str__(self) -> str:
        """Return it as a line of a hint."""
        return f"{self.purpose}: {self.command}"


def possible_commands(
    run: RunRecord, *, is_newest: bool, is_swapped: bool | None = None
) -> Sequence[PossibleCommand]:
    """Return the commands that are possible for a run without a process; the usual one comes first.

    Args:
        run: the run.
        is_newest: whether it is the newest run into its target that has not been undone.
        is_swapped: whether its unfinished cut-over has given the source's name to the target already; None: not known.
    """
    if run.archive is not None:
        return _possible_in_place(run, is_newest=is_newest)
    back = PossibleCommand(UNDO, rollback_of(run))
    found: Sequence[PossibleCommand] = []
    match run.state:
        case RunState.RUNNING | RunState.INTERRUPTED | RunState.FAILED:
            found = [*_continued(run), back]
        case RunState.DONE if is_newest:
            ready = run.verified_clean and run.legacy is None and not all_rejected(run.counts)
            found = [_verify(run), *(_cutovers(run) if ready else []), back]
        case RunState.DONE:
            pass  # What an earlier run wrote is proven together with what the newest one did.
        case RunState.CUTTING_OVER if is_swapped:
            finish = PossibleCommand(
                f"Complete the cut-over. {which_application(run)}", command_of(run, "cutover")
            )
            found = [finish, *([going_back(run, UNREADY)] if is_newest else [])]
        case RunState.CUTTING_OVER:
            undo = [back._replace(purpose=f"{UNDO}; {_undoing(run)}")] if is_newest else []
            finish = PossibleCommand(_finishing(run), command_of(run, "cutover"))
            found = [PossibleCommand(_aborting(run, is_swapped=is_swapped), abort_of(run)), finish, *undo]
        case RunState.CUT_OVER | RunState.RESTORING | RunState.FINALIZING | RunState.FINALIZED as state:
            found = _possible_live(run) if is_newest or state is RunState.FINALIZING else []
        case RunState.ROLLING_BACK:
            found = [_completed(back)]
        case RunState.PLANNED | RunState.UNCHANGED | RunState.ROLLED_BACK:
            # One with a wrong source was undone to migrate another one.
            found = [] if all_rejected(run.counts) else [_migrate(run)]
    return found


def _finishing(run: RunRecord) -> str:
    """Return what the same cut-over does first: it undoes what was not swapped yet, then begins again."""
    again = (
        ""
        if run.fenced_at is None
        else "; writes are accepted again before it continues, and refused once more, briefly, at its end"
    )
    return f"Only if the new application is ready to start now, and the old one can be stopped: finish the cut-over{again}; {STOP_THE_OLD}"


def _aborting(run: RunRecord, *, is_swapped: bool | None) -> str:
    """Return what an abort of a cut-over does: writes are refused from the fence on only."""
    chosen = (
        "Abort the cut-over, the usual choice, also if you do not know whether the new application is ready"
    )
    accepting = "" if run.fenced_at is None else " and accepts writes at once"
    # A process may be killed between the swap and its record.
    unless = (
        "; if the collections were swapped already, this completes it instead" if is_swapped is None else ""
    )
    return f"{chosen}; nothing is lost: {run.source} is live as before{accepting}, and {run.target} is kept for another cut-over{unless}"


def _undoing(run: RunRecord) -> str:
    """Return what a rollback of an unfinished cut-over does."""
    removed = f"what it wrote to {run.target} is removed"
    return f"{removed}, too" if run.fenced_at is None else f"writes are accepted again, and {removed}"


def _possible_live(run: RunRecord) -> Sequence[PossibleCommand]:
    match run.state:
        case RunState.CUT_OVER:
            # It resumes the reverse window.
            kept = PossibleCommand("Keep a brief rollback ready again", command_of(run, "cutover"))
            return [_verify(run), *([kept] if run.window else []), going_back(run), _finalize(run)]
        case RunState.RESTORING:
            return [going_back(run)]
        case _:
            return [_finalize(run)] if run.state is RunState.FINALIZING else []


def _possible_in_place(run: RunRecord, *, is_newest: bool) -> Sequence[PossibleCommand]:
    back = PossibleCommand(UNDO, rollback_of(run))
    safe = partial(_at_rest, run.source) if needs_rest(run) else list
    match run.state:
        case RunState.RUNNING | RunState.INTERRUPTED | RunState.FAILED:
            return safe([*_continued(run), back])
        case RunState.DONE:
            return [_verify(run), *([*safe([back]), _finalize(run)] if is_newest else [])]
        case RunState.ROLLING_BACK:
            return safe([_completed(back)])
        case RunState.FINALIZING:
            return [_finalize(run)]
        case RunState.FINALIZED:
            # Its archive was dropped: a new run chooses its own.
            return []
        case RunState.CUTTING_OVER | RunState.CUT_OVER | RunState.RESTORING:
            pass  # No run in place has these.
        case RunState.PLANNED | RunState.UNCHANGED | RunState.ROLLED_BACK:
            pass
    return [_migrate(run)]


def _migrate(run: RunRecord) -> PossibleCommand:
    return PossibleCommand("Migrate", command_of(run, "migrate"))


def _continued(run: RunRecord) -> Sequence[PossibleCommand]:
    migrate = command_of(run, "migrate")
    over = "Undo it and start over, only to begin from nothing, for example with other options"
    kept = (
        "what was written is kept"
        if run.archive is None
        else f"{run.source} may be partly converted, and {run.archive} holds the originals of all that were converted"
    )
    once = " once what ended it is remedied" if run.state is RunState.FAILED else ""
    return [
        PossibleCommand(f"Continue it{once}, the usual choice; {kept}", migrate),
        PossibleCommand(over, f"{migrate} --restart"),
    ]


def needs_rest(run: RunRecord) -> bool:
    """Return whether nothing else may write while a run is continued or undone: it replaces and deletes without transactions."""
    return run.archive is not None and run.options.get("without-transactions") == str(True)


def _at_rest(source: str, commands: Sequence[PossibleCommand]) -> Sequence[PossibleCommand]:
    """Return commands that write without transactions, each with what has to be done before it."""
    first, *more = [each.purpose for each in commands]
    rest = (
        f"Before you type this, stop every application that writes to {source}, and start it again when the command has ended, or what it "
        "writes meanwhile can be lost: this run works without transactions"
    )
    others = [f"{purpose}. Stop these applications for that, too, until it has ended" for purpose in more]
    purposes = [f"{first}. {rest}", *others]
    return [each._replace(purpose=purpose) for each, purpose in zip(commands, purposes, strict=True)]


def _completed(back: PossibleCommand) -> PossibleCommand:
    return back._replace(purpose="Complete its rollback")


def _verify(run: RunRecord) -> PossibleCommand:
    purpose = "Verify it again" if run.verified_at else "Verify it"
    is_proven = run.verified_clean and run.verified_at and run.written_at and run.verified_at > run.written_at
    return PossibleCommand(f"{purpose}, optional" if is_proven else purpose, command_of(run, "verify"))


def _cutovers(run: RunRecord) -> Sequence[PossibleCommand]:
    commands = cutovers_of(run)
    if len(commands) > 1:
        purposes = (f"{NOT_READY_YET} make it live; {STOP_THE_OLD}. In the cut-over, {CARRYING}", LEAVING)
        return [PossibleCommand(*each) for each in zip(purposes, commands, strict=True)]
    options = run.cutover_options
    if "at-rest" not in options or "block-all-writes" in options:
        return [PossibleCommand(f"{NOT_READY_YET} make it live; {STOP_THE_OLD}", *commands)]
    return ways_beside_deletes(run)


def _finalize(run: RunRecord) -> PossibleCommand:
    drops = "drop the old bookings, which cannot be undone"
    purpose = f"Only when nothing needs them any more: {drops}"
    if run.state is RunState.FINALIZING:
        purpose = f"Complete its end: {drops}"
    return PossibleCommand(purpose, command_of(run, "finalize"))


def taken_over_by(holder: Holder) -> str:
    """Return which process has taken the lock over from one that follows or keeps a window, and what its command does."""
    does = _TAKES_OVER.get(holder.command)
    return f"{holder} has taken over{'' if does is None else f'; {holder.command} {does}'}."


def cutovers_of(run: RunRecord) -> Sequence[str]:
    """Return the commands that cut a finished run over: one, or one for each decision if bookings were rejected."""
    cutover = command_of(run, "cutover")
    if not run.counts.get("rejected", 0) or "rejected" in run.cutover_options:
        return [cutover]
    return [f"{cutover} --rejected {decision}" for decision in ("carry", "leave")]


def ways_beside_deletes(run: RunRecord) -> Sequence[PossibleCommand]:
    """Return the ways to cut a finished run over whose application may delete bookings, the usual one first."""
    options, again = run.cutover_options, command_of(run, "cutover")
    ways = []
    # What a migration has followed, a cut-over can follow, too.
    if "at-rest" in options and run.follow.keys() & {"token", "facts"}:
        followed = {name: value for name, value in options.items() if name != "at-rest"}
        beside = command_of(run.model_copy(update={"cutover_options": followed}), "cutover")
        applying = f"{NOT_READY_YET} make it live without --at-rest, the usual choice; this applies the application's deletes, too"
        ways.append(PossibleCommand(f"{applying}; {STOP_THE_OLD}", beside))
    rest = (
        "Or make it live at rest, with inserts and updates refused throughout"
        if ways
        else f"{NOT_READY_YET} make it live"
    )
    stopped = STOP_IT_TOO if ways else STOP_THE_OLD
    ways.append(PossibleCommand(f"{rest}, once nothing deletes bookings any more; {stopped}", again))
    if "block-all-writes" not in options:
        block = (
            "Or, only if deletes must be refused: make it live while every write of every application to the whole cluster is refused "
            f"(the user needs the roles restore and clusterMonitor); {STOP_IT_TOO}"
        )
        ways.append(PossibleCommand(block, f"{again} --block-all-writes"))
    return ways


def abort_of(run: RunRecord) -> str:
    """Return the command that aborts an unfinished cut-over and keeps the target."""
    places = shlex.join(["--source", run.source, "--target", run.target])
    return f"booking-migrate cutover {places} --abort"


def converting(run: RunRecord) -> PossibleCommand:
    """Return what is done about bookings that an old application has written since a run's cut-over."""
    return PossibleCommand(f"{CONVERT_LATER[0].upper()}{CONVERT_LATER[1:]}", conversion_of(run))


def conversion_of(run: RunRecord) -> str:
    """Return the command that converts in place what an old application has written since a run's cut-over."""
    options = {name: value for name, value in run.options.items() if name not in _SIDE_BY_SIDE}
    in_place = run.model_copy(update={"archive": default_archive(run.source), "options": options})
    return command_of(in_place, "migrate")


def resume_of(run_id: str) -> str:
    """Return the command that ends a pause."""
    return f"booking-migrate control resume --run {run_id}"


def rollback_of(run: RunRecord) -> str:
    """Return the command that undoes a run; one that continues takes the same options."""
    options = run.ending_options if run.state is RunState.RESTORING else {}
    words = [word for option, value in options.items() for word in _words(option, value)]
    return " ".join(["booking-migrate rollback --run", run.run_id, *words])


def which_application(run: RunRecord) -> str:
    """Return which application is to run after a cut-over, and what the other one does if it runs."""
    inserts = (
        "Only its new bookings are refused"
        if run.is_guarded
        else "Not even its new bookings are refused (--no-guard)"
    )
    return (
        f"Stop the old application now, if it still runs, and start the new one. {inserts}: its updates and deletes by old ids find nothing, "
        "without an error, and those by clientId reach whole client documents."
    )


def going_back(run: RunRecord, when: str = "misbehaves") -> PossibleCommand:
    """Return how a cut-over is undone, and when each application is stopped and started.

    Args:
        run: the run.
        when: what the new application does that makes it the right choice.
    """
    if run.state is RunState.RESTORING:
        return PossibleCommand(f"Complete the rollback; {STOP_THE_NEW} when that is done", rollback_of(run))
    live = f"make the old bookings live again as {run.source}, which keeps what was booked since"
    order = f"stop it, then {live}; start the old application when that is done"
    if run.window.get("built"):
        order = f"{live}; {STOP_THE_NEW_AFTER}"
    return PossibleCommand(f"If the new application {when}: {order}", rollback_of(run))


def command_of(run: RunRecord, name: str) -> str:
    """Return a command for a run: its places, those of its options that differ from the defaults, and its limits.

    A contract that the config file changed cannot be written as an option, so the file has to be named. For a cut-over or a
    finalize that has begun, its own options are included too.

    Args:
        run: the run.
        name: ``migrate``, ``verify``, ``cutover`` or ``finalize``.
    """
    words = [name]
    if run.archive is None:
        words += ["--source", run.source]
        words += [] if name == "finalize" else ["--target", run.target]
    else:
        words += [] if name == "finalize" else ["--in-place"]
        words += ["--source", run.source, "--archive", run.archive]
    defaults = {**_PEOPLE, **options_as_text(MigrationPlan())}
    for option, value in run.options.items():
        if option in _TAKEN[name] and value not in ("", defaults.get(option)):
            words += _words(option, value)
    if name == MIGRATE:
        words += [
            word
            for option, limit in (limits_given(run, MIGRATE) or {}).items()
            for word in _words(option, f"{limit:.15g}")
        ]
    contract = {option: value for option, value in run.options.items() if option.startswith("contract.")}
    if run.config is not None:
        words += ["--config", run.config]
    elif any(value != defaults.get(option, value) for option, value in contract.items()):
        words += ["--config", CONFIG_PLACEHOLDER]
    own = run.cutover_options if name == "cutover" else {}
    if name == "finalize" and run.state is RunState.FINALIZING:
        own = run.ending_options
    words += [word for option, value in own.items() for word in _words(option, value)]
    return f"booking-migrate {shlex.join(words)}"


def _words(option: str, value: str) -> list[str]:
    if option in _FLAGS:
        return [f"--{option}"] if value == str(True) else []
    values = value.split(", ") if option == "accept" else [value]
    return [word for each in values for word in (f"--{option}", each)]
