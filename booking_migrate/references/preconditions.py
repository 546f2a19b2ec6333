"""What the server would refuse, found before the first write."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import islice

from booking_migrate.errors import (
    DocumentIdInCapped,
    DocumentIdToClient,
    PlaceNotFound,
    UniqueIndexInTheWay,
    UnusablePlace,
)
from booking_migrate.references.changes import Planned
from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.positions import rebuilt
from booking_migrate.references.writer import Place
from booking_migrate.stores.destination import CollectionFacts

_SAMPLED = 500
"""How many documents are looked at for a validator."""

_ASKED = 10
"""About how many of them, as they would be, it is asked."""

_COLLECTION = "collection"

PlanDocuments = Callable[[str, Sequence[bytes]], Sequence[Planned]]
"""Returns what would change in documents of a collection."""


def check_collections(fields: Sequence[ReferenceField], places: Mapping[str, Place]) -> None:
    """Refuse what collections say of themselves; no document is looked at, and no old id looked up.

    Raises:
        PlaceNotFound, UnusablePlace: a collection does not exist, or is not a plain one.
        UniqueIndexInTheWay, DocumentIdToClient: several bookings would get the same id where each has to have its own.
        DocumentIdInCapped: documents would be lost.
    """
    for name, place in places.items():
        facts = place.reader.facts()
        if facts is None:
            raise PlaceNotFound(name)
        if facts.kind != _COLLECTION:
            raise UnusablePlace(name, f"it is a {facts.kind}")
        for each in fields:
            if each.collection == name:
                _check_unique(each, facts)
                check_capped(each, facts)


def check_capped(field: ReferenceField, facts: CollectionFacts) -> None:
    """Refuse an `_id` of a capped collection, to which the server adds at the cost of its oldest documents.

    Raises:
        DocumentIdInCapped: it is one.
    """
    if _is_document_id(field) and facts.options.get("capped"):
        raise DocumentIdInCapped(field.full_name)


def check_validators(places: Mapping[str, Place], plan: PlanDocuments, *, written: Collection[str]) -> None:
    """Refuse what the collections' validators would not take; old ids are looked up, by their index.

    Args:
        places: the collections, by name.
        plan: returns what would change in documents.
        written: the collections that a rewrite has written: their validators take new ids, and what they refuse is left.

    Raises:
        ReferencesRefused: the validator refuses all documents of a sample as they would be.
    """
    for name, place in places.items():
        facts = place.reader.facts()
        if facts is not None and facts.options.get("validator") and name not in written:
            _check_validator(place, partial(plan, name))


def _is_document_id(field: ReferenceField) -> bool:
    return f"{field.field}.".startswith("_id.")


def _check_unique(field: ReferenceField, facts: CollectionFacts) -> None:
    if _is_document_id(field) and field.to.is_shared:
        raise DocumentIdToClient(facts.name)
    for path, new in {field.field: field.to, **field.add}.items():
        for index in facts.indexes:
            keys = [key.removesuffix(".$id") for key in index.keys]
            if new.is_shared and index.unique and path.removesuffix(".$id") in keys:
                raise UniqueIndexInTheWay(facts.name, index.name, list(index.keys), path)


def _check_validator(place: Place, plan: Callable[[Sequence[bytes]], Sequence[Planned]]) -> None:
    changes = plan(list(islice(place.reader.sample(_SAMPLED), _SAMPLED)))[:_ASKED]
    # A document that the validator refuses already is not judged by it at the level moderate, and at strict it is named later.
    sound = [each for each in changes if place.writes.refusal([each.raw]) is None]
    if sound:
        refusal = place.writes.refusal([rebuilt(each.raw, each.change.changes) for each in sound])
        if refusal is not None:
            raise refusal
