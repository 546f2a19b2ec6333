"""The rewrites of references that stand, as `status` shows them: how far each is, and the commands that are possible."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from booking_migrate.runs.commands import PossibleCommand, rollback_of
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.locks import HeldLockView
from booking_migrate.stores.reference_journal import RewriteRecord, RewriteState, in_effect

_UNDO = "booking-migrate rollback --references"
_RESTORING = (
    "Only before a rollback, which is refused otherwise: stop the new application, if it still runs, then restore the old ids in all "
    "references that were rewritten for the run"
)


@dataclass(frozen=True, slots=True)
class RewriteInEffect:
    """One rewrite that was not undone."""

    record: RewriteRecord
    held: HeldLockView | None
    """The process that is running for it, if any."""

    @property
    def state(self) -> str:
        """Return its state: running, failed, interrupted or done; with ``restoring-`` before the first three in an undo."""
        how = "running" if self.held is not None else "failed" if self.record.problem else "interrupted"
        match self.record.state:
            case RewriteState.DONE:
                return "done"
            case RewriteState.UNDOING:
                return f"restoring-{how}"
            case RewriteState.WRITING | RewriteState.UNDONE:
                return how

    @property
    def fields(self) -> list[str]:
        """Return the fields with references, each with its collection."""
        return [f"{each['collection']}.{each['field']}" for each in self.record.fields]

    @property
    def values(self) -> int:
        """Return how many references it has rewritten."""
        return sum(each["number"] for each in self.record.counts if each["what"] == "rewritten")

    def possible(self) -> Iterator[PossibleCommand]:
        """Yield the commands that are possible."""
        if self.held is not None:
            return
        alone = f"{_UNDO} --run {self.record.rewrite_id}"
        match self.record.state:
            case RewriteState.UNDOING:
                yield PossibleCommand("Continue to restore the old ids", alone)
            case RewriteState.DONE:
                yield PossibleCommand("Prove it", "booking-migrate references verify")
                yield PossibleCommand(_RESTORING, f"{_UNDO} --run {self.record.run_id}")
            case RewriteState.WRITING | RewriteState.UNDONE:
                again = f"booking-migrate references rewrite --run {self.record.run_id}"
                yield PossibleCommand(
                    "Continue it, the usual choice; it continues with these fields only", again
                )
                yield PossibleCommand(
                    "Only to undo this rewrite instead, and no other one, and restore the old ids", alone
                )


def restoring_first(
    run: RunRecord, possible: Sequence[PossibleCommand], found: Sequence[RewriteInEffect]
) -> tuple[PossibleCommand, ...]:
    """Return the commands that are possible for a run, with what has to come before its rollback while its rewrites stand."""
    back = rollback_of(run)
    existing = [each for each in found if each.record.run_id == run.run_id]
    if not existing:
        return tuple(possible)
    if any(each.record.state is not RewriteState.DONE for each in existing):
        return tuple(each._replace(purpose=_after_rewrite(each, back)) for each in possible)
    first = PossibleCommand(
        _RESTORING,
        f"{_UNDO} --run {run.run_id}",
    )
    return tuple(each for one in possible for each in ([first, one] if one.command == back else [one]))


def _after_rewrite(possible: PossibleCommand, back: str) -> str:
    """Return the purpose of a command while a rewrite is unfinished, with what has to come before a rollback and an end."""
    purpose = f"{possible.purpose[0].lower()}{possible.purpose[1:]}"
    if possible.command == back:
        return f"Once the unfinished rewrite of references is undone, {purpose}"
    if possible.command.startswith("booking-migrate finalize "):
        return f"Once the unfinished rewrite of references is finished or undone, {purpose}"
    return possible.purpose


def rewrites_in_effect(records: Sequence[RewriteRecord], held: HeldLockView | None) -> list[RewriteInEffect]:
    """Return the rewrites that stand, the newest first.

    Args:
        records: all that are recorded.
        held: the lock of rewriting; one process works on one of those that are not done, the newest.
    """
    found = in_effect(records)
    is_held = held is not None and held.is_live
    first = next((each for each in found if each.state is not RewriteState.DONE), None)
    return [RewriteInEffect(each, held if is_held and each is first else None) for each in found]
