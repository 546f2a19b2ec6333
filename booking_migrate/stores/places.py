"""What a user may write for a place, as values, and what to do about one that cannot be read. No file is opened here."""

import re
import shlex
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, StrEnum
from pathlib import Path

from booking_migrate.errors import BadPlace
from booking_migrate.stores.own_collections import REJECTS_COLLECTION


class FileFormat(Enum):
    """How a file keeps its documents."""

    JSON_LINES = "jsonl"
    """One Extended JSON document a line."""

    JSON_ARRAY = "json"
    """One array of Extended JSON documents; documents one after the other are read too."""

    BSON = "bson"
    """BSON documents one after the other, as mongodump writes them."""

    @property
    def keeps_every_value(self) -> bool:
        """Return whether every BSON document comes back from a file with the same bytes."""
        match self:
            case FileFormat.BSON:
                return True
            case FileFormat.JSON_LINES | FileFormat.JSON_ARRAY:
                return False


class JsonFormat(StrEnum):
    """What the values of a JSON file mean (option ``--json-format``)."""

    EXTENDED = "extended"
    """MongoDB Extended JSON v2, canonical or relaxed: types are in ``$`` wrappers."""

    PLAIN = "plain"
    """Plain JSON: known ids and dates are strings, and ``$`` means nothing."""


DEFAULT_SOURCE, DEFAULT_TARGET = "bookings", "bookings_consolidated"
DEFAULT_USERS, DEFAULT_EXPERTS = "users", "experts"

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
        """Return the path, relative to the current directory unless absolute."""
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
        """Return ``-``, as the user writes it."""
        return "-"


Place = FilePlace | CollectionPlace | StreamPlace

SUFFIXES = {
    ".jsonl": FileFormat.JSON_LINES,
    ".ndjson": FileFormat.JSON_LINES,
    ".json": FileFormat.JSON_ARRAY,
    ".bson": FileFormat.BSON,
}
"""What each file is by its suffix; behind it may be ``.gz``."""

_GZIP = ".gz"
_COMPRESSED = {".bz2": "bzip2", ".xz": "xz", ".lzma": "xz", ".zst": "zstd", ".zstd": "zstd", ".lz4": "lz4"}
"""Suffixes of compressed files, and the programs that read them."""

_DUMPS = frozenset({".archive", ".dump"})
_OTHER_SUFFIXES = frozenset(
    f".{suffix}"
    for suffixes in (
        "csv tsv psv xls xlsx xlsm ods parquet avro orc feather arrow sql sqlite sqlite3",
        "txt xml html htm yaml yml toml json5 jsonc md pdf doc docx odt rtf bak",
        "zip tar tgz tbz tbz2 txz 7z rar br snappy",
    )
    for suffix in suffixes.split()
)
"""Suffixes of files that are neither read nor written. A collection may be called ``a.b``: not every dot counts."""

_COLLECTION = re.compile(r"\w[\w-]*")
_TOOL = re.compile(r"dump|export|backup", re.IGNORECASE)
_STREAMS = re.compile(r"/dev/(?:stdin|stdout|fd/\d+)|/proc/self/fd/\d+")


def parse_place(text: str) -> Place:
    """Make a place of what a user wrote.

    A file has a path separator or a known suffix, in capitals too; ``-`` is a stream; everything else is a collection's
    name, unless it has the suffix of some other kind of file.

    Raises:
        BadPlace: the text is empty, a path or a file of an unknown kind, or no valid collection name.
    """
    if not text:
        raise BadPlace(text, "it is empty")
    if text == "-":
        return StreamPlace()
    _stem, suffix = stem_and_suffix(text)
    if suffix.lower() in SUFFIXES and "\x00" not in text:
        return FilePlace(text, SUFFIXES[suffix.lower()], gzip=is_gzip(text))
    _refuse_other_file(text, suffix)
    problem = _name_problem(text)
    if problem:
        raise BadPlace(text, problem)
    return CollectionPlace(text)


def uses_files_only(*names: str) -> bool:
    """Return whether places, as a user wrote them, are all files or streams; unusable and empty names do not count."""
    kinds = set()
    for name in filter(None, names):
        with suppress(BadPlace):
            kinds.add(type(parse_place(name)))
    return bool(kinds) and CollectionPlace not in kinds


def is_gzip(name: str) -> bool:
    """Return whether the name of a file says that it is compressed."""
    return name.lower().endswith(_GZIP)


def stem_and_suffix(name: str) -> tuple[str, str]:
    """Split a name before the suffix that denotes a file's format; ``.gz`` is not part of either."""
    bare = name[: -len(_GZIP)] if is_gzip(name) else name
    stem, dot, kind = bare.rpartition(".")
    return (stem, dot + kind) if dot and "/" not in kind else (bare, "")


def _refuse_other_file(text: str, suffix: str) -> None:
    kind = suffix.lower()
    if _STREAMS.fullmatch(text):
        raise BadPlace(
            text, "a stream has no suffix that says what it holds", "Write -, which is JSON lines."
        )
    if kind in _COMPRESSED or kind in _DUMPS or kind in _OTHER_SUFFIXES:
        what = "an archive of mongodump" if kind in _DUMPS else f"a {suffix} file"
        raise BadPlace(text, f"{what} is neither read nor written", _advice(text, suffix, kind))
    if "/" not in text:
        return
    if "\x00" not in text and Path(text).is_dir():
        raise BadPlace(text, "it is a folder", folder_advice(text))
    raise BadPlace(text, "a file is known by its suffix, and this one is not known")


def _advice(text: str, suffix: str, kind: str) -> str:
    """Return what to write instead, or the command that makes a readable file of one that is there."""
    if not Path(text).exists():
        stem, _suffix = stem_and_suffix(text)
        return f"For a file write {stem}.jsonl; a collection of such a name has to be renamed first."
    bare = text[: -len(suffix)]
    if kind in _COMPRESSED and stem_and_suffix(bare)[1].lower() in SUFFIXES:
        return f"Decompress it: {_COMPRESSED[kind]} -dc {shlex.quote(text)} > {shlex.quote(bare)}"
    return dump_advice(text) if kind in _DUMPS else export_advice(text)


def _name_problem(name: str) -> str | None:
    """Return why a collection cannot have this name (manual: reference/limits, Restriction on Collection Names)."""
    if name.startswith("system."):
        return "collections named system.* belong to the server"
    if "$" in name or "\x00" in name:
        return "a collection's name holds no $ and no NUL"
    if name.startswith(".") or name.endswith(".") or ".." in name:
        return "a collection's name has no empty part between dots"
    return None


def export_advice(name: str) -> str:
    """Return the command that exports the collection that a file of this name seems to hold."""
    collection = _collection(name)
    return (
        'Export the collection as Extended JSON: mongoexport --uri="$MONGODB_URI" '
        f"--collection={collection} --jsonFormat=canonical --out={collection}.jsonl"
    )


def dump_advice(name: str) -> str:
    """Return the command that dumps the same collection as a BSON file of its own."""
    collection = _collection(name)
    return (
        "Dump into a folder and name the collection's .bson file there: "
        f'mongodump --uri="$MONGODB_URI" --collection={collection} --out=dump'
    )


def folder_advice(name: str) -> str:
    """Return which file to name instead of a folder, such as one that mongodump made."""
    folder = Path(name)
    dumped = sorted([*folder.glob("*.bson*"), *folder.glob("*/*.bson*")])
    likely = [path for path in dumped if path.name.startswith("bookings.")] or dumped
    return f"Name one file in it, such as {likely[0] if likely else folder / 'bookings.bson'}."


def _collection(name: str) -> str:
    stem = name.rpartition("/")[2].partition(".")[0]
    return stem if _COLLECTION.fullmatch(stem) and not _TOOL.search(stem) else DEFAULT_SOURCE


def last_part(name: str) -> str:
    """Return a file's name without its folders; a collection's name as it is."""
    return name.rpartition("/")[2]


def rejects_beside(place: Place) -> Path:
    """Return where the rejected bookings of a file or stream are kept unless the user says otherwise."""
    return Path(
        f"{place.name}.rejected.jsonl" if isinstance(place, FilePlace) else f"{REJECTS_COLLECTION}.jsonl"
    )


def written_beside(place: Place) -> dict[str, Path]:
    """Return what a migration writes beside a target file, by the option that puts it elsewhere or by what it is."""
    if not isinstance(place, FilePlace):
        return {}
    return {
        "--rejects": rejects_beside(place),
        "the target's record of its run": Path(place.name + SIDECAR_SUFFIX),
    }
