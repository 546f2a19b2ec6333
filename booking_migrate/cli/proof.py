"""What ``verify`` and ``explain`` have in common: the places that they read, and the rules that decide what is right."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from booking_migrate.cli.identity import check_distinct
from booking_migrate.domain.rejection import Reason
from booking_migrate.stores.locate import (
    CollectionPlace,
    Connection,
    FileFormat,
    FilePlace,
    JsonFormat,
    Place,
    open_reader,
    parse_place,
)

if TYPE_CHECKING:
    from booking_migrate.domain.contract import Contract
    from booking_migrate.engine.verify import PeopleFields, VerificationRules
    from booking_migrate.events import Listener
    from booking_migrate.stores.base import ComparedReader, DocumentReader, RejectedRecords


@dataclass(frozen=True, slots=True)
class Evidence:
    """The open places."""

    source: "ComparedReader"
    target: "ComparedReader"
    rejected: "RejectedRecords"
    users: "DocumentReader | None"
    experts: "DocumentReader | None"
    has_client_index: Callable[[], bool] | None
    """None if the target is a file, which needs no index."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is, as the user wrote it."""

    source: str
    target: str
    users: str | None
    experts: str | None
    rejects: Path | None
    uri: str | None
    is_uri_from_environment: bool
    db: str | None
    json_format: JsonFormat | None

    @property
    def named(self) -> list[str]:
        """Every place that the user named."""
        places = (self.source, self.target, self.users, self.experts, self.rejects)
        return [str(place) for place in places if place is not None]

    @property
    def is_live(self) -> bool:
        """Whether one of the two sides may change while it is read."""
        return any(isinstance(parse_place(side), CollectionPlace) for side in (self.source, self.target))

    @contextmanager
    def open(self, listener: "Listener") -> Iterator[Evidence]:
        """Open everything for reading; nothing is contacted before the first question.

        Raises:
            SamePlace, BadPlace, MissingUri, BadConfiguration: the places make no sense.
        """
        # Here and not above: sqlite3 and bson are not needed to print help.
        from booking_migrate.stores.rejects_reader import open_rejected_records  # noqa: PLC0415

        target = parse_place(self.target)
        check_distinct({"--source": parse_place(self.source)}, {"--target": target})
        with closing(Connection(self.uri, self.db)) as connection, ExitStack() as opened:

            def read(name: str, *, required: bool = True) -> "ComparedReader":
                place = parse_place(name)
                reader = open_reader(
                    place, connection, json_format=self.json_format, required=required, listener=listener
                )
                return opened.enter_context(closing(reader))

            def look_up(name: str | None, default: str) -> "DocumentReader | None":
                if name is not None:
                    return read(name)
                return read(default, required=False) if self._has_default_people else None

            yield Evidence(
                source=read(self.source),
                target=read(self.target),
                rejected=opened.enter_context(
                    closing(
                        open_rejected_records(
                            target, connection, source_name=self.source, rejects=self.rejects
                        )
                    )
                ),
                users=look_up(self.users, "users"),
                experts=look_up(self.experts, "experts"),
                has_client_index=_index_question(target, connection),
            )

    @property
    def _has_default_people(self) -> bool:
        """As in ``migrate``: a MONGODB_URI for other programs does not make a server part of a job on files."""
        return self.uri is not None and (self.is_live or not self.is_uri_from_environment)


def _index_question(target: Place, connection: Connection) -> Callable[[], bool] | None:
    if not isinstance(target, CollectionPlace):
        return None
    collection = connection.collection(target.name)
    from booking_migrate.stores.mongo.client_index import has_client_index  # noqa: PLC0415 - the driver is slow to import

    return partial(has_client_index, collection)


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides what must have come out; the options are those of ``migrate``."""

    accept: frozenset[Reason]
    maximum_document_size: int
    user_id_field: str
    user_email_field: str
    expert_user_field: str

    @property
    def people(self) -> "PeopleFields":
        """Where users and experts keep what sessions need."""
        from booking_migrate.engine.verify import PeopleFields  # noqa: PLC0415 - not needed to print help

        return PeopleFields(self.user_id_field, self.user_email_field, self.expert_user_field)

    def for_target(
        self, target: str, contract: "Contract", *, allow_later: bool = False
    ) -> "VerificationRules":
        """The rules for a target as the user wrote it; a JSON file cannot hold every document."""
        from booking_migrate.engine.verify import VerificationRules  # noqa: PLC0415 - not needed to print help
        from booking_migrate.engine.verify.plan import holds_everything  # noqa: PLC0415 - likewise
        from booking_migrate.stores.extended_json import survives_extended_json  # noqa: PLC0415 - likewise

        place = parse_place(target)
        holds_all = isinstance(place, CollectionPlace) or (
            isinstance(place, FilePlace) and place.format is FileFormat.BSON
        )
        return VerificationRules(
            contract=contract,
            accepted=self.accept,
            maximum_document_size=self.maximum_document_size,
            can_hold=holds_everything if holds_all else survives_extended_json,
            allow_later=allow_later,
        )


def is_uri_from_environment(ctx: typer.Context) -> bool:
    """Whether the connection string comes from an environment variable."""
    origin = ctx.get_parameter_source("uri")
    return origin is not None and origin.name == "ENVIRONMENT"
