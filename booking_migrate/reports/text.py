"""Numbers, sizes, lengths of time and commands as text, the same in every format and in messages of progress."""

import re
from collections.abc import Iterator, Mapping
from shlex import quote

from booking_migrate.quantities import grouped

_COMMAND_AT_END = re.compile(r"^(.*:) ((?:booking-migrate |db\.|rs\.|export |kill |mongorestore ).*)$")
"""A line that ends with a command for a shell: this program's, the server's, or the system's."""


def split_command(line: str) -> tuple[str, str | None]:
    """Return a line of a hint without the command at its end, and that command: alone it can be copied whole."""
    parts = _COMMAND_AT_END.fullmatch(line)
    return (line, None) if parts is None else (parts[1], parts[2])


def explaining(booking_id: str, options: str) -> str:
    """Return the command that shows where a booking went, with these options.

    An id that begins with a dash, such as a negative number, comes last, behind what ends the options.
    """
    words = [f"-- {quote(booking_id)}"] if booking_id.startswith("-") else []
    first = [] if words else [quote(booking_id)]
    return " ".join(filter(None, ["booking-migrate explain", *first, options, *words]))


def money(total: str) -> str:
    """Return a decimal sum with grouped digits and at least two decimals; none of its digits is lost."""
    sign, digits = ("-", total[1:]) if total.startswith("-") else ("", total)
    whole, _, decimals = digits.partition(".")
    return f"{sign}{int(whole):,}.{decimals:0<2}" if whole.isdigit() else total


def duration(seconds: float) -> str:
    """Return a length of time: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 07 min``."""
    whole = round(seconds)
    if seconds < 10:  # noqa: PLR2004 - below ten seconds a tenth is worth saying
        return f"{seconds:.1f} s"
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


def outage(seconds: float) -> str:
    """Return for how long something was refused: ``114 ms`` below a second, from there on as `duration`."""
    return f"{round(seconds * 1000)} ms" if seconds < 1 else duration(seconds)


def samples(sample_ids: tuple[str, ...], count: int, shown: int) -> str:
    """Return the first few ids, and how many more there are."""
    listed = ", ".join(sample_ids[:shown])
    more = count - min(shown, len(sample_ids))
    if not listed:
        return ""
    return f"{listed} and {grouped(more)} more" if more else listed


def options_line(options: Mapping[str, str]) -> str:
    """Return options as they would be typed; those that are only switched on or off without their value."""
    switched = {"true": "--", "false": "--no-"}
    return " ".join(
        f"{switched[text]}{name}" if text in switched else f"--{name} {text}"
        for name, text in options.items()
    )


_WORDS = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""")
"""Words as a shell sees them, with their quotes."""

_CONTINUED = " \\"


def continued(command: str, width: int) -> list[str]:
    """Break a command between its words, before an option where possible, as a shell continues it: it can be copied whole.

    Args:
        command: as one line.
        width: how many columns a line may have; a word that is wider stays whole. A line for mongosh does, too.
    """
    if command.startswith("db."):
        return [command]
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
