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
