"""Dataclasses as groups of command-line parameters."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from booking_migrate.cli.parameters import Group, flatten_groups, only, option


@dataclass(frozen=True, slots=True)
class Paint(Group):
    """A group of three options."""

    colour: str = option("red", "Of what colour.")
    coats: int = option(2, "How many.", min=1)
    gloss: list[str] | None = option(None, "Where to be shiny.")


@dataclass(frozen=True, slots=True)
class Tools(Group, panel="Toolbox"):
    """A group with a panel, and options that have more than a name."""

    wide_brush: bool = option(False, "Use the wide brush.", negatable=True)
    ladder_height: int = option(2, "In metres.", panel="Safety", also_from="LADDER")
    number: str | None = option(None, "Which one.", flag="--no")


@pytest.fixture
def seen() -> list[Any]:
    """What the command was called with."""
    return []


def _run(command: Any, *arguments: str, env: dict[str, str] | None = None) -> Any:
    app = typer.Typer(add_completion=False)
    app.command()(flatten_groups(command))
    return CliRunner().invoke(app, arguments, env=env)


def test_group(seen: list[Any]) -> None:
    """The fields of a group are options, and the command takes the dataclass."""

    def command(name: Annotated[str, typer.Argument()], *, paint: Paint) -> None:
        seen.append((name, paint))

    assert 0 == _run(command, "door", "--coats", "3", "--gloss", "a", "--gloss", "b").exit_code
    assert [("door", Paint("red", 3, ["a", "b"]))] == seen


def test_some_fields_only(seen: list[Any]) -> None:
    """Of a group a command may have some fields only; the others keep their defaults and are no options."""

    def command(ctx: typer.Context, *, paint: Annotated[Paint, only("coats")]) -> None:
        seen.append((ctx.params, paint))

    assert 0 == _run(command, "--coats", "4").exit_code
    assert [({"coats": 4}, Paint(coats=4))] == seen
    assert 2 == _run(command, "--colour", "blue").exit_code


def test_wrong_value(seen: list[Any]) -> None:
    """A value that the option does not take is a usage error, and the command does not run."""

    def command(*, paint: Paint) -> None:
        seen.append(paint)

    assert 2 == _run(command, "--coats", "0").exit_code
    assert [] == seen


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        (
            ["--wide-brush", "--ladder-height", "3", "--no", "7"],
            {},
            Tools(wide_brush=True, ladder_height=3, number="7"),
        ),
        (["--no-wide-brush"], {"BOOKING_MIGRATE_WIDE_BRUSH": "1"}, Tools()),
        ([], {"BOOKING_MIGRATE_LADDER_HEIGHT": "4", "LADDER": "5"}, Tools(ladder_height=4)),
        ([], {"LADDER": "5", "BOOKING_MIGRATE_NO": "9"}, Tools(ladder_height=5, number="9")),
    ],
)
def test_names_of_options(
    seen: list[Any], arguments: list[str], variables: dict[str, str], expected: Tools
) -> None:
    """An option and its environment variable are named as the field, unless the option says otherwise."""

    def command(*, tools: Tools) -> None:
        seen.append(tools)

    assert 0 == _run(command, *arguments, env=variables).exit_code
    assert [expected] == seen


def test_panels() -> None:
    """The help shows an option under its own panel, or else under its group's."""

    def command(*, tools: Tools) -> None:
        """Take the tools."""

    shown = _run(command, "--help", env={"COLUMNS": "100"}).stdout

    assert shown.index("Toolbox") < shown.index("--wide-brush") < shown.index("Safety")
    assert shown.index("Safety") < shown.index("--ladder-height")
