"""A fault in the slicer that migrate and verify share: both agree on the wrong document, and verify fails all the same."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId
from pymongo.database import Database
from typer.testing import CliRunner, Result

from booking_migrate.bson import layout as slicer
from booking_migrate.bson.document import CODEC
from booking_migrate.cli.app import app
from booking_migrate.errors import SlicingFault
from booking_migrate.fastpath import flat
from booking_migrate.migrate import batches
from booking_migrate.runs import workers as pool
from booking_migrate.stores.connection import Connection
from booking_migrate.verify import VerificationPlan, fastpath
from tests.scenarios.test_verify_mutants import Thread
from tests.support.bookings import ABSENT, a_booking
from tests.support.crews import take_for_many
from tests.support.proof import Proof, read, verify_collections
from tests.support.server import Server

Patch = Callable[[pytest.MonkeyPatch], None]


def _bookings() -> Iterator[dict[str, Any]]:
    """Flat bookings of two layouts, two clients with three each."""
    for number in range(6):
        yield a_booking(
            _id=ObjectId(f"68b61bd7a4c0bf9eaa{number:06x}"),
            clientId=ObjectId(f"{number // 3:024x}"),
            createdAt=DatetimeMS(1_756_000_000_000 + number),
            updatedAt=DatetimeMS(1_757_000_000_000 + number),
            price=10 + number,
            notes=ABSENT if number % 2 else "some",
        )


def _with_layout(change: Callable[[slicer.Layout], slicer.Layout]) -> Patch:
    """Change every layout that the slicer learns."""
    layout_of = slicer.layout_of

    def changed(*arguments: Any) -> slicer.Layout | None:
        layout = layout_of(*arguments)
        return None if layout is None else change(layout)

    return lambda monkeypatch: monkeypatch.setattr(slicer, "layout_of", changed)


def _without_cut(name: str) -> Patch:
    layout_of = slicer.layout_of
    return lambda monkeypatch: monkeypatch.setattr(
        slicer, "layout_of", lambda raw, cut, wanted: layout_of(raw, cut - {name}, wanted)
    )


def _with_function(name: str, change: Callable[[Any], Any], *holders: Any) -> Patch:
    """Change what a function of the slicer returns, wherever both users find it."""
    function = getattr(holders[0], name)

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        for holder in holders:
            monkeypatch.setattr(holder, name, lambda *arguments: change(function(*arguments)))

    return patch


def _exchanged(one: str, other: str) -> Callable[[slicer.Layout], slicer.Layout]:
    return lambda layout: replace(
        layout, place={**layout.place, one: layout.place[other], other: layout.place[one]}
    )


def _rotated(columns: Sequence[list[Any]]) -> list[list[Any]]:
    """The last column, shifted by one row."""
    return [*columns[:-1], [*columns[-1][1:], *columns[-1][:1]]]


FAULTS: dict[str, Patch] = {
    "a stretch of fields is lost": _with_layout(lambda layout: replace(layout, kept=layout.kept[:-1])),
    "stretches change places": _with_layout(lambda layout: replace(layout, kept=layout.kept[::-1])),
    "dates change places": _with_layout(_exchanged("createdAt", "updatedAt")),
    "strings change places": _with_layout(_exchanged("clientUserId", "expertUserId")),
    "a field stays that is to be cut out": _without_cut("__v"),
    "dates are read wrongly": _with_function(
        "whole_numbers", lambda dates: [date + 1 for date in dates], slicer.LayoutGroup
    ),
    "prices are read wrongly": _with_function(
        "decoded_numbers", lambda prices: [price + 1 for price in prices], slicer.LayoutGroup
    ),
    "rows of several layouts are merged wrongly": _with_function("merge_columns", _rotated, flat, fastpath),
    "numbers become doubles": _with_function(
        "decoded_numbers", lambda prices: [float(price) for price in prices], slicer.LayoutGroup
    ),
}


@contextmanager
def _no_layouts_known() -> Iterator[None]:
    """Forget what both sides have learned about layouts, before and after."""
    caches = (batches._clients_of, fastpath._fast_path_of)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture(params=FAULTS, ids=str)
def fault(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fault in the slicer that both sides share from now on."""
    with _no_layouts_known():
        FAULTS[request.param](monkeypatch)
        yield request.param


def _run(folder: Path, command: str, *options: str) -> Result:
    places = ("--source", str(folder / "bookings.bson"), "--target", str(folder / "clients.bson"))
    return CliRunner().invoke(app, [command, *places, "--json", *options])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    dump = b"".join(bson.encode(booking, codec_options=CODEC) for booking in _bookings())
    tmp_path.joinpath("bookings.bson").write_bytes(dump)
    return tmp_path


def test_right_slices_are_proven(folder: Path) -> None:
    """Without a fault the bookings are migrated and proven."""
    with _no_layouts_known():
        assert [0, 0] == [_run(folder, command).exit_code for command in ("migrate", "verify")]


def test_fault_that_both_sides_share_is_caught(folder: Path, fault: str) -> None:
    """Verify fails with exit code 1, names the booking and the field, and proves nothing."""
    assert 0 == _run(folder, "migrate").exit_code, fault
    ended = _run(folder, "verify")

    assert 1 == ended.exit_code
    error = json.loads(ended.stdout)["error"]
    assert "SlicingFault" == error["kind"]
    assert "nothing is proven" in error["message"]


def test_both_sides_agree_without_the_check(
    folder: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fault makes wrong documents that the fast path alone would call right, so the check is what catches it."""
    assert 0 == _run(folder, "migrate").exit_code, fault
    monkeypatch.setattr(fastpath, "_check_slices", lambda *_arguments: None)

    assert 0 == _run(folder, "verify").exit_code


def test_fault_is_caught_in_ranges(
    server: Server,
    database: Database[dict[str, Any]],
    folder: Path,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker process that finds the fault ends the verification, too."""
    assert 0 == _run(folder, "migrate").exit_code, fault
    target = read(folder.joinpath("clients.bson").read_bytes())
    proof = Proof([*_bookings()], target, [], [], [])
    take_for_many(monkeypatch)
    monkeypatch.setattr(pool, "WorkerGroup", Thread)
    connection = Connection(server.uri, database.name)
    with pytest.raises(SlicingFault):
        verify_collections(proof, database, connection, VerificationPlan(workers=2))
    connection.close()
