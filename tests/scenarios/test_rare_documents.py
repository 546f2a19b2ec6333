"""Documents that few collections have: what a migration makes of them is what the verification expects."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from typer.testing import CliRunner, Result

from booking_migrate.bson.document import element_of, elements, read_fields, wrap, write_fields
from booking_migrate.cli.app import app
from booking_migrate.domain.ids import session_id
from booking_migrate.errors import ExitCode
from tests.support.booking_lines import booking, client
from tests.support.bookings import ABSENT

OLDER, YOUNGER = ObjectId("64000000a4c0bf9eaa9c6f01"), ObjectId("66000000a4c0bf9eaa9c6f02")
DAY, LATER = DatetimeMS(1_735_689_600_000), DatetimeMS(1_893_456_000_000)
OF_CLIENT = ("_id", "clientId", "clientUserId", "clientEmail", "__v")


class Case(NamedTuple):
    """What goes in, and what must come out."""

    documents: Sequence[bytes]
    counts: tuple[int, int, int]
    """Bookings migrated, already migrated, rejected."""

    options: Sequence[str] = ()
    migrate: Sequence[str] = ()
    """Options of the migration alone."""

    mismatches: frozenset[str] = frozenset()
    """The kinds of what the verification finds."""


def client_document(**changes: Any) -> bytes:
    """A client document with one session, as the new application writes it."""
    fields = {
        "_id": OLDER,
        "clientId": client(0),
        "clientUserId": "4534",
        "clientEmail": "own@example.com",
        "sessions": [{"sessionId": OLDER, "price": 5, "createdAt": DAY}],
        "totalSessions": 1,
        "totalSpent": 5,
        "createdAt": DAY,
        "updatedAt": DAY,
    }
    return write_fields({name: value for name, value in {**fields, **changes}.items() if value is not ABSENT})


def twice(raw: bytes, name: str, value: Any) -> bytes:
    """A document in which a name occurs twice."""
    return wrap([*elements(raw), element_of(name, value)])


def conflicting(one: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A session of a booking, with another price."""
    kept = {name: value for name, value in one.items() if name not in OF_CLIENT}
    return {
        "sessionId": session_id(one["_id"], 0),
        **kept,
        "price": 1,
        "legacyBookingId": one["_id"],
        **changes,
    }


def prices(*values: Any) -> list[bytes]:
    """Bookings of one client with these prices."""
    return [write_fields(booking(4 * number, price=value)) for number, value in enumerate(values)]


FIRST, SECOND = booking(0), booking(4)
BOTH = [write_fields(FIRST), write_fields(SECOND)]
LARGE = [write_fields(FIRST), write_fields({**SECOND, "extra": "x" * 2000})]
DISPUTED = client_document(sessions=[conflicting(FIRST)], totalSpent=99, clientEmail=None)
UNCLAIMED = {"sessionId": session_id(FIRST["_id"], 0), "price": 1}
TWINS = client_document(sessions=[UNCLAIMED, {**UNCLAIMED, "price": 2}])
LIMIT = ("--max-document-size", "1500")


def of_text(**dates: Any) -> bytes:
    """A client document without dates, whose session is that of a booking whose `_id` is a text."""
    session = {"sessionId": OLDER, "price": 5, **dates, "legacyBookingId": "text"}
    return client_document(createdAt=ABSENT, updatedAt=ABSENT, sessions=[session])


YOUNG = client_document(_id=YOUNGER, sessions=[{"sessionId": YOUNGER, "price": 7}])
CASES = {
    "a price of negative zero": Case(prices(-0.0), (1, 0, 0)),
    "prices of negative zero": Case(prices(-0.0, -0.0), (2, 0, 0)),
    "a price with an exponent": Case(prices(Decimal128("1E+3")), (1, 0, 0)),
    "prices with exponents": Case(
        prices(Decimal128("1E+3"), Decimal128("2E+5"), Decimal128("0E+7")), (3, 0, 0)
    ),
    "a name twice in a client document": Case([twice(client_document(), "createdAt", DAY), *BOTH], (2, 0, 1)),
    "sessions twice in a client document": Case([twice(client_document(), "sessions", []), *BOTH], (2, 0, 1)),
    "an older document without a date": Case(
        [client_document(createdAt=ABSENT), YOUNG, *BOTH], (2, 0, 0), migrate=["--merge-client-documents"]
    ),
    "a session that has changed last": Case([of_text(updatedAt=DAY), *BOTH], (2, 0, 0)),
    "a session that was made last": Case([of_text(createdAt=LATER), *BOTH], (2, 0, 0)),
    "two sessions with the id that a booking gets": Case(
        [TWINS, *BOTH], (2, 0, 0), ["--on-conflict", "source"]
    ),
    "a conflict kept in a client document that is too large": Case(
        [DISPUTED, *LARGE], (0, 1, 1), [*LIMIT, "--on-conflict", "target"]
    ),
    "a conflict not settled because the client document is too large": Case(
        [DISPUTED, *LARGE], (0, 0, 2), [*LIMIT, "--on-conflict", "source"], mismatches=frozenset({"conflict"})
    ),
}


def run(*arguments: str) -> Result:
    """Run the program on the files of the current folder."""
    places = ("--source", "in.bson", "--target", "out.bson", "--json", "--quiet")
    return CliRunner().invoke(app, [*arguments, *places], env={"MONGODB_URI": ""}, catch_exceptions=False)


def counts_of(report: Mapping[str, Any]) -> tuple[int, ...]:
    """Bookings migrated, already migrated, rejected."""
    return tuple(report["counts"][name] for name in ("migrated", "already_migrated", "rejected"))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_migrated_and_verified(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dry-run and migrate count the same, and the verification finds what it must, and nothing else."""
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("in.bson").write_bytes(b"".join(case.documents))
    ended = ExitCode.REJECTED if case.counts[2] else ExitCode.DONE

    for command in ("dry-run", "migrate"):
        result = run(command, *case.options, *case.migrate)
        assert ended == result.exit_code, result.output
        assert case.counts == counts_of(json.loads(result.stdout))
    verified = run("verify", *case.options)

    assert case.mismatches == {each["kind"] for each in json.loads(verified.stdout)["mismatches"]}
    assert (ExitCode.MISMATCHES if case.mismatches else ExitCode.DONE) == verified.exit_code
    assert case.counts[2] == json.loads(verified.stdout)["counts"]["rejected"]


def test_a_conflict_that_cannot_be_settled_has_both_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted as a conflict, whose session stays, and its record says that the document would be too large."""
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("in.bson").write_bytes(b"".join([DISPUTED, *LARGE]))
    report = json.loads(run("migrate", *LIMIT, "--on-conflict", "source").stdout)
    records = map(json.loads, tmp_path.joinpath("out.bson.rejected.jsonl").read_text().splitlines())

    assert 1 == report["counts"]["conflicts"]
    assert [["conflict", "client-document-too-large"], ["client-document-too-large"]] == [
        [fault["reason"] for fault in record["faults"]] for record in records
    ]
    assert [1] == [
        each["price"] for each in read_fields(tmp_path.joinpath("out.bson").read_bytes())["sessions"]
    ]
