"""Each risk is planted once and found, with its count and the ids."""

from pathlib import Path
from typing import Any

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.bson.document import CODEC
from booking_migrate.domain.rejection import Reason
from booking_migrate.domain.rules import Rules
from booking_migrate.dry_run.outcome import DryRunOutcome
from tests.support.booking_lines import booking, client
from tests.support.bookings import ABSENT
from tests.support.dry_run import dry_run, risk

Document = dict[str, Any]
HEX = "65f0a0000000000000000000"
DAY = 86_400_000


def quiet(number: int, **changes: Any) -> Document:
    """A booking that carries no risk: each has a day of its own."""
    own = {"scheduledDate": DatetimeMS(1_756_425_600_000 + number * DAY)}
    return booking(number, **{**own, **changes})


def look(folder: Path, documents: list[Document], **options: Any) -> DryRunOutcome:
    """A dry-run over these documents in a file."""
    source = folder / "bookings.bson"
    source.write_bytes(b"".join(bson.encode(document, codec_options=CODEC) for document in documents))
    return dry_run(str(source), str(folder / "clients.bson"), **options)


CALM = [quiet(number) for number in range(8)]


def ids(*numbers: int) -> tuple[str, ...]:
    """The ids of bookings by their numbers."""
    return tuple(str(booking(number)["_id"]) for number in numbers)


def test_no_risk(tmp_path: Path) -> None:
    """Bookings without any risk give no finding and no blocker."""
    outcome = look(tmp_path, CALM)

    assert ((), ()) == (outcome.migration.findings, outcome.blockers)


PLANTED = [
    pytest.param([quiet(8, currency="USD")], "clients-with-several-currencies", (str(client(0)),), id="currencies of a client"),
    pytest.param([quiet(8, currency="USD")], "several-currencies", ("INR", "USD"), id="currencies"),
    pytest.param([quiet(9, clientEmail="x@example.org")], "client-fields-disagree", (str(client(1)),), id="fields"),
    pytest.param([quiet(8, clientId=HEX)], "client-id-as-text", (HEX,), id="text"),
    pytest.param([quiet(8, clientId=f" {HEX.upper()}")], "client-id-as-text", (HEX,), id="text, padded capitals"),
    pytest.param([quiet(8, scheduledDate=CALM[4]["scheduledDate"])], "booked-twice", ids(4, 8), id="doubled"),
    pytest.param([quiet(9, scheduledDate=CALM[4]["scheduledDate"], startTime="12:45")], "expert-overlaps", ids(4, 9), id="overlap"),
    pytest.param([quiet(8, clientEmail=ABSENT)], "people-not-found", ids(8), id="nobody"),
    pytest.param([quiet(8, expertEmail=ABSENT)], "people-not-found", ids(8), id="no expert"),
    pytest.param([quiet(8, scheduledDate=DatetimeMS(253_402_300_800_000))], "dates-out-of-range", ids(8), id="year 10000"),
    pytest.param([quiet(8, createdAt=DatetimeMS(-1))], "dates-out-of-range", ids(8), id="before 1970"),
]  # fmt: skip


@pytest.mark.parametrize(("planted", "kind", "samples"), PLANTED)
def test_a_planted_risk_is_found(
    tmp_path: Path, planted: list[Document], kind: str, samples: tuple[str, ...]
) -> None:
    """A risk is told with its count, the ids at risk, and advice."""
    found = risk(look(tmp_path, CALM + planted), kind)

    assert samples == found.sample_ids
    assert len(samples) == found.count
    assert found.advice.endswith(".")


@pytest.mark.parametrize(("planted", "kind", "samples"), PLANTED)
def test_risks_of_flat_and_other_bookings_are_the_same(
    tmp_path: Path, planted: list[Document], kind: str, samples: tuple[str, ...]
) -> None:
    """The risks found in bookings of the fast path are those found in the same bookings with a nested field."""
    flat = [*CALM, *planted]

    nested = look(tmp_path, [{**document, "extra": {"a": 1}} for document in flat])

    assert look(tmp_path, flat).migration.findings == nested.migration.findings
    assert samples == risk(nested, kind).sample_ids


@pytest.mark.parametrize(
    ("planted", "kind"),
    [
        (quiet(8, scheduledDate=CALM[4]["scheduledDate"], status="cancelled"), "booked-twice"),
        (quiet(8, scheduledDate=CALM[4]["scheduledDate"], status="cancelled"), "expert-overlaps"),
        (
            quiet(9, scheduledDate=CALM[4]["scheduledDate"], startTime="13:00", endTime="13:30"),
            "expert-overlaps",
        ),
        (quiet(9, scheduledDate=CALM[4]["scheduledDate"], expertId=ObjectId()), "expert-overlaps"),
        (quiet(8, clientId=HEX[::-1]), "client-id-as-text"),
    ],
)
def test_what_only_looks_like_a_risk(tmp_path: Path, planted: Document, kind: str) -> None:
    """A cancelled double, the next appointment, another expert and other text are no risk."""
    outcome = look(tmp_path, [*CALM, planted])

    assert kind not in [finding.kind for finding in outcome.migration.findings]


def test_an_appointment_past_midnight(tmp_path: Path) -> None:
    """A session from 23:30 to 0:30 overlaps one of the next day at 0:15."""
    late = quiet(8, startTime="23:30", endTime="0:30")
    early = quiet(9, startTime="0:15", endTime="1:00")

    assert ids(8, 9) == risk(look(tmp_path, [late, early]), "expert-overlaps").sample_ids


@pytest.mark.parametrize("nested", [ABSENT, {"a": 1}], ids=["usual", "unusual"])
def test_a_waived_time_of_any_length(tmp_path: Path, nested: object) -> None:
    """A time that no clock shows, let through by a waived rule, keeps nobody busy and breaks nothing."""
    odd = quiet(8, startTime="9" * 30 + ":00", extra=nested)
    outcome = look(tmp_path, [*CALM, odd], rules=Rules(accepted=frozenset({Reason.TIME_INVALID})))

    assert ((), 9) == (outcome.migration.findings, outcome.migration.counts.migrated)


def test_documents_near_and_over_the_limit(tmp_path: Path) -> None:
    """Clients over half of the limit and over it are told apart, and the largest come first."""
    many = [quiet(4 * number) for number in range(9)] + [quiet(4 * number + 1) for number in range(5)]
    outcome = look(tmp_path, [*many, quiet(2)], rules=Rules(maximum_document_size=3500))
    bars = outcome.distributions.document_sizes

    assert (str(client(0)),) == risk(outcome, "documents-over-limit").sample_ids
    assert (str(client(1)),) == risk(outcome, "documents-near-limit").sample_ids
    assert [(str(client(0)), 9), (str(client(1)), 5), (str(client(2)), 1)] == [
        (large.client_id, large.sessions) for large in outcome.largest_clients
    ]
    assert (1, True) == (bars[-1].count, bars[-1].is_over)


def test_no_more_than_ten_largest(tmp_path: Path) -> None:
    """Of many clients the ten largest are named."""
    documents = [quiet(number, clientId=client(number), notes="x" * number) for number in range(30)]

    largest = look(tmp_path, documents).largest_clients

    assert [str(client(number)) for number in range(29, 19, -1)] == [large.client_id for large in largest]


def test_wrong_totals_are_named(tmp_path: Path) -> None:
    """A client document that nothing is added to, and whose totals are not its sessions', is named."""
    document = {"_id": 1, "clientId": client(3), "sessions": [], "totalSessions": 2, "totalSpent": 0}

    assert (str(client(3)),) == risk(look(tmp_path, [quiet(0), document]), "totals-wrong").sample_ids


def test_totals_of_another_type_are_wrong_totals(tmp_path: Path) -> None:
    """A total of the right amount in another type is named as well: verify compares bytes."""
    document = {"_id": 1, "clientId": client(3), "sessions": [], "totalSessions": 0, "totalSpent": 0.0}

    assert (str(client(3)),) == risk(look(tmp_path, [quiet(0), document]), "totals-wrong").sample_ids


@pytest.fixture
def shop(database: Database[Document], server_uri: str) -> tuple[Database[Document], dict[str, Any]]:
    """Calm bookings in a database, and how to reach it."""
    database["bookings"].insert_many(CALM)
    return database, {"uri": server_uri, "db": database.name}


def test_references_are_found(shop: tuple[Database[Document], dict[str, Any]]) -> None:
    """A field of another collection that holds ids of bookings is found, as ObjectId, as text and in arrays."""
    database, place = shop
    booked = [document["_id"] for document in CALM]
    database["payments"].insert_many([{"bookingId": each, "by": client(0)} for each in [*booked, ObjectId()]])
    database["chats"].insert_many([{"about": {"bookings": [str(each)]}} for each in booked])
    database["users"].insert_one({"_id": client(0), "last": booked[0]})

    outcome = dry_run("bookings", "clients", **place)

    assert [("chats", "about.bookings", 8, 8), ("payments", "bookingId", 9, 8)] == [
        (one.collection, one.field, one.sampled, one.hits) for one in outcome.references
    ]
    assert ("chats.about.bookings", "payments.bookingId") == risk(outcome, "references-by-id").sample_ids


def test_lost_indexes_and_validators(shop: tuple[Database[Document], dict[str, Any]]) -> None:
    """Indexes, expiring ones and a validator of the source are named, since the new shape has none of them."""
    database, place = shop
    database["bookings"].create_index([("expertId", 1), ("scheduledDate", 1)], name="by_expert")
    database["bookings"].create_index("createdAt", expireAfterSeconds=10**9, name="old_ones")
    database.command("collMod", "bookings", validator={"price": {"$gte": 0}})

    outcome = dry_run("bookings", "clients", **place)

    assert ("by_expert", "old_ones") == risk(outcome, "indexes-lost").sample_ids
    assert ("old_ones",) == risk(outcome, "ttl-index").sample_ids
    assert 1 == risk(outcome, "validator-lost").count
