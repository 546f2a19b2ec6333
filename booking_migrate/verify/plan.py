"""What a verification is to prove, as a value."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from booking_migrate.domain.contract import Contract
from booking_migrate.domain.rejection import ConflictPolicy, Reason
from booking_migrate.stores.baseline import Baseline
from booking_migrate.stores.ports import CanHold, stores_any_bson


@dataclass(frozen=True, slots=True)
class PeopleFields:
    """Where users and experts keep what sessions need (DESIGN.md, section 2)."""

    user_id: str = "user_id"
    email: str = "email"
    expert_user: str = "userId"


@dataclass(frozen=True, slots=True)
class VerificationRules:
    """What decides what must be in the target: the same as for the migration. Goes to worker processes."""

    contract: Contract = field(default_factory=Contract)
    accepted: frozenset[Reason] = frozenset()
    """The value rules of the contract that were waived."""

    maximum_document_size: int = 8 * 1024 * 1024
    """In bytes (DESIGN.md, section 2)."""

    can_store: CanHold = stores_any_bson
    """Whether the target can hold a document unchanged."""

    allow_later: bool = False
    """Whether sessions that the new application added are counted instead of reported."""

    on_conflict: ConflictPolicy = ConflictPolicy.REJECT
    """How the migration treated bookings whose session had other content in a document that others wrote."""

    allow_changed: bool = False
    """Whether sessions that the new application has changed since are counted instead of reported."""


@dataclass(frozen=True, slots=True)
class VerificationPlan:
    """Everything that a verification needs to know beside the places."""

    rules: VerificationRules = field(default_factory=VerificationRules)
    people: PeopleFields = field(default_factory=PeopleFields)
    sample: int | None = None
    """How many clients to check, chosen by chance; None: all."""

    workers: int = 1
    """In how many processes clients are checked. Has no influence on the result."""

    recheck_seconds: float = 0.0
    """How long to wait before a client that is not right is read again; 0: it is not."""

    batch_bookings: int = 2000
    """How many bookings are read before their clients are checked. Has no influence on the result."""

    baselines: Callable[[Sequence[bytes]], Mapping[bytes, Baseline]] = field(default=lambda _documents: {})
    """Return what the target held in the place of these client documents of it before the migration, as a journal may
    know it, by the BSON of ``{_id}``. Documents that it does not know, or that were not there, are left out. It is asked
    in client order, and only about documents that are not what their bookings alone would have become."""
