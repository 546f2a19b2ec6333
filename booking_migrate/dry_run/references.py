"""Other collections that refer to bookings by id: those ids will need `legacyBookingId` after the migration.

Found by sampling: some documents of each collection are taken, and every value in them that could be a booking's id
is looked up in the source.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bson.binary import Binary
from bson.objectid import ObjectId

from booking_migrate.bson.document import Document, read_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.dry_run.outcome import Reference
from booking_migrate.dry_run.risks import risk
from booking_migrate.errors import NotPermitted
from booking_migrate.runs.outcome import Finding
from booking_migrate.stores.ports import DocumentReader

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
    """Take note of a value, or of those in a document or an array."""
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
