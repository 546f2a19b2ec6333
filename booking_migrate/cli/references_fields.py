"""The fields of references that the command line names."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import typer

from booking_migrate.cli.options import PLACES
from booking_migrate.cli.parameters import Group, option
from booking_migrate.cli.references_config import path_faults
from booking_migrate.references.fields import NewId, ReferenceField


@dataclass(frozen=True, slots=True)
class FieldOptions(Group, panel=PLACES):
    """Which fields hold references, and what is written there."""

    field: list[str] | None = option(
        None,
        "Rewrite this field instead of those of the config file.",
        metavar="COLLECTION.PATH",
    )
    to: NewId | None = option(
        None,
        "With --field: what the reference becomes.",
        metavar="|".join(NewId),
        show_default="session",
    )
    add: list[str] | None = option(
        None,
        "With --field: also set a field beside it. May be repeated.",
        metavar=f"PATH={'|'.join(NewId)}",
    )
    when: list[str] | None = option(
        None,
        "With --field: only where this field has this value; one beside the reference, or of the document. May be repeated.",
        metavar="FIELD=VALUE",
    )
    exclude: list[str] | None = option(
        None, "Leave a collection or a field as it is. May be repeated.", metavar="COLLECTION[.PATH]"
    )


def named_fields(given: FieldOptions) -> tuple[ReferenceField, ...]:
    """Return the fields that the command line names; none if it names none.

    Raises:
        typer.BadParameter: one cannot be read, or an option needs ``--field``.
    """
    if not given.field:
        for name, value in (("--to", given.to), ("--add", given.add), ("--when", given.when)):
            if value:
                raise typer.BadParameter("it is about a field that --field names.", param_hint=name)
        return ()
    add = {path: _new_id(text) for path, text in map(_pair_of("--add"), given.add or ())}
    when: dict[str, tuple[Any, ...]] = {}
    for path, text in map(_pair_of("--when"), given.when or ()):
        when[path] = (*when.get(path, ()), *_values(text))
    to = given.to or NewId.SESSION
    plain = list(map(field_of, given.field))
    fields = tuple(
        replace(each, to=to, when=when, add={_beside(each.field, path): new for path, new in add.items()})
        for each in plain
    )
    for each in fields:
        for key, problem, advice in path_faults(each.collection, each.field, each.add, each.when):
            name = "--field" if key == "collection" else f"--{key}"
            raise typer.BadParameter(f"{problem}. {advice}", param_hint=name)
    return fields


def words_of(fields: Sequence[ReferenceField]) -> str | None:
    """Return the options that name fields; None if one command line cannot name them together."""
    first = fields[0]
    names = list(dict.fromkeys(each.full_name for each in fields))
    add = [f"{path}={new}" for path, new in first.add.items()]
    when = [f"{path}={each}" for path, values in first.when.items() for each in values if type(each) is str]
    given = FieldOptions(field=names, to=first.to, add=add, when=when, exclude=None)
    to = () if first.to is NewId.SESSION else ("--to", first.to.value)
    words = [
        word
        for name, values in (("--field", names), ("--add", add), ("--when", when))
        for each in values
        for word in (name, each)
    ]
    return shlex.join([*words, *to]) if named_fields(given) == tuple(fields) else None


def field_of(text: str) -> ReferenceField:
    """Return the field that a text such as ``payments.bookingId`` names.

    Raises:
        typer.BadParameter: it is not a collection and a path.
    """
    collection, _, path = text.partition(".")
    if not collection or not path:
        raise typer.BadParameter(
            f"{text!r} is not a collection and a path, such as payments.bookingId.", param_hint="--field"
        )
    return ReferenceField(collection, path)


def _beside(field: str, path: str) -> str:
    """Return the whole path of a field that is set beside another; it may be named without its parent."""
    parent = field.rpartition(".")[0]
    if "." in path or not parent:
        return path
    return f"{parent}.{path}"


def _pair_of(name: str) -> Any:
    def read(text: str) -> tuple[str, str]:
        path, sign, value = text.partition("=")
        if not sign or not path or not value:
            raise typer.BadParameter(
                f"{text!r} is not a field and a value, such as type=booking.", param_hint=name
            )
        return path, value

    return read


def _new_id(text: str) -> NewId:
    if text not in set(NewId):
        allowed = " or ".join(NewId)
        raise typer.BadParameter(f"{text!r} is not {allowed}.", param_hint="--add")
    return NewId(text)


def _values(text: str) -> tuple[Any, ...]:
    """Return a value of the command line as text, and as the number or truth that it may be, too."""
    try:
        value = json.loads(text)
    except ValueError:
        return (text,)
    return (text, value) if isinstance(value, bool | int | float) else (text,)
