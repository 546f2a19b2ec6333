"""What users and experts say about the bookings that lack it (DESIGN.md, section 2: generation 1)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from booking_migrate.bson.document import read_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.contract import Kind, has_kind
from booking_migrate.stores.ports import DocumentReader
from booking_migrate.verify.documents import SourceDocument
from booking_migrate.verify.plan import PeopleFields

_ASKED_AT_ONCE = 1000
_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Person:
    """What a user's document says; None where it says nothing."""

    user_id: Any
    email: Any


_Users = dict[bytes, Person | None]


@dataclass(slots=True)
class People:
    """The users and experts that some bookings need, by the keys of their ids; None: looked for and not there."""

    users: _Users = field(default_factory=dict)
    experts: dict[bytes, Any] = field(default_factory=dict)
    """Each expert's user id as decoded, None if it names none; an expert who is not there has no entry."""

    def user(self, user_id: Any) -> Person | None:
        """The user of an id, or None."""
        return self.users.get(sort_key(user_id))


class PeopleLookup:
    """Looks up, for a batch of bookings at a time, who is needed; remembers those asked for lately."""

    def __init__(
        self, users: DocumentReader | None, experts: DocumentReader | None, fields: PeopleFields
    ) -> None:
        self._users = users
        self._experts = experts
        self._fields = fields
        self._people = People()

    def people_for(self, documents: Iterable[SourceDocument]) -> People:
        """The users and experts that these bookings need; it may hold others too.

        Raises:
            PlaceNotFound, UnusablePlace, BrokenDocument, ConnectionProblem: they cannot be looked up.
        """
        if len(self._people.users) + len(self._people.experts) > _REMEMBERED:
            self._people = People()
        users: dict[bytes, Any] = {}
        experts: dict[bytes, Any] = {}
        for document in documents:
            if needs(document, "clientUserId", "clientEmail") and document.client_key is not None:
                users[document.client_key] = document.client_id
            expert_id = document.fields.get("expertId")
            if needs(document, "expertUserId", "expertEmail") and has_kind(expert_id, Kind.IDENTIFIER):
                experts[sort_key(expert_id)] = expert_id
        if not users and not experts:
            return People()
        self._learn_experts(experts)
        for key in experts:
            user_id = self._people.experts.get(key)
            if user_id is not None:
                users[sort_key(user_id)] = user_id
        self._learn_users(users)
        return self._people

    def _learn_experts(self, wanted: dict[bytes, Any]) -> None:
        unknown = {key: value for key, value in wanted.items() if key not in self._people.experts}
        for key, fields in _found(self._experts, list(unknown.values())):
            self._people.experts[key] = fields.get(self._fields.expert_user)

    def _learn_users(self, wanted: dict[bytes, Any]) -> None:
        unknown = {key: value for key, value in wanted.items() if key not in self._people.users}
        self._people.users.update(dict.fromkeys(unknown))
        for key, fields in _found(self._users, list(unknown.values())):
            self._people.users[key] = Person(fields.get(self._fields.user_id), fields.get(self._fields.email))


def needs(document: SourceDocument, *names: str) -> bool:
    """Whether a booking lacks one of these fields; null counts as absent."""
    return not document.is_client_document and any(document.fields.get(name) is None for name in names)


def _found(reader: DocumentReader | None, ids: Sequence[Any]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    if reader is None:
        return
    for start in range(0, len(ids), _ASKED_AT_ONCE):
        for raw in reader.find(ids[start : start + _ASKED_AT_ONCE]):
            fields = read_fields(raw)
            yield sort_key(fields["_id"]), fields
