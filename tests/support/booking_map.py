"""The map of old ids in this process: derived from bookings, or read from client documents."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Any

from typing_extensions import override

from booking_migrate.bson.order import sort_key
from booking_migrate.dry_run.documents import derive_documents
from booking_migrate.references.map import MapWriter
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.provenance import TargetHistory
from booking_migrate.stores.booking_map import BookingMap, MapEntry
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.places import CollectionPlace, parse_place
from booking_migrate.stores.preview import open_preview


class MapInMemory(BookingMap):
    """A map that a test looks at."""

    def __init__(self) -> None:
        self.name = "memory"
        self.repeated = 0
        self.entries: list[MapEntry] = []

    @override
    def prepare(self) -> None:
        """Begin."""

    @override
    def write(self, entries: Sequence[MapEntry]) -> None:
        self.entries += entries

    @override
    def finish(self) -> bool:
        return bool(self.entries)

    @override
    def abandon(self) -> None:
        """Nothing is left to remove."""


def derived_map(
    source: str,
    target: str,
    *,
    uri: str | None = None,
    db: str | None = None,
    history: TargetHistory | None = None,
    **plan: Any,
) -> list[MapEntry]:
    """The map before a migration; keyword arguments that are no place are those of `MigrationPlan`."""
    found = MapInMemory()
    writer = MapWriter(found)
    with closing(Connection(uri, db)) as connection, ExitStack() as opened:

        def read(name: str, *, required: bool = True) -> Any:
            reader = open_reader(parse_place(name), connection, required=required)
            return opened.enter_context(closing(reader))

        in_database = isinstance(parse_place(source), CollectionPlace)
        derive_documents(
            MigrationPlan(**plan),
            read(source),
            open_preview(
                parse_place(target), connection, source_name=source, overwrite=True, tries_out=False
            ),
            writer.take,
            users=read("users", required=False) if in_database else None,
            experts=read("experts", required=False) if in_database else None,
            history=history,
        )
    writer.finish()
    return found.entries


def read_map(place: str, *, uri: str | None = None, db: str | None = None) -> list[MapEntry]:
    """The map after a migration, of the client documents in a place."""
    found = MapInMemory()
    writer = MapWriter(found)
    with (
        closing(Connection(uri, db)) as connection,
        closing(open_reader(parse_place(place), connection, required=False)) as reader,
    ):
        for document in reader.scan_by_client():
            writer.take(document.raw)
    writer.finish()
    return found.entries


def comparable(entries: Sequence[MapEntry]) -> list[tuple[bytes, ...]]:
    """Entries as values that can be compared and sorted, whatever their types."""
    return [tuple(sort_key(value) for value in entry) for entry in entries]
