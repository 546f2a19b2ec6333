"""How the commands of advice are completed."""

from pathlib import Path

import pytest

from booking_migrate.cli.app import LazyCommands, all_commands
from booking_migrate.cli.next_steps import GivenOptions


@pytest.mark.parametrize("name", sorted(all_commands()))
def test_each_command_gets_the_database_if_it_has_one(name: str) -> None:
    """The database is added to every command of the table that takes it, and to no other one."""
    options = {name for each in LazyCommands(all_commands())[name].params for name in each.opts}
    command = f"booking-migrate {name}"

    completed = GivenOptions(database="shop").complete(f"{command} --json")

    expected = f"{command} --db shop --json" if "--db" in options else f"{command} --json"
    assert expected == completed


@pytest.mark.parametrize("action", ["create", "drop"])
def test_the_database_follows_the_action(action: str) -> None:
    """What a command does with a view stays beside its name."""
    completed = GivenOptions(database="shop").complete(f"booking-migrate view {action} --name flat")

    assert f"booking-migrate view {action} --db shop --name flat" == completed


@pytest.mark.parametrize(
    "text", ["booking-migrate verifying", "booking-migrate init-like", "booking-migrate"]
)
def test_other_words_are_no_command(text: str) -> None:
    """A word that only begins like a command stays as it is."""
    assert text == GivenOptions(database="shop").complete(text)


def test_a_config_file_has_one_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The path in a run's record, which is absolute, appears as it was typed if it is the same file; another one stays."""
    monkeypatch.chdir(tmp_path)
    given = GivenOptions(config=Path("platform.toml"))
    recorded = f"booking-migrate cutover --config {tmp_path}/platform.toml --source bookings"
    other = f"booking-migrate cutover --config {tmp_path}/platform.toml.old --source bookings"

    assert "booking-migrate cutover --config platform.toml --source bookings" == given.complete(recorded)
    assert other == given.complete(other)
