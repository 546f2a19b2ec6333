"""The caller of a request, and the lookup of users and experts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pymongo

from booking_migrate.bson.document import Document
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.booking import Person
from booking_migrate.service.appointment import Expert, Role, read_expert
from booking_migrate.service.errors import Unknown
from booking_migrate.service.plan import ServiceCollections, ServicePlan
from booking_migrate.service.view import ClientView, SeenSession, is_of_expert, likeliest, meanings
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
            known = likeliest(user, self._users.find({"_id": {"$in": candidates}}))
        user_id = candidates[0] if known is None else known["_id"]
        return Caller(user_id, self._person(known), lambda: self._experts_of(user_id))

    def _experts_of(self, user_id: Any) -> tuple[Any, ...]:
        with pymongo.timeout(self._plan.seconds):
            experts = self._experts.find(any_of(self._plan.people.expert_user, [user_id]), {"_id": 1})
            return tuple(expert["_id"] for expert in experts)

    def expert(self, text: str) -> Expert:
        """Return the expert with this `_id` or with this user.

        Raises:
            Unknown: the expert does not exist.
        """
        with pymongo.timeout(self._plan.seconds):
            for field in ("_id", self._plan.people.expert_user):
                candidates = self._experts.find({field: {"$in": meanings(text)}}, limit=_MEANT)
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
