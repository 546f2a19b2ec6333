"""What the commands about references say of a config file without their tables."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lifecycle.conftest import Ended

Run = Callable[..., Ended]


@pytest.mark.usefixtures("cut_over")
@pytest.mark.parametrize("name", ["rewrite", "verify"])
def test_without_fields_in_the_config_file_they_are_appended_to_it(
    command: Run, tmp_path: Path, name: str
) -> None:
    """A config file without tables is not to be replaced by another one, which would lack its settings."""
    path = tmp_path / "my platform.toml"
    path.write_text('users = "people"\n', encoding="utf-8")
    given = ("--config", str(path), "--json")
    hint = json.loads(command("references", name, *given).stdout)["error"]["hint"]

    assert f"cat references.toml >> '{path}'" in hint
    assert "--config references.toml" not in hint
    assert f"booking-migrate references {name} --config '{path}' --json" in hint
