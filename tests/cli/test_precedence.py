"""Where an option's value comes from: option, environment, config file, default, in this order."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer

from booking_migrate.cli import migrate as command
from booking_migrate.cli import run as runner
from booking_migrate.cli.open import Places
from booking_migrate.domain.contract import Contract
from booking_migrate.domain.rejection import Reason
from booking_migrate.events import NullListener
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.places import JsonFormat
from tests.support import sample_reports

Values = dict[str, Any]

DEFAULTS: Values = {
    "source": "bookings",
    "target": "bookings_consolidated",
    "rejects": None,
    "json_format": None,
    "uri": None,
    "db": None,
    "users": None,
    "experts": None,
    "user_id_field": "user_id",
    "user_email_field": "email",
    "expert_user_field": "userId",
    "accept": frozenset(),
    "maximum_document_size": 8 * 1024 * 1024,
    "merge_client_documents": False,
    "overwrite": False,
    "batch_size": 10_000,
    "json": False,
    "reports": (),
    "quiet": False,
    "verbose": False,
}

# key in the file, key of the value, then text and meaning: as an option, in the environment, in the file
TEXTS = [
    ("source", "source", "a.jsonl", "b.jsonl", "c.jsonl"),
    ("target", "target", "a.jsonl", "b.jsonl", "c.jsonl"),
    ("uri", "uri", "mongodb://a", "mongodb://b", "mongodb://c"),
    ("db", "db", "a", "b", "c"),
    ("users", "users", "a", "b", "c"),
    ("experts", "experts", "a", "b", "c"),
    ("user_id_field", "user_id_field", "a", "b", "c"),
    ("user_email_field", "user_email_field", "a", "b", "c"),
    ("expert_user_field", "expert_user_field", "a", "b", "c"),
]
OTHERS = [
    ("rejects", "rejects", "a", "b", '"c"', [Path("a"), Path("b"), Path("c")]),
    (
        "json_format",
        "json_format",
        "plain",
        "extended",
        '"plain"',
        [JsonFormat.PLAIN, JsonFormat.EXTENDED, JsonFormat.PLAIN],
    ),
    ("max_document_size", "maximum_document_size", "1MiB", "2KB", "3", [1024 * 1024, 2000, 3]),
    ("batch_size", "batch_size", "1", "2", "3", [1, 2, 3]),
    (
        "accept",
        "accept",
        "email-invalid",
        "time-invalid price-negative",
        '["notes-too-long"]',
        [
            {Reason.EMAIL_INVALID},
            {Reason.TIME_INVALID, Reason.PRICE_NEGATIVE},
            {Reason.NOTES_TOO_LONG},
        ],
    ),
    (
        "report",
        "reports",
        "a.md",
        "b.md:b.html",
        '["c.md", "c.xml"]',
        [(Path("a.md"),), (Path("b.md"), Path("b.html")), (Path("c.md"), Path("c.xml"))],
    ),
]
CASES = [
    *((key, name, one, two, f'"{three}"', [one, two, three]) for key, name, one, two, three in TEXTS),
    *OTHERS,
]
FLAGS = [
    ("merge_client_documents", "--no-merge-client-documents"),
    ("overwrite", "--no-overwrite"),
    ("json", None),
    ("quiet", None),
    ("verbose", None),
]


@pytest.fixture
def values(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Values]:
    """A function that runs ``migrate`` up to where the engine would start, and returns what it was told."""
    seen: Values = {}

    def remember(places: Places, plan: MigrationPlan, *_: Any, is_followed: bool) -> Any:
        for part in (places, places.connection, places.people, plan, plan.rules):
            seen.update({field.name: getattr(part, field.name) for field in fields(part)})
        assert not is_followed
        seen.update(accept=plan.rules.accepted, batch_size=plan.batch_bookings)
        return sample_reports.clean()

    def execute(asked: runner.Invocation, body: Callable[[runner.RunContext], Any]) -> NoReturn:
        seen.update({name: getattr(asked.output, name) for name in ("json", "quiet", "verbose")})
        seen["reports"] = tuple(asked.reports)
        body(runner.RunContext(asked, "run", NullListener(), SignalGuard()))
        raise typer.Exit(0)

    def told(*arguments: str, env: dict[str, str] | None = None) -> Values:
        seen.clear()
        result = run("migrate", *arguments, env=env)
        assert result.exit_code == 0, result.output
        return {name: seen[name] for name in [*DEFAULTS, "contract"]}

    monkeypatch.setattr(command, "_migrate", remember)
    monkeypatch.setattr(runner, "execute", execute)
    return told


def test_defaults(values: Callable[..., Values]) -> None:
    """Without anything given, the documented defaults hold."""
    assert {**DEFAULTS, "contract": Contract()} == values()


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_precedence(values: Callable[..., Values], workspace: Path, case: tuple[Any, ...]) -> None:
    """An option ranks before the environment, that before the config file, and that before the default."""
    key, name, option, variable, entry, expected = case
    workspace.joinpath("config.toml").write_text(f"{key} = {entry}\n", encoding="utf-8")
    in_file = ["--config", "config.toml"]
    in_environment = {f"BOOKING_MIGRATE_{key.upper()}": variable}
    flag = [f"--{key.replace('_', '-')}", option]

    assert expected[0] == values(*flag, *in_file, env=in_environment)[name]
    assert expected[1] == values(*in_file, env=in_environment)[name]
    assert expected[2] == values(*in_file)[name]
    assert DEFAULTS[name] == values()[name]


@pytest.mark.parametrize(("key", "negation"), FLAGS)
def test_precedence_of_flags(
    values: Callable[..., Values], workspace: Path, key: str, negation: str | None
) -> None:
    """A flag can be set at every level, and those that change data can be taken back on the command line."""
    workspace.joinpath("config.toml").write_text(f"{key} = true\n", encoding="utf-8")
    in_file = ["--config", "config.toml"]
    variable = f"BOOKING_MIGRATE_{key.upper()}"

    assert values(f"--{key.replace('_', '-')}")[key] is True
    assert values(env={variable: "1"})[key] is True
    assert values(*in_file)[key] is True
    assert values(*in_file, env={variable: "0"})[key] is False
    if negation is not None:
        assert values(negation, *in_file, env={variable: "1"})[key] is False


def test_config_file_from_the_environment(values: Callable[..., Values], workspace: Path) -> None:
    """The config file itself may be named in the environment."""
    workspace.joinpath("config.toml").write_text('source = "c.jsonl"\n', encoding="utf-8")

    assert values(env={"BOOKING_MIGRATE_CONFIG": "config.toml"})["source"] == "c.jsonl"


def test_uri_variables(values: Callable[..., Values]) -> None:
    """MONGODB_URI gives the server, unless the program's own variable does."""
    both = {"MONGODB_URI": "mongodb://general", "BOOKING_MIGRATE_URI": "mongodb://own"}

    assert values(env={"MONGODB_URI": "mongodb://general"})["uri"] == "mongodb://general"
    assert values(env=both)["uri"] == "mongodb://own"


def test_command_table_ranks_before_the_top(values: Callable[..., Values], workspace: Path) -> None:
    """A value in [migrate] ranks before one at the top of the file."""
    text = 'source = "top.jsonl"\ntarget = "top"\n[migrate]\nsource = "own.jsonl"\n'
    workspace.joinpath("config.toml").write_text(text, encoding="utf-8")
    told = values("--config", "config.toml")

    assert (told["source"], told["target"]) == ("own.jsonl", "top")


def test_contract(values: Callable[..., Values], workspace: Path) -> None:
    """[contract] changes the contract with the new application."""
    text = '[contract]\ncurrencies = ["INR"]\nminimum_duration = 5\n'
    workspace.joinpath("config.toml").write_text(text, encoding="utf-8")

    assert Contract(currencies=("INR",), minimum_duration=5) == values("--config", "config.toml")["contract"]
