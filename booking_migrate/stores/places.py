"""What a user may write for a place, as values (DESIGN.md, section 4). Nothing is opened here."""

from dataclasses import dataclass
from enum import Enum, StrEnum
from pathlib import Path

from booking_migrate.errors import BadPlace


class FileFormat(Enum):
    """How a file keeps its documents."""

    JSON_LINES = "jsonl"
    """One Extended JSON document a line."""

    JSON_ARRAY = "json"
    """One array of Extended JSON documents."""

    BSON = "bson"
    """BSON documents one after the other, as mongodump writes them."""


class JsonFormat(StrEnum):
    """What the values of a JSON file mean (option ``--json-format``)."""

    EXTENDED = "extended"
    """MongoDB Extended JSON v2, canonical or relaxed: types stand in ``$`` wrappers."""

    PLAIN = "plain"
    """Plain JSON: known ids and dates are strings, and ``$`` means nothing."""


SIDECAR_SUFFIX = ".run.json"
"""What the record of a run is called beside the target file that the run wrote."""


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A file."""

    name: str
    """The path as the user wrote it."""

    format: FileFormat
    gzip: bool = False

    @property
    def path(self) -> Path:
        """The path, relative to the current directory unless absolute."""
        return Path(self.name)


@dataclass(frozen=True, slots=True)
class CollectionPlace:
    """A collection of the database that `--uri` and `--db` name."""

    name: str


@dataclass(frozen=True, slots=True)
class StreamPlace:
    """Standard input or output, as JSON lines."""

    @property
    def name(self) -> str:
        """As the user writes it."""
        return "-"


Place = FilePlace | CollectionPlace | StreamPlace

_SUFFIXES = {
    ".jsonl": FileFormat.JSON_LINES,
    ".ndjson": FileFormat.JSON_LINES,
    ".json": FileFormat.JSON_ARRAY,
    ".bson": FileFormat.BSON,
}


def parse_place(text: str) -> Place:
    """Make a place of what a user wrote.

    A file has a path separator or a known suffix; ``-`` is a stream; everything else is a collection's name.

    Raises:
        BadPlace: the text is empty, a path of an unknown kind, or no valid collection name.
    """
    if not text:
        raise BadPlace(text, "it is empty")
    if text == "-":
        return StreamPlace()
    plain_name = text.removesuffix(".gz")
    for suffix, file_format in _SUFFIXES.items():
        if plain_name.endswith(suffix) and "\x00" not in text:
            return FilePlace(text, file_format, gzip=plain_name != text)
    if "/" in text:
        raise BadPlace(text, "a file is known by its suffix, and this one is not known")
    problem = _name_problem(text)
    if problem:
        raise BadPlace(text, problem)
    return CollectionPlace(text)


def _name_problem(name: str) -> str | None:
    """Why a collection cannot have this name (manual: reference/limits, Restriction on Collection Names)."""
    if name.startswith("system."):
        return "collections named system.* belong to the server"
    if "$" in name or "\x00" in name:
        return "a collection's name holds no $ and no NUL"
    if name.startswith(".") or name.endswith(".") or ".." in name:
        return "a collection's name has no empty part between dots"
    return None
