"""The values of a rewrite as its record keeps them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bson.objectid import ObjectId

from booking_migrate.bson.document import identity_of, value_in, write_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.ids import booking_of_session
from booking_migrate.errors import BookingMigrateError, LeaseLost, NoMajority, OtherRewriteOpen
from booking_migrate.references.changes import Planned, find_all, plan_changes
from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.lookup import look_up
from booking_migrate.references.preconditions import check_collections, check_validators
from booking_migrate.references.tally import Left, Tally
from booking_migrate.stores.reference_journal import DOCUMENT_ID, RewriteRecord, RewriteState, in_effect

if TYPE_CHECKING:
    from booking_migrate.references.rewrite import RewritePlan
    from booking_migrate.stores.mongo.reference_journal import MongoReferenceJournal


@contextmanager
def problem_noted(journal: "MongoReferenceJournal", rewrite_id: str) -> Iterator[RewriteRecord]:
    """Record that this process works on a rewrite, and the error that ended that: then it was not killed.

    Yields:
        The record as it is.
    """
    try:
        yield journal.at_work(rewrite_id)
    except (LeaseLost, NoMajority):
        # The rewrite belongs to another process now, or a majority would not acknowledge the record.
        raise
    except BookingMigrateError as error:
        try:
            journal.save(rewrite_id, problem=error.message)
        except BookingMigrateError as trouble:
            error.add_note(f"The rewrite's state could not be saved: {trouble.message}")
        raise


def saved_fields(fields: Sequence[ReferenceField]) -> list[dict[str, Any]]:
    """Return fields as values of BSON, in which names with dots are values."""
    return [
        {
            "collection": each.collection,
            "field": each.field,
            "to": each.to.value,
            "add": [{"field": path, "to": to.value} for path, to in sorted(each.add.items())],
            "when": [{"field": path, "values": list(values)} for path, values in sorted(each.when.items())],
        }
        for each in fields
    ]


def name_of(saved: Mapping[str, Any]) -> str:
    """Return collection and path of a saved field."""
    return f"{saved['collection']}.{saved['field']}"


def counts_of(tally: Tally) -> list[dict[str, Any]]:
    """Return counts as values of BSON."""
    return [
        {"collection": collection, "field": path, "what": what, "number": number}
        for (collection, path, what), number in sorted(tally.values.items())
    ]


def left_of(tally: Tally) -> list[dict[str, str]]:
    """Return samples as values of BSON."""
    return [each._asdict() for each in tally.samples]


def tally_of(record: RewriteRecord) -> Tally:
    """Return the counts and samples that a record has."""
    values = {(each["collection"], each["field"], each["what"]): each["number"] for each in record.counts}
    return Tally(values, [Left(**each) for each in record.left])


def written_values(
    journal: "MongoReferenceJournal", rewrite_id: str, collection: str, documents: Sequence[bytes]
) -> frozenset[tuple[bytes, bytes]]:
    """Return what a rewrite has written into documents that are read now: before it was killed, or because others wrote them.

    Returns:
        The identity that each document has now, and the sort key of each value.
    """
    now = {identity: identity_of(raw) for raw in documents for identity in _identities(raw)}
    return frozenset(
        (now[each.identity], sort_key(change.after))
        for note in journal.notes_of(rewrite_id, list(now))
        if note.collection == collection
        for each in note.written
        if each.identity in now
        for change in each.changes
    )


def _identities(raw: bytes) -> list[bytes]:
    """Return the identities under which a document may be noted: its own, and that from before its `_id` was rewritten."""
    found, document_id = [identity_of(raw)], value_in(identity_of(raw), b"_id")
    if type(document_id) is ObjectId:
        found.append(write_fields({DOCUMENT_ID: booking_of_session(document_id)}))
    elif type(document_id) is str and ObjectId.is_valid(document_id):
        found.append(write_fields({DOCUMENT_ID: str(booking_of_session(ObjectId(document_id)))}))
    return found


def unfinished(plan: "RewritePlan") -> RewriteRecord | None:
    """Return the rewrite that was killed and is continued; None: a new one begins.

    Raises:
        OtherRewriteOpen: it has other fields, or is being undone.
    """
    for record in in_effect(plan.journal.rewrites(), live=plan.live):
        match record.state:
            case RewriteState.DONE | RewriteState.UNDONE:
                continue
            case RewriteState.WRITING | RewriteState.UNDOING as state:
                is_undone = state is RewriteState.UNDOING
        if [dict(each) for each in record.fields] == saved_fields(plan.fields) and not is_undone:
            return record
        plan.journal.end_earlier()
        if plan.journal.names(record.rewrite_id):
            names = [name_of(each) for each in record.fields]
            raise OtherRewriteOpen(record.rewrite_id, record.run_id, names, is_undone)
        # It was interrupted before it wrote anything.
        plan.journal.remove(record.rewrite_id)
    return None


def begun(plan: "RewritePlan") -> RewriteRecord:
    """Record a new rewrite, unless something is in its way that is known before the first write.

    Raises:
        PlaceNotFound, UnusablePlace, UniqueIndexInTheWay, DocumentIdToClient, DocumentIdInCapped, ReferencesRefused: as `preconditions` says.
    """
    check_collections(plan.fields, plan.places)
    plan.index_old_ids()
    stand = in_effect(plan.journal.rewrites(), live=plan.live)
    written = {each["collection"] for record in stand for each in record.fields}

    def planned(collection: str, raws: Sequence[bytes]) -> Sequence[Planned]:
        found = find_all(raws, plan.fields_of(collection))
        return plan_changes(found, look_up(plan.old_ids, found), Tally())

    check_validators(plan.places, planned, written=written)
    time = None if plan.following is None else plan.following.now()
    fields = tuple(saved_fields(plan.fields))
    return plan.journal.create(
        RewriteRecord(
            rewrite_id=plan.rewrite_id, run_id=plan.run_id, live=plan.live, fields=fields, begun_time=time
        )
    )
