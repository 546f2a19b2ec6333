"""From what the user wrote for the map's place to the open place. The driver is imported when it is a collection."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from booking_migrate.errors import BadPlace
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.files.atomic import StandardOutput, check_standard_output, open_output
from booking_migrate.stores.files.booking_map import MapFile, MapFormat
from booking_migrate.stores.own_collections import refuse_own
from booking_migrate.stores.places import (
    CollectionPlace,
    FilePlace,
    StreamPlace,
    is_gzip,
    parse_place,
    stem_and_suffix,
)

if TYPE_CHECKING:
    from booking_migrate.stores.booking_map import BookingMap

_FORMATS = {".jsonl": MapFormat.JSON_LINES, ".ndjson": MapFormat.JSON_LINES, ".csv": MapFormat.CSV}


@dataclass(frozen=True, slots=True)
class MapFilePlace:
    """A file that a map goes to."""

    name: str
    """The path as the user wrote it."""

    format: MapFormat
    gzip: bool

    @property
    def path(self) -> Path:
        """Return the path, relative to the current directory unless absolute."""
        return Path(self.name)


MapPlace = MapFilePlace | CollectionPlace | StreamPlace


def parse_map_place(text: str) -> MapPlace:
    """Make a place for a map of what a user wrote: a file of a known suffix, ``-``, or a collection.

    Raises:
        BadPlace: it is something else, or a collection that the program keeps for itself.
    """
    suffix = stem_and_suffix(text)[1].lower()
    if suffix in _FORMATS and "\x00" not in text:
        return MapFilePlace(text, _FORMATS[suffix], gzip=is_gzip(text))
    match parse_place(text):
        case CollectionPlace() as place:
            refuse_own(place.name)
            return place
        case StreamPlace():
            return StreamPlace()
        case FilePlace():
            raise BadPlace(
                text, "a map is written as JSON lines or CSV", "Name it .jsonl or .csv; .gz may follow."
            )


def open_map(place: MapPlace, connection: Connection, *, overwrite: bool) -> "BookingMap":
    """Open the place that a map goes to. Nothing is written before `BookingMap.prepare`.

    Args:
        place: where to.
        connection: the server and database of a collection.
        overwrite: whether a file with other content, or an earlier map in a collection, may be replaced.

    Raises:
        MissingUri, BadConfiguration: it is a collection, and the server or the database cannot be used.
        UnusablePlace: standard output is closed.
    """
    if isinstance(place, CollectionPlace):
        from booking_migrate.stores.mongo.booking_map import MapCollection  # noqa: PLC0415 - the driver is slow to import

        return MapCollection(connection.collection(place.name), overwrite=overwrite)
    if isinstance(place, StreamPlace):
        check_standard_output()
        return MapFile(place.name, MapFormat.JSON_LINES, StandardOutput)
    output = partial(open_output, place.name, place.path, compressed=place.gzip, overwrite=overwrite)
    return MapFile(place.name, place.format, output)
