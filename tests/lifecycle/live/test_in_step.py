"""The updates that examples/runbook.md shows keep totals and dates of a client document as verify requires them."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from pymongo.database import Database

from tests.lifecycle.conftest import Command
from tests.lifecycle.live.test_finalize import FINALIZE, go_live
from tests.support.booking_lines import booking, client
from tests.support.readme import ROOT

Db = Database[dict[str, Any]]
Pipeline = list[dict[str, Any]]

_BLOCK = re.compile(r"<!-- in step -->\n```js\n(.*?)```", re.DOTALL)
_CONSTANT = re.compile(r"const (\w+) = (?:\(([\w, ]*)\) => )?(.*?);\n", re.DOTALL)
_NAME = re.compile(r'(?<![\w"$.])([A-Za-z]\w*)(?![\w"])')
VERIFY = ("verify", "--source", "bookings", "--target", "clients", "--json")
BOOKED = {
    "notes": "$5 off",
    "createdAt": datetime(2026, 1, 1, tzinfo=UTC),
    "updatedAt": datetime(2026, 1, 1, tzinfo=UTC),
}


def shown(name: str, *arguments: Any) -> Pipeline:
    """The pipeline that a function of the page makes."""
    block = _BLOCK.search((ROOT / "examples" / "runbook.md").read_text(encoding="utf-8"))
    assert block
    constants = {each: (names, text) for each, names, text in _CONSTANT.findall(block[1])}
    names, text = constants[name]
    values = dict(zip(names.split(", "), arguments, strict=True))
    values["inStep"] = json.loads(constants["inStep"][1])
    pipeline: Pipeline = _filled(json.loads(_NAME.sub(r'"<\1>"', text)), values)
    return pipeline


def _filled(value: Any, values: dict[str, Any]) -> Any:
    match value:
        case dict():
            return {name: _filled(each, values) for name, each in value.items()}
        case list():
            return [_filled(each, values) for each in value]
        case str() if value.startswith("<"):
            return values[value[1:-1]]
        case _:
            return value


PRICES = {
    0: (20, 30, 40),
    1: (Int64(20), 30, Int64(40)),
    2: (12165.89, 0.1, 0.2),
    3: (Decimal128("12165.89"), 0.1, 20),
}
"""What the sessions of each client cost: the type of a sum is that of the widest price."""


@pytest.fixture
def live(database: Db, command: Command) -> Db:
    """Three bookings of each of four clients, cut over."""
    database.bookings.insert_many(
        booking(4 * index + number, price=price)
        for number, prices in PRICES.items()
        for index, price in enumerate(prices)
    )
    go_live(command)
    return database


def session_ids(live: Db, number: int) -> list[ObjectId]:
    """The ids of a client's sessions."""
    found = live.bookings.find_one({"clientId": client(number)})
    assert found
    return [each["sessionId"] for each in found["sessions"]]


def write(live: Db, number: int, name: str, *arguments: Any) -> None:
    """Update a client document as the page shows it."""
    assert live.bookings.update_one({"clientId": client(number)}, shown(name, *arguments)).modified_count


@pytest.mark.parametrize("number", PRICES)
def test_added_and_changed_sessions_are_proven(live: Db, command: Command, number: int) -> None:
    """Verify counts the session as booked and as changed since, and finalize ends the migration."""
    write(live, number, "add", {"sessionId": ObjectId(), "price": 0.3, **BOOKED})
    write(live, number, "change", session_ids(live, number)[1], {"status": "$cancelled", "price": 7.7})
    ended = command(*VERIFY)
    report = json.loads(ended.stdout)

    assert (0, 0) == (ended.returncode, report["mismatch_count"]), ended.stdout
    assert "$5 off" in str(live.bookings.find_one({"clientId": client(number)}))
    assert 0 == command(*FINALIZE).returncode


@pytest.mark.parametrize("number", PRICES)
@pytest.mark.parametrize("deleted", [1, 3])
def test_of_deleted_sessions_totals_and_dates_are_right(
    live: Db, command: Command, number: int, deleted: int
) -> None:
    """No total or date is a mismatch, also in a client document without any session left."""
    for each in session_ids(live, number)[:deleted]:
        write(live, number, "remove", each)
    report = json.loads(command(*VERIFY).stdout)

    assert {each["kind"] for each in report["mismatches"]} <= {"missing"}, report["mismatches"]


@pytest.mark.parametrize("number", PRICES)
def test_what_is_added_to_an_empty_document_is_proven(live: Db, command: Command, number: int) -> None:
    """Its dates return with the first session."""
    for each in session_ids(live, number):
        write(live, number, "remove", each)
    write(live, number, "add", {"sessionId": ObjectId(), "price": 5, **BOOKED})
    report = json.loads(command(*VERIFY).stdout)

    assert {each["kind"] for each in report["mismatches"]} <= {"missing"}, report["mismatches"]
    assert {"createdAt", "updatedAt"} <= set(live.bookings.find_one({"clientId": client(number)}) or {})
