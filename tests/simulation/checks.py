"""What must hold at the end of a schedule, by an oracle of its own: it only compares ids, clients and notes."""

from collections.abc import Mapping
from typing import Any

from bson.objectid import ObjectId

from booking_migrate.cutover.fencing import LiveReport
from booking_migrate.stores.journal import RunState
from booking_migrate.stores.own_collections import kept_copy
from tests.simulation.application import FOREIGN_FIELD, Application, Foreign
from tests.simulation.world import SOURCE, TARGET, Violation, World, fields, timestamp

RUN = "r1"
Found = dict[ObjectId, tuple[Any, Any]]
"""Client and notes of bookings."""


def check(world: World, application: Application, report: LiveReport | None) -> None:
    """Check what must hold when a schedule has ended.

    Args:
        world: the database.
        application: what was acknowledged.
        report: that of the process that swapped, if it came to an end.

    Raises:
        Violation: it does not.
    """
    if world.problem is not None:
        raise Violation(world.problem)
    if world.is_fenced:
        raise Violation("the fence stands")
    run = world.runs[RUN]
    if not world.is_swapped:
        if not application.foreign and not application.foreign_copies:
            raise Violation("the cut-over was stopped, and no other program wrote to the target")
        if run.state is not RunState.DONE:
            raise Violation(f"the cut-over was stopped, and the run is {run.state}")
        _equal("source", world.collections[SOURCE].documents, application.ledger, set())
        return
    if run.state is not RunState.CUT_OVER:
        raise Violation("the journal does not have the cut-over as complete")
    if run.fence_time is None:
        raise Violation("the journal does not have the time of the fence")
    copy = world.collections[kept_copy(run.source, run.run_id)].documents
    loose = {key for key, time in application.loose.items() if timestamp(time) > run.fence_time}
    foreign = [each for each in application.foreign if timestamp(each.time) > run.fence_time]
    copies = {key for time, key in application.foreign_copies if timestamp(time) > run.fence_time}
    _equal("kept copy", copy, application.ledger, loose | copies)
    # What passed the fence is derived again from the copy, and the report names what others did to that.
    _check_live(world, application, loose | copies, {each.client for each in foreign})
    if report is not None:
        unnamed = (
            loose - {*report.late_updates},
            {each.document_id for each in foreign if not _is_derived_again(world, each)} - {*report.foreign},
            {key for key in copies if copy.get(key) != application.ledger.get(key)}
            - {*report.foreign_copies},
        )
        if any(unnamed):
            raise Violation(f"the report does not name what passed the fence: {unnamed}")


def _is_derived_again(world: World, foreign: Foreign) -> bool:
    """Return whether the program wrote a document itself after another one had, and before the swap."""
    return any(
        entry.document_id == foreign.document_id and entry.time > timestamp(foreign.time)
        for entry in world.oplog
        if entry.name == TARGET
    )


def _check_live(world: World, application: Application, loose: set[ObjectId], excused: set[ObjectId]) -> None:
    """Check that the live collection has a session of every booking, once, and of no other.

    Args:
        world: the database.
        application: what was acknowledged.
        loose: the bookings that were updated past the fence: the version before is accepted too.
        excused: the clients whose document another program wrote between the fence and the swap, which is reported.
    """
    expected: Found = {}
    for key, raw in application.ledger.items():
        values = fields(raw)
        if not isinstance(values["scheduledDate"], str):
            expected[key] = (values["clientId"], values["notes"])
    found, booked = _sessions(world, excused)
    for key in sorted({*expected, *found} - loose):
        owners = {pair[0] for pair in (expected.get(key), found.get(key)) if pair is not None}
        if not owners & excused and expected.get(key) != found.get(key):
            raise Violation(f"live {key}: expected {expected.get(key)}, found {found.get(key)}")
    lost = application.booked.keys() - booked
    if lost:
        raise Violation(f"sessions of the new application are lost: {sorted(lost)}")


def _sessions(world: World, excused: set[ObjectId]) -> tuple[Found, set[ObjectId]]:
    """Return the sessions of bookings in the live collection, and the ids of those that the new application booked."""
    found: Found = {}
    booked: set[ObjectId] = set()
    clients: set[Any] = set()
    for raw in world.collections[SOURCE].documents.values():
        values = fields(raw)
        client = values["clientId"]
        if FOREIGN_FIELD in values and client not in excused:
            raise Violation(f"what another program did to the document of {client} is live")
        if "sessions" not in values or client in clients:
            raise Violation(f"{client} has two documents, or one of the old shape")
        clients.add(client)
        for session in values["sessions"]:
            key = session.get("legacyBookingId")
            if key is None:
                booked.add(session["sessionId"])
            elif key in found:
                raise Violation(f"{key} is there twice")
            else:
                found[key] = (client, session["notes"])
    return found, booked


def _equal(
    name: str, found: Mapping[ObjectId, bytes], expected: Mapping[ObjectId, bytes], loose: set[ObjectId]
) -> None:
    for key in sorted({*found, *expected} - loose):
        if found.get(key) != expected.get(key):
            pair = [
                None if raw is None else fields(raw)["notes"] for raw in (expected.get(key), found.get(key))
            ]
            raise Violation(f"{name} {key}: expected {pair[0]}, found {pair[1]}")
