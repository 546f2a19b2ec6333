"""From the options to open places: what a command reads, and where the life of a run is kept."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from booking_migrate.cli.options import ConnectionOptions, PeopleOptions, RuleOptions, WritingOptions
from booking_migrate.cli.path_conflicts import check_distinct
from booking_migrate.domain.contract import Contract
from booking_migrate.events import Listener
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.session import RunStores
from booking_migrate.runs.states import run_options
from booking_migrate.stores.connection import open_journal, open_undoable_target
from booking_migrate.stores.journal import Holder, birth_of, host_name, user_name
from booking_migrate.stores.open import (
    CollectionPlace,
    Connection,
    FileFormat,
    FilePlace,
    JsonFormat,
    Place,
    open_people,
    open_reader,
    parse_place,
    written_beside,
)
from booking_migrate.stores.ports import ComparedReader
from booking_migrate.stores.readers import Absence, Kind, PeopleReader


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is that a command reads, and its target, as the user wrote it."""

    source: str
    target: str
    people: PeopleOptions
    connection: ConnectionOptions
    json_format: JsonFormat | None = None
    overwrite: bool = False
    rejects: Path | None = None
    archive: str | None = None
    """In place: the collection that the old bookings were moved to. Source and target are one collection then."""

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
    def has_default_people(self) -> bool:
        """Return whether users and experts are looked up in the database if no option says where they are.

        From file to file they are not, just because a MONGODB_URI for other programs is set.
        """
        connection = self.connection
        return connection.uri is not None and (self.in_database or not connection.is_uri_from_environment)

    @property
    def people_places(self) -> dict[str, tuple[Place, bool]]:
        """Return where users and experts are, and whether they have to exist, by the option that names them."""
        found = {}
        for option, name, default in (
            ("--users", self.people.users, "users"),
            ("--experts", self.people.experts, "experts"),
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

    def check_distinct(self, written: dict[str, Path | None]) -> None:
        """Refuse to write what is read; ``written`` are further files that are written, by their options."""
        named = {"--source": self.source, "--users": self.people.users, "--experts": self.people.experts}
        read = {option: parse_place(name) for option, name in named.items() if name is not None}
        target = parse_place(self.target)
        named_files = {option: path for option, path in written.items() if path is not None}
        beside = {name: path for name, path in written_beside(target).items() if name not in named_files}
        files = {
            option: FilePlace(str(path), FileFormat.JSON_LINES)
            for option, path in {**beside, **named_files}.items()
        }
        check_distinct(read, {"--target": target, **files})


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
    )


@dataclass(frozen=True, slots=True)
class OpenPlaces:
    """The places that are read, open."""

    connection: Connection
    source: ComparedReader
    users: PeopleReader
    experts: PeopleReader

    @property
    def absences(self) -> list[Absence]:
        """Return why users or experts who were needed could not be looked up at all."""
        return [each.absence for each in (self.users, self.experts) if each.absence is not None]


@contextmanager
def open_places(places: Places, listener: Listener) -> Iterator[OpenPlaces]:
    """Open the source, users and experts for reading, and close them at the end.

    Raises:
        MissingUri, BadConfiguration, BadPlace: a place cannot be one.
    """
    given = places.connection
    with closing(Connection(given.uri, given.db)) as connection, ExitStack() as stack:

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

        source = stack.enter_context(
            closing(
                open_reader(
                    parse_place(places.source), connection, json_format=places.json_format, listener=listener
                )
            )
        )
        yield OpenPlaces(connection, source, people(Kind.USERS), people(Kind.EXPERTS))


def current_process(command: str, run_id: str) -> Holder:
    """Return this process, as others see it that find the lock taken."""
    pid = os.getpid()
    return Holder(run_id, command, user_name(), host_name(), pid, birth_of(pid))


def open_run_stores(connection: Connection, *, target: str, source: str) -> RunStores:
    """Open where the life of a run into a collection is kept.

    Args:
        connection: the server and the database.
        target: the target collection's name.
        source: the source as given.

    Raises:
        MissingUri, BadConfiguration: no server or no database is given, or it cannot be used.
    """
    places = open_journal(connection)
    return RunStores(
        places.journal,
        places.locks,
        open_undoable_target(connection, target, source_name=source),
        places.lag,
    )


def options_of_run(plan: MigrationPlan, places: Places, rejects: Path | None = None) -> dict[str, str]:
    """Return everything that decides a run's result, as its journal has it (see `runs.states.run_options`)."""
    named = {
        "source": places.source,
        "target": places.target,
        "rejects": None if rejects is None else str(rejects),
        "json-format": places.json_format,
        **{option.removeprefix("--"): place.name for option, (place, _) in places.people_places.items()},
    }
    return run_options(plan, named)
