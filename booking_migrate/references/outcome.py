"""What a search for references found, as values."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from booking_migrate.bson.format import Id, Line
from booking_migrate.references.values import Form


@dataclass(frozen=True, slots=True)
class Condition:
    """A field beside a reference that says what it refers to."""

    field: Line
    """Its whole path, without array positions."""

    values: tuple[Line, ...]
    """The values that it has beside ids of bookings, by falling frequency."""

    others: int
    """Of the values that were looked at and are not ids of bookings, those beside which it has another value."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What the collection has that a rewrite may run into."""

    kind: str
    """``unique-index``, ``compound-unique-index``, ``validator`` or ``document-id``."""

    name: Line
    """The index, or the rule of the validator."""

    detail: Line


@dataclass(frozen=True, slots=True)
class FoundField:
    """A field of another collection that holds ids of bookings."""

    collection: Line
    field: Line
    """The field's path, array positions left out."""

    documents: int
    """Documents that have at least one value there that could be an id."""

    values: int
    """Values there that could be ids."""

    hits: int
    """How many of them are, or in a text have, the id of a booking."""

    sessions: int = 0
    client_documents: int = 0
    """How many of the others are new ids already: of sessions, of client documents."""

    forms: Mapping[Form, int] = dataclasses.field(default_factory=dict)
    """The hits by their form."""

    dangling: tuple[Id, ...] = ()
    """Some of the values that are ids of no booking."""

    condition: Condition | None = None
    index: Line | None = None
    """The name of an index by which the server finds a value of this field; None: it reads the whole collection."""

    obstacles: tuple[Obstacle, ...] = ()

    @property
    def misses(self) -> int:
        """Return how many values are not ids of old bookings."""
        return self.values - self.hits

    @property
    def others(self) -> int:
        """Return how many values are neither old ids nor new ones: of other things, or of bookings that are gone."""
        return self.misses - self.sessions - self.client_documents


@dataclass(frozen=True, slots=True)
class Searched:
    """A collection that was searched."""

    name: Line
    documents: int
    """How many of its documents were read."""


@dataclass(frozen=True, slots=True)
class FindOutcome:
    """What a search found."""

    fields: tuple[FoundField, ...] = ()
    """By collection and path; only those with at least one hit."""

    searched: tuple[Searched, ...] = ()
    unreadable: tuple[Line, ...] = ()
    """Collections that this user may not read."""

    time_series: tuple[Line, ...] = ()
    """Time series, which are not searched."""

    only_new: tuple[FoundField, ...] = ()
    """Fields without a hit that have new ids: they are rewritten already, or only the new application writes them."""

    sample: int | None = None
    """How many documents of each collection were looked at, at most; None: all of them."""

    seconds: float = 0.0
