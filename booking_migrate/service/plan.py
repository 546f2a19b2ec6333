"""The settings of the service, the collections that it uses, and the indexes that it needs; none is created unasked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from booking_migrate.domain.rules import DEFAULT_PEOPLE_FIELDS, DEFAULT_RULES, PeopleFields, Rules
from booking_migrate.service.appointment import OfferFields
from booking_migrate.stores.mongo.client_index import (
    CLIENT_DOCUMENTS_ONLY,
    has_index,
    indexes_of,
    make_index,
)
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import writing
from booking_migrate.stores.mongo.raw import SIMPLE


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """All settings that influence the answers of the service."""

    rules: Rules = DEFAULT_RULES
    """A client document that would become larger than they allow takes no more sessions."""

    people: PeopleFields = DEFAULT_PEOPLE_FIELDS
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


@dataclass(frozen=True, slots=True)
class NeededIndex:
    """One index and its purpose."""

    collection: DriverCollection
    keys: tuple[str, ...]
    """The fields, all ascending."""

    purpose: str
    unique: bool = False
    """Whether it allows only one client document per client; it does not cover old bookings."""

    @property
    def name(self) -> str:
        """Return its name, if the service creates it."""
        return "_".join(("service", *(key.replace(".", "_") for key in self.keys)))

    def __str__(self) -> str:
        return f"{self.collection.name}: {', '.join(self.keys)}{' (unique)' if self.unique else ''}"

    def is_there(self) -> bool:
        """Return whether the collection has an index that serves the same queries.

        Raises:
            NotPermitted, ConnectionProblem: the indexes cannot be listed.
        """
        if self.unique:
            return has_index(self.collection, CLIENT_DOCUMENTS_ONLY)
        return any(self._is_served_by(index) for index in indexes_of(self.collection))

    def _is_served_by(self, index: Mapping[str, Any]) -> bool:
        keys = tuple(dict(index["key"]).items())
        return (
            keys[: len(self.keys)] == tuple((key, 1) for key in self.keys)
            and index.get("collation", {"locale": "simple"})["locale"] == "simple"
            and "partialFilterExpression" not in index
            and not index.get("sparse")
            and not index.get("hidden")
        )


def needed_indexes(collections: ServiceCollections, expert_user_field: str) -> tuple[NeededIndex, ...]:
    """Return every index that requests rely on."""
    bookings, experts = collections.bookings, collections.experts
    return (
        NeededIndex(bookings, ("clientId",), "one client document a client", unique=True),
        NeededIndex(bookings, ("clientId",), "a client's bookings"),
        NeededIndex(bookings, ("expertId", "scheduledDate"), "an expert's old bookings"),
        NeededIndex(bookings, ("sessions.expertId", "sessions.scheduledDate"), "an expert's sessions"),
        NeededIndex(experts, (expert_user_field,), "which expert a user is"),
    )


def missing_indexes(needed: tuple[NeededIndex, ...]) -> list[NeededIndex]:
    """Return those that do not exist.

    Raises:
        NotPermitted, ConnectionProblem: the indexes cannot be listed.
    """
    return [index for index in needed if not index.is_there()]


def create_index(index: NeededIndex) -> None:
    """Create one index.

    Raises:
        DuplicateClientDocuments: clients have more than one client document already.
        NotPermitted, WriteFailed, ConnectionProblem: it cannot be created.
    """
    if index.unique:
        make_index(index.collection, CLIENT_DOCUMENTS_ONLY)
        return
    with writing(index.collection):
        index.collection.create_index([(key, 1) for key in index.keys], name=index.name, collation=SIMPLE)
