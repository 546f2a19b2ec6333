"""The settings of the service, the collections that it uses, and the indexes that it needs; none is created unasked.

And who calls it, and whom they book: `PeopleDirectory`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pymongo

from booking_migrate.bson.document import Document
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.rules import DEFAULT_PEOPLE_FIELDS, DEFAULT_RULES, PeopleFields, Rules
from booking_migrate.domain.session import Person
from booking_migrate.errors import UnusablePlace
from booking_migrate.service.appointment import Expert, OfferFields, Role, read_expert
from booking_migrate.service.errors import StandaloneServer, Unknown
from booking_migrate.service.view import ClientView, SeenSession, is_of_expert, likeliest, meanings
from booking_migrate.stores.mongo.administration import (
    CLIENT_DOCUMENTS_ONLY,
    has_index,
    indexes_of,
    make_index,
)
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import reading, writing
from booking_migrate.stores.mongo.raw import SIMPLE, any_of
from booking_migrate.stores.mongo.servers import hosts_of


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
class Limits:
    """Limits of concurrent requests and of their bodies."""

    concurrent: int = 32
    """Requests that are handled concurrently."""

    waiting: int = 512
    """Requests that wait in the queue; further ones are answered with 503."""

    body: int = 64 * 1024
    """The largest body of a request, in bytes."""

    seconds: float = 10.0
    """How long the body of a request may take to arrive."""


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
        NeededIndex(bookings, ("sessions.legacyBookingId",), "the session of an old booking"),
        NeededIndex(experts, (expert_user_field,), "which expert a user is"),
    )


def missing_indexes(needed: tuple[NeededIndex, ...]) -> list[NeededIndex]:
    """Return those that do not exist.

    Raises:
        NotPermitted, ConnectionProblem: the indexes cannot be listed.
    """
    return [index for index in needed if not index.is_there()]


def check_server(collections: ServiceCollections) -> None:
    """Make sure that the server has transactions and that bookings can be written.

    Raises:
        StandaloneServer: it has none.
        UnusablePlace: the bookings are a view.
        ConnectionProblem, NotPermitted: the server cannot be asked.
    """
    bookings = collections.bookings
    with reading(bookings):
        hello = bookings.database.client.admin.command("hello")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise StandaloneServer(hosts_of(bookings))
    listed = describe(bookings)
    if listed is not None and listed.get("type") != "collection":
        raise UnusablePlace(bookings.name, f"it is a {listed.get('type')}, which takes no bookings")


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


@dataclass(frozen=True)
class Caller:
    """The user who sent a request."""

    user_id: Any
    """The user's `_id`."""

    person: Person | None
    """The user's data; None if the user does not exist."""

    find_experts: Callable[[], tuple[Any, ...]] = tuple
    """Looks up the `_id` of each expert that this user is; deferred, because many requests do not need it."""

    @cached_property
    def expert_ids(self) -> tuple[Any, ...]:
        """Return the `_id` of each expert that this user is."""
        return self.find_experts()

    @cached_property
    def expert_keys(self) -> frozenset[bytes]:
        """Return the sort keys of the experts' ids."""
        return frozenset(map(sort_key, self.expert_ids))

    def is_client_of(self, view: ClientView) -> bool:
        """Return whether these are the caller's own bookings."""
        return sort_key(view.client_id) == sort_key(self.user_id)

    def roles_in(self, view: ClientView, session: SeenSession) -> list[Role]:
        """Return the roles of the caller in one session."""
        is_expert = is_of_expert(session.fields, self.expert_keys)
        roles = {Role.CLIENT: self.is_client_of(view), Role.EXPERT: is_expert}
        return [role for role, applies in roles.items() if applies]


class PeopleDirectory:
    """Looks up users and experts, without a cache."""

    def __init__(self, collections: ServiceCollections, plan: ServicePlan) -> None:
        """Prepare the lookup; nothing is sent to the server yet."""
        self._users = collections.users
        self._experts = collections.experts
        self._plan = plan

    def caller(self, user: str) -> Caller:
        """Return the caller for the user id of a token. An unknown user may read, but cannot book."""
        candidates = meanings(user)
        with pymongo.timeout(self._plan.seconds):
            known = likeliest(user, self._users.find({"_id": {"$in": candidates}}))
        user_id = candidates[0] if known is None else known["_id"]
        return Caller(user_id, self._person(known), lambda: self._experts_of(user_id))

    def _experts_of(self, user_id: Any) -> tuple[Any, ...]:
        with pymongo.timeout(self._plan.seconds):
            # Texts that differ in capitals alone are different users, whatever the collection's collation says.
            query = any_of(self._plan.people.expert_user, [user_id])
            experts = self._experts.find(query, {"_id": 1}, collation=SIMPLE)
            return tuple(expert["_id"] for expert in experts)

    def expert(self, text: str) -> Expert:
        """Return the expert with this `_id` or with this user.

        Raises:
            Unknown: the expert does not exist.
        """
        with pymongo.timeout(self._plan.seconds):
            for field in ("_id", self._plan.people.expert_user):
                candidates = self._experts.find(
                    {field: {"$in": meanings(text)}},
                    limit=_MEANT,
                    collation=None if field == "_id" else SIMPLE,
                )
                found = likeliest(text, candidates, field)
                if found is not None:
                    expert = read_expert(found, self._plan.people.expert_user, self._plan.offer)
                    return replace(expert, person=self._person(self._user_of(expert)))
        raise Unknown("expert", "expertId")

    def _user_of(self, expert: Expert) -> Document | None:
        return None if expert.user_id is None else self._users.find_one(any_of("_id", [expert.user_id]))

    def _person(self, user: Document | None) -> Person | None:
        fields = self._plan.people
        return None if user is None else Person(user.get(fields.user_id), user.get(fields.email))


_MEANT = 10
"""A limit above the number of ids that one text can stand for."""
