"""Whether a run may be cut over: decided from the journal and the live collection, before anything is changed."""

import json
import shlex
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING

from booking_migrate.bson.document import elements, read_fields
from booking_migrate.domain.contract import WAIVABLE
from booking_migrate.domain.rejection import ConflictPolicy
from booking_migrate.errors import CutoverRefused
from booking_migrate.errors.base import SAME_COMMAND
from booking_migrate.quantities import plural
from booking_migrate.runs.advice import (
    ANY_SOURCE,
    CARRYING,
    KEEPING_SESSIONS,
    LEAVING,
    OVERWRITING_SESSIONS,
    RIGHT_NAME,
    WRONG_SOURCE,
    look_at,
    usually_right,
)
from booking_migrate.runs.commands import command_of, going_back, rollback_of
from booking_migrate.runs.plan import all_rejected
from booking_migrate.runs.session import RunRequest, RunStores
from booking_migrate.runs.states import IN_EFFECT, differences, in_words
from booking_migrate.stores.journal import RunJournal, RunRecord, RunState
from booking_migrate.stores.own_collections import REJECTS_COLLECTION, kept_copy
from booking_migrate.stores.rejects import find_rejected, rejection_in_words

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.cutover import MongoLive


class RejectedPolicy(StrEnum):
    """What a cut-over does with rejected bookings. The values are an API."""

    CARRY = "carry"
    """They are carried into the live collection in their old shape, beside the client documents."""

    LEAVE = "leave"
    """They are left in the kept copy of the old collection only."""

    @property
    def carries(self) -> bool:
        """Return whether rejected bookings are in the live collection afterwards."""
        match self:
            case RejectedPolicy.CARRY:
                return True
            case RejectedPolicy.LEAVE:
                return False


def carries_rejected(run: RunRecord) -> bool:
    """Return whether a run's cut-over was asked to carry rejected bookings."""
    recorded = run.cutover_options.get("rejected")
    return recorded in set(RejectedPolicy) and RejectedPolicy(recorded).carries


def resolve_conflicts(run: RunRecord) -> str:
    """Return the advice about bookings that conflict with sessions that others changed, and when which side is right."""

    def decided(name: str, policy: ConflictPolicy) -> str:
        options = {**run.options, "on-conflict": policy.value}
        return command_of(run.model_copy(update={"options": options}), name)

    keep, overwrite = ConflictPolicy.TARGET, ConflictPolicy.SOURCE
    return (
        f"See each conflict, which changes nothing: {command_of(run, 'verify')}\n"
        f"{usually_right(run.source, run.target)}\n"
        f"{KEEPING_SESSIONS}: {decided('migrate', keep)}\n"
        f"Then verify: {decided('verify', keep)}\n"
        f"{OVERWRITING_SESSIONS}: {decided('migrate', overwrite)}\n"
        f"Then verify: {decided('verify', overwrite)}"
    )


def check_ready(
    run: RunRecord | None,
    request: RunRequest,
    policy: RejectedPolicy | None,
    live: "MongoLive",
    stores: RunStores,
) -> RunRecord:
    """Check that a run may be cut over, without changing anything; the first of the rejected records serves as an example.

    Raises:
        CutoverRefused: it may not be; also if the options differ from those of the run, because bookings that were added
            since would be converted differently.
    """
    target = request.target

    def refuse(problem: str, advice: str) -> CutoverRefused:
        return CutoverRefused(target, problem, advice)

    if run is None:
        raise refuse("no run has written to this target", _about_target(request, stores.journal))
    if run.state is not RunState.DONE:
        raise refuse(f"run {run.run_id} is {in_words(run.state)}", _advice(run))
    if run.source != request.source:
        raise refuse(
            f"run {run.run_id} into {target} is from the source {run.source}, not from {request.source}",
            _which_source(run, request),
        )
    if all_rejected(run.counts):
        raise refuse(f"{_all_documents(run)} rejected", _about_wrong_source(run))
    unfit = live.unfit()
    if unfit is not None:
        advice = (
            _advice_about_fence(run.source)
            if live.is_fenced()
            else "Only a plain collection can be replaced."
        )
        raise refuse(f"the source {run.source} cannot be replaced: {unfit}", advice)
    _check_name(run, live)
    conflicts = run.counts.get("conflicts", 0)
    if conflicts:
        raise refuse(
            f"{plural(conflicts, 'booking conflicts', 'bookings conflict')} with the sessions",
            resolve_conflicts(run),
        )
    _check_proven(run)
    _check_options(run, request)
    rejected = run.counts.get("rejected", 0)
    if rejected and policy is None:
        carry, leave = (f"{SAME_COMMAND} --rejected {decision}" for decision in RejectedPolicy)
        example = next(stores.target.rejects(), None)
        kept_in = run.options.get("rejects") or REJECTS_COLLECTION
        find = find_rejected(kept_in, run.source, target)
        advice = (
            f"See them and their reasons, in mongosh: {find}\n"
            f"Nothing is urgent, {run.source} is live and unchanged. Usual: ask the developers for the right values, since one that "
            "merely passes falsifies live bookings, fix them in the source, then migrate again: "
            f"{command_of(run, 'migrate')}\n"
            f"Verify again: {command_of(run, 'verify')}\n"
            f"Then run the same command again, which does not ask about rejected bookings if none is left: {SAME_COMMAND}\n"
            f"{_accepting(run, example)}"
            f"Or cut over with them as they are: {CARRYING}: {carry}\n"
            f"{LEAVING}: {leave}"
        )
        such = "" if example is None else f", such as {rejection_in_words(example)}"
        raise refuse(f"{plural(rejected, 'booking was', 'bookings were')} rejected{such}", advice)
    return run


def _about_target(request: RunRequest, journal: RunJournal) -> str:
    """Return the advice for a target that no run has written to: those that can be meant, the nearest name first, or a migration."""
    places = shlex.join(["--source", request.source, "--target", request.target])
    migrate = f"migrate and verify first: booking-migrate migrate {places}"
    runs = [run for run in journal.runs() if run.archive is None and run.state in IN_EFFECT]
    known = list(dict.fromkeys(run.target for run in runs))
    if not known:
        return f"{migrate[0].upper()}{migrate[1:]}"
    near = get_close_matches(request.target, known, n=1)
    if near or len(known) == 1:
        (meant,) = near or known
        asked = f"Did you mean {meant}?" if near else f"There is a run into {meant}. If that is meant:"
        first = f"{asked} {SAME_COMMAND} --target {shlex.quote(meant)}"
    else:
        first = f"There are runs into {', '.join(known)}. To see each: booking-migrate status"
    return f"{first}\nOr, if {request.target} is right, {migrate}"


def _which_source(run: RunRecord, request: RunRequest) -> str:
    """Return the advice for a cut-over that names another source than that of the run, either of which may be right."""
    undo = f"undo the run, which is from {run.source}: {rollback_of(run)}"
    migrate = (
        f"Then migrate and verify: {command_of(run.model_copy(update={'source': request.source}), 'migrate')}"
    )
    if all_rejected(run.counts):
        said = _all_documents(run)
        return f"{said[0].upper()}{said[1:]} rejected, so {request.source} may be right. Usual: {undo}\n{migrate}"
    own = f"If {run.source} is right: {SAME_COMMAND} --source {shlex.quote(run.source)}"
    return f"{own}\nOr, only if {request.source} is right: {undo}\n{migrate}"


def _all_documents(run: RunRecord) -> str:
    scanned = run.counts["scanned"]
    number = f"all {plural(scanned, 'document')} of" if scanned > 1 else "the one document of"
    return f"{number} {run.source} {'were' if scanned > 1 else 'was'}"


def _about_wrong_source(run: RunRecord) -> str:
    """Return the advice for a run that has rejected every document of its source, which a cut-over would replace by nothing."""
    right = run.model_copy(update={"source": ANY_SOURCE})
    return (
        f"{WRONG_SOURCE}. Look at one of its documents, in mongosh: {look_at(run.source)}\n"
        f"If they are not bookings, first undo this run: {rollback_of(run)}\n"
        f"Then migrate, {RIGHT_NAME}: {command_of(right, 'migrate')}\n"
        f"Or, if they are bookings: see why they were rejected, and what helps: {command_of(run, 'migrate')}"
    )


def _accepting(run: RunRecord, example: bytes | None) -> str:
    """Return how bookings that are rejected for the reason of an example are accepted, as lines; empty if they cannot be."""
    reason = None if example is None else read_fields(example).get("reason")
    if reason not in WAIVABLE:
        return ""
    accepted = ", ".join(filter(None, (run.options.get("accept"), str(reason))))
    accepting = run.model_copy(update={"options": {**run.options, "accept": accepted}})
    return (
        f"Or, if the new application takes such bookings as they are ({reason}), accept them: {command_of(accepting, 'migrate')}\n"
        f"Then verify: {command_of(accepting, 'verify')}\n"
        f"Then cut over: {command_of(accepting, 'cutover')}\n"
    )


def _advice_about_fence(source: str) -> str:
    """Return the advice for a source that has a fence, while no cut-over of this run is open."""
    lifting = json.dumps({"collMod": source, "validator": {}})
    return (
        "See whether one is unfinished, with the command that finishes it: booking-migrate status\n"
        f"If none is, accept writes again, in mongosh, with the collection's own validator if it had one: db.runCommand({lifting})"
    )


def _check_name(run: RunRecord, live: "MongoLive") -> None:
    """Refuse a source whose kept copy would have too long a name.

    Raises:
        CutoverRefused: it would.
    """
    legacy = kept_copy(run.source, run.run_id)
    if (excess := live.excess_of(legacy)) > 0:
        raise CutoverRefused(
            run.target,
            f"the name of the kept copy would be longer than a server allows, by {plural(excess, 'byte')}: {legacy}",
            "Usual: migrate in place, where the name of the archive can be chosen, with a short one for ARCHIVE: "
            f"booking-migrate migrate --in-place --source {shlex.quote(run.source)} --archive ARCHIVE\n"
            "Or, only if the application can use another name: rename the source, then migrate, verify and cut over that.",
        )


def _check_proven(run: RunRecord) -> None:
    if run.verified_at is None or run.written_at is None or run.verified_at <= run.written_at:
        raise CutoverRefused(
            run.target,
            f"run {run.run_id} has not been verified since its last write",
            f"Verify it first: {command_of(run, 'verify')}",
        )
    if not run.verified_clean:
        raise CutoverRefused(
            run.target,
            "the last verification found mismatches",
            f"See what differs, and what to do about it: {command_of(run, 'verify')}",
        )


def _check_options(run: RunRecord, request: RunRequest) -> None:
    unlike = differences(run.options, _without_idle_policy(run, request.options))
    if unlike:
        problem = f"run {run.run_id} was made with other options: {'; '.join(unlike)}"
        raise CutoverRefused(
            run.target, problem, f"Use the options of the run: {_with_options_of(run, request)}"
        )


def _with_options_of(run: RunRecord, request: RunRequest) -> str:
    """Return the mark of the command that runs, with the options of a run in place of those that decide its result."""
    _, _, *own = shlex.split(command_of(run.model_copy(update={"cutover_options": {}}), "cutover"))
    others = [f"--{name}" for name in request.options if "." not in name]
    without = [name for name in others if name not in own]
    return f"{SAME_COMMAND} {shlex.join(own)} without {' '.join(without)}"


def _advice(run: RunRecord) -> str:
    """Return the advice for a run whose state does not allow a cut-over."""
    match run.state:
        case RunState.CUT_OVER:
            return "To see every run: booking-migrate status"
        case RunState.RESTORING:
            return str(going_back(run))
        case RunState.ROLLING_BACK:
            return f"Complete its rollback first: {rollback_of(run)}"
        case _:
            return f"Complete it first: {command_of(run, 'migrate')}"


def _without_idle_policy(run: RunRecord, options: Mapping[str, str]) -> Mapping[str, str]:
    """Return the options with the run's own policy for conflicts, which a clean verification proves irrelevant.

    A migration with another policy but without conflicts writes nothing, so the newest run has the older policy.
    """
    name = "on-conflict"
    return {**options, name: run.options[name]} if name in run.options else options


def decisions_in(records: Iterator[bytes]) -> tuple[int, int]:
    """Return the number of records with a decision, and a digest of them that does not depend on their order."""
    count = total = 0
    for record in (raw for raw in records if any(part.name == b"decision" for part in elements(raw))):
        count, total = count + 1, total ^ int.from_bytes(sha256(record).digest())
    return count, total
