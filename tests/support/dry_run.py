"""A dry-run in this process, between places as a user writes them."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from booking_migrate.dry_run.needs import ServerSurroundings, inspect_surroundings
from booking_migrate.dry_run.outcome import DryRunOutcome
from booking_migrate.dry_run.run import dry_run as look
from booking_migrate.runs.plan import Finding, MigrationPlan
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.mongo.inspection import MongoInspector
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.places import CollectionPlace, parse_place
from booking_migrate.stores.ports import DocumentReader
from booking_migrate.stores.preview import open_preview
from booking_migrate.stores.scratch import Scratchpad


def dry_run(
    source: str,
    target: str,
    *,
    users: str | None = None,
    experts: str | None = None,
    uri: str | None = None,
    db: str | None = None,
    overwrite: bool = False,
    reject_file: Path | None = None,
    **plan: Any,
) -> DryRunOutcome:
    """Look; keyword arguments that are no place are those of `MigrationPlan`, as in `tests.support.migration`."""
    with closing(Connection(uri, db)) as connection, ExitStack() as opened:

        def read(name: str, *, required: bool = True) -> DocumentReader:
            reader = open_reader(parse_place(name), connection, required=required)
            return opened.enter_context(closing(reader))

        in_database = isinstance(parse_place(source), CollectionPlace)
        around = ServerSurroundings()
        if in_database:
            inspector = MongoInspector(connection.collection(source))
            around = inspect_surroundings(inspector, source, target, ["users", "experts"])
        scratchpad = opened.enter_context(closing(Scratchpad()))
        return look(
            MigrationPlan(**plan),
            read(source),
            lambda: open_preview(
                parse_place(target),
                connection,
                source_name=source,
                overwrite=overwrite,
                reject_file=reject_file,
            ),
            surroundings=around,
            scratchpad=scratchpad,
            users=read(users or "users", required=False) if users or in_database else None,
            experts=read(experts or "experts", required=False) if experts or in_database else None,
        )


def risk(outcome: DryRunOutcome, kind: str) -> Finding:
    """The risk of a kind; fails if it was not found."""
    found = {finding.kind: finding for finding in outcome.migration.findings}
    assert kind in found, sorted(found)
    return found[kind]
