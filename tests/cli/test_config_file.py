"""Mistakes in the config file: exit 2, with the file and the key named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("sauce = 'x'", "sauce"),
        ("batch-size = 5", "batch-size"),
        ("config = 'other.toml'", "config"),
        ("help = true", "help"),
        ("[migrate]\nsauce = 'x'", "[migrate] sauce"),
        ("[nonesuch]\nsource = 'x'", "nonesuch"),
        ("migrate = 5", "migrate"),
        ("contract = 5", "contract"),
        ("[contract]\nsauce = 1", "[contract] sauce"),
        ("[contract]\ncurrencies = ['rupees']", "[contract] currencies"),
        ("batch_size = 0", "batch_size"),
        ("batch_size = 'many'", "batch_size"),
        ("batch_size = 1.5", "batch_size"),
        ("source = true", "source"),
        ("source = ['a']", "source"),
        ("overwrite = 'yes'", "overwrite"),
        ("accept = 'email-invalid'", "accept"),
        ("accept = ['client-id-missing']", "accept"),
        ("max_document_size = '17MiB'", "max_document_size"),
        ("json_format = 'xml'", "json_format"),
        ("source = ", "TOML"),
    ],
)
def test_mistake(run: Callable[..., Any], workspace: Path, content: str, named: str) -> None:
    """A key that is no option, or a value that does not fit, is named together with the file."""
    workspace.joinpath("my.toml").write_text(content, encoding="utf-8")
    result = run("migrate", "--config", "my.toml")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "my.toml" in result.stderr
    assert named in result.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "source = 'a'\n\nacept = ['email-invalid']",
            "line 3: acept is not an option\nhint: Did you mean accept?",
        ),
        (
            "[migrate]\nmax_outage = '1s'",
            "line 2: [migrate] max_outage is not an option\nhint: It is an option of cutover, rollback: put it there.",
        ),
        ("[migrat]\nsource = 'x'", "line 1: migrat is not a table\nhint: Did you mean [migrate]?"),
        (
            "# a file\nbatch_size = 'many'",
            'line 2: batch_size is "many", and must be a whole number from 1 to 100000 (default 10000)',
        ),
        ("json_format = 'xml'", 'line 1: json_format is "xml", and must be one of "extended", "plain"'),
        ("overwrite = 'yes'", 'line 1: overwrite is "yes", and must be true or false'),
        (
            "[contract]\n# all\ncurrencies = 'INR'",
            'line 3: [contract] currencies is "INR", and must be a list of strings such as ["INR", "USD"]: ',
        ),
        (
            "[contract]\ncurencies = ['INR']",
            "line 2: [contract] curencies is not known\nhint: Did you mean currencies?",
        ),
        (
            "contract.minimum_duration = 'x'",
            'line 1: [contract] minimum_duration is "x", and must be a number such as 15: ',
        ),
        (
            "[hooks]\nafter_migrat = 'x'",
            "line 2: [hooks] after_migrat is not a hook\nhint: Did you mean after_migrate?",
        ),
        (
            "[hooks]\non_failure = 5",
            "line 2: [hooks] on_failure is not a string\nhint: A hook is one command",
        ),
        ("hooks = 5", "line 1: hooks is not a table\nhint: Write [hooks] on a line of its own"),
        (
            "source = 'a'\nsource = 'b'",
            "line 2: source is set twice, first in line 1\nhint: Keep one of them.",
        ),
        ("[hooks]\n[hooks]", "line 2: this table is there already"),
        ("source = bookings", "line 1: is not valid TOML: source = bookings\nhint: Text needs quotes"),
    ],
)
def test_what_is_said_of_a_mistake(run: Callable[..., Any], workspace: Path, content: str, said: str) -> None:
    """The line, the key, the nearest right one, and what the value must be."""
    workspace.joinpath("my.toml").write_text(content, encoding="utf-8")

    problem, *hint = said.split("\n")
    printed = run("migrate", "--config", "my.toml").stderr
    assert (
        "\n".join([f"error: my.toml, {problem}", *(["Nothing was changed.", *hint] if hint else [])])
        in printed
    )


def test_text_of_several_lines_is_not_taken_for_keys(run: Callable[..., Any], workspace: Path) -> None:
    """A line within a text of several lines is not the one that sets a key."""
    content = 'source = """\nbatch_size = 5\n"""\nbatch_size = 0\n'
    workspace.joinpath("my.toml").write_text(content, encoding="utf-8")

    assert "my.toml, line 4: batch_size" in run("migrate", "--config", "my.toml").stderr


@pytest.mark.parametrize(
    ("name", "meant"),
    [("BOOKING_MIGRATE_BATCHSIZE", "BOOKING_MIGRATE_BATCH_SIZE"), ("BOOKING_MIGRATE_X", None)],
)
def test_a_variable_that_is_misspelt(run: Callable[..., Any], name: str, meant: str | None) -> None:
    """A variable that nothing reads, and that is nearly one that is read, is named with it."""
    shown = run("migrate", "--source", "missing.jsonl", "--target", "out.jsonl", env={name: "5"}).stderr
    warning = f"warning: the environment variable {name} is not read; did you mean {meant}?"

    assert (warning in shown) is (meant is not None)


@pytest.mark.parametrize(
    ("name", "meant", "is_named"),
    [
        ("BOOKING_MIGRATE_SORCE", "BOOKING_MIGRATE_SOURCE", True),
        ("BOOKING_MIGRATE_BATCHSIZE", "BOOKING_MIGRATE_BATCH_SIZE", False),
    ],
)
def test_a_place_that_a_misspelt_variable_was_to_name(
    run: Callable[..., Any], workspace: Path, name: str, meant: str, *, is_named: bool
) -> None:
    """The error names the variable and how to rename it, without its value; a variable about something else is not blamed."""
    workspace.joinpath("my.toml").write_text(
        "source = './missing.jsonl'\ntarget = 'out.jsonl'\n", encoding="utf-8"
    )
    shown = run("migrate", "--config", "my.toml", env={name: "secret"}).stderr
    error = shown.partition("error: ")[2]

    assert "missing.jsonl does not exist" in error
    assert (f'  export {meant}="${name}"; unset {name}\n' in error) is is_named
    assert ("  booking-migrate migrate --config my.toml\n" in error) is is_named
    assert "secret" not in shown


def test_missing_file(run: Callable[..., Any]) -> None:
    """A config file that is not there is a mistake too."""
    result = run("migrate", "--config", "missing.toml")

    assert result.exit_code == 2
    assert "missing.toml: cannot be read" in result.stderr


def test_mistake_in_json(run: Callable[..., Any], workspace: Path) -> None:
    """With --json the mistake is a JSON report."""
    workspace.joinpath("my.toml").write_text("sauce = 1", encoding="utf-8")
    result = run("migrate", "--config", "my.toml", "--json")

    assert json.loads(result.stdout)["error"]["kind"] == "BadConfiguration"


def test_uri_is_not_shown(run: Callable[..., Any], workspace: Path) -> None:
    """A connection string may stand in the config file, and none of its password is ever printed."""
    workspace.joinpath("my.toml").write_text("uri = 'mongodb://ann:s3cret@[broken'", encoding="utf-8")
    result = run("migrate", "--config", "my.toml", "--db", "shop", "--json", "--verbose")

    assert result.exit_code == 2
    assert "s3cret" not in result.output
