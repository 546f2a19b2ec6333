"""The stream engine, over places in memory."""

from collections.abc import Container, Iterator, Sequence
from typing import Any

import bson
import pytest
from bson.objectid import ObjectId

from booking_migrate.bson.document import CODEC
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.rejection import Rejection
from booking_migrate.errors import UnaccountedBookings
from booking_migrate.events import Advanced, Event, PhaseEnded, PhaseStarted
from booking_migrate.migrate.pipeline import migrate
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.stores.chunks import Chunk, pack, whole_clients
from booking_migrate.stores.ports import CanHold, Replacement, ScannedDocument, stores_any_bson
from tests.support.bookings import ABSENT, CLIENT, raw


class Source:
    """Documents in memory, in the order given."""

    name = "source"

    def __init__(self, documents: Sequence[bytes]) -> None:
        self._documents = documents

    def check(self) -> None:
        """Nothing can be wrong."""

    def estimate_count(self) -> int | None:
        return len(self._documents)

    def scan_by_client(self) -> Iterator[ScannedDocument]:
        return map(ScannedDocument, self._documents)

    def scan_chunks(self, documents: int, *, apart: bool) -> Iterator[Chunk]:  # noqa: ARG002 - the port's signature
        return whole_clients(pack(self.scan_by_client()), documents)

    def scan_client_documents(self) -> Iterator[bytes]:
        return (document for document in self._documents if "sessions" in bson.decode(document, CODEC))

    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        keys = {sort_key(value) for value in ids}
        return (one for one in self._documents if sort_key(bson.decode(one, CODEC)["_id"]) in keys)

    def close(self) -> None:
        """Nothing is open."""


class Target:
    """A target in memory that remembers every batch."""

    name, rejects_name = "target", "rejects"

    def __init__(self) -> None:
        self.batches: list[tuple[int, int, int]] = []
        self.new: list[bytes] = []
        self.calls: list[str] = []
        self.can_store: CanHold = stores_any_bson

    def prepare(self) -> None:
        self.calls.append("prepare")

    def scan_client_documents(self) -> Iterator[bytes]:
        return iter(())

    def scan_clients(self) -> Iterator[Any]:
        return iter(())

    def may_repeat_clients(self) -> bool:
        """Return False: the test writes each client once."""
        return False

    def find_client_documents(self, client_ids: Sequence[Any]) -> Iterator[bytes]:  # noqa: ARG002
        return iter(())

    def join(self, changed: Replacement, removed: Sequence[bytes]) -> None:
        raise AssertionError(f"there is nothing to join: {changed}, {removed}")

    def refuse_taken_ids(self, documents: Sequence[bytes], freed: Container[bytes]) -> None:
        raise AssertionError(f"no _id has passed to another client: {documents}, {freed}")

    def write(
        self,
        new: Sequence[bytes],
        changed: Sequence[Replacement],
        rejected: Sequence[Rejection],
        removed: Sequence[bytes] = (),
    ) -> None:
        self.calls.append("write")
        assert not removed
        self.batches.append((len(new), len(changed), len(rejected)))
        self.new += new

    def finish(self) -> bool:
        self.calls.append("finish")
        return bool(self.new)

    def abandon(self) -> None:
        self.calls.append("abandon")


class Ear:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


def booking(number: int, **changes: Any) -> bytes:
    """A booking of its own id."""
    return raw(_id=ObjectId(f"68b61bd7a4c0bf9eaa{number:06x}"), **changes)


def client(number: int) -> ObjectId:
    """A client's id."""
    return ObjectId(f"68b6134f8e21e1ae68{number:06x}")


def test_a_batch_holds_whole_clients() -> None:
    """A chunk is written at once; it ends between two clients, at about its number of bookings, and one client is never split."""
    documents = [booking(number, clientId=client(number // 5)) for number in range(20)]
    target = Target()

    migrate(MigrationPlan(batch_bookings=6), Source(documents), target)

    assert [(1, 0, 0)] * 4 == target.batches


def test_rejected_documents_do_not_pile_up() -> None:
    """A long stretch of bookings without a client is written piece by piece, even in the middle of a client."""
    stretch = [booking(number, clientId=[CLIENT]) for number in range(1, 26)]
    documents = [booking(0), *stretch, booking(100), booking(101, clientId=ABSENT)]
    target = Target()

    outcome = migrate(MigrationPlan(batch_bookings=10), Source(documents), target)

    assert [(0, 0, 9), (0, 0, 10), (1, 0, 7)] == target.batches
    assert (28, 2, 26) == (outcome.counts.scanned, outcome.counts.migrated, outcome.counts.rejected)
    assert 2 == bson.decode(target.new[0], CODEC)["totalSessions"]


def test_everything_that_may_refuse_comes_before_the_first_write() -> None:
    """The target is prepared once, then written, then finished, and let go in the end."""
    target = Target()

    migrate(MigrationPlan(), Source([booking(1)]), target)

    assert ["prepare", "write", "finish", "abandon"] == target.calls


def test_a_lost_booking_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A booking that is neither migrated nor rejected stops the run before its result appears (invariant 1)."""
    monkeypatch.setattr("booking_migrate.migrate.counts.MigrationCounts.take_flat", lambda *_, **__: None)
    target = Target()

    with pytest.raises(UnaccountedBookings) as caught:
        migrate(MigrationPlan(), Source([booking(1), booking(2)]), target)

    assert (2, 0) == (caught.value.scanned, caught.value.accounted)
    assert ["prepare", "write", "abandon"] == target.calls


def test_the_listener_hears_every_document() -> None:
    """Progress begins with the expected total, advances by each document, rejected ones too, and ends."""
    ear = Ear()
    documents = [booking(number, clientId=client(number // 2)) for number in range(8)]

    migrate(
        MigrationPlan(batch_bookings=3),
        Source([*documents, booking(99, clientId=None)]),
        Target(),
        listener=ear,
    )

    first, *advances, last = ear.events
    assert isinstance(first, PhaseStarted)
    assert (9, PhaseEnded()) == (first.total, last)
    assert 9 == sum(event.documents for event in advances if isinstance(event, Advanced))


def test_samples_do_not_depend_on_the_order_of_reading() -> None:
    """The ids that stand for a reason are the first in MongoDB's order, however they were read."""
    documents = [booking(number, clientId=client(number), price=-1) for number in range(9)]

    forwards = migrate(MigrationPlan(), Source(documents), Target())
    backwards = migrate(MigrationPlan(), Source(documents[::-1]), Target())

    assert forwards.rejections == backwards.rejections
    assert (9, 5) == (forwards.rejections[0].count, len(forwards.rejections[0].sample_ids))
