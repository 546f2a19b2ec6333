"""Every kind of place that can be read, each filled with given documents: what the conformance suite runs over."""

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import mongomock
from bson import decode, encode
from pymongo.database import Database
from typing_extensions import override

from booking_migrate.bson.document import CODEC
from booking_migrate.stores.chunks import DocumentBlock, pack
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.files.extended_json import to_json
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.raw import as_driver_document
from booking_migrate.stores.mongo.reader import MongoReader
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.places import JsonFormat, parse_place
from booking_migrate.stores.ports import DocumentReader, ScannedDocument

Documents = Sequence[bytes]
MakeReader = Callable[[Documents], DocumentReader]

JSON_FILES = ("bookings.jsonl", "bookings.ndjson.gz", "bookings.json", "bookings.json.gz")
BSON_FILES = ("bookings.bson", "bookings.bson.gz")


def write_place(path: Path, documents: Documents) -> None:
    """Write documents as the path's suffix says, without the code under test but for one document's text."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".bson"):
        data = b"".join(documents)
    elif name.endswith(".json"):
        data = f"[{','.join(map(to_json, documents))}]".encode()
    else:
        data = "".join(f"{to_json(raw)}\n" for raw in documents).encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)


def file_reader(folder: Path, name: str, documents: Documents) -> DocumentReader:
    """A reader of a file of these documents."""
    path = folder / name
    write_place(path, documents)
    return open_reader(parse_place(str(path)), Connection(), json_format=JsonFormat.EXTENDED)


def mongod_reader(database: Database[dict[str, Any]], documents: Documents) -> DocumentReader:
    """A reader of a collection of these documents on the real server."""
    if documents:
        database["bookings"].insert_many(cast("Any", [as_driver_document(raw) for raw in documents]))
    else:
        database.create_collection("bookings")
    return MongoReader(cast("DriverCollection", database["bookings"].with_options(CODEC)), required=True)


def mongomock_reader(documents: Documents) -> DocumentReader:
    """The same reader over mongomock, which has neither raw batches nor codec options."""
    collection: Any = mongomock.MongoClient()["test"].create_collection("bookings")
    if documents:
        collection.insert_many([decode(raw) for raw in documents])
    return _Mocked(cast("DriverCollection", collection), required=True, fetch=_fetch_decoded)


class _Mocked(MongoReader):
    """Reads mongomock, which has no raw batches and no plans, and lists no collections with their options."""

    @override
    def _blocks(self) -> Iterator[DocumentBlock]:
        return pack(map(ScannedDocument, _fetch_decoded(self._collection, {}, by_client=True)))

    @override
    def _exists(self) -> bool:
        return self._collection.name in self._collection.database.list_collection_names()


def _fetch_decoded(
    collection: DriverCollection,
    condition: Mapping[str, Any],
    *,
    fields: Mapping[str, Any] | None = None,
    by_client: bool = False,
) -> Iterator[bytes]:
    # mongomock cannot empty an array on the way out.
    projection = dict.fromkeys(fields, 1) if fields else None
    cursor = collection.find(dict(decode(encode(condition))), projection)
    for document in cursor.sort([("clientId", 1)]) if by_client else cursor:
        yield encode(document)
