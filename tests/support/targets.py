"""Every kind of place that can be written: what the conformance suite runs over."""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from bson import decode_all, encode
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS
from pymongo.database import Database

from booking_migrate.bson.document import CODEC
from booking_migrate.domain.rejection import Fault, Reason, Rejection
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.open import open_reader, open_target
from booking_migrate.stores.places import JsonFormat, parse_place
from booking_migrate.stores.ports import TargetWriter
from tests.support.server import Server

SOURCE = "bookings"


@dataclass
class TargetPlace:
    """A place to write to, opened anew for each run."""

    name: str
    connection: Connection = field(default_factory=Connection)
    database: Database[dict[str, Any]] | None = None

    def open(self, *, overwrite: bool = False, rejects: Path | None = None) -> TargetWriter:
        """A writer for one run."""
        return open_target(
            parse_place(self.name), self.connection, source_name=SOURCE, overwrite=overwrite, rejects=rejects
        )

    def documents(self) -> list[bytes]:
        """What the place holds, in its order (a collection's: by client)."""
        reader = open_reader(
            parse_place(self.name), self.connection, json_format=JsonFormat.EXTENDED, required=True
        )
        try:
            return [document.raw for document in reader.scan_by_client()]
        finally:
            reader.close()

    def rejects(self) -> list[bytes]:
        """The records of rejected bookings, in their order (a collection's: by id)."""
        if self.database is not None:
            raw = self.database.get_collection("booking_migrate_rejected", DEFAULT_RAW_BSON_OPTIONS)
            return [document.raw for document in cast("Any", raw.find(sort={"_id": 1}))]
        path = Path(f"{self.name}.rejected.jsonl")
        if not path.exists():
            return []
        reader = open_reader(parse_place(str(path)), Connection())
        try:
            return [document.raw for document in reader.scan_by_client()]
        finally:
            reader.close()

    def uncompressed(self) -> bytes:
        """A file's bytes."""
        data = Path(self.name).read_bytes()
        return gzip.decompress(data) if self.name.endswith(".gz") else data


def file_target(folder: Path, name: str) -> TargetPlace:
    """A file that does not exist yet."""
    return TargetPlace(str(folder / name))


def collection_target(server: Server, database: Database[dict[str, Any]]) -> TargetPlace:
    """A collection that does not exist yet, on the real server."""
    return TargetPlace("consolidated", Connection(server.uri, database.name), database)


def client_document(number: int, **fields: Any) -> bytes:
    """A client document; its client's id grows with its number."""
    return encode(
        {"_id": f"document {number}", "clientId": number, "sessions": [{"n": number}], **fields},
        codec_options=CODEC,
    )


def rejection(document_id: Any, **fields: Any) -> Rejection:
    """A rejected booking."""
    faults = (
        Fault(Reason.WRONG_TYPE, "price", "string 'x'"),
        Fault(Reason.FIELD_MISSING, "status", "absent"),
    )
    return Rejection(encode({"_id": document_id, **fields}, codec_options=CODEC), faults, document_id)


def run(
    writer: TargetWriter, documents: Sequence[bytes], rejected: Sequence[Rejection] = (), *, batch: int = 3
) -> bool:
    """Write everything as one run would; whether anything changed.

    Documents that are there already are left out, as the engine does.
    """
    try:
        writer.prepare()
        for start in range(0, max(len(documents), len(rejected)), batch):
            part = documents[start : start + batch]
            ids = [document["clientId"] for document in decode_all(b"".join(part), CODEC)]
            there = set(writer.find_client_documents(ids))
            writer.write([raw for raw in part if raw not in there], [], rejected[start : start + batch])
        return writer.finish()
    finally:
        writer.abandon()
