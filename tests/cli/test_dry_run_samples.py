"""Sample bookings in a dry-run's report: beside the client document that they become, readable, without personal data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.bson.document import write_fields
from tests.support.booking_lines import EXPERT, booking, client, lines
from tests.support.bookings import ABSENT
from tests.support.hostile import invalid_text
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Callable[..., Any]
OLD = dict.fromkeys(("clientUserId", "clientEmail", "expertUserId", "expertEmail"), ABSENT)
SECRET = "Meet me at the old mill"
BOOKINGS = (
    *(booking(number) for number in range(6)),
    booking(6, notes=SECRET, phone=SECRET),
    booking(7),
    booking(8, clientId=client(9), **OLD),
    booking(10, clientId=client(9), notes=SECRET, **OLD),
    booking(20, price="free"),
    booking(21, price="₹1,499.00"),
    booking(22, price="free"),
    booking(23, status=5),
    booking(24, clientEmail=SECRET),
)
USERS = ({"_id": client(9), "user_id": "1111", "email": "secret@example.org"},)
EXPERTS = ({"_id": EXPERT, "userId": client(9)},)


def look(run: Run, *arguments: str) -> dict[str, Any]:
    """The report of a dry-run."""
    report: dict[str, Any] = json.loads(run("dry-run", *arguments, "--json").stdout)
    return report


@pytest.fixture
def in_files(workspace: Path) -> tuple[str, ...]:
    """The bookings as files, and the options that name them."""
    for name, documents in (("bookings", BOOKINGS), ("users", USERS), ("experts", EXPERTS)):
        workspace.joinpath(f"{name}.jsonl").write_text(lines(*documents), encoding="utf-8")
    return "--source", "bookings.jsonl", "--users", "users.jsonl", "--experts", "experts.jsonl"


def test_samples(run: Run, in_files: tuple[str, ...]) -> None:
    """A typical client with its bookings, sessions with what was added, and a booking with the most frequent fault."""
    typical, completed, rejected = look(run, *in_files)["dry_run"]["samples"]

    assert ["typical", "completed", "rejected"] == [each["kind"] for each in (typical, completed, rejected)]
    assert 2 == len(typical["bookings"])
    for shown in typical["bookings"]:
        identity = next(line for line in shown.splitlines() if '"_id"' in line).partition(": ")[2]
        assert f'"legacyBookingId": {identity.removesuffix(",")}' in typical["document"]
    assert '"totalSessions": 2' in typical["document"]
    assert "Added to sessions: expertEmail, expertUserId" == completed["reason"]
    assert '"expertUserId": <string of 4 characters>' in completed["document"]
    assert "Rejected: wrong-type, price is 'free'" == rejected["reason"]
    assert rejected["document"] is None
    assert '"price": "free"' in rejected["bookings"][0]


def test_a_field_that_is_carried_as_it_is(run: Run, workspace: Path) -> None:
    """Text that is not valid UTF-8, in a field that the contract does not know, keeps no client from being shown."""
    raws = [write_fields(booking(number, phone=invalid_text())) for number in (0, 4)]
    workspace.joinpath("bookings.bson").write_bytes(b"".join(raws))
    (typical,) = look(run, "--source", "bookings.bson")["dry_run"]["samples"]

    assert 2 == len(typical["bookings"])
    assert 2 == typical["document"].count('"phone": <string>')
    assert 2 == typical["document"].count('"legacyBookingId"')


def test_values_and_money_of_rejected_bookings(run: Run, in_files: tuple[str, ...]) -> None:
    """Values by how often they occur, for migrate, too; what they would have cost, as far as prices can be read."""
    report = look(run, *in_files)
    migrated = json.loads(run("migrate", *in_files, "--target", "out.jsonl", "--json").stdout)
    by_reason = {each["reason"]: each["values"] for each in report["rejections"]}

    assert [
        {"field": "price", "value": "'free'", "count": 2},
        {"field": "price", "value": "'₹1,499.00'", "count": 1},
        {"field": "status", "value": "int32 5", "count": 1},
    ] == by_reason["wrong-type"]
    assert [
        {"field": "clientEmail", "value": f"string of {len(SECRET)} characters", "count": 1}
    ] == by_reason["email-invalid"]
    assert ({"INR": "1539.00"}, 2) == (report["rejected_spent"], report["rejected_unpriced"])
    for name in ("rejections", "rejected_spent", "rejected_unpriced"):
        assert report[name] == migrated[name]


@pytest.mark.parametrize("suffix", ["json", "md", "html", "xml"])
def test_no_personal_data(run: Run, workspace: Path, in_files: tuple[str, ...], suffix: str) -> None:
    """No format has an email address, a user id, free text, or a field that the contract does not know."""
    shown = run("dry-run", *in_files, "--report", f"r.{suffix}").output
    text = workspace.joinpath(f"r.{suffix}").read_text("utf-8")

    for personal in (SECRET, "@example", "1111", "9062"):
        assert personal not in text.replace("0" * 11, "") + shown
    if suffix != "xml":
        assert "legacyBookingId" in text


def test_from_a_database(run: Run, database: Db, server: Server, in_files: tuple[str, ...]) -> None:
    """The same samples come from a database, whatever the batches and however many processes read."""
    for name, documents in (("bookings", BOOKINGS), ("users", USERS), ("experts", EXPERTS)):
        database[name].insert_many([dict(each) for each in documents])
    named = ("--uri", server.uri, "--db", database.name)
    expected = look(run, *in_files)["dry_run"]["samples"]

    for more in ((), ("--batch-size", "3"), ("--workers", "1")):
        assert expected == look(run, *named, *more)["dry_run"]["samples"]


def test_nothing_to_show(run: Run, workspace: Path) -> None:
    """Without bookings there are no samples."""
    workspace.joinpath("empty.jsonl").touch()

    assert [] == look(run, "--source", "empty.jsonl")["dry_run"]["samples"]
