"""The places of a run as another process opens them that handles chunks of it: everything is a collection of one database."""

# ruff: noqa: PLC0415 - the driver is slow to import
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from booking_migrate.events import NullListener
from booking_migrate.stores.chunks import Chunk
from booking_migrate.stores.connection import Connection, open_journal
from booking_migrate.stores.journal import RunJournal
from booking_migrate.stores.locks import LockStore
from booking_migrate.stores.own_collections import REJECTS_COLLECTION
from booking_migrate.stores.places import CollectionPlace, Place, last_part
from booking_migrate.stores.ports import TargetWriter
from booking_migrate.stores.readers import Kind, PeopleReader

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.rejects import ChunkRejects
    from booking_migrate.stores.mongo.target import MongoTarget


@dataclass(frozen=True, slots=True)
class SharedPlaces:
    """Where the places are. The connection string holds a password, and is never shown."""

    uri: str = field(repr=False)
    database: str
    source: str
    target: str
    people: Mapping[Kind, str]
    """The collections of users and experts; without one of them they are not looked up."""


class WorkerPlaces(NamedTuple):
    """The places, open."""

    users: PeopleReader
    experts: PeopleReader
    target: "MongoTarget"
    rejects: "ChunkRejects"
    journal: RunJournal
    locks: LockStore


class Shared(NamedTuple):
    """The places of a run that several processes work on, and the target as the coordinating one has it open."""

    places: SharedPlaces
    target: "MongoTarget"


def share(
    connection: Connection, source: Place, target: TargetWriter, people: Mapping[Kind, Place]
) -> Shared | None:
    """Return where the places of a run are; None if one of them is not to be had by several processes at a time.

    So it is with a file, and with a view, in which a booking may come twice.
    """
    named = {kind: place.name for kind, place in people.items() if isinstance(place, CollectionPlace)}
    if not isinstance(source, CollectionPlace) or named.keys() != people.keys():
        return None
    from booking_migrate.stores.mongo.connection import describe
    from booking_migrate.stores.mongo.target import MongoTarget

    if not isinstance(target, MongoTarget) or not target.shares_rejects:
        return None
    listed = describe(connection.collection(source.name))
    if listed is None or listed["type"] != "collection":
        return None
    address = connection.address(source.name)
    return Shared(SharedPlaces(address.uri, address.database, source.name, target.name, named), target)


def open_worker_places(places: SharedPlaces, connection: Connection) -> WorkerPlaces:
    """Open the places in a process that handles chunks. Nothing is contacted yet."""
    from booking_migrate.stores.mongo.reader import MongoReader
    from booking_migrate.stores.mongo.rejects import ChunkRejects
    from booking_migrate.stores.mongo.target import MongoTarget

    def people(kind: Kind) -> PeopleReader:
        name = places.people.get(kind)
        # Whether it has to exist, the coordinating process has checked.
        reader = None if name is None else MongoReader(connection.collection(name), required=False)
        return PeopleReader(reader, kind, NullListener())

    source = last_part(places.source)
    rejects = ChunkRejects(connection.collection(REJECTS_COLLECTION), source=source, target=places.target)
    stores = open_journal(connection)
    return WorkerPlaces(
        people(Kind.USERS),
        people(Kind.EXPERTS),
        MongoTarget(connection.collection(places.target), rejects),
        rejects,
        stores.journal,
        stores.locks,
    )


def without_address(chunk: Chunk) -> Chunk:
    """Return a chunk as it goes to a process that knows the places; so a connection string does not travel with each one."""
    from booking_migrate.stores.mongo.client_ranges import RemoteRange

    return replace(chunk, address=None, collection=None) if isinstance(chunk, RemoteRange) else chunk


def with_collection(chunk: Chunk, places: SharedPlaces, connection: Connection) -> Chunk:
    """Return a chunk that came without an address as this process reads it."""
    from booking_migrate.stores.mongo.client_ranges import RemoteRange

    if isinstance(chunk, RemoteRange):
        return replace(chunk, collection=connection.collection(places.source))
    return chunk
