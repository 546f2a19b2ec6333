"""Which checks each command has, and what they find; see README.md here. Nothing is written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from booking_migrate.cutover.finalize import run_to_finalize
from booking_migrate.cutover.readiness import RejectedPolicy, check_ready
from booking_migrate.dry_run.needs import ServerSurroundings
from booking_migrate.dry_run.risk_kinds import OPLOG_TIMES
from booking_migrate.errors import NameTooLong, NotPermitted, Refused
from booking_migrate.migrate.lookup import Directory
from booking_migrate.migrate.preflight import SAMPLE, findings_of, sample_documents
from booking_migrate.preflight.outcome import Check, CommandVerdict, PreflightOutcome, State
from booking_migrate.preflight.privileges import check_privileges, shown_with
from booking_migrate.preflight.results import check_result
from booking_migrate.quantities import grouped, plural, size
from booking_migrate.runs.commands import possible_commands
from booking_migrate.runs.lock import FOLLOW_COMMAND
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.privileges import BEHIND_GUARD
from booking_migrate.runs.session import RunRequest, RunStores
from booking_migrate.runs.states import RESUMABLE, in_words, newest_result
from booking_migrate.runs.status import refuse_other_mode
from booking_migrate.stores.destination import Topology, examine, refusal_of
from booking_migrate.stores.journal import RunState
from booking_migrate.stores.own_collections import default_archive
from booking_migrate.stores.privilege import Privilege

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.cutover import MongoLive
    from booking_migrate.stores.mongo.in_place import MongoInPlace
    from booking_migrate.stores.mongo.inspection import MongoInspector

IN_PLACE = "migrate --in-place"
COMMANDS = ("migrate", "verify", "cutover", "rollback", "finalize", "control")
"""Those of a migration side by side."""

COMMANDS_IN_PLACE = (IN_PLACE, "verify", "rollback", "finalize", "control")

_OLDEST = (6, 0)
"""The first version of MongoDB whose changes can be followed."""

_BOOKINGS_PER_SECOND = 20_000
"""How many bookings a second a migration reads at least, where it was measured."""

_LONG = 60.0
"""Seconds; within less the oplog does not run over."""

_MIGRATING = ("migrate", IN_PLACE)
_COPYING = ("migrate", IN_PLACE, "cutover")
"""The commands that store the bookings once more, about."""


@dataclass(frozen=True, slots=True)
class PreflightPlan:
    """What is looked at."""

    migration: MigrationPlan
    around: ServerSurroundings
    inspector: "MongoInspector"
    directory: Directory
    stores: RunStores
    live: "MongoLive"
    request: RunRequest
    policy: RejectedPolicy | None
    archive: Callable[[str], "MongoInPlace"]
    """Opens the source with the collection that a run in place moves old bookings to."""

    limits_lag: bool = False
    """Whether migrate will have --max-lag."""

    blocks_all_writes: bool = False
    """Whether cutover will have --block-all-writes."""

    keeps_index: bool = False
    """Whether finalize will have --keep-index."""


def preflight(plan: PreflightPlan, commands: tuple[str, ...] = COMMANDS) -> PreflightOutcome:
    """Look at everything that some commands need.

    Raises:
        ConnectionProblem: the server cannot be reached.
    """
    verdicts = []
    for command in commands:
        row = _row_of(plan, command)
        verdicts.append(CommandVerdict(command, tuple(_checks(plan, command, row)), row))
    return PreflightOutcome(tuple(_server(plan)), tuple(verdicts))


def _row_of(plan: PreflightPlan, command: str) -> str:
    """Return the row of the table of privileges: some options, and behind a cut-over its rollback and its end, take more."""
    if command in _MIGRATING and plan.limits_lag:
        return "migrate --max-lag"
    if command == "cutover" and plan.blocks_all_writes:
        return "cutover --block-all-writes"
    if command not in ("rollback", "finalize"):
        return command
    try:
        cut_over = run_to_finalize(plan.stores.journal, plan.request.source)
        if cut_over is not None and command == "rollback" and _is_behind_guard(plan):
            return BEHIND_GUARD
    except NotPermitted:
        return command
    return command if cut_over is None else f"{command} after a cut-over"


def _is_behind_guard(plan: PreflightPlan) -> bool:
    """Return whether the run that is undone first is one in place, of a collection with a guard."""
    newest = newest_result(plan.stores.journal, plan.request.source)
    return newest is not None and newest.archive is not None and plan.archive(newest.archive).is_guarded()


def _server(plan: PreflightPlan) -> Iterator[Check]:
    """Yield what holds for all commands."""
    server = plan.inspector.server()
    version = tuple(int(part) for part in server.version.split(".")[:2] if part.isdigit())
    found = f"MongoDB {server.version}, {server.topology.value}"
    if version < _OLDEST:
        hint = "Changes can be followed from MongoDB 6.0 on."
        yield Check("server", State.CAUTION, found, hint)
    elif server.topology is Topology.STANDALONE:
        hint = "A replica set, even of one node, allows a cut-over while the application runs, and migrations in place."
        yield Check("server", State.CAUTION, found, hint)
    else:
        yield Check("server", State.FINE, found)
    yield _applications(plan)


def _applications(plan: PreflightPlan) -> Check:
    connected = plan.inspector.applications()
    if connected is None:
        hint = shown_with(plan.inspector, "clusterMonitor", "admin")
        return Check("applications", State.UNKNOWN, "this user may not see the connections of others", hint)
    named = ", ".join(f"{name} ({grouped(count)})" for name, count in connected.items())
    rate = None if plan.around.source is None else plan.inspector.changes_per_second(plan.around.source.name)
    writes = "" if rate is None else f"; about {rate:.3g} changes of the source a second"
    return Check("applications", State.FINE, f"connected: {named or 'none but this'}{writes}")


def _checks(plan: PreflightPlan, command: str, row: str) -> Iterator[Check]:
    names = (*plan.around.known, plan.request.source, plan.request.target)
    if command == "finalize" and plan.keeps_index:
        made = [Privilege("createIndex", plan.request.source)]
        yield check_privileges(plan.inspector, row, names, made, option="--keep-index")
    else:
        yield check_privileges(plan.inspector, row, names)
    if command == "control":
        # What it changes is one value in the journal.
        return
    if command != "verify":
        yield from _majority(plan)
    if command in _MIGRATING:
        if plan.limits_lag:
            yield _lag(plan)
        yield _source(plan)
        yield from _documents(plan, is_in_place=command == IN_PLACE)
    if command == IN_PLACE:
        yield from _archive(plan)
    if command in ("migrate", "cutover"):
        yield _streams(plan)
    if command in _COPYING:
        yield from _disk(plan, command)
    if command == "migrate":
        yield from _oplog(plan)
    place = plan.request.source if command == IN_PLACE else plan.request.target
    yield _known("lock", lambda: _lock(plan, place))
    yield _known("runs", lambda: _run(plan, command))


def _known(subject: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except NotPermitted as error:
        return Check(subject, State.UNKNOWN, error.message, error.hint)
    except Refused as error:
        return Check(subject, State.OBSTACLE, error.message, error.hint)


def _majority(plan: PreflightPlan) -> Iterator[Check]:
    members = plan.inspector.members_without_majority()
    if members:
        found = f"too few members are up to acknowledge writes: {', '.join(members)}"
        yield Check("majority", State.OBSTACLE, found, "Start the members that are down.")


def _lag(plan: PreflightPlan) -> Check:
    """Return whether the lag of the secondaries can be measured, which --max-lag limits."""
    lag = plan.stores.lag.seconds(waits=False)
    if isinstance(lag, str):
        hint = "If secondaries may fall behind, leave out --max-lag."
        return Check("lag", State.OBSTACLE, f"the lag of the secondaries cannot be measured: {lag}", hint)
    return Check("lag", State.FINE, f"the slowest secondary is {lag:.0f} s behind")


def _source(plan: PreflightPlan) -> Check:
    facts = plan.around.source
    if facts is None:
        absent = plan.inspector.absent(plan.request.source)
        found = f"collection {absent.place} does not exist"
        if absent.databases:
            found += f": database {absent.database} does not exist, or has no collection that this user sees"
            meant = f"Did you mean {absent.near_database}? " if absent.near_database else ""
            return Check("source", State.OBSTACLE, found, f"{meant}{absent.those}")
        near = f"Did you mean {absent.near}? " if absent.near else ""
        return Check("source", State.OBSTACLE, found, f"{near}Name it with --source.")
    if facts.kind != "collection":
        return Check("source", State.CAUTION, f"{facts.name} is a {facts.kind}")
    has_index = any(index.keys[:1] == ("clientId",) and not index.is_partial for index in facts.indexes)
    documents = "" if facts.documents is None else f"{plural(facts.documents, 'document')}, "
    index = "an index on clientId" if has_index else "without an index on clientId: the server sorts"
    return Check("source", State.FINE, f"{documents}{index}")


def _documents(plan: PreflightPlan, *, is_in_place: bool) -> Iterator[Check]:
    """Yield what validators and indexes do to client documents such as would be written."""
    facts = plan.around.source if is_in_place else plan.around.target
    if plan.around.source is None or facts is None or facts.kind != "collection":
        return
    try:
        ends = plan.inspector.ends(plan.around.source.name, SAMPLE)
        documents = sample_documents(plan.migration, ends, plan.directory)
        found = examine(plan.inspector.destination(facts.name), documents, in_place=is_in_place)
    except Refused as error:
        yield Check("documents", State.UNKNOWN, error.message, error.hint)
        return
    refusal = refusal_of(facts.name, found, in_place=is_in_place)
    if refusal is not None:
        yield Check("documents", State.OBSTACLE, refusal.message, refusal.hint)
        return
    for each in findings_of(facts.name, found):
        yield Check("documents", State.CAUTION, each.title, each.advice)
    tried = f"validators and indexes take the {plural(len(documents), 'client document')} tried out"
    yield Check("documents", State.FINE, tried)


def _archive(plan: PreflightPlan) -> Iterator[Check]:
    """Yield why the archive cannot have the name that it gets unless the user says otherwise."""
    try:
        plan.archive(default_archive(plan.request.source))
    except NameTooLong as error:
        yield Check("archive", State.OBSTACLE, error.message, error.hint)


def _streams(plan: PreflightPlan) -> Check:
    reason = plan.inspector.not_followed(plan.request.source)
    if reason is None:
        return Check("changes", State.FINE, "the changes of the application can be followed")
    hint = "A cut-over refuses writes until everything is read again."
    return Check("changes", State.CAUTION, f"changes cannot be followed: {reason}", hint)


def _disk(plan: PreflightPlan, command: str) -> Iterator[Check]:
    disk, facts, target = plan.inspector.disk(), plan.around.source, plan.around.target
    if disk is None or facts is None or facts.storage_bytes is None:
        yield _unknown_disk(plan)
        return
    # In place, and at a cut-over, it is another copy than the target.
    there = (target.storage_bytes or 0) if command == "migrate" and target is not None else 0
    missing = max(facts.storage_bytes - there, 0)
    has = f", of which the target has {size(there)}" if there else ""
    found = f"{size(disk.free)} free; the bookings take {size(facts.storage_bytes)}, and their copy as much again{has}"
    if disk.free < missing:
        yield Check(
            "disk", State.CAUTION, found, "Enlarge the disk; dry-run says exactly what the target takes."
        )
    else:
        yield Check("disk", State.FINE, found)


def _unknown_disk(plan: PreflightPlan) -> Check:
    """Return why it is not known whether there is room, and which role shows it."""
    inspector, name = plan.inspector, plan.request.source
    lacking = inspector.missing([Privilege("dbStats", ""), Privilege("collStats", name)])
    if not lacking:
        return Check("disk", State.UNKNOWN, "the server does not say how much room its disk has")
    actions = " and ".join(each.action for each in lacking)
    found = f"not known: this user lacks {actions} on {inspector.database}"
    return Check("disk", State.UNKNOWN, found, shown_with(inspector, "read", inspector.database))


def _oplog(plan: PreflightPlan) -> Iterator[Check]:
    reach, facts = plan.inspector.oplog_seconds(), plan.around.source
    if reach is None:
        if plan.inspector.server().topology is Topology.STANDALONE:
            yield Check("oplog", State.UNKNOWN, "a standalone server has none")
            return
        found = "how far back it reaches is not known: this user may not read local.oplog.rs"
        yield Check("oplog", State.UNKNOWN, found, shown_with(plan.inspector, "read", "local"))
        return
    if facts is None or facts.documents is None:
        found = f"reaches back {reach:,.0f} s; how many bookings there are is not known"
        yield Check("oplog", State.UNKNOWN, found)
        return
    seconds = facts.documents / _BOOKINGS_PER_SECOND
    found = f"reaches back {reach:,.0f} s; the migration takes about {seconds:,.0f} s"
    # A young server's oplog is short because it has few entries.
    is_short = seconds > _LONG and reach < OPLOG_TIMES * seconds
    hint = "Enlarge the oplog (replSetResizeOplog) if it is full." if is_short else ""
    yield Check("oplog", State.CAUTION if is_short else State.FINE, found, hint)


def _lock(plan: PreflightPlan, name: str) -> Check:
    held = plan.stores.locks.look(name)
    if held is None or not held.is_live:
        return Check("lock", State.FINE, "free")
    holder = held.holder
    found = f"{holder.command} holds it: process {holder.pid} of {holder.user} on {holder.host}, run {holder.run_id}"
    if holder.command == FOLLOW_COMMAND:
        return Check("lock", State.FINE, f"{found}; it hands over to cutover")
    return Check(
        "lock",
        State.OBSTACLE,
        found,
        "Wait until it has ended. To see its progress: booking-migrate status --watch",
    )


def _run(plan: PreflightPlan, command: str) -> Check:
    """Return what earlier runs mean for a command.

    Raises:
        Refused: they prevent it.
    """
    journal, request = plan.stores.journal, plan.request
    if command in _MIGRATING:
        return _run_to_migrate(plan, is_in_place=command == IN_PLACE)
    newest = newest_result(journal, request.target)
    if command == "cutover":
        ready = check_ready(newest, request, plan.policy, plan.live, plan.stores)
        gone = check_result(command, ready, plan.inspector, journal, plan.archive)
        return gone or Check("runs", State.FINE, f"run {ready.run_id} is verified")
    in_place = newest_result(journal, request.source)
    run = (run_to_finalize(journal, request.source) if command == "finalize" else newest) or in_place
    if run is None:
        found = (
            "no cut-over and no run in place"
            if command == "finalize"
            else f"no run has written to {request.target}"
        )
        return Check("runs", State.OBSTACLE, found, "To see every run: booking-migrate status")
    gone = check_result(command, run, plan.inspector, journal, plan.archive)
    return gone or Check("runs", State.FINE, f"run {run.run_id} is {in_words(run.state)}")


def _run_to_migrate(plan: PreflightPlan, *, is_in_place: bool) -> Check:
    journal, request = plan.stores.journal, plan.request
    refuse_other_mode(journal, plan.stores.locks, request.source, in_place=is_in_place)
    for run in journal.runs(request.source if is_in_place else request.target):
        said = f"run {run.run_id} is {in_words(run.state)}"
        if run.state in RESUMABLE:
            return Check("runs", State.CAUTION, f"{said}, and is continued")
        if run.state is RunState.ROLLING_BACK:
            return Check(
                "runs", State.OBSTACLE, said, "\n".join(map(str, possible_commands(run, is_newest=True)))
            )
    return Check("runs", State.FINE, "no run prevents it")
