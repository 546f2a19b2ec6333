"""What a look at a database has shown, as values: collections, people, bookings, and the lines of a config file."""

from dataclasses import dataclass, field
from enum import StrEnum

from booking_migrate.bson.format import Line
from booking_migrate.dry_run.outcome import Reference

Value = Line | tuple[Line, ...]


class Role(StrEnum):
    """What a collection is for a migration."""

    BOOKINGS = "bookings"
    CLIENT_DOCUMENTS = "client documents"
    KEPT = "kept bookings"
    """Old bookings that a run of this program keeps."""

    USERS = "users"
    EXPERTS = "experts"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class CollectionFound:
    """A collection, judged by a sample of its documents."""

    name: Line
    role: Role
    documents: int | None
    """None if the user may not know."""

    sampled: int
    matching: int
    """How many of those sampled are what the role says; for users and experts, how many of the ids looked up."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the config file."""

    key: str
    value: Value
    reason: Line
    """Why, as a comment."""

    table: str = ""
    """Its table; empty: above all tables."""

    is_set: bool = True
    """Whether it applies; otherwise it is commented out."""


@dataclass(frozen=True, slots=True)
class BookingsFound:
    """What a sample of the bookings looks like."""

    sampled: int = 0
    first_generation: int = 0
    """How many lack a user id or an email address, which are then looked up."""

    layouts: int = 0
    """How many orders and choices of fields there are."""

    unknown_fields: tuple[Line, ...] = ()
    """Fields that the contract does not know: they are carried unchanged."""

    currencies: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InitOutcome:
    """What `look` found."""

    server: Line
    collections: tuple[CollectionFound, ...]
    bookings: BookingsFound
    settings: tuple[Setting, ...]
    undecided: tuple[Line, ...]
    """What could not be decided, each with the candidates."""

    references: tuple[Reference, ...] = ()
    unreadable: tuple[Line, ...] = ()
    """Collections that this user may not read."""
