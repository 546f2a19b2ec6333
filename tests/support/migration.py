"""Running a migration in this process, between places as a user writes them."""

from contextlib import ExitStack, closing
from typing import Any

from pymongo.collection import Collection

from booking_migrate.migrate.pipeline import migrate as migrate_stream
from booking_migrate.runs.plan import MigrationOutcome, MigrationPlan
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.open import open_reader, open_target
from booking_migrate.stores.places import CollectionPlace, parse_place
from booking_migrate.stores.ports import DocumentReader


def migrate(
    source: str,
    target: str,
    *,
    users: str | None = None,
    experts: str | None = None,
    uri: str | None = None,
    db: str | None = None,
    overwrite: bool = False,
    **plan: Any,
) -> MigrationOutcome:
    """Migrate; keyword arguments that are no place are those of `MigrationPlan`."""
    with closing(Connection(uri, db)) as connection, ExitStack() as opened:

        def read(name: str, *, required: bool = True) -> DocumentReader:
            reader = open_reader(parse_place(name), connection, required=required)
            return opened.enter_context(closing(reader))

        in_database = isinstance(parse_place(source), CollectionPlace)
        return migrate_stream(
            MigrationPlan(**plan),
            read(source),
            open_target(parse_place(target), connection, source_name=source, overwrite=overwrite),
            users=read(users or "users", required=False) if users or in_database else None,
            experts=read(experts or "experts", required=False) if experts or in_database else None,
        )


def client_documents(collection: Collection[dict[str, Any]]) -> bytes:
    """The documents of a collection as a dump in client order."""
    batches: Any = collection.find_raw_batches(sort=[("clientId", 1)])
    return b"".join(batches)
