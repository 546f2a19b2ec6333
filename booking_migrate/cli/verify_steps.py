"""What to suggest when a verification is done."""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any

import typer

from booking_migrate.bson.format import display_id, in_mongosh
from booking_migrate.bson.order import id_key, sort_key
from booking_migrate.cli.migrate_steps import steps_about_source
from booking_migrate.cli.next_steps import same_command, similar_command
from booking_migrate.cli.open import Places
from booking_migrate.cli.parameters import is_from
from booking_migrate.cli.verify_inputs import VerifyInputs
from booking_migrate.domain.rejection import ConflictPolicy
from booking_migrate.domain.rules import DEFAULT_RULES
from booking_migrate.reports.missing_sessions import steps_about_missing
from booking_migrate.reports.model import NextStep
from booking_migrate.reports.text import explaining
from booking_migrate.runs.advice import CARRYING, LEAVING, STOP_THE_OLD, usually_right
from booking_migrate.runs.commands import command_of
from booking_migrate.runs.status import RUN_IS_WRITING, UNFINISHED
from booking_migrate.stores.in_place import open_in_place
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.places import CollectionPlace, parse_place
from booking_migrate.verify import VerificationOutcome
from booking_migrate.verify.mismatch import Kind, Mismatch

TOTALS_ARE_THE_APPLICATIONS = (
    "If the new application has written to a client document, it must keep totalSessions, totalSpent and updatedAt there in step with "
    "the sessions: correct that in the application, and in the documents."
)
"""The cause of most mismatches in totals."""


def steps_after_verify(
    outcome: VerificationOutcome,
    ctx: typer.Context,
    run: RunRecord | None,
    booking_id: Any,
    *,
    archive: str | None,
    listed: bool,
    is_live: bool,
    can_cut_over: bool,
) -> Iterator[NextStep]:
    """Yield the steps after a verification.

    Args:
        outcome: what the verification found.
        ctx: has the options for the commands to name.
        run: the run that wrote the target, whose options the commands take then; None: not known.
        booking_id: the `_id` of an old booking that has a mismatch; None: no mismatch is known to be about one.
        archive: where the old bookings are, in place; None: side by side.
        listed: whether every mismatch is in a file already.
        is_live: whether the target is the live collection since a cut-over.
        can_cut_over: whether a cut-over may take this verification as a proof.
    """
    if not outcome.mismatch_count:
        yield from steps_about_source(outcome, ctx, "migrate")
        if can_cut_over and not outcome.counts.are_all_rejected:
            yield from _cutovers(outcome, ctx)
        return
    unfinished = next((each for each in outcome.findings if each.kind in UNFINISHED), None)
    if unfinished is not None:
        # The command is the last part of its advice.
        advice, _, command = unfinished.advice.rpartition(": ")
        yield NextStep(text=f"{advice}:", command=command)
        then = "When it is done," if unfinished.kind == RUN_IS_WRITING else "Then"
        yield NextStep(text=f"{then} verify again:", command=_again(ctx, run))
        return
    if run is not None and (lacking := _lacking(ctx, run)):
        yield NextStep(
            text=f"This verification lacks {' and '.join(lacking)} of the run, which may be all that is wrong. Verify with the run's options:",
            command=command_of(run, "verify"),
        )
    found = [each for result in outcome.results for each in result.examples]
    # In place, the client documents are among the live ones from the beginning.
    beside = not is_live and not ctx.params["in_place"] and _are_collections(ctx)
    yield from _first_look(ctx, booking_id, archive, is_live_as_before=beside and _is_of(ctx, run))
    repair = _Repair(ctx, run, tuple(found), knows_behind=outcome.knows_behind, beside=beside)
    if not is_live:
        yield from repair.safe()
    if not listed and (again := same_command(ctx, "--mismatches mismatches.jsonl")):
        yield NextStep(text="See every mismatch with its values:", command=again)
    if any(each.kind is Kind.TOTALS for each in found):
        yield NextStep(text=TOTALS_ARE_THE_APPLICATIONS)
    if run is not None and (is_live or ctx.params["in_place"]):
        yield from steps_about_missing(run, outcome)
    if is_live:
        yield NextStep(text="After a correction, verify again:", command=_again(ctx, run))
    else:
        yield from repair.decided()


def _are_collections(ctx: typer.Context) -> bool:
    return all(
        isinstance(parse_place(str(ctx.params[each])), CollectionPlace) for each in ("source", "target")
    )


def _is_of(ctx: typer.Context, run: RunRecord | None) -> bool:
    return run is not None and run.source == ctx.params["source"]


def _first_look(
    ctx: typer.Context, booking_id: Any, archive: str | None, *, is_live_as_before: bool
) -> Iterator[NextStep]:
    """Yield how to look at one booking, if a mismatch is about one."""
    source = ctx.params["source"]
    urgency = f"Nothing is urgent: {source} is live as before, and unchanged by the migration."
    if booking_id is not None:
        look = "First look at one booking and its session, which changes nothing:"
        moved = () if archive is None else ("--source", quote(archive), "--target", quote(source))
        options = similar_command(ctx, "explain", *moved).partition(" explain")[2].lstrip()
        yield NextStep(
            text=f"{urgency} {look}" if is_live_as_before else look,
            command=explaining(display_id(booking_id), options),
        )
    elif is_live_as_before:
        yield NextStep(text=urgency)


def booking_to_explain(places: Places, inputs: VerifyInputs, outcome: VerificationOutcome) -> Any:
    """Return the `_id` of an old booking of a mismatch that `explain` finds; None if no mismatch shown is about one.

    A session that the application has made is named after its `sessionId`. In place, `explain` finds what is in the archive.
    """
    examples = (each for result in outcome.results for each in result.examples)
    ids = [
        each.booking_id for each in examples if each.booking_id is not None and each.kind is not Kind.EXTRA
    ]
    if places.archive is not None:
        collection = open_in_place(inputs.connection, source=places.source, archive=places.archive)
        there = map(id_key, collection.archived(ids))
    elif places.in_database:
        there = map(id_key, inputs.source.find(ids))
    else:
        return next(iter(ids), None)
    known = set(there)
    return next((each for each in ids if sort_key(each) in known), None)


@dataclass(frozen=True, slots=True)
class _Repair:
    """The ways to make a target right again that is not live, the mildest first."""

    ctx: typer.Context
    run: RunRecord | None
    found: Sequence[Mismatch]
    knows_behind: bool
    """Whether a client whose bookings have changed since the run counts as behind, and not as a mismatch."""

    beside: bool
    """Whether both sides are collections, and the bookings are not touched by the migration."""

    def safe(self) -> Iterator[NextStep]:
        """Yield what may be all that is needed where bookings may have changed since the run, and loses nothing."""
        if self._keeps() and not self.knows_behind:
            yield NextStep(
                text=f"Safe in any case, and enough if only bookings have changed since the run: {_KEEPING}:",
                command=self._migrate(),
            )
            yield NextStep(text="Then verify again:", command=self._verify())

    def decided(self) -> Iterator[NextStep]:
        """Yield what needs a decision, and how to make it."""
        yield from self._judgement()
        taking = self._taking()
        if taking is not None:
            right = "every booking listed is" if self._is_judged() else "the bookings are"
            again = _OVERWRITING if self._keeps() else f"migrate again, {_TAKING}"
            yield NextStep(text=f"Only when {right} right: {again}:", command=taking)
            yield NextStep(text="Then verify again:", command=self._verify(ConflictPolicy.SOURCE))
        yield from self._deletion()

    def _judgement(self) -> Iterator[NextStep]:
        """Yield which side is right usually, and what to do about a booking that is wrong."""
        cause = _NOT_BEHIND if self.knows_behind else ""
        keeping = f"{_KEEPING[0].upper()}{_KEEPING[1:]}:"
        may_keep = self.knows_behind and self._keeps()
        if not self._is_judged():
            if may_keep and self._taking() is None:
                yield NextStep(text=f"{cause} {keeping}", command=self._migrate())
                yield NextStep(text="Then verify again:", command=self._verify())
            elif cause:
                yield NextStep(text=cause)
            return
        source, target = self.ctx.params["source"], self.ctx.params["target"]
        judged = usually_right(source, target)
        if self._keeps() and not self.knows_behind:
            judged = f"If it still differs: {judged[0].lower()}{judged[1:]}"
        yield NextStep(text=f"{cause} {judged}" if cause else judged)
        first = "If any session is right, correct its booking first"
        if may_keep:
            yield NextStep(text=f"{first}; then {_KEEPING}:", command=self._migrate())
            yield NextStep(
                text="Then verify again; nothing more is needed if that is proven:", command=self._verify()
            )
        else:
            yield NextStep(text=f"{first}{'; then migrate and verify as above' if self._keeps() else ''}.")

    def _deletion(self) -> Iterator[NextStep]:
        """Yield how to see a client document that others changed, and how to do away with it, which `migrate` does not."""
        client_id = next((each.client_id for each in self.found if each.client_id is not None), None)
        named = None if client_id is None else in_mongosh(client_id)
        is_collection = isinstance(parse_place(str(self.ctx.params["target"])), CollectionPlace)
        if named is None or not is_collection or self.ctx.params["in_place"]:
            return
        collection = f"db.getCollection({json.dumps(self.ctx.params['target'])})"
        yield NextStep(
            text="Only if it still differs after that: look at the client document, and copy the output, in mongosh:",
            command=f"{collection}.find({{clientId: {named}}})",
        )
        yield NextStep(
            text="Only if nothing that others put there is needed: delete the document, which loses what only it has, in mongosh:",
            command=f"{collection}.deleteOne({{clientId: {named}}})",
        )
        yield NextStep(
            text="Then migrate, which derives it again from its bookings:", command=self._migrate()
        )
        yield NextStep(text="Then verify again:", command=self._verify())

    def _taking(self) -> str | None:
        """Return the command that overwrites sessions from their bookings, if there is one."""
        match _policy(self.ctx, self.run):
            case ConflictPolicy.REJECT:
                if not self._has_content():
                    return None
                # It would only keep these sessions again.
                plain = similar_command(self.ctx, "migrate", without={"--on-conflict"})
                return f"{self._migrate() if self.run else plain} --on-conflict source"
            case ConflictPolicy.SOURCE:
                return self._migrate()
            case ConflictPolicy.TARGET:
                return None

    def _keeps(self) -> bool:
        """Return whether to migrate again keeps what others changed."""
        return _policy(self.ctx, self.run) is not ConflictPolicy.SOURCE

    def _has_content(self) -> bool:
        return any(each.kind is Kind.CONTENT for each in self.found)

    def _is_judged(self) -> bool:
        """Return whether either side may be right."""
        return self.beside and self._has_content()

    def _migrate(self) -> str:
        return similar_command(self.ctx, "migrate") if self.run is None else command_of(self.run, "migrate")

    def _verify(self, policy: ConflictPolicy | None = None) -> str:
        """Return the command that verifies again, after another decision about conflicts if there is one."""
        if policy is None or policy is _policy(self.ctx, self.run):
            return _again(self.ctx, self.run)
        return _again(self.ctx, self.run, f"--on-conflict {policy.value}")


def _policy(ctx: typer.Context, run: RunRecord | None) -> ConflictPolicy:
    """Return what the command that migrates again does about conflicts: as the run, or as the verification was asked."""
    if run is None:
        return ConflictPolicy(ctx.params["on_conflict"])
    recorded = run.options.get("on-conflict")
    return ConflictPolicy(recorded) if recorded in set(ConflictPolicy) else DEFAULT_RULES.on_conflict


_KEEPING = (
    "migrate again, which brings in what the target lacks, and keeps client documents that others changed"
)

_OVERWRITING = "overwrite these sessions from the bookings; what others changed in these sessions is lost"

_TAKING = (
    "which brings in what the target lacks, and overwrites sessions that differ from their bookings; what others changed in these sessions "
    "is lost"
)
"""What the same does where conflicts are decided for the source."""

_NOT_BEHIND = "Bookings that have changed since the run are not the cause: their clients would count as behind. The target itself was changed."
"""What is known of a mismatch where the changes since the run are."""


def _again(ctx: typer.Context, run: RunRecord | None, more: str = "") -> str:
    """Return the command that verifies again: the one that was typed, or with the options of the run if it lacked some."""
    typed = same_command(ctx, more)
    if typed is not None and (run is None or not _lacking(ctx, run)):
        return typed
    if run is None:
        return similar_command(ctx, "verify", *filter(None, [more]))
    return f"{command_of(run, 'verify')} {more}".rstrip()


def _lacking(ctx: typer.Context, run: RunRecord) -> Sequence[str]:
    """Return the options of a run that a verification was not given, although they decide what is right."""
    named = shlex.split(command_of(run, "verify"))
    unset = {
        parameter.opts[0] for parameter in ctx.command.params if is_from(ctx, parameter.name or "", "DEFAULT")
    }
    # Another archive than that of the run is refused, so in place this is what was read.
    read = _PLACES | ({"--archive"} if ctx.params["in_place"] else set())
    return [each for each in dict.fromkeys(named) if each in unset - read]


_PLACES = frozenset({"--source", "--target"})
"""What a verification has compared, as its user wanted it."""


_WHEN_READY = "When the new application is ready, make the target the live collection"


def _cutovers(outcome: VerificationOutcome, ctx: typer.Context) -> Iterator[NextStep]:
    """Yield the commands that make a proven target the live collection."""
    cutover = similar_command(ctx, "cutover")
    brought_in = "; it brings in what has changed since" if outcome.behind else ""
    refused = f"Writes are refused {'briefly' if outcome.knows_behind else 'meanwhile'}; {STOP_THE_OLD}"
    if not outcome.counts.rejected:
        yield NextStep(text=f"{_WHEN_READY}{brought_in}. {refused}:", command=cutover)
        return
    text = f"{_WHEN_READY}{brought_in}. {refused}. In the cut-over, {CARRYING}:"
    yield NextStep(text=text, command=f"{cutover} --rejected carry")
    yield NextStep(text=f"{LEAVING}:", command=f"{cutover} --rejected leave")
