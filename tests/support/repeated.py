"""What commands leave in a database, left again without running them: what many tests begin with is made once on each server."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bson
from bson import Timestamp
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

Db = Database[dict[str, Any]]

_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
_RUNS = "booking_migrate_runs"
_HIGH_WATER_MARK = "82{:08X}{:08X}2B0229296E04"
"""A change stream's token that is of a time, and of no event."""


@dataclass(frozen=True)
class _Collection:
    """A collection as it was found."""

    options: Mapping[str, Any]
    indexes: list[Any]
    documents: list[bytes]


@dataclass(frozen=True)
class _Left:
    """What commands have left."""

    codes: list[int]
    collections: Mapping[str, _Collection]
    """Those that they have made or changed."""

    gone: list[str]
    """Those that they have dropped or renamed."""

    ids: Mapping[str, str]
    """The id of each collection, as a run's record has it, by name."""


_LEFT: dict[Any, _Left] = {}
"""By the server, what the commands found, and their arguments."""


def leave(database: Db, run: Callable[..., int], commands: Sequence[Sequence[str]]) -> list[int]:
    """Run commands in a database, or leave what they left when they found the same on the same server; their exit codes.

    The copy has its own ids of collections, also in a run's record, where the times of the cluster are those of the copy: only what
    happens to it from then on has happened since.
    """
    found = _collections(database)
    if _RUNS in found:
        # What an earlier run left is never the same.
        return [run(*each) for each in commands]
    known = (database.client.address, repr(found), tuple(map(tuple, commands)))
    if known not in _LEFT:
        codes = [run(*each) for each in commands]
        now = _collections(database)
        made = {name: each for name, each in now.items() if each != found.get(name)}
        _LEFT[known] = _Left(codes, made, [name for name in found if name not in now], _ids(database))
    else:
        _put(database, _LEFT[known], set(found))
    return _LEFT[known].codes


def _collections(database: Db) -> dict[str, _Collection]:
    found = {}
    # The server has no order of its own.
    for each in sorted(database.list_collections(), key=lambda each: str(each["name"])):
        collection: Any = database.get_collection(each["name"], _RAW)
        documents = [document.raw for document in collection.find()]
        indexes = list(database[each["name"]].list_indexes())
        found[each["name"]] = _Collection(each["options"], indexes, documents)
    return found


def _ids(database: Db) -> dict[str, str]:
    return {each["name"]: bytes(each["info"]["uuid"]).hex() for each in list(database.list_collections())}


def _put(database: Db, left: _Left, there: set[str]) -> None:
    for name in there & {*left.collections, *left.gone}:
        database.drop_collection(name)
    for name, collection in left.collections.items():
        database.create_collection(name, **collection.options)
        database.command("createIndexes", name, indexes=collection.indexes)
        if name != _RUNS:
            _insert(database, name, [RawBSONDocument(each) for each in collection.documents])
    now = database.client.admin.command("ping")["operationTime"]
    ids = _ids(database)
    others = {old: ids[name] for name, old in left.ids.items()}
    runs = left.collections[_RUNS].documents
    _insert(database, _RUNS, [_moved(bson.decode(each), now, others) for each in runs])


def _insert(database: Db, name: str, documents: Sequence[Any]) -> None:
    if documents:
        database.command("insert", name, documents=documents, bypassDocumentValidation=True)


def _moved(value: Any, now: Timestamp, ids: Mapping[str, str]) -> Any:
    """A value with all times of the cluster and all ids of collections in it replaced."""
    match value:
        case Timestamp():
            return now
        case {"_data": str(token)}:
            assert token.endswith(_HIGH_WATER_MARK[-12:]), "the token of an event cannot be moved"
            return {"_data": _HIGH_WATER_MARK.format(now.time, now.inc)}
        case dict():
            return {name: _moved(each, now, ids) for name, each in value.items()}
        case list():
            return [_moved(each, now, ids) for each in value]
        case str():
            for old, new in ids.items():
                value = value.replace(old, new)
            return value
        case _:
            return value
