"""Looking up users and experts for bookings of the first generation, which lack their user ids and emails."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from booking_migrate.bson.document import Document, read_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.kinds import Kind, has_kind, is_client_id
from booking_migrate.domain.rules import PeopleFields
from booking_migrate.domain.session import Booking, People, Person

_IDS_PER_QUERY = 1000
"""How many ids one query names; the port allows a few thousand."""

_CACHED = 20_000
"""How many answers are cached, so that memory does not grow with the number of people."""


Value = TypeVar("Value")


class FindsById(Protocol):
    """Where people are looked up; every `DocumentReader` does."""

    def find(self, ids: Sequence[Any]) -> Iterable[bytes]:
        """Yield the documents that have one of these `_id`; see `DocumentReader.find`."""


class Directory:
    """Looks up users and experts in groups; the last answers are cached."""

    def __init__(self, users: FindsById | None, experts: FindsById | None, fields: PeopleFields) -> None:
        """Take the places; None stands for a place without any documents."""
        self._users = _Cache(users, lambda user: Person(user.get(fields.user_id), user.get(fields.email)))
        self._experts = _Cache(experts, lambda expert: expert.get(fields.expert_user))

    def find(self, bookings: Iterable[Booking]) -> People:
        """Return the users and experts that these bookings lack, as far as they are found."""
        users: dict[bytes, Any] = {}
        experts: dict[bytes, Any] = {}
        for booking in bookings:
            client_id, expert_id = booking.fields.get("clientId"), booking.fields.get("expertId")
            if booking.lacks_client() and is_client_id(client_id):
                users[sort_key(client_id)] = client_id
            if booking.lacks_expert() and has_kind(expert_id, Kind.IDENTIFIER):
                experts[sort_key(expert_id)] = expert_id
        found_experts = self._experts.find(experts)
        users.update((sort_key(user), user) for user in found_experts.values() if user is not None)
        return People(self._users.find(users), found_experts)


class _Cache(Generic[Value]):
    """A cache of the answers of one place, by the sort key of `_id`."""

    def __init__(self, place: FindsById | None, value_of: Callable[[Document], Value]) -> None:
        self._place = place
        self._value_of = value_of
        self._known: dict[bytes, Value] = {}
        self._unknown: set[bytes] = set()

    def find(self, ids: Mapping[bytes, Any]) -> dict[bytes, Value]:
        """Return the answers for these ids, by sort key; ids that are not found are left out."""
        if len(self._known) + len(self._unknown) > _CACHED:
            self._known.clear()
            self._unknown.clear()
        self._query({key: ids[key] for key in ids if key not in self._known and key not in self._unknown})
        return {key: self._known[key] for key in ids if key in self._known}

    def _query(self, ids: Mapping[bytes, Any]) -> None:
        if self._place is not None:
            remaining = iter(ids.values())
            while some := list(islice(remaining, _IDS_PER_QUERY)):
                for raw in self._place.find(some):
                    document = read_fields(raw)
                    self._known[sort_key(document["_id"])] = self._value_of(document)
        self._unknown.update(key for key in ids if key not in self._known)
