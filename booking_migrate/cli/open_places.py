"""What commands share: their places, their rules, and how both become readers and a plan."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from booking_migrate.cli.path_conflicts import check_distinct
from booking_migrate.domain.rejection import ConflictPolicy, Reason
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

if TYPE_CHECKING:
    from booking_migrate.domain.contract import Contract
    from booking_migrate.events import Listener
    from booking_migrate.runs.plan import MigrationPlan
    from booking_migrate.stores.people import Absence, PeopleReader
    from booking_migrate.stores.ports import ComparedReader

DEFAULT_TARGET = "bookings_consolidated"


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is that is read, and the target."""

    source: str
    target: str
    users: str | None
    experts: str | None
    uri: str | None
    is_uri_from_environment: bool
    db: str | None
    json_format: JsonFormat | None
    overwrite: bool = False

    @property
    def in_database(self) -> bool:
        """Whether one of the two sides is a collection, which may change while it is read."""
        return any(isinstance(parse_place(side), CollectionPlace) for side in (self.source, self.target))

    @property
    def has_default_people(self) -> bool:
        """Whether users and experts are looked up in the database if nothing says where they are.

        From file to file they are not, just because a MONGODB_URI for other programs is around.
        """
        return self.uri is not None and (self.in_database or not self.is_uri_from_environment)

    @property
    def people(self) -> dict[str, tuple[Place, bool]]:
        """Where users and experts are, and whether they have to be there, by the option that names them."""
        found = {}
        for option, name, default in (
            ("--users", self.users, "users"),
            ("--experts", self.experts, "experts"),
        ):
            if name is not None:
                found[option] = (parse_place(name), True)
            elif self.has_default_people:
                found[option] = (parse_place(default), False)
        return found

    def check_distinct(self, written: dict[str, Path | None]) -> None:
        """Refuse to write what is read; ``written`` are further files that are written, by their options."""
        named = {"--source": self.source, "--users": self.users, "--experts": self.experts}
        read = {option: parse_place(name) for option, name in named.items() if name is not None}
        target = parse_place(self.target)
        named_files = {option: path for option, path in written.items() if path is not None}
        beside = {name: path for name, path in written_beside(target).items() if name not in named_files}
        files = {
            option: FilePlace(str(path), FileFormat.JSON_LINES)
            for option, path in {**beside, **named_files}.items()
        }
        check_distinct(read, {"--target": target, **files})


def is_from_environment(ctx: typer.Context, parameter: str) -> bool:
    """Whether an option's value comes from an environment variable."""
    source = ctx.get_parameter_source(parameter)
    return source is not None and source.name == "ENVIRONMENT"


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides what comes out."""

    accept: frozenset[Reason]
    maximum_document_size: int
    merge_client_documents: bool
    user_id_field: str
    user_email_field: str
    expert_user_field: str
    batch_size: int
    workers: int = 1
    on_conflict: ConflictPolicy = ConflictPolicy.REJECT

    def plan(self, contract: "Contract") -> "MigrationPlan":
        """The plan that these rules and a contract make."""
        from booking_migrate.runs.plan import LookupFields, MigrationPlan  # noqa: PLC0415 - see `app`

        return MigrationPlan(
            contract=contract,
            accepted=self.accept,
            maximum_document_size=self.maximum_document_size,
            merge_client_documents=self.merge_client_documents,
            on_conflict=self.on_conflict,
            lookup=LookupFields(self.user_id_field, self.user_email_field, self.expert_user_field),
            batch_bookings=self.batch_size,
            workers=self.workers,
        )


@dataclass(frozen=True, slots=True)
class Opened:
    """The places that are read, open."""

    connection: Connection
    source: "ComparedReader"
    users: "PeopleReader"
    experts: "PeopleReader"

    @property
    def absences(self) -> "list[Absence]":
        """Why users or experts who were needed could not be looked up at all."""
        return [each.absence for each in (self.users, self.experts) if each.absence is not None]


@contextmanager
def opened(places: Places, listener: "Listener") -> Iterator[Opened]:
    """Open what is read, and close it in the end.

    Raises:
        MissingUri, BadConfiguration, BadPlace: a place cannot be one.
    """
    from booking_migrate.stores.people import Kind  # noqa: PLC0415 - bson is not needed to print help

    with closing(Connection(places.uri, places.db)) as connection, ExitStack() as stack:

        def people(kind: Kind) -> "PeopleReader":
            place, required = places.people.get(kind.value, (None, False))
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
        yield Opened(connection, source, people(Kind.USERS), people(Kind.EXPERTS))
