"""How the values of options are read."""

import pytest
import typer

from booking_migrate.cli.options import parse_size, parse_waiver
from booking_migrate.domain.contract import WAIVABLE
from booking_migrate.domain.rejection import Reason


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("8MiB", 8_388_608),
        ("500 kb", 500_000),
        ("2KiB", 2048),
        ("16mib", 16_777_216),
        ("3MB", 3_000_000),
    ],
)
def test_size(text: str, size: int) -> None:
    """A size is bytes, or a number with a unit, decimal or binary."""
    assert size == parse_size(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "8 apples", "1.5MiB", "17MiB", "16777217", "0KiB", "٣"])
def test_wrong_size(text: str) -> None:
    """Zero, more than MongoDB takes, and anything else are refused."""
    with pytest.raises(typer.BadParameter):
        parse_size(text)


@pytest.mark.parametrize("reason", sorted(WAIVABLE))
def test_waivable_reason(reason: Reason) -> None:
    """Every value rule can be waived."""
    assert reason is parse_waiver(reason.value)


@pytest.mark.parametrize("reason", [*sorted(set(Reason) - WAIVABLE), "nonsense", ""])
def test_other_reason(reason: str) -> None:
    """What cannot be waived is refused, and the message lists what can."""
    with pytest.raises(typer.BadParameter) as refused:
        parse_waiver(str(reason))

    assert all(waivable in refused.value.message for waivable in WAIVABLE)
