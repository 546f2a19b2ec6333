"""One dry-run, from the first look at the source to the last risk."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from decimal import Decimal
from functools import partial
from typing import TypeVar

from booking_migrate.dry_run.needs import (
    ServerSurroundings,
    blocker_of,
    examine_places,
    find_needs,
    need_blockers,
    need_findings,
)
from booking_migrate.dry_run.outcome import Bar, Blocker, DryRunOutcome, Gains, TimeEstimate
from booking_migrate.dry_run.references import sampled_references
from booking_migrate.dry_run.risks import RiskWatch
from booking_migrate.errors import DuplicateClientDocuments
from booking_migrate.events import Listener
from booking_migrate.migrate import pipeline
from booking_migrate.migrate.lookup import Directory
from booking_migrate.quantities import agreed, grouped
from booking_migrate.runs.plan import (
    Counts,
    Finding,
    MigrationOutcome,
    MigrationPlan,
    RejectedMoney,
    RejectedValue,
    RejectionGroup,
)
from booking_migrate.runs.provenance import SampledHistory, TargetHistory
from booking_migrate.stores.destination import CollectionFacts
from booking_migrate.stores.ports import DocumentReader
from booking_migrate.stores.preview import PreviewTarget
from booking_migrate.stores.readers import SampledReader
from booking_migrate.stores.scratch import Scratchpad

_SMALLEST_SHARE = 0.1
"""The share of their bytes that documents take on disk at least; zstd makes bookings about that small."""

_CENT = Decimal("0.01")
_SCALED_GAINS = (
    "documents_before",
    "documents_after",
    "data_bytes_before",
    "data_bytes_after",
    "index_bytes_after",
    "storage_bytes_after",
)
Part = TypeVar("Part", Bar, Counts, Finding, Gains, MigrationOutcome, RejectedValue, RejectionGroup)


def dry_run(
    plan: MigrationPlan,
    source: DocumentReader,
    open_target: Callable[[], PreviewTarget],
    *,
    surroundings: ServerSurroundings,
    scratchpad: Scratchpad,
    users: DocumentReader | None = None,
    experts: DocumentReader | None = None,
    listener: Listener | None = None,
    history: TargetHistory | None = None,
) -> DryRunOutcome:
    """Run a migration that writes nothing, and find its risks, what it needs and what it gains.

    It is the same pipeline with a target that discards all writes, so its counts are those of a migration.

    Args:
        plan: what a migration would do.
        source: where the bookings are; if it is a sample, every figure is scaled up to the whole.
        open_target: opens the target, which writes nothing. It may be called twice.
        surroundings: what the server reports about the places.
        scratchpad: stores on disk what concerns several clients.
        users: as for `migrate.pipeline.migrate`.
        experts: likewise.
        listener: likewise.
        history: likewise.

    Raises:
        Refused: the source cannot be read.
        ConnectionProblem: the server does not answer.
    """
    watch = RiskWatch(scratchpad, plan.rules.maximum_document_size)
    if isinstance(source, SampledReader) and history is not None:
        history = SampledHistory(history)
    migrate = partial(
        pipeline.migrate,
        source=source,
        users=users,
        experts=experts,
        listener=listener,
        observer=watch,
        history=history,
    )
    migration, refusals = _into_nothing(plan, open_target, migrate)
    read = _scaled(_what_was_read(migration, watch, surroundings.source), source)
    examined = examine_places(plan, surroundings, Directory(users, experts, plan.people))
    needs = find_needs(surroundings, read.gains, read.estimate.seconds, examined.in_place_refusal)
    references, elsewhere = sampled_references(surroundings.inspector, source, surroundings.known)
    around = (*elsewhere, *need_findings(needs, surroundings, read.estimate), *examined.findings)
    findings = (*migration.findings, *read.migration.findings, *around)
    return replace(
        read,
        migration=replace(read.migration, findings=findings),
        needs=needs,
        blockers=(*refusals, *examined.blockers, *need_blockers(needs), *_sample_blockers(source)),
        references=references,
        samples=watch.chosen.samples(
            source, migration.rejections[0].reason if migration.rejections else None
        ),
    )


def _into_nothing(
    plan: MigrationPlan, open_target: Callable[[], PreviewTarget], migrate: Callable[..., MigrationOutcome]
) -> tuple[MigrationOutcome, list[Blocker]]:
    """Migrate into a target that writes nothing; return the outcome, and what a migration would be refused for."""
    blockers = []
    target = open_target()
    try:
        migration = migrate(plan, target=target)
    except DuplicateClientDocuments as refusal:
        # It comes before the first booking is read. What else there is to know is found as if they were joined.
        blockers.append(blocker_of(refusal))
        target = open_target()
        migration = migrate(replace(plan, merge_client_documents=True), target=target)
    return migration, [*blockers, *map(blocker_of, target.refusals())]


def _sample_blockers(source: DocumentReader) -> Iterator[Blocker]:
    """Yield a blocker for a sample without bookings, which must not be mistaken for an empty source."""
    if isinstance(source, SampledReader) and not source.seen and source.total():
        yield Blocker("SampleTooSmall", "the sample does not contain any booking", "Use a larger --sample.")


def _what_was_read(
    migration: MigrationOutcome, watch: RiskWatch, source: CollectionFacts | None
) -> DryRunOutcome:
    """Return what reading the bookings has shown; the findings are the risks in them."""
    scanned, seconds = migration.counts.scanned, migration.seconds
    basis = (
        f"{agreed(f'{grouped(scanned)} {{booking was|bookings were}}', scanned)} read and converted in {seconds:.1f} s; "
        "from collection to collection on one node, `migrate` took about as long when measured; "
        "replication and load come on top"
    )
    largest = watch.largest_clients()
    gains = Gains(
        documents_before=scanned,
        documents_after=watch.documents,
        data_bytes_before=watch.statistics.data_bytes,
        data_bytes_after=watch.document_bytes,
        largest_document=largest[0].size if largest else 0,
        limit=watch.maximum_document_size,
    )
    if source is not None and source.documents:
        per_document = (source.id_index_bytes or 0) / source.documents
        # What was inserted a moment ago does not have its place on disk yet.
        compression = (
            max(_SMALLEST_SHARE, (source.storage_bytes or 0) / source.data_bytes)
            if source.data_bytes
            else 1.0
        )
        gains = replace(
            gains,
            index_bytes_before=source.index_bytes,
            # Two indexes, on `_id` and on `clientId`, whose keys are as long as those of the source's index on `_id`.
            index_bytes_after=round(2 * per_document * watch.documents),
            storage_bytes_after=round(compression * watch.document_bytes),
        )
    return DryRunOutcome(
        migration=replace(migration, findings=watch.findings()),
        estimate=TimeEstimate(seconds, scanned / seconds if seconds > 0 else 0.0, basis),
        gains=gains,
        largest_clients=largest,
        distributions=watch.statistics.distributions(),
    )


def _scaled(read: DryRunOutcome, source: DocumentReader) -> DryRunOutcome:
    """Return the figures of the whole: a source that is only sampled stands for more than was seen of it.

    Every figure is multiplied by the same factor, apart from the largest documents, which are those of the sample.
    """
    factor = source.total() / source.seen if isinstance(source, SampledReader) and source.seen else 1.0
    if not isinstance(source, SampledReader) or factor == 1:
        return read
    migration, estimate, drawn = read.migration, read.estimate, read.distributions
    rejections = tuple(
        replace(
            _times(factor, group, "count"),
            values=tuple(_times(factor, value, "count") for value in group.values),
        )
        for group in migration.rejections
    )
    counts = _times(
        factor, migration.counts, "migrated", "already_migrated", "clients", "sessions", "client_documents"
    )
    rejected = sum(group.count for group in rejections)
    # The counts add up as those of any other migration.
    scanned = counts.migrated + counts.already_migrated + rejected
    migration = replace(
        _times(factor, migration, "documents_written", "documents_changed"),
        counts=replace(counts, scanned=scanned, rejected=rejected, conflicts=0),
        rejections=rejections,
        spent=_scaled_sums(factor, migration.spent),
        rejected_money=RejectedMoney(
            _scaled_sums(factor, migration.rejected_money.prices),
            round(migration.rejected_money.unpriced * factor),
        ),
        findings=tuple(_times(factor, finding, "count") for finding in migration.findings),
    )
    if factor > 1:
        basis = f"{estimate.basis}; that times {factor:.3g} for the whole"
        estimate = replace(estimate, seconds=estimate.seconds * factor, basis=basis)
    charts = {
        chart.name: tuple(_times(factor, bar, "count") for bar in getattr(drawn, chart.name))
        for chart in fields(drawn)
    }
    return replace(
        read,
        migration=migration,
        estimate=estimate,
        gains=_times(factor, read.gains, *_SCALED_GAINS),
        distributions=replace(drawn, **charts),
        sampled=source.seen if factor > 1 else None,
    )


def _scaled_sums(factor: float, sums: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {name: (total * Decimal(factor)).quantize(_CENT) for name, total in sums.items()}


def _times(factor: float, part: Part, *names: str) -> Part:
    """Return a part of an outcome with these figures multiplied; figures that are unknown stay so."""
    figures = {name: getattr(part, name) for name in names}
    return replace(part, **{name: round(one * factor) for name, one in figures.items() if one is not None})
