"""What a migration is to do, as a value."""

from dataclasses import dataclass

from booking_migrate.domain.rules import DEFAULT_PEOPLE_FIELDS, DEFAULT_RULES, PeopleFields, Rules

DEFAULT_BATCH_BOOKINGS = 10_000


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """Everything that decides what comes out of a migration, and how much is done at a time."""

    rules: Rules = DEFAULT_RULES
    people: PeopleFields = DEFAULT_PEOPLE_FIELDS
    merge_client_documents: bool = False
    """Whether several client documents of one client are joined instead of refused."""

    batch_bookings: int = DEFAULT_BATCH_BOOKINGS
    """How many bookings are read before their clients are written. Has no influence on the result."""

    workers: int = 1
    """How many processes convert, this one among them. Has no influence on the result."""
