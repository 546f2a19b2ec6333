"""The indexes that the service works with. They are created when somebody asks for it, never by the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pymongo.errors import DuplicateKeyError

from booking_migrate.domain.bson_document import Document
from booking_migrate.service.plan import ServiceCollections
from booking_migrate.stores.mongo.client_index import duplicates_of
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import reading, writing
from booking_migrate.stores.mongo.raw import SIMPLE
from booking_migrate.stores.mongo.reader import HAS_SESSIONS

_CLIENT_DOCUMENTS: Mapping[str, Any] = {"sessions": {"$type": "array"}}
"""A document whose `sessions` is no array can never become one that counts, and is in nobody's way."""


@dataclass(frozen=True, slots=True)
class NeededIndex:
    """One index and what it is for."""

    collection: DriverCollection
    keys: tuple[str, ...]
    """The fields, all ascending."""

    purpose: str
    unique: bool = False
    """Whether it keeps a client from having two client documents; old bookings are no matter of it."""

    options: Document = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called if it is created."""
        return "_".join(("service", *(key.replace(".", "_") for key in self.keys), *self.options))

    def __str__(self) -> str:
        return f"{self.collection.name}: {', '.join(self.keys)}{' (unique)' if self.unique else ''}"

    def is_served_by(self, index: Mapping[str, Any]) -> bool:
        """Whether an index, as the server lists it, does the same or more."""
        keys = tuple(dict(index["key"]).items())
        filtered = index.get("partialFilterExpression")
        return (
            keys[: len(self.keys)] == tuple((key, 1) for key in self.keys)
            and index.get("collation", {"locale": "simple"})["locale"] == "simple"
            and not index.get("sparse")
            and not index.get("hidden")
            and (filtered is None or (self.unique and filtered in (_CLIENT_DOCUMENTS, HAS_SESSIONS)))
            and (not self.unique or (bool(index.get("unique")) and len(keys) == len(self.keys)))
        )


def needed_indexes(collections: ServiceCollections, expert_user_field: str) -> tuple[NeededIndex, ...]:
    """Every index that requests rely on."""
    bookings, experts = collections.bookings, collections.experts
    only_documents = {"partialFilterExpression": dict(_CLIENT_DOCUMENTS)}
    return (
        NeededIndex(bookings, ("clientId",), "one client document a client", True, only_documents),
        NeededIndex(bookings, ("clientId",), "a client's bookings"),
        NeededIndex(bookings, ("expertId", "scheduledDate"), "an expert's old bookings"),
        NeededIndex(bookings, ("sessions.expertId", "sessions.scheduledDate"), "an expert's sessions"),
        NeededIndex(experts, (expert_user_field,), "which expert a user is"),
    )


def missing_indexes(needed: tuple[NeededIndex, ...]) -> list[NeededIndex]:
    """Those that are not there.

    Raises:
        NotPermitted, ConnectionProblem: the server does not say.
    """
    return [
        index for index in needed if not any(index.is_served_by(one) for one in _indexes(index.collection))
    ]


def create_index(index: NeededIndex) -> None:
    """Create one index.

    Raises:
        DuplicateClientDocuments: clients have more than one client document already.
        NotPermitted, WriteFailed, ConnectionProblem: the server does not create it.
    """
    with writing(index.collection):
        try:
            index.collection.create_index(
                [(key, 1) for key in index.keys],
                name=index.name,
                unique=index.unique,
                collation=SIMPLE,
                **index.options,
            )
        except DuplicateKeyError:
            raise duplicates_of(index.collection, _CLIENT_DOCUMENTS) from None


def _indexes(collection: DriverCollection) -> list[Any]:
    if describe(collection) is None:
        return []
    with reading(collection):
        return list(collection.list_indexes())
