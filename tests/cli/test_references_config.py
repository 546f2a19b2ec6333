"""The tables ``[[references]]`` of the config file: what they mean, and mistakes with line, key and what is right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from booking_migrate.cli.config_file import read_config_option
from booking_migrate.cli.references_config import references_of
from booking_migrate.errors import BadConfiguration
from booking_migrate.references.fields import NewId, ReferenceField

TABLE = "[[references]]\ncollection = 'payments'\nfield = 'items.bookingId'\n"


def read(folder: Path, text: str) -> tuple[ReferenceField, ...]:
    """The fields that a config file names."""
    path = folder / "my.toml"
    path.write_text(text, encoding="utf-8")
    context = typer.Context(typer.core.TyperCommand("find"))
    read_config_option(context, path)
    return references_of(context)


def test_defaults(workspace: Path) -> None:
    """Collection and field are enough: then the session's id is written, everywhere."""
    assert (ReferenceField("payments", "items.bookingId"),) == read(workspace, TABLE)


def test_everything(workspace: Path) -> None:
    """Every key has its meaning; one value of a condition stands for a list of one."""
    more = "to = 'client-document'\nadd = { 'items.sessionId' = 'session' }\nexclude = true\n"
    when = "when = { 'items.type' = 'booking', state = [1, 2] }\n"
    (field,) = read(workspace, TABLE + more + when)

    assert (NewId.CLIENT_DOCUMENT, {"items.sessionId": NewId.SESSION}, True) == (
        field.to,
        field.add,
        field.exclude,
    )
    assert {"items.type": ("booking",), "state": (1, 2)} == field.when


def test_one_field_twice_by_condition(workspace: Path) -> None:
    """A field may have two tables if their conditions differ, and not otherwise."""
    one, other = ("when = { type = 'a' }\n", "when = { type = 'b' }\n")

    assert 2 == len(read(workspace, TABLE + one + TABLE + other))
    with pytest.raises(BadConfiguration, match="named twice"):
        read(workspace, TABLE + one + TABLE + one)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{TABLE}feild = 'x'", "line 4: [[references]] feild is not known\nhint: Did you mean field?"),
        (f"{TABLE}\n{TABLE}too = 'x'", "line 8: [[references]] too is not known\nhint: Did you mean to?"),
        ("[[references]]\ncollection = 'a'", "line 1: [[references]] field is missing\nhint: It must be the path of"),
        (f"{TABLE}to = 'sesion'", "line 4: [[references]] to is 'sesion'\nhint: Did you mean session?"),
        (f"{TABLE}exclude = 'yes'", "line 4: [[references]] exclude has a value that is not valid\nhint: It must be true or"),
        (f"{TABLE}add = {{ sessionId = 'session' }}", "line 4: [[references]] add: sessionId is not beside items.bookingId"),
        (f"{TABLE}when = {{ type = {{ a = 1 }} }}", "line 4: [[references]] when: type is not a value or a list of values"),
        ("[[references]]\ncollection = 'a'\nfield = 'a..b'", "line 3: [[references]] field: 'a..b' is not the path of a field"),
        ("[[references]]\ncollection = 'a'\nfield = 'a.$set'", "$set is an operator"),
        (
            "[[references]]\ncollection = 'a'\nfield = '_id'\nto = 'client-document'",
            "line 4: [[references]] to is 'client-document', and field is _id",
        ),
        ("[[references]]\ncollection = 'booking_migrate_runs'\nfield = 'a'", "belongs to the program or the server"),
        ("[references]\ncollection = 'a'", "line 1: references is not a list of tables\nhint: Write [[references]] with two"),
        ("[[refrences]]\ncollection = 'a'", "Did you mean [[references]]?"),
    ],
)  # fmt: skip
def test_mistakes(workspace: Path, text: str, said: str) -> None:
    """A mistake is named with its line, its key, and what is right."""
    with pytest.raises(BadConfiguration) as raised:
        read(workspace, text)

    assert said in f"{raised.value.message}\nhint: {raised.value.hint}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--add bookingId=session", "add: items.bookingId is not beside items.bookingId"),
        ("--add items.bookingId.x=session", "add: items.bookingId.x is not beside items.bookingId"),
        ("--field payments._id --add _id.a=session", "add: _id.a is not beside items.bookingId"),
        ("--add items.a..b=session", "add: 'items.a..b' is not the path of a field: a name in it is empty"),
        ("--when $where=1", "when: '$where' is not the path of a field: $where is an operator"),
        ("--field payments.a..b", "field: 'a..b' is not the path of a field"),
        ("--field booking_migrate_runs.run_id", "booking_migrate_runs belongs to the program or the server"),
    ],
)
def test_mistakes_on_the_command_line(run: Callable[..., Any], words: str, said: str) -> None:
    """What the config file may not name, the command line may not name either; nothing is contacted."""
    given = ("--field", "payments.items.bookingId", *words.split())
    done = run("references", "rewrite", *given, "--uri", "mongodb://127.0.0.1:1", "--db", "shop", "--yes")

    assert 2 == done.exit_code
    assert said in " ".join(done.stderr.replace("│", " ").split())


def test_other_commands_take_the_file(run: Callable[..., Any], workspace: Path) -> None:
    """A file with such tables is taken by every command; options of a command of a group stand in a table of its name."""
    workspace.joinpath("my.toml").write_text(f"{TABLE}\n['references find']\nsmaple = 3\n", encoding="utf-8")
    workspace.joinpath("bookings.jsonl").touch()
    wrong = run("migrate", "--config", "my.toml", "--source", "bookings.jsonl", "--target", "clients.jsonl")

    assert "line 6: [references find] smaple is not an option" in " ".join(wrong.stderr.split())
    workspace.joinpath("my.toml").write_text(f"{TABLE}\n['references find']\nsample = 3\n", encoding="utf-8")
    done = run("migrate", "--config", "my.toml", "--source", "bookings.jsonl", "--target", "clients.jsonl")
    assert 0 == done.exit_code, done.stderr
