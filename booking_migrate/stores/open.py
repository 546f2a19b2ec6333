"""From what the user wrote to an open place.

Importing this module is cheap: the driver, sqlite3 and `bson` are imported when a place of their kind is opened. Every function
raises MissingUri if it needs a server or a database and none is given, and BadConfiguration if the connection string cannot be used.
"""

import hashlib
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, cast

from booking_migrate.errors import UnusablePlace
from booking_migrate.events import Listener, NullListener
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.own_collections import REJECTS_COLLECTION, refuse_own
from booking_migrate.stores.places import (
    CollectionPlace,
    FileFormat,
    FilePlace,
    JsonFormat,
    Place,
    StreamPlace,
    last_part,
    parse_place,
    rejects_beside,
    written_beside,
)
from booking_migrate.stores.ports import DocumentReader, TargetWriter

if TYPE_CHECKING:
    from booking_migrate.stores.files.reader import FileReader
    from booking_migrate.stores.mongo.reader import MongoReader
    from booking_migrate.stores.ports import StartPool
    from booking_migrate.stores.readers import AbsentReader, Kind, PeopleReader, SampledReader
    from booking_migrate.stores.rejects import RejectedRecords, RejectsKeeper

_NULL_LISTENER = NullListener()


def open_reader(
    place: Place,
    connection: Connection,
    *,
    json_format: JsonFormat | None = None,
    required: bool = True,
    listener: Listener = _NULL_LISTENER,
    start_pool: "StartPool | None" = None,
) -> "AbsentReader | FileReader | MongoReader":
    """Open a place for reading. Nothing is read and no server contacted before the first document is asked for.

    Args:
        place: what to read.
        connection: the server and database of collections.
        json_format: how a JSON file is to be understood; None: as its first document says.
        required: whether a collection has to exist. One that need not, and does not, has no documents; neither has
            one for which no server is given. A file that is named has to exist in any case.
        listener: notified about the reading of files, which takes a while.
        start_pool: starts a pool that parses a large JSON lines file; None: this process does.
    """
    match place:
        case CollectionPlace() if not required and not connection.is_given:
            from booking_migrate.stores.readers import AbsentReader  # noqa: PLC0415

            return AbsentReader(place.name)
        case CollectionPlace():
            collection = connection.collection(place.name)
            from booking_migrate.stores.mongo.reader import MongoReader  # noqa: PLC0415

            address = connection.address(place.name)
            return MongoReader(collection, required=required, address=address, listener=listener)
        case FilePlace() | StreamPlace():
            from booking_migrate.stores.files.reader import FileReader  # noqa: PLC0415

            return FileReader(place, json_format, listener, start_pool)


def sample(whole: DocumentReader, place: Place, connection: Connection, size: int) -> "SampledReader":
    """Return a reader of about ``size`` documents of a place that is open, as whole clients; of all if there are no more."""
    from booking_migrate.stores.readers import SampledReader, scan_share  # noqa: PLC0415

    if isinstance(place, CollectionPlace):
        collection = connection.collection(place.name)
        from booking_migrate.stores.mongo import scan  # noqa: PLC0415
        from booking_migrate.stores.mongo.reader import MongoReader  # noqa: PLC0415

        if isinstance(whole, MongoReader):
            whole.is_sampled = True
        return SampledReader(whole, size, partial(scan.scan_share, collection))
    return SampledReader(whole, size, partial(scan_share, whole))


def open_people(
    place: Place | None,
    kind: "Kind",
    connection: Connection,
    *,
    json_format: JsonFormat | None = None,
    required: bool = True,
    listener: Listener = _NULL_LISTENER,
) -> "PeopleReader":
    """Open the place where users or experts are looked up. Nothing is read before the first look-up.

    Args:
        place: where they are; None: neither a place was passed nor does a default exist.
        kind: what they are.
        connection: the server and database of collections.
        json_format: as for `open_reader`.
        required: as for `open_reader`.
        listener: notified about the reading of files, and if people are needed whose place does not exist.
    """
    from booking_migrate.stores.readers import PeopleReader  # noqa: PLC0415

    if place is None or (isinstance(place, CollectionPlace) and not required and not connection.is_given):
        return PeopleReader(None, kind, listener)
    reader = open_reader(place, connection, json_format=json_format, required=required, listener=listener)
    return PeopleReader(reader, kind, listener)


def open_target(
    place: Place,
    connection: Connection,
    *,
    source_name: str,
    rejects: Path | None = None,
    overwrite: bool = False,
    start_pool: "StartPool | None" = None,
) -> TargetWriter:
    """Open a place for writing. Nothing is written before `TargetWriter.prepare`.

    Args:
        place: what to write.
        connection: the server and database of collections.
        source_name: the name of the source. Rejected bookings are kept under it and the target's name, of files
            without their folders: the same run from another folder makes the same records.
        rejects: a file for rejected bookings; None: beside a target file, or in the collection
            `booking_migrate_rejected` of a target database.
        overwrite: whether a target or rejects file with other content may be replaced.
        start_pool: starts a pool that turns many documents into JSON for a file; None: this process does.

    Raises:
        BadPlace: a collection that the program keeps for itself.
    """
    if isinstance(place, CollectionPlace):
        refuse_own(place.name)
        return _open_collection_target(place, connection, source_name, rejects, overwrite=overwrite)
    from booking_migrate.stores.files.atomic import StandardOutput, open_output  # noqa: PLC0415
    from booking_migrate.stores.files.target import FileRejects, FileTarget  # noqa: PLC0415

    path = rejects or rejects_beside(place)
    kept = FileRejects(path, source=last_part(source_name), target=last_part(place.name), overwrite=overwrite)
    match place:
        case StreamPlace():
            return FileTarget(place.name, FileFormat.JSON_LINES, StandardOutput, kept, start_pool)
        case FilePlace():
            output = partial(open_output, place.name, place.path, compressed=place.gzip, overwrite=overwrite)
            return FileTarget(place.name, place.format, output, kept, start_pool)


def _open_collection_target(
    place: CollectionPlace, connection: Connection, source_name: str, rejects: Path | None, *, overwrite: bool
) -> TargetWriter:
    collection = connection.collection(place.name)
    from booking_migrate.stores.files.target import FileRejects  # noqa: PLC0415
    from booking_migrate.stores.mongo.rejects import CollectionRejects  # noqa: PLC0415
    from booking_migrate.stores.mongo.target import MongoTarget  # noqa: PLC0415

    kept: RejectsKeeper
    source = parse_place(source_name)
    model = connection.collection(source.name) if isinstance(source, CollectionPlace) else None
    source_name = last_part(source_name)
    if rejects:
        kept = FileRejects(rejects, source=source_name, target=place.name, overwrite=overwrite)
    else:
        kept = CollectionRejects(
            connection.collection(REJECTS_COLLECTION), source=source_name, target=place.name
        )
    return MongoTarget(collection, kept, model=model)


def check_writable(place: Place, *, rejects: Path | None) -> None:
    """Refuse, before anything is read, a target that is not a file, or a folder that may not be written.

    Args:
        place: the target of a migration. Only a collection's server can say whether it may be written.
        rejects: the file that was named for rejected bookings, if any.

    Raises:
        UnusablePlace: the target, or what is written beside it, cannot become a file; standard output is closed.
    """
    from booking_migrate.stores.files.atomic import check_standard_output, check_usable  # noqa: PLC0415

    paths = {} if rejects is None else {str(rejects): rejects}
    match place:
        case StreamPlace():
            check_standard_output()
        case FilePlace():
            beside = written_beside(place)
            if rejects is not None:
                del beside["--rejects"]
            paths |= {place.name: place.path, **{str(path): path for path in beside.values()}}
        case CollectionPlace():
            pass
    for name, path in paths.items():
        check_usable(name, path)


def open_rejected_records(
    target: Place, connection: Connection, *, source_name: str, rejects: Path | None = None
) -> "RejectedRecords":
    """Open the rejected bookings of a migration, where `open_target` puts them. A place that does not exist holds none.

    Args:
        target: the migration's target.
        connection: the server and database of collections.
        source_name: the name of the migration's source as passed to the migration.
        rejects: the file that was passed for rejected bookings, if any.
    """
    from booking_migrate.stores.files.reader import read_extended_json  # noqa: PLC0415
    from booking_migrate.stores.rejects import RejectedRecords  # noqa: PLC0415

    if rejects is None and isinstance(target, CollectionPlace):
        from booking_migrate.stores.mongo.rejects import find_records  # noqa: PLC0415

        records = partial(
            find_records,
            connection.collection(REJECTS_COLLECTION),
            source=last_part(source_name),
            target=target.name,
        )
        return RejectedRecords(REJECTS_COLLECTION, records)
    path = rejects or rejects_beside(target)
    return RejectedRecords(str(path), partial(read_extended_json, path))


def fingerprint(place: Place, connection: Connection, *, only_count: bool = False) -> dict[str, str | int]:
    """Return what identifies the data of a place, and changes when its documents do. None of it is held in memory.

    Args:
        place: a file: its size and the SHA-256 of its bytes; a collection: how many documents, and the newest.
        connection: the server and database of collections.
        only_count: of a collection, only count the documents: logins change users continuously.

    Raises:
        PlaceNotFound, UnusablePlace, NotPermitted, ConnectionProblem: it cannot be read; standard input never can,
            since it comes only once.
    """
    if isinstance(place, StreamPlace):
        raise UnusablePlace("-", "standard input comes only once, so a plan cannot refer to it")
    if isinstance(place, CollectionPlace):
        from booking_migrate.stores.mongo.administration import collection_fingerprint  # noqa: PLC0415

        return collection_fingerprint(connection.collection(place.name), only_count=only_count)
    from booking_migrate.stores.files.opening import open_input  # noqa: PLC0415

    # The bytes on disk, compressed or not.
    with open_input(FilePlace(place.name, place.format)) as stream:
        digest = hashlib.file_digest(cast("BufferedReader", stream), "sha256")
        return {"bytes": stream.tell(), "SHA-256": digest.hexdigest()}
