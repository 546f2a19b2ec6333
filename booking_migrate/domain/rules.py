"""What decides the result of a conversion, as values that every verb takes."""

from dataclasses import dataclass, field
from typing import Final

from booking_migrate.domain.contract import Contract
from booking_migrate.domain.rejection import ConflictPolicy, Reason

DEFAULT_MAXIMUM_DOCUMENT_SIZE = 8 * 1024 * 1024
"""Half of MongoDB's limit: the document can still grow, and change streams can still carry it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Which bookings become sessions, and how they are joined with what is there already. Goes to worker processes."""

    contract: Contract = field(default_factory=Contract)
    accepted: frozenset[Reason] = frozenset()
    """The value rules of the contract that are waived (`contract.WAIVABLE`)."""

    maximum_document_size: int = DEFAULT_MAXIMUM_DOCUMENT_SIZE
    """In bytes; bookings that would make a client document larger are rejected."""

    on_conflict: ConflictPolicy = ConflictPolicy.REJECT
    """How a booking is treated whose session has other content in a client document that others wrote."""


DEFAULT_RULES: Final = Rules()


@dataclass(frozen=True, slots=True)
class PeopleFields:
    """The fields of users and experts that have what sessions need."""

    user_id: str = "user_id"
    """The users' field with the four digits."""

    email: str = "email"
    """The users' field with the email address."""

    expert_user: str = "userId"
    """The experts' field with the `_id` of their user."""


DEFAULT_PEOPLE_FIELDS: Final = PeopleFields()
