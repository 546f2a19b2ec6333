"""A dry-run says what a migration then does, on dirty documents of every BSON type."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.database import Database

from booking_migrate.dry_run.outcome import DryRunOutcome
from booking_migrate.runs.plan import MigrationOutcome
from tests.properties.test_migration import as_dump, bookings
from tests.support.dry_run import dry_run
from tests.support.examples import examples
from tests.support.migration import migrate

Document = dict[str, Any]


def facts(outcome: MigrationOutcome) -> tuple[Any, ...]:
    """Everything about a migration that a dry-run foretells."""
    return (
        outcome.counts,
        outcome.rejections,
        outcome.spent,
        outcome.documents_written,
        outcome.documents_changed,
        outcome.changed,
    )


def _drawn(outcome: DryRunOutcome) -> int:
    return sum(bar.count for bar in outcome.distributions.bookings_by_status)


@settings(max_examples=examples(40, one_of=2))
@given(bookings(), st.sampled_from(["clients.bson", "clients.jsonl", "clients.json.gz"]), st.integers(1, 4))
def test_a_dry_run_of_files_foretells_every_count(documents: list[Document], name: str, batch: int) -> None:
    """Before and after a migration, the dry-run's facts are those of the migration that follows; no file appears."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "bookings.bson", Path(folder) / name
        source.write_bytes(as_dump(documents))
        for _ in range(2):
            before = {path: path.read_bytes() for path in Path(folder).iterdir()}
            told = dry_run(str(source), str(target), batch_bookings=batch)

            assert before == {path: path.read_bytes() for path in Path(folder).iterdir()}
            assert facts(told.migration) == facts(migrate(str(source), str(target)))
            assert () == told.blockers
            assert len(documents) == _drawn(told)


@settings(max_examples=examples(10, one_of=6), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=bookings(), first=st.integers(0, 12))
def test_a_dry_run_of_collections_foretells_every_count(
    database: Database[Document], server_uri: str, documents: list[Document], first: int
) -> None:
    """With some of the bookings migrated before, the dry-run's facts are those of the migration that follows."""
    for name in ("bookings", "clients", "booking_migrate_rejected"):
        database[name].drop()
    database.create_collection("bookings")
    if documents[:first]:
        database["bookings"].insert_many(documents[:first])
        migrate("bookings", "clients", uri=server_uri, db=database.name)
    if documents[first:]:
        database["bookings"].insert_many(documents[first:])

    told = dry_run("bookings", "clients", uri=server_uri, db=database.name)
    done = migrate("bookings", "clients", uri=server_uri, db=database.name)

    assert facts(told.migration)[:5] == facts(done)[:5]
