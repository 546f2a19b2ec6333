"""What indexes and options do to client documents, of the target and of the source itself, and what a cut-over leaves out."""

from collections.abc import Iterator
from dataclasses import dataclass

from booking_migrate.dry_run.needs import ServerSurroundings
from booking_migrate.dry_run.outcome import Blocker
from booking_migrate.errors import UnfitPlace
from booking_migrate.migrate.destination import SAMPLE, findings_of, sample_documents
from booking_migrate.migrate.lookup import Directory
from booking_migrate.runs.outcome import Finding
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.stores.cutover import OptionNote, options_after
from booking_migrate.stores.destination import PlaceFinding, examine, refusal_of
from booking_migrate.stores.ports import DocumentReader

_COLLECTION = "collection"


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found; empty where no collection is involved."""

    source_name: str = ""
    target_name: str = ""
    source: tuple[PlaceFinding, ...] = ()
    """What is to be said about the source if it is migrated in place."""

    target: tuple[PlaceFinding, ...] = ()
    """What is to be said about the target. Its validator is tried out with every document, elsewhere."""

    options: tuple[OptionNote, ...] = ()
    """What a cut-over would make of the source's options."""

    @property
    def in_place_refusal(self) -> UnfitPlace | None:
        """Return why the source cannot be migrated in place; None if it can."""
        return refusal_of(self.source_name, self.source)

    def blockers(self) -> Iterator[Blocker]:
        """Yield the reasons for which a migration into the target would be refused."""
        refusal = refusal_of(self.target_name, self.target)
        if refusal is not None:
            yield Blocker(type(refusal).__name__, refusal.message, refusal.hint)

    def findings(self) -> Iterator[Finding]:
        """Yield what is only reported, and what prevents a migration in place."""
        yield from findings_of(self.target_name, self.target)
        refusal = self.in_place_refusal
        if refusal is not None:
            yield Finding(
                kind="in-place-refused",
                title=f"migrate --in-place would be refused: {refusal.message}",
                count=len(refusal.problems),
                sample_ids=tuple(finding.name for finding in self.source if finding.is_refused),
                advice=refusal.hint,
            )
        # The validator has a finding of its own.
        left_out = [note for note in self.options if not note.is_kept and note.name != "validator"]
        if left_out:
            reasons = "; ".join(f"{note.name}: {note.reason}" for note in left_out)
            yield Finding(
                kind="options-lost",
                title="options of the source that a cut-over does not keep",
                count=len(left_out),
                sample_ids=tuple(note.name for note in left_out),
                advice=f"{reasons}. Where they matter, set them on the target before the cut-over.",
            )


def examine_places(
    plan: MigrationPlan,
    around: ServerSurroundings,
    *,
    users: DocumentReader | None,
    experts: DocumentReader | None,
) -> Examined:
    """Examine the collections of a migration. Nothing is written.

    Args:
        plan: what a migration would do.
        around: what the server says about the places.
        users: where users are looked up; None if nowhere.
        experts: where experts are looked up; None if nowhere.

    Raises:
        ConnectionProblem, NotPermitted, UnusablePlace: the server does not say.
    """
    inspector, source, target = around.inspector, around.source, around.target
    if inspector is None:
        return Examined()
    documents: tuple[bytes, ...] = ()
    is_source = source is not None and source.kind == _COLLECTION
    is_target = target is not None and target.kind == _COLLECTION
    if source is not None and is_source:
        documents = sample_documents(
            plan, inspector.ends(source.name, SAMPLE), Directory(users, experts, plan.people)
        )
    return Examined(
        source_name=around.source_name or "",
        target_name=around.target_name or "",
        source=examine(inspector.destination(source.name), documents, in_place=True)
        if source is not None and is_source
        else (),
        target=tuple(
            finding
            for finding in examine(inspector.destination(target.name), documents, in_place=False)
            if finding.kind != "validator" or not finding.is_refused
        )
        if target is not None and is_target
        else (),
        options=options_after(source.options, target.options if target is not None and is_target else None)
        if source is not None and is_source and around.target_name is not None
        else (),
    )
