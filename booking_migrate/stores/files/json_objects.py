"""JSON objects as they stand in a text, before anything says what their values mean."""

import json
import re
from typing import Any

_LONGEST_PATH = 200
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class NotADocument(ValueError):
    """A JSON text that is not a document; the message says why and where, and quotes no value."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self._problem = problem
        self._path: list[str | int] = []

    def within(self, part: str | int) -> None:
        """Note the field or the position in an array that the problem is in, from the inside out."""
        self._path.append(part)

    def __str__(self) -> str:
        if not self._path:
            return self._problem
        path = "$" + "".join(map(_step, reversed(self._path)))
        return f"{path if len(path) <= _LONGEST_PATH else path[:_LONGEST_PATH] + '...'}: {self._problem}"


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _PLAIN_NAME.fullmatch(part) else f"[{json.dumps(part)}]"


class JsonObject(list[tuple[str, Any]]):
    """A JSON object as it stands: names and values in order, an array being a list. See `type_wrappers.Values`."""


def named(pairs: JsonObject) -> dict[str, Any]:
    """Return the object as a dict. JSON readers silently keep one of two equal names, which would lose a value.

    Raises:
        NotADocument: a name occurs twice.
    """
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise NotADocument("a field name occurs twice in one object")
    return fields


def finite(text: str) -> float | None:
    """Return the double nearest to a decimal number, or None if only infinity or zero would be near one that is neither."""
    number = float(text)
    if number - number != 0 or (number == 0 and re.search(r"[1-9]", re.split("[eE]", text, maxsplit=1)[0])):
        return None
    return number
