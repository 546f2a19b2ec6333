"""A cut-over of a collection that is in use: whatever the application was promised is true afterwards."""

from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Command
from tests.support.booking_lines import booking
from tests.support.failpoints import Step, failpoints
from tests.support.writers import Writers

Db = Database[dict[str, Any]]
Run = Command

PLACES = ("--source", "bookings", "--target", "clients")
CUTOVER = ("cutover", *PLACES, "--yes", "--quiet", "--max-outage", "60s")
AT_REST = (*CUTOVER, "--at-rest")
_ATTEMPTS = 20


@pytest.fixture
def migrated(database: Db, command: Run) -> None:
    """Three hundred bookings of four clients, migrated and verified."""
    database.bookings.insert_many(map(booking, range(300)))
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))


def sessions_of(database: Db) -> dict[Any, Any]:
    """The sessions of the live collection by the booking they were, and old bookings beside them."""
    found: dict[Any, Any] = {}
    for document in database.bookings.find():
        if "sessions" in document:
            found |= {each["legacyBookingId"]: each for each in document["sessions"]}
        else:
            found[document["_id"]] = document
    return found


@pytest.mark.usefixtures("migrated")
def test_what_was_promised_is_true(database: Db, command: Run) -> None:
    """Inserts, updates and deletes at full speed: each that was acknowledged counts, though deletes may end an attempt."""
    codes: list[int] = []
    # So few deletes that none comes in the very moment of the rename, which only --block-all-writes closes.
    with Writers(database.bookings, updated=range(100), deleted=range(100, 120)) as writers:
        while 0 not in codes and len(codes) < _ATTEMPTS:
            codes.append(command(*CUTOVER).returncode)
    live = sessions_of(database)

    assert (0, {0, 5}) == (codes[-1], {0, 5} | set(codes))
    assert writers.inserted <= live.keys()
    assert writers.updated == {key: live[key]["notes"] for key in writers.updated}
    assert writers.deleted.isdisjoint(live)
    assert writers.inserted
    assert writers.updated
    assert writers.deleted


class _At:
    """Acts once, at one step."""

    def __init__(self, step: Step, act: Callable[[], Any]) -> None:
        self._step: Step | None = step
        self._act = act

    def __call__(self, step: Step) -> None:
        """Act if this is the step."""
        if step is self._step:
            self._step = None
            self._act()


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize(
    ("step", "code"),
    [
        (Step.LOCKED, 0),
        (Step.CUTOVER_NOTED, 0),
        (Step.FENCED, 0),
        (Step.CAUGHT_UP, 5),
        (Step.LEGACY_COPIED, 5),
        (Step.PROVEN_AGAIN, 5),
    ],
)
def test_a_delete_at_each_step(database: Db, command: Run, step: Step, code: int) -> None:
    """At rest, a delete before the source is read again is brought in; a later one ends the cut-over, the next brings it in."""
    gone = booking(7)["_id"]
    with failpoints(_At(step, lambda: database.bookings.delete_one({"_id": gone}))):
        first = command(*AT_REST)
        again = command(*AT_REST) if code else first

    assert (code, 0) == (first.returncode, again.returncode), first.stderr + again.stderr
    assert bool(code) == ("--block-all-writes" in first.stderr), first.stderr
    assert gone not in sessions_of(database)
    assert 299 == len(sessions_of(database))


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize(
    "step", [Step.LOCKED, Step.CUTOVER_NOTED, Step.COPIED, Step.FENCED, Step.DRAINED, Step.SETTLED]
)
def test_a_delete_at_each_step_beside_an_application(database: Db, command: Run, step: Step) -> None:
    """Beside an application, a delete at any step up to the swap is brought in, and none ends the cut-over."""
    gone = booking(7)["_id"]
    with failpoints(_At(step, lambda: database.bookings.delete_one({"_id": gone}))):
        done = command(*CUTOVER)

    assert 0 == done.returncode, done.stderr
    assert gone not in sessions_of(database)
    assert 299 == len(sessions_of(database))
