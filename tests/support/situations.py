"""Bad moments of an operations engineer, each provoked with the real program on real servers.

The texts are golden
files, because from them alone the next right command has to be clear.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bson.int64 import Int64
from pymongo.database import Database

from booking_migrate.cli.signals import HangUp
from booking_migrate.stores.mongo import retry, scan
from tests.support.booking_lines import SOUND, booking, client
from tests.support.fail_commands import failing
from tests.support.failpoints import Step, failpoints
from tests.support.scenes import Scene, Situation, entering

Db = Database[dict[str, Any]]
SITUATIONS: dict[str, Situation] = {}
"""On a replica set without access control."""

situation = entering(SITUATIONS)

REJECTED = booking(28, duration=5)
CUTOVER = ("cutover", "--yes")


@situation("01-wrong-collection")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.show("migrate", "--source", "bokings")


@situation("02-wrong-database")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.show("migrate", "--db", f"{scene.database.name}x")


@situation("10-server-away-in-the-middle")
def _(scene: Scene) -> None:
    scene.bookings(40)
    with _impatient(), failing(scene.server, ["getMore"], {"closeConnection": True}, times=1000):
        scene.show("migrate", "--batch-size", "5")


@situation("11-server-away-at-the-start")
def _(scene: Scene) -> None:
    scene.show("migrate", "--uri", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=1")


@situation("12-lock-held")
def _(scene: Scene) -> None:
    scene.bookings()
    with scene.at_work(Step.BATCH_WRITTEN, "migrate"):
        scene.show("migrate")


@situation("13-killed-run")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.killed(Step.BATCH_WRITTEN, "migrate")
    _expire(scene)
    scene.show("status")


@situation("14-killed-run-with-options")
def _(scene: Scene) -> None:
    scene.bookings(8, REJECTED)
    scene.killed(Step.RANGE_NOTED, "migrate", "--accept", "duration-too-short")
    _expire(scene)
    scene.show("status")
    scene.show("migrate")


@situation("15-verify-of-a-killed-run")
def _(scene: Scene) -> None:
    scene.bookings(40)
    scene.killed(Step.BATCH_WRITTEN, "migrate", "--batch-size", "5")
    _expire(scene)
    scene.show("verify", "--recheck", "0")


@situation("16-verify-while-migrate-is-at-work")
def _(scene: Scene) -> None:
    scene.bookings(40)
    with scene.at_work(Step.BATCH_WRITTEN, "migrate", "--batch-size", "5"):
        scene.show("verify", "--recheck", "0")


@situation("17-the-application-wrote-after-migrate")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate")
    scene.database.bookings.update_one({}, {"$set": {"status": "cancelled"}})
    scene.show("verify", "--recheck", "0")


@situation("18-cutover-after-that")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate")
    scene.database.bookings.update_one({}, {"$set": {"status": "cancelled"}})
    scene.database.bookings.delete_one({"_id": booking(5)["_id"]})
    scene.done("verify", "--recheck", "0")
    scene.show(*CUTOVER, "--max-outage", "30s")


@situation("20-cutover-after-damage")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate")
    scene.database.bookings_consolidated.update_one({}, {"$set": {"sessions.0.notes": "damaged"}})
    scene.show("verify", "--recheck", "0")
    scene.show(*CUTOVER)


@situation("20-conflicts-at-the-cutover")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate")
    scene.database.bookings_consolidated.update_one({}, {"$set": {"sessions.0.notes": "other"}})
    scene.show("migrate")
    scene.show(*CUTOVER)


@situation("21-rejected-bookings-at-the-cutover")
def _(scene: Scene) -> None:
    scene.bookings(8, REJECTED)
    scene.done("migrate")
    scene.done("verify")
    scene.show(*CUTOVER)


def _killed_cutover(scene: Scene) -> None:
    scene.bookings(8, REJECTED)
    scene.done("migrate")
    scene.done("verify")
    scene.killed(Step.FENCED, *CUTOVER, "--rejected", "carry")
    _expire(scene)


@situation("22-cutover-killed-while-writes-are-refused")
def _(scene: Scene) -> None:
    _killed_cutover(scene)
    scene.show("status")


@situation("23-migrate-after-a-killed-cutover")
def _(scene: Scene) -> None:
    _killed_cutover(scene)
    scene.show("migrate")


@situation("23-migrate-after-the-cutover")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate")
    scene.done("verify")
    scene.done(*CUTOVER)
    scene.show("migrate")


@situation("24-terminal-closed-in-a-cutover")
def _(scene: Scene) -> None:
    _signalled(scene, HangUp())


@situation("25-ctrl-c-in-a-cutover")
def _(scene: Scene) -> None:
    _signalled(scene, KeyboardInterrupt())


def _signalled(scene: Scene, signal: BaseException) -> None:
    """Show a cut-over that a signal ends while writes are refused."""
    scene.bookings()
    scene.done("migrate")
    scene.done("verify")

    def end(step: Step) -> None:
        if step is Step.FENCED:
            raise signal

    with failpoints(end):
        scene.show(*CUTOVER)
    scene.show("status")


@situation("26-hook-before-cutover-fails")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate")
    scene.done("verify")
    config = scene.folder / "booking-migrate.toml"
    config.write_text('[hooks]\nbefore_cutover = "false"\n', encoding="utf-8")
    scene.show(*CUTOVER, "--config", str(config))


@situation("27-block-all-writes-without-access-control")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate")
    scene.done("verify")
    scene.show(*CUTOVER, "--block-all-writes")


@situation("28-plan-changed")
def _(scene: Scene) -> None:
    scene.bookings()
    plan = str(scene.folder / "plan.json")
    scene.done("dry-run", "--plan", plan)
    scene.show("migrate", "--plan", plan, "--max-document-size", "4MiB")


@situation("29-target-holds-something-else")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.database.bookings_consolidated.insert_one({"_id": 1, "name": "of a colleague"})
    scene.show("migrate")


@situation("30-two-client-documents-of-one-client")
def _(scene: Scene) -> None:
    scene.bookings()
    for number in (1, 2):
        scene.database.bookings.insert_one({"_id": number, "clientId": client(1), "sessions": []})
    scene.show("migrate")


@situation("31-validator-of-the-target")
def _(scene: Scene) -> None:
    scene.bookings()
    schema = {"$jsonSchema": {"required": ["phone"], "properties": {"phone": {"bsonType": "string"}}}}
    scene.database.create_collection("bookings_consolidated", validator=schema)
    scene.show("migrate")


@situation("32-validator-in-place")
def _(scene: Scene) -> None:
    schema = {"$jsonSchema": {"required": ["expertId"]}}
    scene.database.create_collection("bookings", validator=schema)
    scene.bookings()
    scene.show("migrate", "--in-place")


@situation("33-unique-index-on-the-address")
def _(scene: Scene) -> None:
    same = [booking(number, clientEmail="same@example.org") for number in range(8)]
    scene.database.bookings.insert_many(same)
    scene.database.bookings_consolidated.create_index("clientEmail", unique=True, name="by_email")
    scene.show("migrate")


def _killed_in_place(scene: Scene) -> None:
    scene.bookings(40)
    scene.killed(Step.ARCHIVED, "migrate", "--in-place", "--without-transactions", "--batch-size", "5")
    _expire(scene)


@situation("36-finalize-after-a-killed-run-in-place")
def _(scene: Scene) -> None:
    _killed_in_place(scene)
    scene.show("finalize", "--yes")


@situation("37-in-place-forgotten-on-resume")
def _(scene: Scene) -> None:
    _killed_in_place(scene)
    scene.show("migrate")


@situation("38-nothing-to-roll-back")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.show("rollback", "--yes")
    scene.show("status")


@situation("38-rollback-of-a-run-in-place")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate", "--in-place", "--archive", "bookings_old")
    scene.show("rollback", "--yes")
    scene.show("verify", "--in-place")
    scene.show("status")


def _two_runs(scene: Scene) -> str:
    scene.bookings()
    scene.done("migrate")
    first = str(scene.database.booking_migrate_runs.distinct("_id")[0])
    scene.database.bookings.insert_many([booking(number) for number in range(8, 12)])
    scene.done("migrate")
    return first


@situation("39-the-older-of-two-runs")
def _(scene: Scene) -> None:
    scene.show("rollback", "--yes", "--run", _two_runs(scene))


@situation("40-rollback-twice-with-two-runs")
def _(scene: Scene) -> None:
    _two_runs(scene)
    scene.show("rollback", "--yes")
    scene.show("rollback", "--yes")


def _cut_over(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate")
    scene.done("verify")
    scene.done(*CUTOVER)


@situation("41-kept-copy-dropped")
def _(scene: Scene) -> None:
    _cut_over(scene)
    (kept,) = (name for name in scene.database.list_collection_names() if "_legacy_" in name)
    scene.database.drop_collection(kept)
    scene.show("rollback", "--yes")


@situation("42-explain-after-the-cutover")
def _(scene: Scene) -> None:
    _cut_over(scene)
    scene.show("explain", str(booking(0)["_id"]))


@situation("44-finalized-then-rollback")
def _(scene: Scene) -> None:
    _cut_over(scene)
    scene.done("finalize", "--yes")
    scene.show("rollback", "--yes")


@situation("46-target-file-exists")
def _(scene: Scene) -> None:
    source, target = scene.folder / "in.jsonl", scene.folder / "out.jsonl"
    source.write_text(SOUND, encoding="utf-8")
    target.write_text('{"name": "of a colleague"}\n', encoding="utf-8")
    scene.show("migrate", "--source", str(source), "--target", str(target))


@contextmanager
def _impatient() -> Iterator[None]:
    """Let patience end at once, and read few documents at a time."""
    kept = retry.RETRY_TIMEOUT, scan._BATCH_SIZE
    retry.RETRY_TIMEOUT, scan._BATCH_SIZE = 0.3, 5
    try:
        yield
    finally:
        retry.RETRY_TIMEOUT, scan._BATCH_SIZE = kept


def _expire(scene: Scene) -> None:
    """Let the lock of a killed process expire: that takes a minute otherwise."""
    scene.database.booking_migrate_locks.update_many({}, [{"$set": {"until": {"$toDate": Int64(0)}}}])
