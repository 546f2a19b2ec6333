"""The caller of a request, and the lookup of users and experts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pymongo

from booking_migrate.bson.document import Document
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.booking import Person
from booking_migrate.service.actions import Role
from booking_migrate.service.appointment import Expert, read_expert
from booking_migrate.service.errors import Unknown
from booking_migrate.service.identifiers import likeliest, meanings
from booking_migrate.service.plan import ServiceCollections, ServicePlan
from booking_migrate.service.view import ClientView, SeenSession, is_of_expert
from booking_migrate.stores.mongo.raw import any_of


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
            found = {sort_key(one["_id"]): one for one in self._users.find({"_id": {"$in": candidates}})}
        known_id = likeliest(user, [one["_id"] for one in found.values()])
        user_id = candidates[0] if known_id is None else known_id
        person = None if known_id is None else self._person(found[sort_key(known_id)])
        return Caller(user_id, person, lambda: self._experts_of(user_id))

    def _experts_of(self, user_id: Any) -> tuple[Any, ...]:
        with pymongo.timeout(self._plan.seconds):
            experts = self._experts.find(any_of(self._plan.people.expert_user, [user_id]), {"_id": 1})
            return tuple(expert["_id"] for expert in experts)

    def expert(self, text: str) -> tuple[Expert, Person | None]:
        """Return the expert with this `_id` or with this user, and its user if it exists.

        Raises:
            Unknown: the expert does not exist.
        """
        with pymongo.timeout(self._plan.seconds):
            found = self._find_expert(text)
            if found is None:
                raise Unknown("expert", "expertId")
            expert = read_expert(found, self._plan.people.expert_user, self._plan.offer)
            user = None if expert.user_id is None else self._users.find_one(any_of("_id", [expert.user_id]))
        return expert, None if user is None else self._person(user)

    def _find_expert(self, text: str) -> Document | None:
        for field in ("_id", self._plan.people.expert_user):
            experts = list(self._experts.find({field: {"$in": meanings(text)}}, limit=_MEANT))
            chosen = likeliest(text, (expert[field] for expert in experts))
            if chosen is not None:
                return _first(experts, field, chosen)
        return None

    def _person(self, user: Document) -> Person:
        fields = self._plan.people
        return Person(user.get(fields.user_id), user.get(fields.email))


_MEANT = 10
"""A limit above the number of ids that one text can stand for."""


def _first(documents: Iterable[Document], field: str, value: Any) -> Document:
    return next(one for one in documents if sort_key(one[field]) == sort_key(value))
