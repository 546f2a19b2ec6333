"""Where a key stands in a config file, and what a syntax error in it means: `tomllib` keeps no positions of what it has read."""

import re
from collections.abc import Iterator

from booking_migrate.errors import BadConfiguration

_HEADER = re.compile(r"\s*\[\[?\s*([^\]]*?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[\w.\s-])+?)\s*=""")
_PART = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([\w-]+))\s*\.?""")
_FENCES = ('"""', "'''")
_POSITION = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)
_QUOTES = 'Text takes quotes, such as source = "bookings"; numbers, true and false do not.'


def line_of(text: str, *path: str) -> int | None:
    """Return the number of the line in which a key is set, or else the nearest table that holds it; None without any.

    Args:
        text: the file's text.
        path: the names of the tables that the key is in, and its own.
    """
    found = list(_keys(text))
    for length in range(len(path), 0, -1):
        lines = [line for line, names in found if names[:length] == path[:length]]
        if lines:
            return lines[0]
    return None


def line_in(text: str, table: str, number: int, key: str) -> int | None:
    """Return the number of the line in which one of several tables ``[[table]]`` sets a key, or else of its heading.

    Args:
        text: the file's text.
        table: the tables' name.
        number: which of them, counted from 0.
        key: the key; empty: the heading is meant.
    """
    heading: int | None = None
    begun = -1
    for line, names in _keys(text):
        if names == (table,):
            begun += 1
            heading = line if begun == number else heading
        elif begun == number and names[:2] == (table, key):
            return line
    return heading


def _keys(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the lines that set keys or begin tables, each with the whole path."""
    table: tuple[str, ...] = ()
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        if fence:
            fence = "" if fence in line else fence
            continue
        if header := _HEADER.match(line):
            table = _parts(header[1])
            yield number, table
        elif key := _KEY.match(line):
            yield number, (*table, *_parts(key[1]))
        fence = next((each for each in _FENCES if line.count(each) % 2), "")


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(next(filter(None, found.groups()), "") for found in _PART.finditer(dotted))


def syntax_problem(path: str, text: str, problem: str) -> BadConfiguration:
    """Return the error of a file that is not TOML.

    Args:
        path: the file.
        text: its text.
        problem: what the parser says.
    """
    found = _POSITION.fullmatch(problem)
    if found is None:
        return BadConfiguration(path, f"is not TOML: {problem}")
    lines = text.rstrip().splitlines()
    said, line = found[1], int(found[2] or len(lines))
    where = f"{path}, line {line}"
    key = _KEY.match(lines[line - 1]) if line <= len(lines) else None
    if said == "Cannot overwrite a value" and key is not None:
        earlier = [number for number, names in _keys(text) if names[-1:] == _parts(key[1])[-1:]]
        return BadConfiguration(
            where, f"{key[1]} is set twice, first in line {earlier[0]}", "Keep one of them."
        )
    if said.startswith("Cannot declare"):
        return BadConfiguration(
            where, "this table is there already", "Put all keys of a table below one heading."
        )
    return BadConfiguration(where, f"is not TOML: {said}", _QUOTES if said == "Invalid value" else "")
