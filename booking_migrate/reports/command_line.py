"""A command over several lines, continued as a shell does it, so that it can be copied whole."""

import re
from collections.abc import Iterator

_WORDS = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""")
"""Words as a shell sees them, with their quotes."""

_CONTINUED = " \\"


def continued(command: str, width: int) -> list[str]:
    """Break a command between its words, before an option where possible.

    Args:
        command: as one line.
        width: how many columns a line may have; a word that is wider stays whole.
    """
    room = width - len(_CONTINUED)
    *units, last = _units(command, room)
    lines = [""]
    for unit in units:
        _add(lines, unit, room)
    _add(lines, last, width)
    return lines


def _add(lines: list[str], unit: str, room: int) -> None:
    if not lines[-1] or len(f"{lines[-1]} {unit}") <= room:
        lines[-1] = f"{lines[-1]} {unit}".lstrip()
    else:
        lines[-1] += _CONTINUED
        lines.append(unit)


def _units(command: str, room: int) -> Iterator[str]:
    """Yield what is kept on one line: an option with its values, or the words of one that is too long."""
    option: list[str] = []
    for word in [*_WORDS.findall(command), "--"]:
        if word.startswith("--") and option:
            together = " ".join(option)
            yield from [together] if len(together) <= room else option
            option = []
        option.append(word)
