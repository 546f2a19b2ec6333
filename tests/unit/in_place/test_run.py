"""How a migration in place goes about it: batches, contention, pace, and counts that can be kept."""

from collections.abc import Sequence
from typing import Any

import bson
import pytest

from booking_migrate.domain.consolidate import ClientCase, consolidate
from booking_migrate.errors import Contended
from booking_migrate.in_place.passes import AdaptiveSize, batches, bisect_on_conflict
from booking_migrate.migrate.counts import MigrationCounts
from booking_migrate.runs.throttle import Pace
from booking_migrate.stores.in_place import PendingDocument
from tests.support.booking_lines import client
from tests.support.bookings import session_of


def _waiting(*clients: Any, size: int = 100) -> list[PendingDocument]:
    return [PendingDocument.of(client_id, number, size) for number, client_id in enumerate(clients)]


def test_a_client_is_never_split() -> None:
    """A batch ends after a whole client, however many bookings that has."""
    found = _waiting("a", "b", "b", "b", "b", "c")

    assert [["a", "b"], ["c"]] == [batch.clients for batch in batches(found, AdaptiveSize(lambda: 2))]


def test_what_has_no_client_goes_apart() -> None:
    """Documents without a client stand in no batch of clients."""
    found = batches(_waiting(None, "a", [1], "a", {}), AdaptiveSize(lambda: 100))

    assert [(["a"], []), ([], [0, 2, 4])] == [(batch.clients, batch.strays) for batch in found]


def test_batches_adapt() -> None:
    """Slow batches make smaller ones, quick batches larger ones, within limits."""
    measure = AdaptiveSize(lambda: 100_000)
    clients = _waiting(*map(str, range(1000)), size=4096)

    def first() -> int:
        return next(iter(batches(clients, measure))).documents

    usual = first()
    measure.learn(2.0)
    smaller = first()
    for _ in range(10):
        measure.learn(2.0)
    least = first()
    for _ in range(20):
        measure.learn(0.01)
    most = first()

    assert (usual // 2, 4, 512) == (smaller, least, most)


def test_contended_clients_are_done_apart() -> None:
    """Where somebody else writes, the others are done without it, and it is told that it could not be done."""
    done: list[Sequence[Any]] = []

    def attempt(clients: Sequence[Any]) -> int:
        if 5 in clients:
            raise Contended("bookings")
        done.append(clients)
        return len(clients)

    pauses: list[float] = []
    results = list(bisect_on_conflict(range(8), attempt, pause=pauses.append))

    assert [([0, 1, 2, 3], 4), ([4], 1), ([5], None), ([6, 7], 2)] == [
        (list(clients), result) for clients, result in results
    ]
    assert sorted(pauses) == pauses
    assert 1.0 == pauses[-1]
    assert [[0, 1, 2, 3], [4], [6, 7]] == [list(each) for each in sorted(done, key=min)]


def test_the_pace_is_kept() -> None:
    """So many bookings a second on average, and no burst after a pause."""
    time = [0.0]

    pace = Pace(100, clock=lambda: time[0])

    def move(bookings: int) -> None:
        time[0] += pace.delay
        pace.take(bookings)

    for _ in range(5):
        move(50)
    steady = time[0]
    time[0] += 60
    move(50)
    move(50)

    assert pytest.approx(2.0) == steady
    assert pytest.approx(62.5) == time[0]
    assert (25, 1) == (pace.batch, Pace(1).batch)


def test_counts_survive_being_saved() -> None:
    """A tally that was saved in BSON and added to another one counts the same."""
    sessions = [
        session_of(price=price, currency=currency) for price, currency in ((2**62, "INR"), (1.5, "USD"))
    ]
    tally = MigrationCounts()
    for number, session in enumerate(sessions):
        case = ClientCase([session, session_of(clientEmail="a@b.c", _id=number)])
        tally.scanned += 2
        tally.take(client(number), consolidate(case))
    restored = MigrationCounts()
    for _ in range(2):
        restored.add(bson.decode(bson.encode({"saved": tally.saved()}))["saved"])
    restored.check()

    assert [2 * value for value in (tally.scanned, tally.counts(changed=True).clients)] == [
        restored.scanned,
        restored.counts(changed=True).clients,
    ]
    assert {name: 2 * amount for name, amount in tally.spent().items()} == restored.spent()
    assert [4, 2] == [finding.count for finding in restored.findings()]
    assert tally.findings()[0].sample_ids[:1] == restored.findings()[0].sample_ids[:1]
