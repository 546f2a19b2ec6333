"""Bad moments around a running command: paused from another terminal, asked wrongly, short of disk, beside deletes."""

from typing import Any

import pytest
from bson.int64 import Int64

from booking_migrate.stores.destination import Disk
from booking_migrate.stores.mongo.inspection import MongoInspector
from tests.support.booking_lines import booking
from tests.support.fail_commands import failing
from tests.support.failpoints import Step, failpoints
from tests.support.scenes import Scene, Situation, entering

CONTROL: dict[str, Situation] = {}
"""On a replica set without access control."""

situation = entering(CONTROL)

_CUTOVER = ("cutover", "--yes")


def _deleting(scene: Scene, step: Step) -> Any:
    """Have the application delete a booking when the cut-over has come to a step."""

    def act(reached: Step) -> None:
        if reached is step:
            scene.database.bookings.delete_one({"_id": booking(5)["_id"]})

    return failpoints(act)


@situation("19-the-application-deletes-in-a-cutover")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate")
    scene.done("verify")
    with _deleting(scene, Step.LEGACY_COPIED):
        scene.show(*_CUTOVER, "--at-rest")
    scene.show("status")
    with _deleting(scene, Step.FENCED):
        scene.show(*_CUTOVER, "--max-outage", "30s")


@situation("34-disk-too-small")
def _(scene: Scene) -> None:
    scene.bookings(200)
    with pytest.MonkeyPatch.context() as patched:
        # What the server says of its disk: a small one is not to be had.
        patched.setattr(MongoInspector, "disk", lambda _: Disk(10_000_000, 9_999_900))
        # A young server's reaches back for seconds only.
        patched.setattr(MongoInspector, "oplog_seconds", lambda _: 10_000.0)
        scene.show("dry-run")


@situation("35-disk-full")
def _(scene: Scene) -> None:
    scene.bookings()
    full = {"errorCode": 14031, "namespace": f"{scene.database.name}.bookings_consolidated"}
    with failing(scene.server, ["bulkWrite", "insert"], full):
        scene.show("migrate")
    scene.show("status")
    scene.show("migrate")


@situation("47-paused-from-another-terminal")
def _(scene: Scene) -> None:
    scene.bookings()
    with scene.at_work(Step.BATCH_WRITTEN, "migrate"):
        scene.show("control", "pause")
        scene.show("control", "set", "max-rate=2000")
        scene.show("status")
        scene.show("control", "pause")
        scene.show("control", "resume")


@situation("48-paused-and-killed")
def _(scene: Scene) -> None:
    scene.bookings(40)
    scene.killed(Step.BATCH_WRITTEN, "migrate", "--batch-size", "5")
    scene.database.booking_migrate_locks.update_many({}, [{"$set": {"until": {"$toDate": Int64(0)}}}])
    scene.show("control", "pause")
    scene.show("status")
    scene.show("control", "resume")


@situation("49-control-asked-wrongly")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.show("control", "pause")
    scene.show("control", "set", "max_rate=fast")
    scene.show("control", "set", "max-rate=fast", "max-lag=10", "workers=many")
    scene.show("control", "set")
    with scene.at_work(Step.BATCH_WRITTEN, "migrate", "--max-rate", "2000"):
        scene.show("control", "set", "workers=4")
    scene.done("migrate", "--target", "others")
    scene.show("control", "pause", "--run", "unknown")
