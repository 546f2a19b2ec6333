"""From the options to open places: what a command reads, what it may write, and where the life of a run is kept."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from socket import gethostname
from typing import Any

import typer

from booking_migrate.cli.options import (
    ConnectionOptions,
    PeopleOptions,
    PlaceOptions,
    RuleOptions,
    WritingOptions,
)
from booking_migrate.cli.parameters import is_from
from booking_migrate.domain.contract import Contract
from booking_migrate.domain.session import read_booking
from booking_migrate.errors import BadConfiguration, MissingExtra, SamePlace, TargetInOldShape
from booking_migrate.events import Listener
from booking_migrate.preflight.privileges import refuse_lacking, refuse_unmeasured_lag
from booking_migrate.runs.plan import Fingerprint, MigrationPlan, SavedPlan, options_of
from booking_migrate.runs.session import RunRequest, RunStores
from booking_migrate.runs.states import run_options
from booking_migrate.runs.workers import WorkerPool
from booking_migrate.stores.connection import (
    Connection,
    first_and_last,
    open_inspector,
    open_journal,
    open_undoable_target,
)
from booking_migrate.stores.locks import Holder, birth_of, user_name
from booking_migrate.stores.open import fingerprint, open_people, open_reader
from booking_migrate.stores.open_follow import open_dirty
from booking_migrate.stores.open_workers import Shared, share
from booking_migrate.stores.own_collections import refuse_own
from booking_migrate.stores.places import (
    DEFAULT_EXPERTS,
    DEFAULT_USERS,
    CollectionPlace,
    FileFormat,
    FilePlace,
    JsonFormat,
    Place,
    StreamPlace,
    parse_place,
    written_beside,
)
from booking_migrate.stores.ports import ComparedReader, TargetWriter
from booking_migrate.stores.privilege import Privilege
from booking_migrate.stores.readers import Absence, Kind, PeopleReader


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Return whether two paths lead to one file, through links too; neither needs to exist."""
    first, second = Path(one), Path(other)
    if first.resolve() == second.resolve():
        return True
    try:
        return first.exists() and second.exists() and first.samefile(second)
    except OSError:
        # Such as a name that is too long: it is not a file, and opening it says why.
        return False


def is_same_place(one: Place, other: Place) -> bool:
    """Return whether two places are one file or one collection; standard input and output are two."""
    if isinstance(one, FilePlace) and isinstance(other, FilePlace):
        return is_same_file(one.path, other.path)
    return isinstance(one, CollectionPlace) and one == other


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is that a command reads, and its target, as the user wrote it."""

    source: str
    target: str
    rejects: Path | None
    json_format: JsonFormat | None
    people: PeopleOptions
    connection: ConnectionOptions
    is_uri_from_environment: bool
    overwrite: bool = False
    archive: str | None = None
    """In place: the collection that the old bookings were moved to. Source and target are one collection then."""

    @classmethod
    def of(
        cls,
        ctx: typer.Context,
        given: PlaceOptions,
        people: PeopleOptions,
        connection: ConnectionOptions,
        **more: Any,
    ) -> "Places":
        """Take the options of a command that was parsed; ``more`` are the other fields."""
        from_environment = is_from(ctx, "uri", "ENVIRONMENT")
        places = (given.source, given.target, given.rejects, given.json_format)
        return cls(*places, people, connection, from_environment, **more)

    @property
    def named(self) -> list[str]:
        """Return every place that the user named, to be kept apart from files that are written."""
        places = (self.source, self.target, self.people.users, self.people.experts, self.rejects)
        return [str(place) for place in places if place is not None]

    @property
    def in_database(self) -> bool:
        """Return whether one of the two sides is a collection, which may change while it is read."""
        return any(isinstance(parse_place(side), CollectionPlace) for side in (self.source, self.target))

    @property
    def are_collections(self) -> bool:
        """Return whether both sides are collections."""
        return all(isinstance(parse_place(side), CollectionPlace) for side in (self.source, self.target))

    @property
    def people_collections(self) -> list[str]:
        """Return the names of the collections that users and experts are in."""
        return [place.name for place, _ in self.people_places.values() if isinstance(place, CollectionPlace)]

    @property
    def has_default_people(self) -> bool:
        """Return whether users and experts are looked up in the database if no option says where they are.

        From file to file they are not, just because a MONGODB_URI for other programs is set.
        """
        has_uri = self.connection.uri is not None
        return has_uri and (self.in_database or not self.is_uri_from_environment)

    @property
    def people_places(self) -> dict[str, tuple[Place, bool]]:
        """Return where users and experts are, and whether they have to exist, by the option that names them."""
        found = {}
        for option, name, default in (
            ("--users", self.people.users, DEFAULT_USERS),
            ("--experts", self.people.experts, DEFAULT_EXPERTS),
        ):
            if name is not None:
                found[option] = (parse_place(name), True)
            elif self.has_default_people:
                found[option] = (parse_place(default), False)
        return found

    def contact(self, connection: Connection) -> None:
        """Find the server, if any place is a collection.

        Raises:
            ConnectionProblem: none answers.
        """
        people = [place for place, _ in self.people_places.values()]
        for place in (parse_place(self.source), parse_place(self.target), *people):
            if isinstance(place, CollectionPlace):
                connection.contact(place.name)
                return

    def check_distinct(self, written: Mapping[str, Path | None]) -> None:
        """Refuse to write what is read, or to write two things to one place.

        Args:
            written: the files that are written beside the target, by the options that name them; None: not written.

        Raises:
            SamePlace: ``--source`` and ``--target`` are the same.
            BadConfiguration: any other two are.
        """
        named = {"--source": self.source, "--users": self.people.users, "--experts": self.people.experts}
        read = {option: parse_place(name) for option, name in named.items() if name is not None}
        streams = [option for option, place in read.items() if isinstance(place, StreamPlace)]
        if len(streams) > 1:
            raise BadConfiguration(streams[1], f"standard input is also given as {streams[0]}")
        target = parse_place(self.target)
        files = {**written_beside(target), **{option: path for option, path in written.items() if path}}
        outputs: dict[str, Place] = {"--target": target}
        outputs |= {option: FilePlace(str(path), FileFormat.JSON_LINES) for option, path in files.items()}
        for option, place in outputs.items():
            for other, neighbour in {**read, **outputs}.items():
                if option == other or not is_same_place(place, neighbour):
                    continue
                if {option, other} == {"--source", "--target"}:
                    raise SamePlace(place.name)
                raise BadConfiguration(option, f"{place.name} is also given as {other}")


def migration_plan(
    contract: Contract, rules: RuleOptions, people: PeopleOptions, writing: WritingOptions
) -> MigrationPlan:
    """Return the plan that a contract and the options make."""
    return MigrationPlan(
        rules=rules.under(contract),
        people=people.fields,
        merge_client_documents=rules.merge_client_documents,
        batch_bookings=writing.batch_size,
        workers=writing.workers,
        executor=writing.executor,
    )


@dataclass(frozen=True, slots=True)
class OpenPlaces:
    """The places that are read, open."""

    connection: Connection
    source: ComparedReader
    users: PeopleReader
    experts: PeopleReader
    start_pool: Callable[[], WorkerPool]
    """Returns a pool of workers, which is started when it is needed first; closed with the places."""

    def check(self) -> None:
        """Refuse places that cannot be read; see `DocumentReader.check`."""
        for each in (self.source, self.users, self.experts):
            each.check()

    @property
    def absences(self) -> list[Absence]:
        """Return why users or experts who were needed could not be looked up at all."""
        return [each.absence for each in (self.users, self.experts) if each.absence is not None]


@contextmanager
def open_places(places: Places, listener: Listener, *, workers: int = 1) -> Iterator[OpenPlaces]:
    """Open the source, users and experts for reading, and close them at the end.

    Raises:
        MissingUri, BadConfiguration, BadPlace: a place cannot be one.
    """
    with places.connection.open() as connection, ExitStack() as stack:

        def people(kind: Kind) -> PeopleReader:
            place, required = places.people_places.get(kind.value, (None, False))
            reader = open_people(
                place,
                kind,
                connection,
                json_format=places.json_format,
                required=required,
                listener=listener,
            )
            return stack.enter_context(closing(reader))

        start_pool = cache(lambda: stack.enter_context(WorkerPool(workers)))
        reader = open_reader(
            parse_place(places.source),
            connection,
            json_format=places.json_format,
            listener=listener,
            start_pool=start_pool,
        )
        source = stack.enter_context(closing(reader))
        try:
            yield OpenPlaces(connection, source, people(Kind.USERS), people(Kind.EXPERTS), start_pool)
        except TargetInOldShape as refusal:
            if not _has_client_documents(connection, places.source):
                raise
            raise replace(refusal, source=places.source) from None


def _has_client_documents(connection: Connection, source: str) -> bool:
    """Return whether the first or the last document of a collection is a client document, so that it may be the target."""
    ends = first_and_last(parse_place(source), connection, 1)
    return any(read_booking(each).is_client_document for each in ends)


def open_shared(
    places: Places, sides: OpenPlaces, target: TargetWriter, executor: str | None
) -> Shared | None:
    """Return what workers need to handle chunks completely; None if they can only read and convert.

    Raises:
        BadConfiguration: a cluster was given, whose workers can do no less.
        MissingExtra: its packages are not installed.
    """
    if executor is not None and find_spec("distributed") is None:
        raise MissingExtra("migrate --executor", "distributed")
    people = {Kind(option): place for option, (place, _) in places.people_places.items()}
    shared = share(sides.connection, parse_place(places.source), target, people)
    if shared is None and executor is not None:
        raise BadConfiguration(
            "--executor", "source, target, rejected bookings, users and experts must be collections"
        )
    return shared


def current_process(command: str, run_id: str) -> Holder:
    """Return this process, as others see it that find the lock taken."""
    pid = os.getpid()
    return Holder(run_id, command, user_name(), gethostname(), pid, birth_of(pid))


def open_run_stores(connection: Connection, *, target: str, source: str) -> RunStores:
    """Open where the life of a run from a source, as given, into a collection is kept.

    Raises:
        MissingUri, BadConfiguration: no server or no database is given, or it cannot be used.
    """
    places = open_journal(connection)
    undoable = open_undoable_target(connection, target, source_name=source)
    return RunStores(
        places.journal, places.locks, undoable, places.lag, lambda run_id: open_dirty(connection, run_id)
    )


def run_request(
    command: str, run_id: str, places: Places, plan: MigrationPlan, rejects: Path | None = None
) -> RunRequest:
    """Return the request to run; with ``rejects`` only if that file is part of what decides the result."""
    named = {
        "source": places.source,
        "target": places.target,
        "rejects": None if rejects is None else str(rejects),
        "json-format": places.json_format,
        **{option.removeprefix("--"): place.name for option, (place, _) in places.people_places.items()},
    }
    return RunRequest(
        run_id=run_id,
        source=places.source,
        target=places.target,
        options=run_options(plan, named),
        holder=current_process(command, run_id),
    )


def current_plan(places: Places, plan: MigrationPlan, connection: Connection) -> SavedPlan:
    """Return what would be migrated now, by these options, over the data as it is.

    Raises:
        PlaceNotFound, UnusablePlace, NotPermitted, ConnectionProblem: something cannot be read.
    """
    people = {option.removeprefix("--"): place for option, (place, _) in places.people_places.items()}
    fingerprints: dict[str, Fingerprint] = {
        "source": fingerprint(parse_place(places.source), connection),
        **{name: fingerprint(place, connection, only_count=True) for name, place in people.items()},
    }
    named = {name: place.name for name, place in people.items()}
    return SavedPlan(
        places={"source": places.source, "target": places.target, **named},
        options=options_of(plan),
        fingerprints=fingerprints,
    )


def refuse_unready(
    row: str,
    places: Places,
    connection: Connection,
    certain: Sequence[Privilege] = (),
    *,
    option: str = "",
    limits_lag: bool = False,
) -> None:
    """Refuse a command that the server would not permit its user to complete.

    Everything else that prevents it, such as a lock, a run, a validator or too few members, it finds out itself before it writes.

    Args:
        row: the command's row in the table of privileges.
        places: its places.
        connection: the server and the database.
        certain: what it is certain to do on single collections.
        option: the option with which it is that certain; empty: it always is.
        limits_lag: whether it is to wait for secondaries that lag behind.

    Raises:
        BadPlace: the target is a collection of the program's own.
        NotReady, LagNotMeasurable: the user lacks a privilege; nothing was changed.
        ConnectionProblem: the server cannot be asked.
    """
    sides = [parse_place(side) for side in (places.source, places.target)]
    if isinstance(sides[1], CollectionPlace):
        refuse_own(sides[1].name)
    people = [place for place, _ in places.people_places.values()]
    names = [place.name for place in (*sides, *people) if isinstance(place, CollectionPlace)]
    inspector = open_inspector(connection, names[0])
    refuse_lacking(inspector, row, names, certain, option=option)
    if limits_lag:
        refuse_unmeasured_lag(inspector)
