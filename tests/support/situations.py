"""Bad moments of an operations engineer, each provoked with the real program on real servers.

A situation is a function of a `Scene`: what it sets up is not shown, what it gives to `Scene.show` is. The texts are golden
files, because from them alone the next right command has to be clear.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bson.int64 import Int64
from pymongo.database import Database
from typer.testing import CliRunner

from booking_migrate.cli.app import app
from booking_migrate.cli.signals import HangUp
from booking_migrate.stores.mongo import retry, scan
from tests.support.booking_lines import SOUND, booking, client
from tests.support.fail_commands import failing
from tests.support.failpoints import Step, failpoints
from tests.support.killed import killed_at, stopped_at
from tests.support.server import Server, environment_of

Db = Database[dict[str, Any]]
_SETTLED: tuple[tuple[str, str], ...] = (
    # On a slow machine.
    (r"(?m)^(waiting for|waited \d+ s for) .*\n", ""),
    (r"\d{8}T\d{6}Z-[0-9a-f]{6}", "20261123T151100Z-ab12cd"),
    (r"test_[0-9a-f]{16}", "shop"),
    (r"127\.0\.0\.1:(?!1\b)\d+", "127.0.0.1:27017"),
    # A line may end behind the day.
    (r"\d{4}-\d\d-\d\d(?=\n\d\d:)", "2026-11-23"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( UTC|Z)?", "2026-11-23 15:11:00 UTC"),
    (r"\d{4}-\d\d-\d\d(?=\n)", "2026-11-23"),
    (r"\b\d\d:\d\d:\d\d( UTC)?", "15:11:00 UTC"),
    (r"by \S+ on \S+, process \d+", "by ann on machine, process 4711"),
    (r"\(\S+@\S+, process \d+\)|by \S+ on \S+ \(process \d+\)", "(ann@machine, process 4711)"),
    (r"\b\d+(\.\d+)? (s|ms)\b", "1 s"),
    (r"\b\d+(\.\d+)? (B|KiB|MiB|GiB)\b", r"1 \2"),
    (r"[\d,]+/s\b", "100/s"),
    (r"attempts: \d+", "attempts: 1"),
    (r"behind the fence: \d+", "behind the fence: 0"),
)
"""What is other each time, and what stands in its place."""


@dataclass
class Scene:
    """A database, and the program on it."""

    server: Server
    database: Db
    folder: Path
    uri: str = ""
    shown: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that name the server and the database."""
        return {**environment_of(self.uri or self.server.uri, self.database.name), "COLUMNS": "120"}

    def run(self, *arguments: str, env: Mapping[str, str | None] | None = None) -> tuple[int, str]:
        """Run the program to its end; return its exit code and what is on the screen."""
        variables = {**dict.fromkeys(os.environ, None), **self.environment, **(env or {})}
        result = CliRunner().invoke(app, list(arguments), env=variables, prog_name="booking-migrate")
        return result.exit_code, result.output

    def done(self, *arguments: str) -> None:
        """Run a command that is only there to bring about the situation."""
        code, output = self.run(*arguments)
        assert code in (0, 3), output

    def show(self, *arguments: str, env: Mapping[str, str | None] | None = None) -> None:
        """Run a command whose output is the situation."""
        code, output = self.run(*arguments, env=env)
        self.shown.append(f"$ booking-migrate {' '.join(arguments)}\n{output.rstrip()}\n[exit code {code}]\n")

    def killed(self, step: Step, *arguments: str) -> None:
        """Kill the program at a step."""
        killed_at(step, 1, self.environment, *arguments)

    @contextmanager
    def at_work(self, step: Step, *arguments: str) -> Iterator[None]:
        """Have another process wait at a step while the context lasts."""
        gate = self.folder / "gate"
        process = stopped_at(step, self.environment, gate, *arguments)
        try:
            yield
        finally:
            process.kill()
            process.communicate()

    def settled(self) -> str:
        """The texts, with what is other each time made the same."""
        text = "\n".join(self.shown).replace(str(self.folder), "/home/ann")
        for pattern, stands in _SETTLED:
            text = re.sub(pattern, stands, text)
        return text

    def bookings(self, count: int = 8, *more: dict[str, Any]) -> None:
        """Put bookings into the source."""
        self.database.bookings.insert_many([*map(booking, range(count)), *more])


Situation = Callable[[Scene], None]
SITUATIONS: dict[str, Situation] = {}
"""By the name of their golden file, on a replica set without access control."""

GUARDED: dict[str, Situation] = {}
"""The same, with access control: `Scene.uri` is that of an administrator."""

STANDALONE: dict[str, Situation] = {}


def _situation(name: str, table: dict[str, Situation] = SITUATIONS) -> Callable[[Situation], Situation]:
    def keep(situation: Situation) -> Situation:
        table[name] = situation
        return situation

    return keep


REJECTED = booking(28, duration=5)
CUTOVER = ("cutover", "--yes")


@_situation("01-wrong-collection")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.show("migrate", "--source", "bokings")


@_situation("02-wrong-database")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.show("migrate", "--db", f"{scene.database.name}x")


@_situation("03-no-database")
def _(scene: Scene) -> None:
    scene.show("migrate", env={"BOOKING_MIGRATE_DB": None})


@_situation("10-server-away-in-the-middle")
def _(scene: Scene) -> None:
    scene.bookings(40)
    with _impatient(), failing(scene.server, 1000, ["getMore"], {"closeConnection": True}):
        scene.show("migrate", "--batch-size", "5")


@_situation("11-server-away-at-the-start")
def _(scene: Scene) -> None:
    scene.show("migrate", "--uri", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=1")


@_situation("12-lock-held")
def _(scene: Scene) -> None:
    scene.bookings()
    with scene.at_work(Step.BATCH_WRITTEN, "migrate"):
        scene.show("migrate")


@_situation("13-killed-run")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.killed(Step.BATCH_WRITTEN, "migrate")
    _expire(scene)
    scene.show("status")


@_situation("14-killed-run-with-options")
def _(scene: Scene) -> None:
    scene.bookings(8, REJECTED)
    scene.killed(Step.RANGE_NOTED, "migrate", "--accept", "duration-too-short")
    _expire(scene)
    scene.show("status")
    scene.show("migrate")


@_situation("15-verify-of-a-killed-run")
def _(scene: Scene) -> None:
    scene.bookings(40)
    scene.killed(Step.BATCH_WRITTEN, "migrate", "--batch-size", "5")
    _expire(scene)
    scene.show("verify", "--recheck", "0")


@_situation("16-verify-while-migrate-is-at-work")
def _(scene: Scene) -> None:
    scene.bookings(40)
    with scene.at_work(Step.BATCH_WRITTEN, "migrate", "--batch-size", "5"):
        scene.show("verify", "--recheck", "0")


@_situation("17-the-application-wrote-after-migrate")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate")
    scene.database.bookings.update_one({}, {"$set": {"status": "cancelled"}})
    scene.show("verify", "--recheck", "0")


@_situation("18-cutover-after-that")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate")
    scene.database.bookings.update_one({}, {"$set": {"status": "cancelled"}})
    scene.database.bookings.delete_one({"_id": booking(5)["_id"]})
    scene.done("verify", "--recheck", "0")
    scene.show(*CUTOVER, "--max-outage", "30s")


@_situation("20-cutover-after-damage")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate")
    scene.database.bookings_consolidated.update_one({}, {"$set": {"sessions.0.notes": "damaged"}})
    scene.show("verify", "--recheck", "0")
    scene.show(*CUTOVER)


@_situation("21-rejected-bookings-at-the-cutover")
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


@_situation("22-cutover-killed-while-writes-are-refused")
def _(scene: Scene) -> None:
    _killed_cutover(scene)
    scene.show("status")


@_situation("23-migrate-after-a-killed-cutover")
def _(scene: Scene) -> None:
    _killed_cutover(scene)
    scene.show("migrate")


@_situation("24-terminal-closed-in-a-cutover")
def _(scene: Scene) -> None:
    _signalled(scene, HangUp())


@_situation("25-ctrl-c-in-a-cutover")
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


@_situation("26-hook-before-cutover-fails")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate")
    scene.done("verify")
    config = scene.folder / "booking-migrate.toml"
    config.write_text('[hooks]\nbefore_cutover = "false"\n', encoding="utf-8")
    scene.show(*CUTOVER, "--config", str(config))


@_situation("27-block-all-writes-without-access-control")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate")
    scene.done("verify")
    scene.show(*CUTOVER, "--block-all-writes")


@_situation("28-plan-changed")
def _(scene: Scene) -> None:
    scene.bookings()
    plan = str(scene.folder / "plan.json")
    scene.done("dry-run", "--plan", plan)
    scene.show("migrate", "--plan", plan, "--max-document-size", "4MiB")


@_situation("29-target-holds-something-else")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.database.bookings_consolidated.insert_one({"_id": 1, "name": "of a colleague"})
    scene.show("migrate")


@_situation("30-two-client-documents-of-one-client")
def _(scene: Scene) -> None:
    scene.bookings()
    for number in (1, 2):
        scene.database.bookings.insert_one({"_id": number, "clientId": client(1), "sessions": []})
    scene.show("migrate")


@_situation("31-validator-of-the-target")
def _(scene: Scene) -> None:
    scene.bookings()
    schema = {"$jsonSchema": {"required": ["phone"], "properties": {"phone": {"bsonType": "string"}}}}
    scene.database.create_collection("bookings_consolidated", validator=schema)
    scene.show("migrate")


@_situation("32-validator-in-place")
def _(scene: Scene) -> None:
    schema = {"$jsonSchema": {"required": ["expertId"]}}
    scene.database.create_collection("bookings", validator=schema)
    scene.bookings()
    scene.show("migrate", "--in-place")


@_situation("33-unique-index-on-the-address")
def _(scene: Scene) -> None:
    same = [booking(number, clientEmail="same@example.org") for number in range(8)]
    scene.database.bookings.insert_many(same)
    scene.database.bookings_consolidated.create_index("clientEmail", unique=True, name="by_email")
    scene.show("migrate")


def _killed_in_place(scene: Scene) -> None:
    scene.bookings(40)
    scene.killed(Step.ARCHIVED, "migrate", "--in-place", "--without-transactions", "--batch-size", "5")
    _expire(scene)


@_situation("36-finalize-after-a-killed-run-in-place")
def _(scene: Scene) -> None:
    _killed_in_place(scene)
    scene.show("finalize", "--yes")


@_situation("37-in-place-forgotten-on-resume")
def _(scene: Scene) -> None:
    _killed_in_place(scene)
    scene.show("migrate")


@_situation("38-nothing-to-roll-back")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.show("rollback", "--yes")


def _two_runs(scene: Scene) -> str:
    scene.bookings()
    scene.done("migrate")
    first = str(scene.database.booking_migrate_runs.distinct("_id")[0])
    scene.database.bookings.insert_many([booking(number) for number in range(8, 12)])
    scene.done("migrate")
    return first


@_situation("39-the-older-of-two-runs")
def _(scene: Scene) -> None:
    scene.show("rollback", "--yes", "--run", _two_runs(scene))


@_situation("40-rollback-twice-with-two-runs")
def _(scene: Scene) -> None:
    _two_runs(scene)
    scene.show("rollback", "--yes")
    scene.show("rollback", "--yes")


def _cut_over(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate")
    scene.done("verify")
    scene.done(*CUTOVER)


@_situation("41-kept-copy-dropped")
def _(scene: Scene) -> None:
    _cut_over(scene)
    (kept,) = (name for name in scene.database.list_collection_names() if "_legacy_" in name)
    scene.database.drop_collection(kept)
    scene.show("rollback", "--yes")


@_situation("42-explain-after-the-cutover")
def _(scene: Scene) -> None:
    _cut_over(scene)
    scene.show("explain", str(booking(0)["_id"]))


@_situation("43-config-typo")
def _(scene: Scene) -> None:
    config = scene.folder / "booking-migrate.toml"
    config.write_text('acept = ["price-negative"]\n', encoding="utf-8")
    scene.show("migrate", "--config", str(config))


@_situation("44-finalized-then-rollback")
def _(scene: Scene) -> None:
    _cut_over(scene)
    scene.done("finalize", "--yes")
    scene.show("rollback", "--yes")


@_situation("46-target-file-exists")
def _(scene: Scene) -> None:
    source, target = scene.folder / "in.jsonl", scene.folder / "out.jsonl"
    source.write_text(SOUND, encoding="utf-8")
    target.write_text('{"name": "of a colleague"}\n', encoding="utf-8")
    scene.show("migrate", "--source", str(source), "--target", str(target))


@_situation("04-wrong-password", GUARDED)
def _(scene: Scene) -> None:
    scene.uri = scene.uri.replace("secret", "wrong")
    scene.show("migrate")


@_situation("05-authsource-forgotten", GUARDED)
def _(scene: Scene) -> None:
    scene.uri = scene.uri.partition("?")[0] + scene.database.name
    scene.show("migrate")


@_situation("06-no-credentials", GUARDED)
def _(scene: Scene) -> None:
    scene.uri = scene.uri.replace("admin:secret@", "")
    scene.show("migrate")


def _as_user(scene: Scene, *roles: str) -> None:
    name = f"user{len(roles)}-{scene.database.name}"
    scene.database.command("createUser", name, pwd="pw", roles=list(roles))
    scene.uri = scene.uri.replace("admin:secret", f"{name}:pw").replace(
        "authSource=admin", f"authSource={scene.database.name}"
    )


@_situation("07-read-only-user", GUARDED)
def _(scene: Scene) -> None:
    scene.bookings()
    _as_user(scene, "read")
    scene.show("migrate")


@_situation("08-cutover-without-the-privilege", GUARDED)
def _(scene: Scene) -> None:
    scene.bookings()
    _as_user(scene, "readWrite")
    scene.done("migrate")
    scene.done("verify")
    scene.show(*CUTOVER)


@_situation("09-max-lag-without-the-privilege", GUARDED)
def _(scene: Scene) -> None:
    scene.bookings()
    _as_user(scene, "readWrite")
    scene.show("migrate", "--max-lag", "10")


@_situation("45-in-place-without-transactions", STANDALONE)
def _(scene: Scene) -> None:
    scene.bookings()
    scene.show("migrate", "--in-place")


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
