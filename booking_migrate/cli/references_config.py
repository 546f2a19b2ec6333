"""The tables ``[[references]]`` of the config file: which fields of other collections hold ids of bookings."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, time
from typing import Any

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from booking_migrate.cli.config_file import ConfigFile, OwnTable, file_of
from booking_migrate.cli.config_values import near
from booking_migrate.errors import BadConfiguration, FieldNotFound, before_start
from booking_migrate.references.fields import NewId, ReferenceField
from booking_migrate.references.presence import missing_path, nearest_path
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.open_references import OpenReferences
from booking_migrate.stores.own_collections import is_own
from booking_migrate.stores.places import CollectionPlace

_NEW_IDS = ", ".join(f'"{each}"' for each in NewId)
_IN_DBREF = frozenset({"$id", "$ref", "$db"})
_DOCUMENT_ID = "_id"


class _Table(BaseModel):
    """One table, as it is written; the descriptions say what is right where something is wrong."""

    model_config = ConfigDict(extra="forbid", strict=True)

    collection: str = Field(min_length=1, description='the name of a collection, such as "payments"')
    field: str = Field(min_length=1, description='the path of a field, such as "items.bookingId"')
    to: str = Field(default=NewId.SESSION.value, description=f"one of {_NEW_IDS}")
    add: dict[str, str] = Field(
        default_factory=dict,
        description=f'fields to set beside it, such as {{ clientDocumentId = "client-document" }}, each {_NEW_IDS}',
    )
    when: dict[str, Any] = Field(
        default_factory=dict,
        description='values of fields, such as { type = "booking" } or { type = ["booking", "appointment"] }',
    )
    exclude: bool = Field(default=False, description="true or false")


def references_of(ctx: typer.Context) -> tuple[ReferenceField, ...]:
    """Return the fields that the config file names; none without one.

    Raises:
        BadConfiguration: the config file cannot be read, or a table is wrong: it names line and key, and what is right.
    """
    file = file_of(ctx)
    if file is None:
        return ()
    fields: list[ReferenceField] = []
    for number, table in enumerate(file.tables[OwnTable.REFERENCES]):
        field = _field(file, number, table)
        earlier = [
            each for each in fields if (each.collection, each.field) == (field.collection, field.field)
        ]
        if any(not each.when or not field.when or each.when == field.when for each in earlier):
            raise _problem(
                file,
                number,
                f"{field.full_name} is named twice",
                "field",
                "Let their `when` differ, or take one out.",
            )
        fields.append(field)
    return tuple(fields)


def check_fields(
    connection: Connection,
    opened: OpenReferences,
    fields: Sequence[ReferenceField],
    recorded: Sequence[ReferenceField],
    *,
    is_excludable: bool,
) -> None:
    """Refuse fields of the bookings themselves, and such that no document has, which would pass as fields without old ids.

    Args:
        connection: the server and the database.
        opened: where the fields are.
        fields: those that are named; excluded ones may be absent.
        recorded: fields that were rewritten: their documents may be gone since, or have lost them.
        is_excludable: whether the command has the option ``--exclude``.

    Raises:
        BadConfiguration: a field is of a collection with bookings or client documents.
        PlaceNotFound: a collection does not exist.
        FieldNotFound: no document has a field, or one of its condition.
    """
    known = {each.full_name for each in recorded}
    for each in fields:
        if each.exclude:
            continue
        if each.collection in opened.own:
            raise BadConfiguration("references", f"{each.collection} holds the bookings themselves")
        if each.full_name in known:
            continue
        collection = opened.referring(each.collection)
        if collection.facts() is None:
            with before_start():
                open_reader(CollectionPlace(each.collection), connection).check()
        path = missing_path(each, collection)
        if path is not None:
            near = nearest_path(path, collection)
            raise FieldNotFound(each.collection, collection.database, path, each.field, near, is_excludable)


def _field(file: ConfigFile, number: int, table: Any) -> ReferenceField:
    if not isinstance(table, dict):
        raise _problem(
            file,
            number,
            "is not a table",
            "",
            f"Write {OwnTable.REFERENCES.heading} on a line of its own, and its keys below.",
        )
    for key in table:
        if key not in _Table.model_fields:
            meant = near(key, _Table.model_fields)
            advice = f"Did you mean {meant}?" if meant else f"It takes: {', '.join(_Table.model_fields)}."
            raise _problem(file, number, f"{key} is not known", key, advice)
    try:
        given = _Table.model_validate(table)
    except ValidationError as error:
        key = str(error.errors(include_url=False)[0]["loc"][0])
        wanted = _Table.model_fields[key].description
        problem = f"{key} is missing" if key not in table else f"{key} has a value that is not valid"
        raise _problem(file, number, problem, key, f"It must be {wanted}.") from error
    for key, problem, advice in _faults(given):
        raise _problem(file, number, problem, key, advice)
    return ReferenceField(
        given.collection,
        given.field,
        NewId(given.to),
        {path: NewId(new_id) for path, new_id in given.add.items()},
        {path: tuple(_values(value)) for path, value in given.when.items()},
        given.exclude,
    )


Fault = tuple[str, str, str]
"""A key, what is wrong with it, and what is right."""


def _faults(given: _Table) -> Iterator[Fault]:
    """Yield what is wrong with a table whose keys and types are right."""
    yield from path_faults(given.collection, given.field, given.add, given.when)
    yield from _new_id_faults(given)
    for path, value in given.when.items():
        if not all(isinstance(each, str | int | float | bool | date | time) for each in _values(value)):
            yield "when", f"when: {path} is not a value or a list of values", 'Such as { type = "booking" }.'


def path_faults(collection: str, field: str, add: Iterable[str], when: Iterable[str]) -> Iterator[Fault]:
    """Yield what is wrong with where a reference is, what is set beside it, and what its condition is about."""
    if is_own(collection) or collection.startswith("system."):
        yield (
            "collection",
            f"collection {collection} belongs to the program or the server",
            "Name another one.",
        )
    paths = {"field": [field], "add": add, "when": when}
    for key, path in ((key, path) for key, each in paths.items() for path in each):
        if problem := _path_problem(path):
            yield (
                key,
                f"{key}: {path!r} is not the path of a field: {problem}",
                "Write names with dots between them.",
            )
    for path in add:
        if _overlap(path, field) or _overlap(path, _DOCUMENT_ID):
            yield _not_beside(path, field)


def _overlap(one: str, other: str) -> bool:
    """Return whether two paths are the same, or one leads through the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _not_beside(path: str, field: str) -> Fault:
    parent = field.rpartition(".")[0]
    beside = f"{parent}.clientDocumentId" if parent else "clientDocumentId"
    advice = f"Name a field of the same document, such as {beside}."
    return "add", f"add: {path} is not beside {field}", advice


def _new_id_faults(given: _Table) -> Iterator[Fault]:
    """Yield what is wrong with what a rewrite is to write."""
    for key, new_id in (("to", given.to), *(("add", each) for each in given.add.values())):
        if new_id not in set(NewId):
            meant = near(new_id, [each.value for each in NewId])
            yield (
                key,
                f"{key} is {new_id!r}",
                f"Did you mean {meant}?" if meant else f"It must be one of {_NEW_IDS}.",
            )
    parent = given.field.rpartition(".")[0]
    for path in given.add:
        if path.rpartition(".")[0] != parent:
            yield _not_beside(path, given.field)
    if given.field.partition(".")[0] == _DOCUMENT_ID and NewId(given.to).is_shared:
        advice = "Several bookings of one client would get the same _id; only session ids are as different as bookings are."
        yield "to", f"to is {given.to!r}, and field is {given.field}", advice


def _path_problem(path: str) -> str:
    names = path.split(".")
    if not all(names):
        return "a name in it is empty"
    wrong = next((name for name in names if name.startswith("$") and name not in _IN_DBREF), None)
    return "" if wrong is None else f"{wrong} is an operator"


def _values(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _problem(file: ConfigFile, number: int, problem: str, key: str, advice: str) -> BadConfiguration:
    """Return the error about a key of one of the tables, with its line."""
    name = OwnTable.REFERENCES
    return file.problem_in(name, number, f"{name.heading} {problem}", key, advice=advice)
