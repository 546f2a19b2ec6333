"""The application's writes: a feed of changes, and the set of what has to be derived again.

The docstrings are promises.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import Any, NamedTuple, Protocol

from bson.timestamp import Timestamp

from booking_migrate.bson.order import sort_key


class Role(StrEnum):
    """What a changed collection is to the migration."""

    SOURCE = "source"
    USERS = "users"
    EXPERTS = "experts"
    PEOPLE = "people"
    """One collection in which both users and experts are looked up."""

    TARGET = "target"
    COPY = "copy"
    """The kept copy of the source, once a cut-over has made it."""

    REFERRING = "referring"
    """A collection with references to bookings."""


class TargetChanges(Enum):
    """Which changes of the target a feed has."""

    NONE = auto()
    NOT_NEW = auto()
    """All but new documents, of which a run writes very many."""

    ALL = auto()


_OF_DOCUMENTS = frozenset({"insert", "update", "replace", "delete"})
_ENDS = frozenset({"drop", "rename", "dropDatabase"})


class Change(NamedTuple):
    """One write of one document, or of a whole collection."""

    role: Role
    operation: str
    """As the server names it: ``insert``, ``update``, ``replace``, ``delete``, ``modify``, ``rename``, ``drop``, ..."""

    document_id: Any
    """The `_id` as decoded. It says something only if `is_of_document`: null is an `_id` too."""

    client_ids: tuple[Any, ...]
    """The values of `clientId` that the change itself names, as decoded: those of a whole new document or of an updated field."""

    time: Timestamp
    """The cluster time of the write. The writes of one transaction have the same."""

    document: bytes | None = None
    """The whole new document of an insert or a replacement, BSON; None unless the feed was asked for them."""

    collection: str = ""
    """The collection's name."""

    @property
    def is_end(self) -> bool:
        """Return whether a collection was dropped, renamed, or replaced by another one: no change of its documents says so."""
        return self.operation in _ENDS

    @property
    def is_of_document(self) -> bool:
        """Return whether it is about one document, and not about a collection."""
        return self.operation in _OF_DOCUMENTS


class Position(NamedTuple):
    """A place in the feed: everything up to it has been returned."""

    token: Mapping[str, Any]
    """The server's resume token. It is valid only with the pipeline that it came from."""

    time: Timestamp
    """Its cluster time; reading again from here on is harmless, because state is derived and changes are not applied."""

    def saved(self) -> dict[str, Any]:
        """Return it as values of BSON."""
        return {"token": dict(self.token), "time": self.time}

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> "Position | None":
        """Return what `saved` returned; None of an empty mapping."""
        return cls(dict(saved["token"]), saved["time"]) if saved else None


class ChangeBatch(NamedTuple):
    """Changes in the order of their cluster times, and the position of the feed after them."""

    changes: Sequence[Change]
    position: Position


class ChangeFeed(Protocol):
    """The changes of some collections of one database, in the order of their cluster times, none left out.

    A feed that is opened at an earlier position repeats changes. The position advances even without changes, so that it does
    not become too old.

    Raises:
        HistoryLost: the server no longer has all changes since the position at which it was opened (any method).
        ConnectionProblem, NotPermitted: the server cannot be asked (any method).
    """

    def check(self) -> None:
        """Make sure that the feed can be read from the position at which it was opened."""

    def read(self, seconds: float, *, limit: int = 5000, until: Timestamp | None = None) -> ChangeBatch:
        """Return the available changes, at most about ``limit``; wait for the first one as long as ``seconds``.

        Args:
            seconds: how long.
            limit: how many changes.
            until: a cluster time after which nothing is awaited; as soon as the feed is past it, this returns.
        """

    def close(self) -> None:
        """Release the cursor. May be called twice."""


@dataclass(slots=True)
class Dirty:
    """What has to be derived or verified again, each entry once; the keys are sort keys of the values."""

    bookings: dict[bytes, Any] = field(default_factory=dict)
    """The `_id` values of bookings that changed."""

    clients: dict[bytes, Any] = field(default_factory=dict)
    """The `clientId` values of clients whose document has to be derived again."""

    users: dict[bytes, Any] = field(default_factory=dict)
    """The `_id` values of users that changed."""

    experts: dict[bytes, Any] = field(default_factory=dict)
    """The `_id` values of experts that changed."""

    documents: dict[bytes, Any] = field(default_factory=dict)
    """The `_id` values of documents of the target that were written, perhaps by others; they are not derived for that."""

    copies: dict[bytes, Any] = field(default_factory=dict)
    """The `_id` values of documents of the kept copy that were written, perhaps by others; they are compared with the source."""

    def parts(self) -> dict[str, dict[bytes, Any]]:
        """Return the entries by their kind: first those that others may have changed, then those that are derived."""
        return {
            "document": self.documents,
            "booking": self.bookings,
            "client": self.clients,
            "user": self.users,
            "expert": self.experts,
            "copy": self.copies,
        }

    def add(self, other: "Dirty") -> None:
        """Add all entries of another set."""
        others = other.parts()
        for kind, entries in self.parts().items():
            entries.update(others[kind])

    def groups(self, size: int) -> "Iterator[Dirty]":
        """Yield the same entries, about this number at a time, each kind after the other."""
        if 0 < len(self) <= size:
            yield self
            return
        named = [(kind, key, value) for kind, part in self.parts().items() for key, value in part.items()]
        for start in range(0, len(named), size):
            group = Dirty()
            parts = group.parts()
            for kind, key, value in named[start : start + size]:
                parts[kind][key] = value
            yield group

    def __len__(self) -> int:
        """Return the number of entries."""
        return sum(len(entries) for entries in self.parts().values())


def dirty_of(changes: Iterable[Change]) -> Dirty:
    """Return what changes make dirty, by the events alone."""
    dirty = Dirty()
    by_role = {
        Role.SOURCE: (dirty.bookings,),
        Role.USERS: (dirty.users,),
        Role.EXPERTS: (dirty.experts,),
        Role.PEOPLE: (dirty.users, dirty.experts),
        Role.TARGET: (dirty.documents,),
        Role.COPY: (dirty.copies,),
    }
    for change in changes:
        if not change.is_of_document:
            continue
        for entries in by_role[change.role]:
            entries[sort_key(change.document_id)] = change.document_id
        if change.role is Role.SOURCE:
            dirty.clients.update((sort_key(value), value) for value in change.client_ids)
    return dirty


class DirtyStore(Protocol):
    """A run's durable set of what is dirty.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: it cannot be read or written (any method).
    """

    def add(self, dirty: Dirty) -> None:
        """Add entries; those that are there already stay once. Durable when it returns."""

    def take(self, limit: int) -> Dirty:
        """Return up to this number of entries. They stay until they are removed."""

    def scan(self) -> Iterator[Dirty]:
        """Yield all entries, some at a time; it only reads."""

    def remove(self, dirty: Dirty) -> None:
        """Remove entries that have been handled."""

    def clear(self) -> None:
        """Remove all entries of the run."""


class Links(Protocol):
    """Finds the clients that a change concerns. All lists hold at most a few thousand values.

    Raises:
        ConnectionProblem, NotPermitted: the server does not say (any method).
    """

    def prepare(self) -> None:
        """Create the indexes without which these questions would read whole collections."""

    def clients_of_bookings(self, booking_ids: Sequence[Any]) -> Iterator[Any]:
        """Yield the `clientId` of every document of the target with a session of one of these bookings.

        Of every one: a booking that moved from one client to another and back is for a moment in two documents. The
        clients that rejected bookings of these ids belonged to come too.
        """

    def documents_of_bookings(self, booking_ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield every document of the target with a session of one of these bookings, whole."""

    def clients_of_experts(self, expert_ids: Sequence[Any]) -> Iterator[Any]:
        """Yield the `clientId` of the source's bookings with these experts."""

    def experts_of_users(self, user_ids: Sequence[Any]) -> Iterator[Any]:
        """Yield the `_id` of the experts whose user is one of these."""
