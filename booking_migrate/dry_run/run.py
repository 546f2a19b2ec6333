"""One dry-run, from the first look at the source to the last risk."""

from collections.abc import Callable
from dataclasses import replace

from booking_migrate.dry_run.destinations import examine_places
from booking_migrate.dry_run.needs import (
    ServerSurroundings,
    find_needs,
    need_blockers,
    need_findings,
)
from booking_migrate.dry_run.outcome import Blocker, DryRunOutcome, Gains, TimeEstimate
from booking_migrate.dry_run.references import Search, search_references
from booking_migrate.dry_run.risks import RiskWatch
from booking_migrate.dry_run.scaling import (
    scaled_distributions,
    scaled_estimate,
    scaled_findings,
    scaled_gains,
    scaled_migration,
)
from booking_migrate.dry_run.statistics import Statistics
from booking_migrate.errors import DuplicateClientDocuments, Refused
from booking_migrate.events import Listener
from booking_migrate.migrate import pipeline as stream
from booking_migrate.runs.outcome import MigrationOutcome
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.provenance import SampledHistory, TargetHistory
from booking_migrate.stores.ports import DocumentReader
from booking_migrate.stores.preview import PreviewTarget
from booking_migrate.stores.sampling import SampledReader
from booking_migrate.stores.scratchpad import Scratchpad


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

    It is the stream engine with a target that discards all writes, so its counts are those of a migration.

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
    statistics = Statistics(plan.rules.maximum_document_size)
    watch = RiskWatch(statistics, scratchpad, plan.rules.maximum_document_size)

    if isinstance(source, SampledReader) and history is not None:
        history = SampledHistory(history)

    def run(with_plan: MigrationPlan) -> tuple[MigrationOutcome, list[Refused]]:
        target = open_target()
        outcome = stream.migrate(
            with_plan,
            source,
            target,
            users=users,
            experts=experts,
            listener=listener,
            observer=watch,
            history=history,
        )
        return outcome, list(target.refusals())

    try:
        migration, refusals = run(plan)
    except DuplicateClientDocuments as refusal:
        # It comes before the first booking is read. What else there is to know is found as if they were joined.
        migration, refusals = run(replace(plan, merge_client_documents=True))
        refusals.insert(0, refusal)
    # A source that is only sampled stands for more than was seen of it.
    factor = source.total() / source.seen if isinstance(source, SampledReader) and source.seen else 1.0
    estimate = scaled_estimate(_estimate(migration), factor) if factor > 1 else _estimate(migration)
    gains = _gains(migration, statistics, watch, surroundings, plan.rules.maximum_document_size)
    gains = scaled_gains(gains, factor)
    examined = examine_places(plan, surroundings, users=users, experts=experts)
    needs = find_needs(surroundings, gains, examined.in_place_refusal)
    search = Search()
    if surroundings.inspector:
        search = search_references(surroundings.inspector, source, surroundings.known)
    findings = [
        *migration.findings,
        *scaled_findings(watch.findings(), factor),
        *search.findings(),
        *need_findings(needs, surroundings, estimate),
        *examined.findings(),
    ]
    return DryRunOutcome(
        migration=replace(scaled_migration(migration, factor), findings=tuple(findings)),
        estimate=estimate,
        gains=gains,
        needs=needs,
        blockers=(
            *map(_blocker, refusals),
            *examined.blockers(),
            *need_blockers(needs),
            *_sample_blockers(source),
        ),
        largest_clients=watch.largest_clients(),
        references=search.references,
        distributions=scaled_distributions(statistics.distributions(), factor),
        sampled=source.seen if factor > 1 and isinstance(source, SampledReader) else None,
    )


def _sample_blockers(source: DocumentReader) -> tuple[Blocker, ...]:
    """Return a blocker for a sample without bookings, which must not be taken for an empty source."""
    if isinstance(source, SampledReader) and not source.seen and source.total():
        return (
            Blocker("SampleTooSmall", "the sample does not contain any booking", "Use a larger --sample."),
        )
    return ()


def _blocker(refusal: Refused) -> Blocker:
    return Blocker(type(refusal).__name__, refusal.message, refusal.hint)


def _estimate(migration: MigrationOutcome) -> TimeEstimate:
    scanned = migration.counts.scanned
    rate = scanned / migration.seconds if migration.seconds > 0 else 0.0
    return TimeEstimate(
        seconds=migration.seconds,
        rate=rate,
        basis=f"{scanned:,} bookings were read and converted in {migration.seconds:.1f} s; "
        "from collection to collection on one node, `migrate` took about as long when measured; "
        "replication and load come on top",
    )


def _gains(
    migration: MigrationOutcome,
    statistics: Statistics,
    watch: RiskWatch,
    around: ServerSurroundings,
    limit: int,
) -> Gains:
    facts = around.source
    largest = watch.largest_clients()
    gains = Gains(
        documents_before=migration.counts.scanned,
        documents_after=watch.documents,
        data_bytes_before=statistics.data_bytes,
        data_bytes_after=watch.document_bytes,
        largest_document=largest[0].size if largest else 0,
        limit=limit,
    )
    if facts is None or not facts.documents:
        return gains
    per_document = (facts.id_index_bytes or 0) / facts.documents
    compression = (facts.storage_bytes or 0) / facts.data_bytes if facts.data_bytes else 1.0
    return replace(
        gains,
        index_bytes_before=facts.index_bytes,
        # Two indexes, on `_id` and on `clientId`, whose keys are as long as those of the source's index on `_id`.
        index_bytes_after=round(2 * per_document * watch.documents),
        storage_bytes_after=round(compression * watch.document_bytes),
    )
