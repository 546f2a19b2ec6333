"""The fixtures in ``examples/`` are what they claim to be, and migrate to what is committed beside them."""

from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo.database import Database

from booking_migrate.bson.document import CODEC
from booking_migrate.domain.rejection import Reason
from booking_migrate.runs.plan import MigrationOutcome
from tests.support.example_data import EXAMPLES, example_files
from tests.support.migration import client_documents, migrate

EXPECTED = EXAMPLES / "expected"
COUNTED = 400


@pytest.mark.parametrize("name", example_files())
def test_the_examples_can_be_made_again(name: str) -> None:
    """Every generated file is byte for byte what its generator makes."""
    assert example_files()[name] == (EXAMPLES / name).read_bytes()


def _migrate_examples(kind: str, target: str, **places: Any) -> MigrationOutcome:
    return migrate(
        str(EXAMPLES / f"bookings.{kind}"),
        target,
        users=str(EXAMPLES / f"users.{kind}"),
        experts=str(EXAMPLES / f"experts.{kind}"),
        **places,
    )


@pytest.mark.parametrize("kind", ["jsonl", "bson"])
def test_the_example_migrates_to_the_committed_result(kind: str, tmp_path: Path) -> None:
    """Both forms of the example give the committed client documents, byte for byte, and seven rejections."""
    target = tmp_path / "bookings_consolidated.jsonl"

    outcome = _migrate_examples(kind, str(target))

    assert (COUNTED, COUNTED - 7, 7) == (
        outcome.counts.scanned,
        outcome.counts.migrated,
        outcome.counts.rejected,
    )
    assert (EXPECTED / "bookings_consolidated.jsonl").read_bytes() == target.read_bytes()


def test_each_rejected_example_has_its_own_reason(tmp_path: Path) -> None:
    """The seven wrong bookings are rejected for seven reasons, and kept as committed."""
    target = tmp_path / "bookings_consolidated.jsonl"

    outcome = _migrate_examples("jsonl", str(target))

    assert {
        Reason.CLIENT_ID_INVALID, Reason.CLIENT_USER_NOT_FOUND, Reason.CURRENCY_NOT_ALLOWED,
        Reason.DURATION_TOO_SHORT, Reason.FIELD_MISSING, Reason.PRICE_NEGATIVE, Reason.TIME_INVALID,
    } == {group.reason for group in outcome.rejections}  # fmt: skip
    rejected = "bookings_consolidated.jsonl.rejected.jsonl"
    assert (EXPECTED / rejected).read_bytes() == (tmp_path / rejected).read_bytes()


def test_the_example_gives_the_same_documents_in_a_database(
    tmp_path: Path, database: Database[dict[str, Any]], server_uri: str
) -> None:
    """From a collection to a collection, the client documents are those of the file, byte for byte."""
    for name in ("bookings", "users", "experts"):
        documents = bson.decode_all((EXAMPLES / f"{name}.bson").read_bytes(), CODEC)
        database[name].insert_many(documents)

    outcome = migrate("bookings", "bookings_consolidated", uri=server_uri, db=database.name)

    in_file = tmp_path / "expected.bson"
    _migrate_examples("bson", str(in_file))
    in_database = client_documents(database["bookings_consolidated"])
    assert COUNTED - 7 == outcome.counts.migrated
    assert in_file.read_bytes() == in_database


def test_the_reference_booking_becomes_the_document_of_the_description(tmp_path: Path) -> None:
    """The booking behind the documented client document gives that document in every field shown, ids aside."""
    shown = migrate_plain(EXAMPLES / "reference_client_document.json", tmp_path)
    target = tmp_path / "target.bson"

    migrate(str(EXAMPLES / "reference_booking.jsonl"), str(target))

    (made,) = bson.decode_all(target.read_bytes(), CODEC)
    (session,), (shown_session,) = made.pop("sessions"), shown.pop("sessions")
    new_ids = {"_id", "sessionId"}
    assert {name: shown[name] for name in shown if name not in new_ids} == {
        name: made[name] for name in shown if name not in new_ids
    }
    assert {name: shown_session[name] for name in shown_session if name not in new_ids} == {
        name: session[name] for name in shown_session if name not in new_ids
    }
    assert list(shown) == [name for name in made if name in shown]


def migrate_plain(document: Path, folder: Path) -> dict[str, Any]:
    """Read a plain JSON client document by carrying it through a migration, which leaves it as it is."""
    source, target = folder / "shown.jsonl", folder / "shown.bson"
    source.write_text(" ".join(document.read_text().split()))
    migrate(str(source), str(target))
    (decoded,) = bson.decode_all(target.read_bytes(), CODEC)
    return dict(decoded)
