"""Counts, sizes and points in time as text, and the words that agree with them."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

_CHOICES = re.compile(r"\{([^{}|]*)\|([^{}|]*)\}")
"""The words of a text for one thing and for several."""


def grouped(number: int) -> str:
    """Return a number with its digits in groups of three, as ``1,234,567``."""
    return f"{number:,}"


def plural(number: int, noun: str, several: str = "") -> str:
    """Return ``1 booking``, ``2,000 bookings``.

    Args:
        number: how many there are.
        noun: the word for one of them.
        several: the word for more than one, if that is not the same with an s.
    """
    return f"{grouped(number)} {noun if number == 1 else several or f'{noun}s'}"


def agreed(text: str, number: int) -> str:
    """Return a text whose words agree with a number: of ``{index|indexes} that {is|are} lost`` the first ones with 1."""
    return _CHOICES.sub(lambda found: found[1 if number == 1 else 2], text)


def alternatives(words: Sequence[str]) -> str:
    """Return ``a``, ``a or b``, ``a, b or c``."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def moment(time: datetime) -> str:
    """Return a point in time in UTC, to the second: ``2026-03-01 09:30:00 UTC``."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def clock(time: datetime) -> str:
    """Return a point in time that is near, in UTC: ``09:30:00 UTC``."""
    return f"{time:%H:%M:%S} UTC"


_SPANS: Mapping[float, str] = {30: "half a minute", 60: "a minute"}


def span(seconds: float) -> str:
    """Return a limit of time as sentences have it: ``half a minute``, ``45 s``."""
    return _SPANS.get(seconds, f"{seconds:g} s")


def size(number: int) -> str:
    """Return a number of bytes: ``812 B``, ``1.4 MiB``."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:  # noqa: PLR2004 - the step between units
            return _with_unit(amount, unit) if unit != "B" else f"{number} B"
        amount /= 1024
    return _with_unit(amount, "TiB")


def _with_unit(amount: float, unit: str) -> str:
    # From 1000 on, three digits would be written with an exponent.
    return f"{amount:,.0f} {unit}" if amount >= 999.5 else f"{amount:.3g} {unit}"  # noqa: PLR2004
