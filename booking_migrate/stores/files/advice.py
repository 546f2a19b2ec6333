"""What to do about a file that cannot be read: the command that makes a readable one, or the name of another."""

import re
import shlex
from pathlib import Path

_COLLECTION = re.compile(r"\w[\w-]*")
_TOOL = re.compile(r"dump|export|backup", re.IGNORECASE)


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


def decompress_advice(command: str, source: str, target: str) -> str:
    """Return the command that makes a file of a compressed one, beside it."""
    return f"Decompress it: {command} -dc {shlex.quote(source)} > {shlex.quote(target)}"


def folder_advice(name: str) -> str:
    """Return which file to name instead of a folder, such as one that mongodump made."""
    folder = Path(name)
    dumped = sorted([*folder.glob("*.bson*"), *folder.glob("*/*.bson*")])
    likely = [path for path in dumped if path.name.startswith("bookings.")] or dumped
    return f"Name one file in it, such as {likely[0] if likely else folder / 'bookings.bson'}."


def _collection(name: str) -> str:
    stem = name.rpartition("/")[2].partition(".")[0]
    return stem if _COLLECTION.fullmatch(stem) and not _TOOL.search(stem) else "bookings"
