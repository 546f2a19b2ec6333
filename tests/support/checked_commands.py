"""Commands on a small platform whose every outcome is checked against the truth; see `tests.support.truth`."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import bson
from hypothesis.stateful import RuleBasedStateMachine
from pymongo.database import Database

from tests.lifecycle.conftest import Ended, contents
from tests.support.changing import Platform
from tests.support.failpoints import Step
from tests.support.killed import killed_at
from tests.support.ledger import Ledger
from tests.support.server import Server, environment_of
from tests.support.truth import CURRENCY, SHORT, Fault, Truth, documents_of, faults_of, truth_of

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
Report = dict[str, Any]

TARGET = "clients"
PLACES = ("--target", TARGET, "--quiet", "--json")
_CAUSES = (
    "conflict",
    "mismatch",
    "verified",
    "rejected",
    "Complete it first",
    "client document",
    "no run",
    "rollback",
)


class Options(tuple[str, ...]):
    """The options of a migration that its verification and its cut-over need again."""

    __slots__ = ()

    @classmethod
    def of(cls, reasons: set[str], on_conflict: str | None) -> "Options":
        """Put them together."""
        waived = [word for reason in sorted(reasons) for word in ("--accept", reason)]
        return cls((*waived, *(("--on-conflict", on_conflict) if on_conflict else ())))

    @property
    def accepted(self) -> set[str]:
        """The reasons that are waived."""
        return {SHORT, CURRENCY} & set(self)


class CheckedCommands(RuleBasedStateMachine):
    """Runs commands, and makes sure that each kept its promise whatever others had done before it."""

    def __init__(self, server: Server, database: Db, command: Run, done: Counter[str]) -> None:
        super().__init__()
        self.server = server
        self.database = database
        self.command = command
        self.done = done
        self.platform = Platform(database, TARGET)
        self.ledger = Ledger(database, TARGET)
        self.chosen: dict[str, Options] = {}
        self.unfinished: Options | None = None
        self.fresh = False
        self.existed = False
        self.derived_from: dict[str, Source] = {}
        self.calm = False
        self.live: dict[str, Any] | None = None

    @property
    def options(self) -> Options | None:
        """The options of the newest run that stands: one that changes nothing leaves the one before it in charge."""
        return self.chosen[self.ledger.runs[-1]] if self.ledger.runs else None

    def run(self, *arguments: str) -> tuple[int, Report]:
        """Run a command; what it says, which is one report whatever happens."""
        ended = self.command(*arguments)
        self.done[arguments[0]] += 1
        assert ended.returncode in {0, 3, 4, 5, 12}, (ended.returncode, ended.stdout, ended.stderr)
        self.done[f"{arguments[0]} {ended.returncode}"] += 1
        report: Report = json.loads(ended.stdout)
        if ended.returncode in {5, 12} and arguments[0] != "dry-run":
            assert report["error"]["message"]
        return ended.returncode, report

    @contextmanager
    def reading_only(self) -> Iterator[None]:
        """Make sure that nothing is written to data."""
        before = contents(self.database)
        yield
        assert before == contents(self.database)

    @contextmanager
    def beginning(self, options: Options) -> Iterator[None]:
        """Remember what stands in the target when runs begin."""
        found, before = self.ledger.documents(), contents(self.database)
        if not self.ledger.runs:
            self.existed = TARGET in before
        yield
        assert before["bookings"] == contents(self.database)["bookings"]
        runs = self.database.booking_migrate_runs.find({"state": {"$nin": ["rolled-back", "unchanged"]}})
        self.ledger.sync([str(each["_id"]) for each in runs.sort("started_at")], found)
        self.chosen = {each: self.chosen.get(each, options) for each in self.ledger.runs}
        source = source_of(self.database)
        self.derived_from = {each: self.derived_from.get(each, source) for each in self.ledger.runs}

    def note_source(self) -> None:
        """Remember the source that the newest run that stands has just been brought up to."""
        if self.ledger.runs:
            self.derived_from[self.ledger.runs[-1]] = source_of(self.database)

    def changed(self) -> set[Any]:
        """The clients of which a booking, a document in the source or the user has changed since that."""
        before, now = self.derived_from[self.ledger.runs[-1]], source_of(self.database)
        versions = [(before.get(key), now.get(key)) for key in before.keys() | now.keys()]
        return {each[0] for old, new in versions if old != new for each in (old, new) if each is not None}

    def decided(self) -> set[Any]:
        """The bookings whose session was kept with other content, as it is recorded."""
        records = documents_of(self.database, "booking_migrate_rejected")
        return {each["booking"]["_id"] for each in records if "decision" in each}

    def faults(self, truth: Truth, name: str = TARGET) -> list[Fault]:
        """What a proven result must not have."""
        found = [each for each in documents_of(self.database, name) if "sessions" in each]
        return list(faults_of(found, truth, self.ledger, self.decided()))

    def truth(self, options: Options) -> Truth:
        """What the source as it is now has to become."""
        return truth_of(self.database, options.accepted)

    def migrates(self, options: Options, *more: str, foresees: bool = False, again: bool = False) -> None:
        """Migrate, with a dry-run right before it, which has the same counts, and a second run, which changes nothing."""
        foreseen_code, foreseen = 0, dict[str, Any]()
        if foresees:
            with self.reading_only():
                foreseen_code, foreseen = self.run("dry-run", *PLACES, *options)
        with self.beginning(options):
            code, report = self.run("migrate", *PLACES, *options, *more)
            if code == 5 and report["error"]["kind"] == "OtherOptions":
                assert self.unfinished not in {None, options}
                code, report = self.run("migrate", *PLACES, *options, "--restart")
        if foresees and self.unfinished is None:
            assert (foreseen_code, foreseen["counts"]) == (code, report["counts"] or foreseen["counts"])
        if code == 5:
            self.check_refusal(report)
            return
        self.unfinished, self.fresh = None, True
        self.check_migration(options, report)
        if again:
            with self.beginning(options):
                _code, second = self.run("migrate", *PLACES, *options)
            assert False is second["changed"]
            self.check_migration(options, second)

    def check_refusal(self, report: Report) -> None:
        """Make sure that a refused migration has a cause: a client with two documents, which others wrote."""
        documents = {
            each["clientId"] for each in documents_of(self.database, "bookings") if "sessions" in each
        }
        assert documents & self.ledger.touched, report["error"]
        assert "DuplicateClientDocuments" == report["error"]["kind"], report["error"]

    def check_migration(self, options: Options, report: Report) -> None:
        """Make sure that every booking is accounted for, and that what others have not touched is the truth."""
        counts, truth, now = report["counts"], self.truth(options), self.ledger.documents()
        assert truth.scanned == counts["scanned"]
        assert counts["scanned"] == counts["migrated"] + counts["already_migrated"] + counts["rejected"]
        assert len(truth.rejected) + counts["conflicts"] == counts["rejected"]
        assert self.ledger.touched or not counts["conflicts"]
        records = documents_of(self.database, "booking_migrate_rejected")
        rejected = [each["booking"]["_id"] for each in records if "decision" not in each]
        assert truth.rejected <= set(rejected)
        assert counts["rejected"] == len(rejected)
        touched = self.ledger.touched | truth.own_sessions.keys()
        assert {each: raw for each, raw in truth.documents.items() if each not in touched} == {
            each: raw for each, raw in now.items() if each not in touched
        }
        assert [] == [each for each in self.faults(truth) if each.client_id not in self.ledger.touched]
        self.note_source()

    def proves(self, options: Options, *more: str) -> bool:
        """Verify, and make sure that what is proven is true, and that what is true is proven.

        Only clients that changed since the last migration may be otherwise, and they are counted as behind.
        """
        with self.reading_only():
            code, report = self.run("verify", *PLACES, *options, "--recheck", "0", *more)
        faults = self.faults(self.truth(options))
        behind = report.get("behind") or 0
        if code == 0:
            wrong, changed = {each.client_id for each in faults}, self.changed()
            self.done["behind"] += bool(wrong)
            assert wrong <= changed, faults
            assert len(wrong) <= behind <= len(changed), (wrong, changed)
        elif code == 4:
            assert report["mismatch_count"] > 0
            assert self.ledger.touched or not self.fresh or faults, report["mismatches"]
        return code == 0

    def cutting(self, policy: str | None) -> tuple[str, ...]:
        """The options of a cut-over of the newest run."""
        assert self.options is not None
        return (*PLACES, *self.options, "--yes", *(("--rejected", policy) if policy else ()))

    def goes_live(self, before: "Before", policy: str | None) -> None:
        """Make sure that what is live is the truth about the source as it was."""
        after = contents(self.database)
        faults = faults_of(
            [each for each in documents_of(self.database, "bookings") if "sessions" in each],
            before.truth,
            self.ledger,
            self.decided(),
        )
        assert [] == list(faults)
        old = {each["_id"] for each in documents_of(self.database, "bookings") if "sessions" not in each}
        assert (before.truth.rejected if policy == "carry" else set()) == old
        (legacy,) = (name for name in after if name.startswith("bookings_legacy_"))
        assert before.source == after[legacy]
        assert TARGET not in after
        self.done["live"] += 1
        self.live = {"before": before, "booked": set()}

    def check_given_up(self, before: "Before", report: Report) -> None:
        """Make sure that the source is live as it was, and that the refusal names its cause."""
        error = report["error"]
        assert any(cause in f"{error['message']} {error['hint']}" for cause in _CAUSES), error
        assert error["hint"]
        self.check_as_before(before)

    def check_as_before(self, before: "Before") -> None:
        """Make sure that nothing is left of a cut-over that was given up."""
        assert before.source == contents(self.database)["bookings"]
        assert {} == self.database.bookings.options().get("validator", {})
        assert not any(name.startswith("bookings_legacy_") for name in contents(self.database))

    def restores(self) -> None:
        """Undo everything after a cut-over: the old bookings are back, and nothing that others wrote is lost."""
        assert self.live is not None
        before = self.live["before"]
        sessions = {each for owner in self.ledger.theirs.values() for each in owner}
        live = [each for each in documents_of(self.database, "bookings") if "sessions" in each]
        sessions |= {
            each["sessionId"] for one in live for each in one["sessions"] if "legacyBookingId" not in each
        }
        code, report = self.run("rollback", "--target", TARGET, "--yes", "--json")
        assert code in {0, 3}, report["error"]
        source = documents_of(self.database, "bookings")
        assert before.bookings == {each["_id"]: each for each in source if "sessions" not in each}
        kept = [*(each for each in source if "sessions" in each), *documents_of(self.database, TARGET)]
        assert sessions <= {each["sessionId"] for one in kept for each in one["sessions"]}
        if not sessions and not self.ledger.touched:
            assert before.source == contents(self.database)["bookings"]
        self.live = None
        self.ledger = Ledger(self.database, TARGET)
        self.ledger.settle()

    def undoes(self, *, newest: bool) -> None:
        """Undo one run or all: what they found is there again, and what others wrote is kept."""
        runs, source = self.ledger.runs, contents(self.database).get("bookings")
        first = runs[-1] if newest else runs[0]
        is_alone = self.ledger.is_alone(first)
        which = ("--run", runs[-1]) if newest else ("--target", TARGET)
        code, report = self.run("rollback", *which, "--yes", "--json")
        self.check_undone(first, code, report, is_alone=is_alone)
        assert source == contents(self.database).get("bookings")

    def check_undone(self, first: str, code: int, report: Report, *, is_alone: bool) -> None:
        """Make sure that a run and all later ones are undone, and that what is kept is others' work."""
        assert code in ({0} if is_alone else {0, 3}), report
        assert [] == self.ledger.undo(first)
        is_there = self.existed or self.ledger.runs or self.ledger.touched
        assert is_there or TARGET not in contents(self.database)
        self.unfinished, self.fresh = None, False

    def killed(self, step: Step, count: int, *arguments: str) -> int:
        """Kill a command when it reaches a step for the Nth time; its exit code."""
        return killed_at(step, count, environment_of(self.server.uri, self.database.name), *arguments)


Source = dict[tuple[str, Any], tuple[Any, bytes]]
"""What client documents are derived from: client and content, by collection and `_id`."""


def source_of(database: Db) -> Source:
    """The source as it is now."""
    owners = {"bookings": "clientId", "users": "_id"}
    return {
        (name, each["_id"]): (each.get(owner), bson.encode(each))
        for name, owner in owners.items()
        for each in documents_of(database, name)
    }


class Before:
    """The source as it was before a cut-over."""

    def __init__(self, commands: CheckedCommands) -> None:
        self.source = contents(commands.database)["bookings"]
        documents = documents_of(commands.database, "bookings")
        self.bookings = {each["_id"]: each for each in documents if "sessions" not in each}
        self.truth = commands.truth(commands.options or Options())
