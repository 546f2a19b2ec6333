"""Every single fault is found and named, in files and in MongoDB; an unharmed result has none."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.runs import workers as pool
from booking_migrate.stores.connection import Connection
from booking_migrate.verify import VerificationPlan, fastpath
from tests.support.crews import take_for_many
from tests.support.mutants import MUTANTS, Mutant
from tests.support.proof import Proof, fill_collections, migrated, verify_files, verify_filled
from tests.support.server import Server


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    return migrated(tmp_path_factory.mktemp("migrated"))


@pytest.fixture(scope="module")
def connection(server: Server) -> Iterator[Connection]:
    one = Connection(server.uri, "verify_mutants")
    yield one
    one.close()
    server.client().drop_database("verify_mutants")


@pytest.fixture
def database(server: Server) -> Database[dict[str, Any]]:
    return server.client()["verify_mutants"]


def test_there_are_enough() -> None:
    """At least forty faults are tried, each under a name of its own."""
    assert len(MUTANTS) >= 40
    assert len(MUTANTS) == len({mutant.name for mutant in MUTANTS})


def test_unharmed_files(proof: Proof, tmp_path: Path) -> None:
    """What the program wrote to files has no mismatch, and every booking is accounted for."""
    outcome, found = verify_files(proof, tmp_path)

    assert [] == found
    counts = outcome.counts
    assert (13, 10, 0, 3) == (counts.scanned, counts.migrated, counts.already_migrated, counts.rejected)


def test_unharmed_collections(
    proof: Proof, database: Database[dict[str, Any]], connection: Connection
) -> None:
    """The same documents in MongoDB have none either."""
    fill_collections(proof, database)
    outcome, found = verify_filled(connection)

    assert [] == found
    assert 0 == outcome.mismatch_count


class Thread:
    """A thread that stands for other processes."""

    def __init__(self, _count: int) -> None:
        self._thread = ThreadPoolExecutor(1)

    def submit(self, work: Callable[..., Any], args: Any, kwargs: Any) -> "Future[Any]":
        return self._thread.submit(work, *args, **kwargs)

    def shutdown(self, *, at_once: bool) -> None:
        self._thread.shutdown(cancel_futures=at_once)


def in_ranges(monkeypatch: pytest.MonkeyPatch) -> VerificationPlan:
    """From now on, a plan by which few clients are checked in ranges, as very many are, by a thread that stands for a process."""
    take_for_many(monkeypatch)
    monkeypatch.setattr(fastpath, "RANGE_DOCUMENTS", 2)
    monkeypatch.setattr(pool, "WorkerGroup", Thread)
    return VerificationPlan(workers=2)


def test_unharmed_ranges(
    proof: Proof,
    database: Database[dict[str, Any]],
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Checked in ranges, the same documents have no mismatch either, and the same counts."""
    fill_collections(proof, database)
    alone, _found = verify_filled(connection)
    outcome, found = verify_filled(connection, in_ranges(monkeypatch))

    assert [] == found
    assert (alone.counts, alone.rejections) == (outcome.counts, outcome.rejections)
    assert alone.clients_checked == outcome.clients_checked


_IN_COLLECTIONS = [each for each in MUTANTS if not each.in_files_only]
_HALF = [
    each if number % 2 == 0 else pytest.param(each, marks=pytest.mark.slow)
    for number, each in enumerate(_IN_COLLECTIONS)
]
"""Every fault is found in files by default; collections differ in what is read, and how."""


@pytest.mark.parametrize("mutant", _HALF, ids=lambda mutant: mutant.name)
def test_mutant_in_collections(
    proof: Proof,
    database: Database[dict[str, Any]],
    connection: Connection,
    mutant: Mutant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fault in a collection is found and named, and nothing else is found in ranges."""
    harmed = proof.copy()
    mutant.harm(harmed)
    fill_collections(harmed, database)
    _outcome, alone = verify_filled(connection)
    _outcome, found = verify_filled(connection, in_ranges(monkeypatch))

    assert (mutant.kind, mutant.field) in {(each.kind.value, each.field) for each in alone}
    assert alone == found


def test_declined_client_is_not_checked_by_the_fast_path_again(
    proof: Proof,
    database: Database[dict[str, Any]],
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that a worker's fast path declined goes straight to the full check."""
    harmed = proof.copy()
    MUTANTS[0].harm(harmed)
    fill_collections(harmed, database)
    _outcome, alone = verify_filled(connection)
    offered: list[int] = []
    monkeypatch.setattr(fastpath.FastPath, "check", lambda _self, pairs: offered.append(len(pairs)))
    _outcome, found = verify_filled(connection, in_ranges(monkeypatch))

    assert alone
    assert (alone, []) == (found, offered)


def test_workers_find_the_same(proof: Proof, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes find what one does, in the same order."""
    take_for_many(monkeypatch)
    harmed = proof.copy()
    for mutant in MUTANTS[:12]:
        mutant.harm(harmed)
    alone = verify_files(harmed, tmp_path, VerificationPlan(batch_bookings=2))[1]

    assert alone
    assert alone == verify_files(harmed, tmp_path, VerificationPlan(batch_bookings=2, workers=2))[1]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_in_files(proof: Proof, tmp_path: Path, mutant: Mutant) -> None:
    """A fault in a file is found and named."""
    harmed = proof.copy()
    mutant.harm(harmed)
    _outcome, found = verify_files(harmed, tmp_path)

    assert (mutant.kind, mutant.field) in {(each.kind.value, each.field) for each in found}
