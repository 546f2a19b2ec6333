"""The rules of the service and the collections that it uses, as values."""

from dataclasses import dataclass, field

from booking_migrate.domain.consolidate import DEFAULT_MAXIMUM_DOCUMENT_SIZE
from booking_migrate.domain.contract import Contract
from booking_migrate.domain.rejection import Reason
from booking_migrate.runs.plan import LookupFields
from booking_migrate.service.appointment import OfferFields
from booking_migrate.stores.mongo.connection import DriverCollection


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """All settings that influence the answers of the service."""

    contract: Contract = field(default_factory=Contract)
    accepted: frozenset[Reason] = frozenset()
    """The value rules of the contract that are waived."""

    maximum_document_size: int = DEFAULT_MAXIMUM_DOCUMENT_SIZE
    """In bytes; a client document that would become larger takes no more sessions."""

    lookup: LookupFields = field(default_factory=LookupFields)
    offer: OfferFields = field(default_factory=OfferFields)
    seconds: float = 10.0
    """The time limit for each lookup, for each read, and for all attempts of a write together."""


@dataclass(frozen=True, slots=True)
class ServiceCollections:
    """The collections of one database."""

    bookings: DriverCollection
    """Old bookings, client documents, or both."""

    users: DriverCollection
    experts: DriverCollection
    slots: DriverCollection
    """One small document for each booked expert and each client: every booking updates it first."""
