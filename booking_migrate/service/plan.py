"""The rules of the service and the collections that it uses, as values."""

from dataclasses import dataclass, field

from booking_migrate.domain.rules import DEFAULT_RULES, PeopleFields, Rules
from booking_migrate.service.appointment import OfferFields
from booking_migrate.stores.mongo.connection import DriverCollection


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """All settings that influence the answers of the service."""

    rules: Rules = DEFAULT_RULES
    """A client document that would become larger than they allow takes no more sessions."""

    people: PeopleFields = field(default_factory=PeopleFields)
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
