"""How the values of options are read that are neither plain text nor a number."""

import re

import typer

from booking_migrate.domain.rejection import WAIVABLE, Reason

MEBIBYTE = 1024 * 1024
LARGEST_DOCUMENT = 16 * MEBIBYTE
"""MongoDB's limit on a document's size (manual, reference/limits)."""

_SIZE = re.compile(r"\s*(\d+)\s*(B|KB|KiB|MB|MiB)?\s*", re.IGNORECASE | re.ASCII)
_UNITS = {"b": 1, "kb": 1000, "kib": 1024, "mb": 1000_000, "mib": MEBIBYTE}


def parse_size(text: str | int) -> int:
    """Read a size such as ``8MiB``, ``500 KB`` or ``1000000``, in bytes.

    Raises:
        typer.BadParameter: it is not a size, is zero, or is larger than MongoDB takes.
    """
    match = _SIZE.fullmatch(str(text))
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size; write bytes, or a number with KB, KiB, MB or MiB.")
    size = int(match[1]) * _UNITS[(match[2] or "B").lower()]
    if not 0 < size <= LARGEST_DOCUMENT:
        raise typer.BadParameter(f"{text!r} is not between 1 byte and 16MiB, the most that MongoDB takes.")
    return size


def parse_waiver(text: str) -> Reason:
    """Read a reason that may be waived.

    Raises:
        typer.BadParameter: it is not one; the message lists those that are.
    """
    if text not in WAIVABLE:
        raise typer.BadParameter(
            f"{text!r} is not a reason that can be waived; those are: {', '.join(waivable())}."
        )
    return Reason(text)


def waivable() -> list[str]:
    """Return the reasons that may be waived, for messages and for the shell's completion."""
    return sorted(WAIVABLE)
