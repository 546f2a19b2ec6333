"""What a rewrite counts: each value that it has seen, as what it was, or why it was left."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from booking_migrate.bson.document import value_in
from booking_migrate.bson.format import display_id
from booking_migrate.references.fields import ReferenceField
from booking_migrate.stores.references import BookingState, NewIds

_SAMPLES = 100
"""How many references that were left are kept as samples, of each field and each reason."""

ALREADY = "already"
"""What is counted of a value that has a new id which this rewrite has not written."""

REWRITTEN = "rewritten"
ADDED = "added"
TAKEN = "taken"
"""Why a document is as before: another one has its new `_id` already."""

NO_ID = "no-id"
"""Why a value is left: it does not have the form of an id, and is not the `_id` of a booking."""

DUPLICATE_NAME = "duplicate-name"
"""Why a reference is left: a name on its path occurs twice in a document, and an update could not say which one is meant."""

REFUSED = "refused"
"""Why a document is as before: the server does not take it with its new ids."""


class Left(NamedTuple):
    """A reference that a rewrite leaves as it is."""

    collection: str
    field: str
    document_id: str
    """As text; so is the value."""

    path: str
    value: str
    reason: str
    """The value of a `BookingState`, `TAKEN`, `NO_ID`, `DUPLICATE_NAME` or `REFUSED`."""

    detail: str = ""
    """What the server says of it."""


class Known(NamedTuple):
    """What the ids of a batch stand for, by their sort keys."""

    states: Mapping[bytes, NewIds | BookingState]
    new: frozenset[bytes]
    """The ids that are new ones: of a session, or of a client document."""

    own: frozenset[tuple[bytes, bytes]] = frozenset()
    """What this rewrite has written before: the identity of a document, and the sort key of a value."""


@dataclass(slots=True)
class Tally:
    """What was found, by collection and field."""

    values: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """How many values, by collection, field and what was done: ``rewritten``, ``already``, or why they were left."""

    samples: list[Left] = field(default_factory=list)

    def count(self, of: ReferenceField, what: str, number: int = 1) -> None:
        """Count values of a field."""
        key = (of.collection, of.field, what)
        self.values[key] = self.values.get(key, 0) + number

    def leave(
        self, of: ReferenceField, document: bytes, path: str, value: Any, reason: str, *, detail: str = ""
    ) -> None:
        """Count a reference that is left, and keep it as a sample if there are few."""
        self.count(of, reason)
        if self.values[of.collection, of.field, reason] <= _SAMPLES:
            named = display_id(value_in(document, b"_id"))
            self.samples.append(Left(of.collection, of.field, named, path, display_id(value), reason, detail))

    def forget_seen(self) -> None:
        """Keep what was written, without what was only seen."""
        self.values = {key: number for key, number in self.values.items() if key[2] in (REWRITTEN, ADDED)}
        self.samples = []

    def add(self, other: "Tally") -> None:
        """Add another one."""
        for key, number in other.values.items():
            self.values[key] = self.values.get(key, 0) + number
        self.samples += other.samples
