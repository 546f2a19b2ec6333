"""Which collections hold bookings and client documents, judged by a sample of each."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from booking_migrate.bson.document import Document, read_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.contract import FIELDS, Presence
from booking_migrate.errors import BadPlace, NotPermitted
from booking_migrate.init.outcome import BookingsFound, CollectionFound, Role
from booking_migrate.references.find import MOST_COLLECTIONS
from booking_migrate.stores.own_collections import has_old_bookings
from booking_migrate.stores.places import CollectionPlace, parse_place

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.inspection import MongoInspector

SAMPLED = 200
"""How many documents of a collection are looked at."""

_MOST_FIELDS = 20
_REQUIRED = frozenset(rule.name for rule in FIELDS if rule.presence is Presence.REQUIRED)
_LOOKED_UP = tuple(rule.name for rule in FIELDS if rule.presence is Presence.LOOKED_UP)
_KNOWN = frozenset({"_id", "__v", *(rule.name for rule in FIELDS)})
_FEWEST = 6
"""Of the required fields, which a booking with faults may lack some of."""

_SHARE = 0.5
"""Which part of a sample decides what a collection holds."""


@dataclass(slots=True)
class Sampled:
    """What a sample of one collection holds."""

    name: str
    sampled: int = 0
    bookings: list[Document] = field(default_factory=list)
    client_documents: int = 0

    @property
    def role(self) -> Role:
        """Return what the collection is; users and experts are found by their ids, not here."""
        least = max(1, _SHARE * self.sampled)
        if self.bookings and len(self.bookings) + self.client_documents >= least:
            # A collection that is migrated in place has both, and is a source.
            return Role.KEPT if has_old_bookings(self.name) else Role.BOOKINGS
        return Role.CLIENT_DOCUMENTS if self.client_documents >= least else Role.OTHER

    def found(self, inspector: "MongoInspector") -> CollectionFound:
        """Return the same for a report."""
        facts = inspector.collection(self.name)
        matching = {
            Role.BOOKINGS: len(self.bookings),
            Role.KEPT: len(self.bookings),
            Role.CLIENT_DOCUMENTS: self.client_documents,
        }
        documents = None if facts is None else facts.documents
        return CollectionFound(self.name, self.role, documents, self.sampled, matching.get(self.role, 0))


def sample_collections(inspector: "MongoInspector") -> tuple[list[Sampled], list[str]]:
    """Return a sample of each collection that can be named as a place, and those that the user may not read."""
    found, unreadable = [], []
    for name in inspector.other_collections(())[:MOST_COLLECTIONS]:
        if not _is_place(name):
            continue
        try:
            found.append(_sample(name, inspector.referring(name).sample(SAMPLED)))
        except NotPermitted:
            unreadable.append(name)
    return found, unreadable


def _is_place(name: str) -> bool:
    try:
        return parse_place(name) == CollectionPlace(name)
    except BadPlace:
        return False


def _sample(name: str, documents: Iterable[bytes]) -> Sampled:
    sampled = Sampled(name)
    for raw in documents:
        fields = read_fields(raw)
        sampled.sampled += 1
        if "sessions" in fields and "clientId" in fields:
            sampled.client_documents += 1
        elif len(_REQUIRED & fields.keys()) >= _FEWEST:
            sampled.bookings.append(fields)
    return sampled


def describe_bookings(bookings: Sequence[Document]) -> BookingsFound:
    """Return what a sample of bookings looks like."""
    first = [each for each in bookings if any(each.get(name) is None for name in _LOOKED_UP)]
    unknown = sorted({name for each in bookings for name in each} - _KNOWN)
    currencies = Counter(each["currency"] for each in bookings if isinstance(each.get("currency"), str))
    return BookingsFound(
        sampled=len(bookings),
        first_generation=len(first),
        layouts=len({tuple(each) for each in bookings}),
        unknown_fields=tuple(unknown[:_MOST_FIELDS]),
        currencies=dict(currencies.most_common(_MOST_FIELDS)),
    )


def values_outside(bookings: Sequence[Document], name: str, allowed: Sequence[str]) -> dict[str, int]:
    """Return the values of a field that the contract does not allow, by how often they occur."""
    outside = Counter(
        value for each in bookings if isinstance(value := each.get(name), str) and value not in allowed
    )
    return dict(outside.most_common(_MOST_FIELDS))


def ids_of(bookings: Iterable[Document], name: str) -> list[Any]:
    """Return the different values of an id field."""
    return list(_by_key(each[name] for each in bookings if each.get(name) is not None))


def _by_key(values: Iterable[Any]) -> Iterator[Any]:
    seen: set[bytes] = set()
    for value in values:
        if not isinstance(value, dict | list) and (key := sort_key(value)) not in seen:
            seen.add(key)
            yield value
