"""Check before the first write: clients with several client documents, and the target's indexes and options.

Whether a collection accepts client documents is tested with documents like those that would be written.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

from booking_migrate.bson.format import display_id, in_mongosh
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.domain.consolidate import ClientCase, consolidate
from booking_migrate.domain.session import Converter, Session, read_booking
from booking_migrate.errors import DuplicateClientDocuments
from booking_migrate.migrate.lookup import Directory, FindsById
from booking_migrate.migrate.merge import find_existing, parsed
from booking_migrate.runs.plan import Finding, MigrationPlan
from booking_migrate.runs.provenance import TargetHistory
from booking_migrate.stores.destination import PlaceFinding, examine
from booking_migrate.stores.places import CollectionPlace, parse_place
from booking_migrate.stores.ports import DocumentReader, Replacement, TargetWriter

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.inspection import MongoDestination

SAMPLE = 100
"""How many of the oldest and how many of the newest bookings are converted to try out conditions."""

_NAMED = 5
"""How many clients a refusal names."""


@dataclass(frozen=True, slots=True)
class _Entry:
    key: bytes
    """The sort key of `clientId`."""

    client_id: Any
    document_id: Any
    in_target: bool


def merge_duplicates(
    source: DocumentReader, target: TargetWriter, history: TargetHistory, *, merge_documents: bool
) -> None:
    """Refuse clients with more than one client document, or prepare the target for merging them.

    A client document that source and target have under the same `_id` is one document, not two. With
    ``merge_documents``, documents that are both in the target are merged there into the older one at once, because the
    unique index cannot exist beside them; all others are merged by `consolidate` during the run.

    Raises:
        DuplicateClientDocuments: there are some, and they are not to be merged or cannot be.
    """
    named: list[str] = []
    count = 0
    places: dict[str, None] = {}
    finds: list[str] = []
    for entries in _duplicates(source, target, history):
        in_target = [entry for entry in entries if entry.in_target]
        merged = merge_documents and (len(in_target) < 2 or _join(target, in_target[0].client_id))  # noqa: PLR2004
        if not merged:
            count += 1
            where = dict.fromkeys(target.name if entry.in_target else source.name for entry in entries)
            finds = finds or list(_finds(where, entries[0].client_id))
            places.update(where)
            if len(named) < _NAMED:
                ids = " and ".join(display_id(entry.document_id) for entry in entries)
                named.append(f"{display_id(entries[0].client_id)} has those with _id {ids}")
    if count:
        raise DuplicateClientDocuments(named, count, collections=" and ".join(places), finds=finds)


def _finds(names: Iterable[str], client_id: Any) -> Iterator[str]:
    """Yield the commands that show a client's documents in collections, for the server's shell."""
    value = in_mongosh(client_id)
    for name in names:
        if value is not None and isinstance(parse_place(name), CollectionPlace):
            yield f"db.getCollection({json.dumps(name)}).find({{clientId: {value}, sessions: {{$exists: true}}}})"


def _duplicates(
    source: DocumentReader, target: TargetWriter, history: TargetHistory
) -> Iterator[list[_Entry]]:
    in_source = _entries(source.scan_client_documents(), in_target=False)
    first = next(in_source, None)
    if not target.may_repeat_clients() and first is None:
        return
    entries = merge(
        in_source if first is None else chain([first], in_source),
        _entries(target.scan_client_documents(), in_target=True),
        key=lambda entry: entry.key,
    )
    for _, group in groupby(entries, key=lambda entry: entry.key):
        documents = list(group)
        if _are_several(documents):
            documents = list(_without_derived(documents, target, history))
        if _are_several(documents):
            yield documents


def _are_several(entries: Sequence[_Entry]) -> bool:
    return len({sort_key(entry.document_id) for entry in entries}) > 1


def _without_derived(
    entries: Sequence[_Entry], target: TargetWriter, history: TargetHistory
) -> Iterator[_Entry]:
    """Leave out what runs of this tool wrote to the target: it is derived again, from the others and the bookings."""
    yield from (entry for entry in entries if not entry.in_target)
    for there in find_existing(target, history, [entries[0].client_id]):
        baseline = parsed(there.baseline)
        if baseline is not None:
            yield _Entry(there.key, baseline.client_id, baseline.document_id, in_target=True)


def _entries(documents: Iterator[bytes], *, in_target: bool) -> Iterator[_Entry]:
    for raw in documents:
        document = read_client_document(raw)
        # An invalid client document is rejected on its own later.
        if isinstance(document, ClientDocument):
            yield _Entry(sort_key(document.client_id), document.client_id, document.document_id, in_target)


def _join(target: TargetWriter, client_id: Any) -> bool:
    """Merge a client's documents in the target into the oldest; return whether that was possible."""
    read = [read_client_document(raw) for raw in target.find_client_documents([client_id])]
    documents = [document for document in read if isinstance(document, ClientDocument)]
    joined = consolidate(ClientCase(sessions=(), in_source=documents))
    if joined.contradicting or joined.document is None:
        return False
    result = read_client_document(joined.document)
    kept_key = sort_key(result.document_id) if isinstance(result, ClientDocument) else None
    before = next(document for document in documents if sort_key(document.document_id) == kept_key)
    others = [document.raw for document in documents if document is not before]
    target.join(Replacement(before.raw, joined.document), others)
    return True


def sample_documents(
    plan: MigrationPlan, documents: Iterable[bytes], directory: Directory
) -> tuple[bytes, ...]:
    """Return the client documents that some bookings would make if their clients had no others.

    Args:
        plan: what is to be done.
        documents: documents of the source; client documents among them are left out.
        directory: where people are looked up.
    """
    converter = Converter(plan.rules)
    read = (read_booking(raw) for raw in documents)
    bookings = [booking for booking in read if not booking.is_client_document]
    people = directory.find(each for each in bookings if each.lacks_client() or each.lacks_expert())
    clients: dict[bytes, list[Session]] = {}
    for booking in bookings:
        outcome = converter.convert(booking, people)
        if isinstance(outcome, Session):
            clients.setdefault(sort_key(outcome.client_id), []).append(outcome)
    made = (consolidate(ClientCase(sessions), plan.rules).document for sessions in clients.values())
    return tuple(document for document in made if document is not None)


def examine_target(
    plan: MigrationPlan,
    target: "MongoDestination",
    bookings: Iterable[bytes],
    *,
    users: FindsById | None,
    experts: FindsById | None,
) -> tuple[PlaceFinding, ...]:
    """Find indexes and options of a target that refuse or change client documents. Nothing is written.

    Args:
        plan: what is to be done.
        target: the collection.
        bookings: bookings of the source to try conditions out with.
        users: where users are looked up; None if nowhere.
        experts: where experts are looked up; None if nowhere.

    Raises:
        ConnectionProblem, NotPermitted, UnusablePlace: the server does not say.
    """
    documents = sample_documents(plan, bookings, Directory(users, experts, plan.people))
    return examine(target, documents, in_place=False)


def findings_of(place: str, found: Sequence[PlaceFinding], *, is_over: bool = False) -> Iterator[Finding]:
    """Yield findings about a collection that do not refuse it; ``is_over``: as the report of a migration that has ended shows them."""
    for finding in found:
        if not (finding.is_refused or (is_over and finding.is_untested)):
            yield Finding(
                kind=finding.kind,
                title=f"{place}: {finding.text}",
                count=1,
                sample_ids=(finding.name,),
                advice=f"If that is not wanted{'' if is_over else ', first'}: {finding.remedy}",
            )
