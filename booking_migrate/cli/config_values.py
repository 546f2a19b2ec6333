"""What the keys of a config file may hold, what was probably meant by one that nothing reads, and the line of each key.

`tomllib` keeps no positions of what it has read; so lines are found, and syntax errors explained, by the text itself.
"""

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from enum import Enum
from typing import Any, get_args

import typer

from booking_migrate.domain.contract import Contract
from booking_migrate.errors import BadConfiguration

_SAMPLE_CURRENCIES = ("INR", "USD")


def near(name: str, known: Iterable[str]) -> str:
    """Return the known name that is nearest to one, or an empty string."""
    return next(iter(get_close_matches(name.replace("-", "_"), list(known), n=1)), "")


def problem_of(ctx: typer.Context, key: str, value: Any, parameter: Any) -> str:
    """Return what is wrong with an option's value, and what is right; empty if it can be used.

    The value is converted again where it is used.
    """
    wanted = wanted_of(parameter)
    shown = key if key == "uri" else f"{key} is {_shown(value)}"
    if not _has_type(value, parameter):
        return f"{shown}, and must be {wanted}"
    try:
        parameter.process_value(ctx, value)
    except typer.BadParameter as error:
        # An option with a reader of its own says best what it takes.
        is_read = parameter.type_descriptor.parameter_info.parser is not None
        return f"{key}: {error.message.removesuffix('.')}" if is_read else f"{shown}, and must be {wanted}"
    return ""


def _has_type(value: Any, parameter: Any) -> bool:
    if parameter.multiple:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if parameter.is_flag:
        return isinstance(value, bool)
    if parameter.type_descriptor.annotation is float:
        return type(value) in (str, int, float)
    return type(value) in (str, int)


def wanted_of(parameter: Any) -> str:
    """Return what an option takes, and what counts without it, for people."""
    default = getattr(parameter.default, "value", parameter.default)
    is_read = parameter.type_descriptor.parameter_info.parser is not None
    if is_read or parameter.multiple or not isinstance(default, str | int | float):
        return _expected(parameter)
    return f"{_expected(parameter)} (default {_shown(default)})"


def _expected(parameter: Any) -> str:
    """Return what an option takes, for people."""
    kind = parameter.type_descriptor.annotation
    if parameter.multiple:
        return "a list of strings"
    if parameter.is_flag:
        return "true or false"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(_shown(each.value) for each in kind)}"
    if kind not in (int, float) or parameter.type_descriptor.parameter_info.parser is not None:
        return "a string" if kind is not int else "a string or a whole number"
    number = "a whole number" if kind is int else "a number"
    if parameter.max is None:
        return number if parameter.min is None else f"{number} of at least {parameter.min:g}"
    return f"{number} from {parameter.min or 0:g} to {parameter.max:g}"


def contract_problem(key: str, value: Any) -> str:
    """Return what is wrong with a value of the contract, and what is right."""
    field = Contract.model_fields[key]
    default = field.default
    if isinstance(default, int | float) and not isinstance(default, bool):
        whole = "whole " if int in (field.annotation, *get_args(field.annotation)) else ""
        wanted = f"a {whole}number such as {default:g}"
    else:
        sample = _SAMPLE_CURRENCIES if default is None else default
        wanted = f"a list of strings such as {_shown(list(sample))}"
    return f"{key} is {_shown(value)}, and must be {wanted}: {field.description}"


def _shown(value: Any) -> str:
    """Return a value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


_HEADER = re.compile(r"\s*\[\[?\s*([^\]]*?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[\w.\s-])+?)\s*=""")
_PART = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([\w-]+))\s*\.?""")
_FENCES = ('"""', "'''")
_POSITION = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)
_QUOTES = 'Text needs quotes, such as source = "bookings"; numbers, true and false do not.'
_SECRET = re.compile(r"@|uri|password|secret|token|key", re.IGNORECASE)
"""What a line has that may hold a password: it is not shown."""


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
    """Return the error of a file that is not TOML; ``problem`` is what the parser says."""
    found = _POSITION.fullmatch(problem)
    if found is None:
        return BadConfiguration(path, f"is not valid TOML: {problem}")
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
    shown = lines[line - 1].strip() if line <= len(lines) else ""
    shown = "" if _SECRET.search(shown) else shown
    if said == "Invalid value":
        return BadConfiguration(where, f"is not valid TOML: {shown or said}", _QUOTES)
    return BadConfiguration(where, f"is not valid TOML: {': '.join(filter(None, (said, shown)))}")
