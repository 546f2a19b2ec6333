"""One dry-run, from the first look at the source to the last risk; and fields elsewhere that hold ids of bookings.

Such fields will need `legacyBookingId` after the migration. They are found by sampling: some documents of each collection are
taken, and every value in them that could be a booking's id is looked up in the source.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from bson.binary import Binary
from bson.objectid import ObjectId

from booking_migrate.bson.document import Document, read_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.dry_run.needs import (
    ServerSurroundings,
    blocker_of,
    examine_places,
    find_needs,
    need_blockers,
    need_findings,
)
from booking_migrate.dry_run.outcome import Bar, Blocker, DryRunOutcome, Gains, Reference, TimeEstimate
from booking_migrate.dry_run.risks import RiskWatch, risk
from booking_migrate.errors import DuplicateClientDocuments, NotPermitted
from booking_migrate.events import Listener
from booking_migrate.migrate import pipeline
from booking_migrate.migrate.lookup import Directory
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

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.inspection import MongoInspector

_DOCUMENTS = 200
"""How many documents of a collection are looked at."""

_AT_ONCE = 1000
_MOST_COLLECTIONS = 200
_MOST_VALUES = 2000
"""How many values of one field are looked up; arrays may hold very many."""

_DEEPEST = 5
_HEX_DIGITS = 24
_UUID_LENGTH = 16

Candidates = dict[str, dict[bytes, Any]]
"""By the path of a field: values that could be ids, by sort key."""

_SMALLEST_SHARE = 0.1
"""The share of their bytes that documents take on disk at least; zstd makes bookings about that small."""


def search_references(
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
    references: list[Reference] = []
    unreadable: list[str] = []
    for name in inspector.other_collections(known)[:_MOST_COLLECTIONS]:
        try:
            candidates = _candidates(inspector.sample(name, _DOCUMENTS))
        except NotPermitted:
            unreadable.append(name)
        else:
            references += _references(name, candidates, source)
    findings = []
    if references:
        findings.append(risk("references-by-id", [f"{one.collection}.{one.field}" for one in references]))
    if unreadable:
        findings.append(risk("collections-unreadable", unreadable))
    return tuple(references), findings


def _references(name: str, candidates: Candidates, source: DocumentReader) -> Iterator[Reference]:
    values = {key: value for field in candidates.values() for key, value in field.items()}
    there = _ids_in(source, list(values.values()))
    for field in sorted(candidates):
        hits = len(there & candidates[field].keys())
        if hits:
            yield Reference(name, field, len(candidates[field]), hits)


def _ids_in(source: DocumentReader, values: Sequence[Any]) -> set[bytes]:
    """Return the sort keys of those values that are ids in the source; text that spells an ObjectId counts for it."""
    ids = {sort_key(value): _as_object_id(value) for value in values}
    spelled = {sort_key(object_id): key for key, object_id in ids.items()}
    asked = {sort_key(value): value for value in (*values, *ids.values())}
    there: set[bytes] = set()
    wanted = list(asked.values())
    for start in range(0, len(wanted), _AT_ONCE):
        for raw in source.find(wanted[start : start + _AT_ONCE]):
            key = sort_key(read_fields(raw)["_id"])
            there |= {key, spelled.get(key, key)}
    return there


def _as_object_id(value: Any) -> Any:
    """Return an ObjectId for text that spells one; anything else as it is."""
    is_spelled = type(value) is str and len(value) == _HEX_DIGITS and ObjectId.is_valid(value)
    return ObjectId(value) if is_spelled else value


def _candidates(documents: Iterator[bytes]) -> Candidates:
    found: Candidates = {}
    for raw in documents:
        fields = read_fields(raw)
        # A document's own id refers to nothing.
        fields.pop("_id", None)
        _collect(found, fields, "", 0)
    return found


def _collect(found: Candidates, value: Any, path: str, level: int) -> None:
    """Collect a value, or those in a document or an array."""
    if isinstance(value, dict) and level < _DEEPEST:
        document: Document = value
        for name, inner in document.items():
            _collect(found, inner, f"{path}.{name}" if path else name, level + 1)
    elif isinstance(value, list) and level < _DEEPEST:
        for inner in value:
            _collect(found, inner, path, level + 1)
    elif _could_be_id(value):
        values = found.setdefault(path, {})
        if len(values) < _MOST_VALUES:
            values[sort_key(value)] = value


def _could_be_id(value: Any) -> bool:
    # Small numbers and words are everywhere, and would hit bookings with such ids by chance.
    is_uuid = isinstance(value, Binary) and len(value) == _UUID_LENGTH
    return is_uuid or type(value) is ObjectId or (type(value) is str and len(value) == _HEX_DIGITS)


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
    references, elsewhere = search_references(surroundings.inspector, source, surroundings.known)
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
    """Yield a blocker for a sample without bookings, which must not be taken for an empty source."""
    if isinstance(source, SampledReader) and not source.seen and source.total():
        yield Blocker("SampleTooSmall", "the sample does not contain any booking", "Use a larger --sample.")


def _what_was_read(
    migration: MigrationOutcome, watch: RiskWatch, source: CollectionFacts | None
) -> DryRunOutcome:
    """Return what reading the bookings has shown; the findings are the risks in them."""
    scanned, seconds = migration.counts.scanned, migration.seconds
    basis = (
        f"{scanned:,} bookings were read and converted in {seconds:.1f} s; "
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
