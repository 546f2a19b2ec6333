"""Operators, patterns and invalid UTF-8 in the data: rejected for a reason or carried byte for byte, by every command."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.bson.document import Opaque, element_of, elements, read_fields, wrap, write_fields
from booking_migrate.errors import ExitCode
from booking_migrate.stores.mongo.raw import as_driver_document, find_raw
from tests.lifecycle.conftest import Ended, contents
from tests.support.booking_lines import EXPERT, booking, client
from tests.support.bookings import ABSENT
from tests.support.crews import take_for_many
from tests.support.hostile import HOSTILE_IDS, SHOWN, invalid_text

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

FIRST_GENERATION = dict.fromkeys(("clientUserId", "clientEmail", "expertUserId", "expertEmail"), ABSENT)
LOOKED_UP = ("clientUserId", "clientEmail", "expertUserId", "expertEmail")
TEXTS = (
    *LOOKED_UP,
    "sessionType",
    "startTime",
    "status",
    "currency",
    "paymentStatus",
    "notes",
    "meetingLink",
)
NESTED = Opaque(
    0x03, write_fields({"kéy".encode()[:2].decode("utf-8", "surrogateescape"): [1], "b": invalid_text()})
)


def ids_in_lookups() -> tuple[list[bytes], dict[str, set[str]]]:
    """Bookings that look up what is no id, as experts, as clients and as the experts' users; and their reasons."""
    raws, reasons = [], {}
    for number, value in enumerate(HOSTILE_IDS):
        for place, (name, reason) in enumerate(
            (("expertId", "wrong-type"), ("clientId", "client-id-invalid"))
        ):
            one = booking(1000 * place + 4 * number, **{**FIRST_GENERATION, name: value})
            raws.append(write_fields(one))
            reasons[str(one["_id"])] = {reason}
        user = booking(2000 + 4 * number, **{**FIRST_GENERATION, "expertId": number})
        raws.append(write_fields(user))
        reasons[str(user["_id"])] = {"expert-user-not-found"}
    return raws, reasons


def text_in_bookings() -> tuple[list[bytes], dict[str, set[str]]]:
    """Bookings with invalid UTF-8 wherever text may be, one with null as its `_id`; and the reasons of those that cannot be converted."""
    raws, reasons = [write_fields(booking(0, _id=invalid_text()))], {SHOWN: {"wrong-type"}}
    for number, name in enumerate(TEXTS, 10):
        raws.append(write_fields(booking(number, **{name: invalid_text()})))
        reasons[str(booking(number)["_id"])] = {"wrong-type"}
    raws.append(write_fields(booking(50, clientId=invalid_text())))
    reasons[str(booking(50)["_id"])] = {"client-id-invalid"}
    looked_up = booking(60, **FIRST_GENERATION, clientId=client(9))
    raws.append(write_fields(looked_up))
    reasons[str(looked_up["_id"])] = {"wrong-type"}
    carried = {"other": invalid_text(), "caf\udce9": 1, "nested": NESTED}
    sound = [booking(70, **carried), booking(80, _id=None)]
    return [*raws, *map(write_fields, sound)], reasons


def names_that_occur_twice() -> tuple[list[bytes], dict[str, set[str]]]:
    """Bookings with another client's id as well, among sound ones of both clients; and the reasons of the former."""
    raws, reasons = [], {}
    for number in range(24):
        raw = write_fields(booking(number))
        if number % 3 == 0:
            other = element_of("clientId", client((number + 1 + number % 2) % 4))
            raw = wrap([*elements(raw), other])
            reasons[str(booking(number)["_id"])] = {"duplicate-field"}
        raws.append(raw)
    return raws, reasons


CASES = {"ids": ids_in_lookups, "text": text_in_bookings, "twice": names_that_occur_twice}


def fill(database: Db, raws: list[bytes]) -> None:
    """Put bookings and people into a database; the first document of each collection has invalid UTF-8 in its `_id`."""
    name = {"name": invalid_text()}
    user: dict[str, Any] = {"_id": client(0), "user_id": "1111", "email": "u@example.org", **name}
    users: list[dict[str, Any]] = [
        {"_id": invalid_text()},
        user,
        user | {"_id": client(9), "email": invalid_text()},
    ]
    experts: list[dict[str, Any]] = [{"_id": invalid_text()}, {"_id": EXPERT, "userId": client(0), **name}]
    experts += [{"_id": number, "userId": value} for number, value in enumerate(HOSTILE_IDS)]
    theirs = {
        "_id": invalid_text(b"\xfe"),
        "clientId": client(8),
        "sessions": [{"sessionId": ObjectId(bytes(12)), "price": 1, "note": "-"}],
    }
    whole = write_fields(theirs).replace(b"\x02\x00\x00\x00-\x00", b"\x02\x00\x00\x00\xff\x00")
    sound = [write_fields(booking(number)) for number in range(400, 408)]
    for collection, documents in {
        "bookings": [*raws[:1], whole, *raws[1:], *sound],
        "users": [write_fields(each) for each in users],
        "experts": [write_fields(each) for each in experts],
    }.items():
        database[collection].insert_many(map(as_driver_document, documents))


def fields_of(session: bytes) -> Mapping[bytes, bytes]:
    """The bytes of a session's fields, by name."""
    return {part.name: part.raw for part in elements(session)}


def reasons_in(database: Db, report: Mapping[str, Any]) -> dict[str, set[str]]:
    """The reasons for which each booking was rejected, by its id as reports show it, as far as they are listed."""
    found: dict[str, set[str]] = {}
    for group in report["rejections"]:
        for shown in group["sample_ids"]:
            found.setdefault(shown, set()).add(group["reason"])
    assert (
        sum(group["count"] for group in report["rejections"])
        == database.booking_migrate_rejected.estimated_document_count()
    )
    return found


def done(ended: Ended, *codes: ExitCode) -> dict[str, Any]:
    """The report of a command that ended as it must."""
    assert ended.returncode in codes, ended.stdout + ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


@pytest.mark.parametrize(
    ("case", "workers"),
    [
        ("ids", "2"),
        ("text", "1"),
        ("twice", "1"),
        ("twice", "2"),
        pytest.param("ids", "1", marks=pytest.mark.slow),
        pytest.param("text", "2", marks=pytest.mark.slow),
    ],
)
def test_life(database: Db, command: Run, monkeypatch: pytest.MonkeyPatch, case: str, workers: str) -> None:
    """Every command of a run's life knows what to do; rollbacks leave everything as it was."""
    raws, reasons = CASES[case]()
    fill(database, raws)
    options = ["--workers", workers]
    if workers != "1":
        database.bookings.create_index("clientId")
        take_for_many(monkeypatch)
    before = contents(database)

    def run(name: str, *arguments: str) -> Ended:
        return command(name, "--json", "--quiet", *arguments)

    planned = done(run("dry-run"), ExitCode.REJECTED)
    migrated = done(run("migrate", *options), ExitCode.REJECTED)
    written = contents(database)
    assert planned["counts"] == migrated["counts"]
    counts = migrated["counts"]
    assert (len(raws) + 8, len(reasons)) == (counts["scanned"], counts["rejected"])
    for shown, found in reasons_in(database, migrated).items():
        assert reasons[shown] == found, shown
        explained = done(run("explain", shown), ExitCode.DONE)["explanation"]
        assert ("rejected", shown) == (explained["fate"], explained["booking_id"])
        assert found <= set(explained["reasons"])
    verified = done(run("verify", "--recheck", "0"), ExitCode.DONE)
    assert counts["rejected"] == verified["counts"]["rejected"]
    done(run("status"), ExitCode.DONE)
    assert not done(run("migrate", *options), ExitCode.REJECTED)["changed"]
    assert written == contents(database)
    done(run("rollback", "--yes"), ExitCode.DONE)
    assert before == contents(database)

    done(run("migrate", *options), ExitCode.REJECTED)
    done(run("verify", "--recheck", "0"), ExitCode.DONE)
    done(run("cutover", "--rejected", "carry", "--yes"), ExitCode.DONE)
    assert set(raws) & set(find_raw(database.bookings, {})) == {
        raw for raw in raws if str(read_fields(raw)["_id"]) in reasons or raw == raws[0]
    }
    done(run("status"), ExitCode.DONE)
    done(run("rollback", "--yes"), ExitCode.DONE)
    assert before == contents(database)


@pytest.mark.parametrize("case", CASES)
def test_life_in_place(database: Db, command: Run, case: str) -> None:
    """In place, too, such bookings stay where they are, and the rest is migrated, proven and put back."""
    raws, reasons = CASES[case]()
    fill(database, raws)
    before = contents(database)
    migrated = done(command("migrate", "--in-place", "--json", "--quiet"), ExitCode.REJECTED)
    counts = migrated["counts"]

    assert (len(raws) + 8, len(reasons)) == (counts["scanned"], counts["rejected"])
    for shown, found in reasons_in(database, migrated).items():
        assert reasons[shown] == found, shown
    done(command("verify", "--in-place", "--recheck", "0", "--json", "--quiet"), ExitCode.DONE)
    done(command("status", "--json"), ExitCode.DONE)
    again = done(command("migrate", "--in-place", "--json", "--quiet"), ExitCode.REJECTED)
    assert 0 == again["counts"]["migrated"]
    done(command("rollback", "--target", "bookings", "--yes", "--json", "--quiet"), ExitCode.DONE)
    assert before == contents(database)


def test_what_is_unknown_is_carried(database: Db, command: Run) -> None:
    """Fields that the contract does not know keep their bytes, names included; so does a client document."""
    raws, _ = text_in_bookings()
    fill(database, raws)
    before = set(find_raw(database.bookings, {"sessions": {"$exists": True}}))
    done(command("migrate", "--json", "--quiet"), ExitCode.REJECTED)
    sessions = [
        fields_of(session.value)
        for raw in find_raw(database.bookings_consolidated, {"clientId": booking(70)["clientId"]})
        for part in elements(raw)
        if part.name == b"sessions"
        for session in elements(part.value)
    ]
    carried = next(one for one in sessions if b"other" in one)
    kept = set(find_raw(database.bookings_consolidated, {"clientId": client(8)}))

    assert element_of("other", invalid_text()).raw == carried[b"other"]
    assert b"\x10caf\xe9\x00\x01\x00\x00\x00" == carried[b"caf\xe9"]
    assert element_of("nested", NESTED).raw == carried[b"nested"]
    assert 1 == len(before)
    assert before == kept


def test_target_that_is_none(database: Db, command: Run) -> None:
    """A target in the old shape is refused by the id of its first document, which is shown by its bytes."""
    database.bookings.insert_one(booking(1))
    database.bookings_consolidated.insert_one(
        as_driver_document(write_fields(booking(2, _id=invalid_text())))
    )
    for name in ("dry-run", "migrate"):
        ended = command(name, "--json", "--quiet")
        assert ExitCode.REFUSED == ended.returncode
        assert json.dumps(SHOWN)[1:-1] in ended.stdout


def test_both_ends_of_an_index(database: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bookings whose `clientId` stands at either end of the index are read along it like all others, and rejected."""
    ends = [
        booking(number, clientId=value) for number, value in enumerate((MinKey(), MaxKey(), None, ABSENT))
    ]
    database.bookings.insert_many([*ends, *map(booking, range(4, 12))])
    database.bookings.create_index("clientId")
    take_for_many(monkeypatch)
    migrated = done(command("migrate", "--workers", "2", "--json", "--quiet"), ExitCode.REJECTED)

    assert (12, 8, 4) == tuple(migrated["counts"][name] for name in ("scanned", "migrated", "rejected"))
    done(command("verify", "--workers", "2", "--recheck", "0", "--json", "--quiet"), ExitCode.DONE)
