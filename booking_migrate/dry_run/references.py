"""Fields of other collections that hold ids of bookings, found in samples, and the risks that go with them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from booking_migrate.dry_run.outcome import Reference
from booking_migrate.dry_run.risk_kinds import risk
from booking_migrate.references.find import MOST_COLLECTIONS, SAMPLED, SourceIds, find_references
from booking_migrate.runs.plan import Finding
from booking_migrate.stores.ports import DocumentReader

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.inspection import MongoInspector


def sampled_references(
    inspector: "MongoInspector | None", source: DocumentReader, known: Sequence[str]
) -> tuple[tuple[Reference, ...], Sequence[Finding]]:
    """Find the fields of other collections that hold ids of bookings.

    Args:
        inspector: of the database to look through; None if only files are involved.
        source: where the bookings are.
        known: collections that need no look: source, target, users, experts.

    Returns:
        One for each field with at least one hit, by collection and field; and the risks that go with it, also for
        collections that the user may not read, and that were not searched.
    """
    if inspector is None:
        return (), ()
    others = inspector.other_collections(known)[:MOST_COLLECTIONS]
    outcome = find_references(
        [inspector.referring(name) for name in others], SourceIds(source), sample=SAMPLED
    )
    references = [Reference(each.collection, each.field, each.values, each.hits) for each in outcome.fields]
    findings = []
    if references:
        findings.append(risk("references-by-id", [f"{one.collection}.{one.field}" for one in references]))
    if outcome.unreadable:
        findings.append(risk("collections-unreadable", outcome.unreadable))
    return tuple(references), findings
