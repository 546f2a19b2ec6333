"""What a migration is to do, as a value."""

from dataclasses import dataclass, field

from booking_migrate.domain.consolidate import DEFAULT_MAXIMUM_DOCUMENT_SIZE
from booking_migrate.domain.contract import Contract
from booking_migrate.domain.rejection import ConflictPolicy, Reason

DEFAULT_BATCH_BOOKINGS = 10_000


@dataclass(frozen=True, slots=True)
class LookupFields:
    """Where users and experts keep what sessions need."""

    user_id: str = "user_id"
    """The users' field with the four digits."""

    email: str = "email"
    """The users' field with the email address."""

    expert_user: str = "userId"
    """The experts' field with the `_id` of their user."""


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """Everything that decides what comes out of a migration, and how much is done at a time."""

    contract: Contract = field(default_factory=Contract)
    accepted: frozenset[Reason] = frozenset()
    """The value rules of the contract that are waived."""

    maximum_document_size: int = DEFAULT_MAXIMUM_DOCUMENT_SIZE
    """In bytes; a client whose document would be larger has its bookings rejected."""

    merge_client_documents: bool = False
    """Whether several client documents of one client are joined instead of refused."""

    on_conflict: ConflictPolicy = ConflictPolicy.REJECT
    """How a booking is treated whose session has other content in a client document that others wrote."""

    lookup: LookupFields = field(default_factory=LookupFields)
    batch_bookings: int = DEFAULT_BATCH_BOOKINGS
    """How many bookings are read before their clients are written. Has no influence on the result."""

    workers: int = 1
    """How many processes convert, this one among them. Has no influence on the result."""
