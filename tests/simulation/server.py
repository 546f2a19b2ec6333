"""What stands for the kept copy, fence and swap, the journal and the lock; see `adapters`."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from booking_migrate.errors import FenceBlocked
from booking_migrate.stores.cutover import IndexNote, OptionNote
from booking_migrate.stores.journal import NoteKind, RangeNote, RunRecord, RunState
from booking_migrate.stores.locks import LEASE_SECONDS, HeldLockView, Holder, Lease
from tests.simulation.adapters import id_of
from tests.simulation.world import FENCE, GUARD, SOURCE, TARGET, World

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Kept:
    """The kept copy."""

    def __init__(self, world: World, name: str) -> None:
        """Take the world and the copy's name."""
        self._world, self._name = world, name

    def _documents(self) -> dict[ObjectId, bytes]:
        return self._world.collections[self._name].documents

    def create(self) -> None:
        """Copy the source, document by document, while the application writes."""
        world = self._world
        world.step("copy source")
        world.drop(self._name)
        world.create(self._name)
        for key in sorted(world.collections[SOURCE].documents):
            world.step("copy source", fails=False)
            raw = world.collections[SOURCE].documents.get(key)
            if raw is not None:
                world.put(self._name, key, raw, "insert")
        world.step("source copied")

    def compare(self) -> Iterator[Any]:
        """Yield the ids under which source and copy differ, one by one while the application writes."""
        yield from self.differing_from(SOURCE, "compare copy")

    def differing_from(self, name: str, step: str) -> Iterator[Any]:
        """Yield the ids under which a collection and this one differ."""
        self._world.step(step)
        documents, own = self._world.collections[name].documents, self._documents()
        for key in sorted({*documents, *own}):
            self._world.step(step, fails=False)
            if documents.get(key) != own.get(key):
                yield key

    def update(self, booking_ids: Sequence[Any], documents: Sequence[bytes]) -> None:
        """Write these documents into the copy."""
        there = {id_of(raw): raw for raw in documents}
        self._world.step("update copy")
        self._world.tick()
        for value in booking_ids:
            self._world.put(self._name, value, there.get(value), "replace" if value in there else "delete")
            self._world.step("copy updated", fails=False)

    def differing(
        self, booking_ids: Sequence[Any], documents: Sequence[bytes], time: Timestamp | None = None
    ) -> list[Any]:
        """Return under which of these ids the copy differs, as of a cluster time or as it is."""
        self._world.step("read copy")
        there = {id_of(raw): raw for raw in documents}
        stored = self._world.collections[self._name]
        own = stored.documents if time is None else {id_of(raw): raw for raw in stored.at(time)}
        return [value for value in booking_ids if own.get(value) != there.get(value)]


class Swap:
    """Fence and swap; both may wait too long, and be carried out all the same."""

    def __init__(self, world: World, target: str = TARGET) -> None:
        """Take the world, and the collection that gets the source's name."""
        self._world, self._target = world, target

    def raise_fence(self, seconds: float) -> Timestamp:
        """Let the source refuse inserts and updates; the process may be suspended right before."""
        self._world.suspend("raise fence")
        return self._command("raise fence", lambda: self._world.modify(SOURCE, FENCE), seconds)

    def is_fenced(self) -> bool:
        """Return whether the source does."""
        self._world.step("look at fence")
        return self._world.is_fenced

    def swap(self, seconds: float) -> Timestamp:
        """Rename the target."""
        return self._command("swap", lambda: self._world.rename(self._target), seconds)

    def _command(self, name: str, carry_out: Callable[[], Timestamp], seconds: float) -> Timestamp:
        world = self._world
        killed = world.rates.killed_command
        try:
            world.step(name)
            if killed and not world.is_calm and world.random.random() < killed:
                world.kill(name)
        except BaseException:
            # The server has the command already.
            if not world.is_calm and world.random.random() < 0.5:
                uuid = world.collections[SOURCE].uuid
                world.pending.append(lambda: self._if_unchanged(uuid, carry_out))
            raise
        if not world.is_calm and world.random.random() < world.rates.blocked:
            world.clock += seconds
            if world.random.random() < 0.5:
                carry_out()
            world.said(f"{name} was blocked")
            raise FenceBlocked(SOURCE, "a transaction")
        time = carry_out()
        world.step(f"{name} done")
        return time

    def _if_unchanged(self, uuid: int, command: Callable[[], Any]) -> None:
        """Carry out a command that names collections which are still what they were."""
        world = self._world
        if self._target in world.collections and world.collections[SOURCE].uuid == uuid:
            world.said("a command of an earlier process is carried out")
            command()


class Live:
    """Source and target as recovery sees them; see `stores.mongo.cutover.MongoLive`."""

    def __init__(self, world: World) -> None:
        """Take the world."""
        self._world = world

    def unfit(self) -> str | None:
        """Return whether a fence stands."""
        self._world.step("look at source")
        return "another cut-over of it is running" if self._world.is_fenced else None

    def excess_of(self, _name: str) -> int:
        """Return that no name is too long."""
        return 0

    def settings_of_both(self) -> str:
        """Return the source's identity."""
        self._world.step("read settings")
        return json.dumps({"uuid": self._world.collections[SOURCE].uuid})

    def settings_now(self, settings: str) -> str:
        """Return the same: options are not simulated."""
        return settings

    def is_swapped(self, settings: str) -> bool:
        """Return whether something else has the source's name."""
        self._world.step("look at source")
        before: int = json.loads(settings)["uuid"]
        return self._world.collections[SOURCE].uuid != before

    def is_fenced(self) -> bool:
        """Return whether the fence stands."""
        self._world.step("look at fence")
        return self._world.is_fenced

    def refuses_writes(self, _settings: str) -> bool:
        """Return whether it does: all writes are not blocked here."""
        return self.is_fenced()

    def lift_fence(self, _settings: str) -> None:
        """Lift the fence."""
        self._world.step("lift fence")
        if self._world.is_fenced:
            self._world.modify(SOURCE, None)
        self._world.step("fence lifted")

    def guard(self, *, is_live: bool = False) -> None:
        """Let a collection refuse old bookings."""
        self._world.step("guard")
        self._world.modify(SOURCE if is_live else TARGET, GUARD)

    def unguard(self) -> None:
        """Take that back."""
        self._world.step("unguard")
        self._world.modify(TARGET, None)

    def end_own_commands(self) -> None:
        """End what an earlier process has sent, unless that was just carried out."""
        self._world.step("end commands")
        if self._world.random.random() < 0.5:
            self._world.carry_out_pending()
        self._world.pending.clear()

    def drop(self, legacy: str) -> None:
        """Drop the copy."""
        self._world.step("drop copy")
        self._world.drop(legacy)

    def block(self) -> None:
        """Do nothing: that was not asked for."""

    def take_over_images(self) -> None:
        """Do nothing: there are none."""

    def remove_carried(self, bookings: Iterable[bytes]) -> None:
        """Do nothing: rejected bookings are left."""

    def carry_validation(self, _settings: str) -> None:
        """Do nothing: validators are not simulated."""

    def recreate_indexes(self, _settings: str) -> Sequence[IndexNote]:
        """Return nothing: there are none."""
        self._world.step("recreate indexes")
        return ()

    def options(self, _settings: str) -> Sequence[OptionNote]:
        """Return nothing: there are none."""
        return ()


class Journal:
    """The journal."""

    def __init__(self, world: World) -> None:
        """Take the world."""
        self._world = world

    def runs(self, target: str | None = None) -> Sequence[RunRecord]:  # noqa: ARG002 - there is one target
        """Return all runs."""
        self._world.step("read journal")
        return list(self._world.runs.values())

    def now(self) -> datetime:
        """Return the time."""
        self._world.step("time of journal")
        return _BEGAN + timedelta(seconds=self._world.clock)

    def save(self, run_id: str, **changes: Any) -> RunRecord:
        """Change a run."""
        self.annotate(run_id, **changes)
        return self._world.runs[run_id]

    def annotate(self, run_id: str, **changes: Any) -> None:
        """Change a run."""
        self._world.step("write journal")
        if "state" in changes:
            changes["state"] = RunState(changes["state"])
        self._world.runs[run_id] = self._world.runs[run_id].model_copy(update=changes)
        self._world.tick()
        self._world.step("journal written")

    def control(self, _run_id: str) -> Mapping[str, Any]:
        """Return nothing: no other terminal asks anything. It is asked by the real clock, so nothing may happen meanwhile."""
        return {}

    def ask(self, _run_id: str, _command: str, _name: str, _value: Mapping[str, Any]) -> None:
        """Do nothing, likewise."""

    def note(self, _run_id: str, token: int, noted: RangeNote) -> Sequence[str]:
        """Record what is about to be written."""
        self._world.step("note")
        name = f"{token:06}{len(self._world.notes):06}"
        self._world.notes.append(noted._replace(name=name))
        self._world.noted.append(frozenset(note.identity for note in noted.notes))
        self._world.tick()
        self._world.step("noted")
        return [name]

    def of_documents(self, _run_ids: Sequence[str], identities: Sequence[bytes]) -> Sequence[RangeNote]:
        """Return the notes of these documents."""
        self._world.step("read notes")
        wanted = set(identities)
        return [
            note
            for note, of in zip(self._world.notes, self._world.noted, strict=True)
            if not wanted.isdisjoint(of)
        ]

    def ranges(self, _run_id: str, *kinds: NoteKind) -> Iterator[RangeNote]:
        """Yield what was noted of these kinds."""
        self._world.step("read notes")
        yield from [noted for noted in self._world.notes if noted.kind in kinds]

    def between(self, _run_id: str, first: bytes, last: bytes) -> Sequence[RangeNote]:
        """Return the notes of a range of clients."""
        self._world.step("read notes")
        return [
            noted
            for noted in self._world.notes
            if noted.kind is NoteKind.DOCUMENTS and noted.first <= last and first <= noted.last
        ]

    def forget(self, _run_id: str) -> None:
        """Drop all notes."""
        self._world.step("forget notes")
        self._world.notes.clear()
        self._world.noted.clear()

    def prepare_lookup(self) -> None:
        """Do nothing: there are no indexes."""


class Locks:
    """The lock of the target: the process before has ended, so it is always free."""

    lease_seconds = LEASE_SECONDS

    def __init__(self, world: World) -> None:
        """Take the world."""
        self._world = world
        self.rounds = 0

    def acquire(self, name: str, holder: Holder) -> Lease:  # noqa: ARG002 - it does not expire
        """Take the lock."""
        self._world.step("lock")
        self._world.token += 1
        return Lease(name, self._world.token)

    def renew(self, lease: Lease) -> bool:
        """Return whether the lock is held."""
        self._world.step("renew lock")
        return lease.token == self._world.token

    def holds(self, lease: Lease) -> bool:
        """Return whether the lock is held."""
        return lease.token == self._world.token

    def request_hand_over(self, name: str, holder: Holder | None) -> None:
        """Do nothing: no other process runs."""

    def requested_by(self, lease: Lease) -> Holder | None:  # noqa: ARG002 - there is one lease
        """Ask for the lock after some rounds."""
        self._world.step("look at lock")
        self.rounds -= 1
        return Holder("r", "cutover", "u", "h", 1, "") if self.rounds <= 0 else None

    def look(self, name: str) -> HeldLockView | None:  # noqa: ARG002 - there is one lock
        """Return None: the process before has ended."""
        return None

    def held(self) -> Mapping[str, HeldLockView]:
        """Return none, as `look` does."""
        return {}

    def release(self, lease: Lease, *, waits: bool = True) -> None:  # noqa: ARG002 - it always waits
        """Release the lock."""
        self._world.step("unlock", fails=False)
