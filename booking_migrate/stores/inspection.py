"""The port through which a dry-run looks at a server: what it is, what it holds, and what its user may do.

Everything here only reads, and needs no more than the built-in role `read` on the database. What the user may not
know comes as None, never as an error.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from booking_migrate.stores.destination import Destination


class Topology(Enum):
    """How servers stand together."""

    STANDALONE = "standalone"
    REPLICA_SET = "replica set"
    SHARDED = "sharded cluster"


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The server behind the connection."""

    version: str
    topology: Topology


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """One index of a collection."""

    name: str
    keys: tuple[str, ...]
    """The names of the indexed fields, in order."""

    unique: bool = False
    is_partial: bool = False
    """Whether it leaves some documents out: sparse, or with a filter."""

    expires: bool = False
    """Whether it makes the server delete documents (TTL)."""


@dataclass(frozen=True, slots=True)
class CollectionFacts:
    """One collection as the server describes it."""

    name: str
    kind: str
    """``collection``, ``view`` or ``timeseries``."""

    documents: int | None = None
    data_bytes: int | None = None
    """The documents' BSON, uncompressed."""

    storage_bytes: int | None = None
    """What they take on disk, compressed."""

    index_bytes: int | None = None
    id_index_bytes: int | None = None
    """Of ``index_bytes``, the index on `_id`."""

    indexes: tuple[IndexFacts, ...] = ()
    has_validator: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    """As the server lists them."""


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of the server's data, in bytes."""

    total: int
    used: int

    @property
    def free(self) -> int:
        """Return what is left."""
        return self.total - self.used


@dataclass(frozen=True, slots=True)
class Privilege:
    """One action on one resource (MongoDB manual, reference/privilege-actions)."""

    action: str
    collection: str
    """A collection of the database; empty for the database as a whole."""


class DatabaseInspector(Protocol):
    """Looks at one database of a server."""

    @property
    def database(self) -> str:
        """Return the database's name."""

    def server(self) -> ServerFacts:
        """Return what the server is.

        Raises:
            ConnectionProblem: it cannot be reached.
        """

    def collection(self, name: str) -> CollectionFacts | None:
        """Return what the server says about a collection; None if it does not exist."""

    def other_collections(self, known: Collection[str]) -> Sequence[str]:
        """Return the names of the collections that hold data, but for the known ones and the server's own, sorted."""

    def sample(self, name: str, size: int) -> Iterator[bytes]:
        """Yield so many documents of a collection by chance, or all if there are fewer; whole, as BSON."""

    def ends(self, name: str, count: int) -> Sequence[bytes]:
        """Return the first and the last so many documents of a collection in the order of `_id`, each once."""

    def destination(self, name: str) -> Destination:
        """Return a collection as a place that client documents are written to."""

    def missing(self, wanted: Sequence[Privilege]) -> Sequence[Privilege] | None:
        """Return those of these privileges that the user lacks; None if the server does not say.

        Without a login the server does not check privileges, and none is missing.
        """

    def disk(self) -> Disk | None:
        """Return the file system of the server's data; None if the server does not say."""

    def members_without_majority(self) -> Sequence[str]:
        """Return the members of the replica set with their states, if too few are up to acknowledge writes; else none."""

    def oplog_seconds(self) -> float | None:
        """Return how far back the oplog reaches; None if the user may not read it, or the server does not have one."""
