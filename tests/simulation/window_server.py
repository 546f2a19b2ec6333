"""What stands for the collections of a reverse window and of a rollback out of it; see `adapters` and `server`."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

from booking_migrate.bson.document import value_in
from booking_migrate.bson.order import sort_key
from booking_migrate.errors import TargetChanged
from booking_migrate.rollback.restored_clients import RestorationPlaces
from booking_migrate.rollback.window_parts import WindowParts
from booking_migrate.stores.changes import Role
from booking_migrate.stores.open_window import Related, WindowPlaces
from booking_migrate.stores.ports import Replacement
from tests.simulation.adapters import Feed, Places, Reader, Rejected, Store, id_of
from tests.simulation.checks import RUN
from tests.simulation.server import Kept, Live, Swap
from tests.simulation.world import SOURCE, Violation, World, fields, timestamp

RESTORED = f"{SOURCE}_restored_{RUN}"
KEPT = f"{SOURCE}_legacy_{RUN}"


class RestoredCopy(Kept):
    """What is kept ready, for writing and reading back."""

    def __init__(self, world: World) -> None:
        """Take the world."""
        super().__init__(world, RESTORED)

    def compare_kept(self) -> Iterator[Any]:
        """Yield the ids under which the kept copy and what is kept ready differ."""
        yield from self.differing_from(KEPT, "compare restored")


class Restored:
    """The collection itself; see `stores.mongo.rollback.MongoRestored`."""

    name = RESTORED

    def __init__(self, world: World) -> None:
        """Take the world."""
        self._world = world

    def identity(self) -> str | None:
        """Return what identifies it."""
        self._world.step("look at restored")
        there = self._world.collections.get(RESTORED)
        return None if there is None else str(there.uuid)

    def has_become_live(self, built: str) -> bool:
        """Return whether it is what has the live name now."""
        self._world.step("look at source")
        return str(self._world.collections[SOURCE].uuid) == built

    def copy(self, kept: str, _settings: str) -> None:
        """Copy the old bookings; the server goes on with it if the process is killed."""
        world = self._world
        world.step("copy kept")
        world.drop(RESTORED)
        world.create(RESTORED)
        left = sorted(world.collections[kept].documents)
        uuid = world.collections[RESTORED].uuid

        def one() -> None:
            key = left.pop(0)
            if RESTORED in world.collections and world.collections[RESTORED].uuid == uuid:
                world.tick()
                world.put(RESTORED, key, world.collections[kept].documents[key], "insert")

        def rest() -> None:
            while left:
                one()

        world.copying = rest
        while left:
            world.step("copy kept", fails=False)
            one()
        world.copying = None
        world.step("kept copied")

    def end_copying(self) -> None:
        """End what an earlier process has asked for, unless that was just carried out."""
        self._world.step("end copying")
        if self._world.copying is not None and self._world.random.random() < 0.5:
            self._world.copying()
        self._world.copying = None

    def create_indexes(self, _settings: str, *, with_unique: bool = True) -> Sequence[Any]:  # noqa: ARG002 - there are none
        """Return nothing: there are none."""
        self._world.step("create indexes")
        return ()

    def begin_expiry(self, _settings: str) -> Sequence[Any]:
        """Return nothing: nothing expires."""
        self._world.step("begin expiry")
        return ()

    def validate(self, _settings: str) -> None:
        """Do nothing: the old collection had no validator."""
        self._world.step("validate")

    def unvalidate(self, _settings: str) -> None:
        """Do nothing: likewise."""
        self._world.step("unvalidate")

    def drop(self) -> None:
        """Drop it."""
        self._world.step("drop restored")
        self._world.drop(RESTORED)


class WindowLive(Live):
    """The live collection as a rollback sees it: it has a guard, which the fence takes the place of."""

    def settings(self) -> str:
        """Return the collection's identity and validator."""
        self._world.step("read settings")
        stored = self._world.collections[SOURCE]
        return json.dumps({"uuid": stored.uuid, "validator": stored.validator})

    def raise_fence(self, _seconds: float) -> None:
        """Refuse: what is kept ready is there, so nothing has to be restored behind a fence.

        Raises:
            Violation: always.
        """
        raise Violation("everything is restored behind the fence")

    def lift_fence(self, settings: str) -> None:
        """Put the guard back in the place of the fence."""
        self._world.step("lift fence")
        if self._world.is_fenced:
            self._world.modify(SOURCE, json.loads(settings)["validator"])
        self._world.step("fence lifted")


class Undone:
    """The collection of the live name, and the rejected records; see `stores.mongo.rollback.MongoUndo`."""

    name = SOURCE

    def __init__(self, world: World) -> None:
        """Take the world."""
        self._world = world

    def _documents(self) -> dict[Any, bytes]:
        return self._world.collections[SOURCE].documents

    def _step(self, name: str) -> None:
        """Kill some processes right here: these writes are seldom, and stand behind the swap."""
        world = self._world
        world.step(name)
        killed = world.rates.killed_command
        if killed and not world.is_calm and world.random.random() < killed:
            world.kill(name)

    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the documents of these ids."""
        self._world.step("read live")
        return iter([self._documents()[value] for value in ids if value in self._documents()])

    def remove(self, documents: Sequence[bytes]) -> None:
        """Delete documents that still are these versions."""
        for raw in documents:
            self._step("remove")
            if self._documents().get(id_of(raw)) == raw:
                self._world.tick()
                self._world.put(SOURCE, id_of(raw), None, "delete")

    def restore(self, changes: Sequence[Replacement]) -> None:
        """Replace documents that still are these versions."""
        for change in changes:
            self._step("restore")
            if self._documents().get(id_of(change.before)) != change.before:
                raise TargetChanged(SOURCE, str(id_of(change.before)))
            self._world.tick()
            self._world.put(SOURCE, id_of(change.before), change.after, "replace")

    def insert(self, documents: Sequence[bytes]) -> None:
        """Insert documents; one that is there stays."""
        for raw in documents:
            self._step("insert")
            if id_of(raw) not in self._documents():
                self._world.tick()
                self._world.put(SOURCE, id_of(raw), raw, "insert")

    def remove_rejects(self, kept: Collection[bytes]) -> None:
        """Delete the records that are not among these."""
        self._world.step("remove rejects")
        rejects = self._world.rejects
        for name in [name for name, raw in rejects.items() if sha256(raw).digest() not in kept]:
            del rejects[name]

    def insert_rejects(self, records: Sequence[bytes]) -> None:
        """Refuse: there were none before the run."""
        if records:
            raise NotImplementedError

    def drop_rejects_if_empty(self) -> None:
        """Do nothing: they are no collection here."""
        self._world.step("drop rejects")


class Notes:
    """What a window knows of single documents and clients; see `stores.mongo.window.MongoWindowNotes`."""

    def __init__(self, world: World) -> None:
        """Take the world."""
        self._world = world

    def relate(self, related: Sequence[Related]) -> None:
        """Add clients to those whose documents a live document has had a part in."""
        for each in related:
            self._world.step("relate")
            key = sort_key(each.document_id)
            there = self._world.related.setdefault(key, {})
            there.update((sort_key(client), client) for client in each.clients)
            self._world.owners[key] = each.own
            held = self._world.held.setdefault(key, {})
            held.update((sort_key(booking), booking) for booking in each.bookings)

    def bookings_of(self, document_ids: Sequence[Any]) -> Iterator[Any]:
        """Yield the bookings of other clients of which these have held a session."""
        self._world.step("read held")
        for value in document_ids:
            yield from list(self._world.held.get(sort_key(value), {}).values())

    def owners_of(self, document_ids: Sequence[Any]) -> Iterator[Any]:
        """Yield the clients whose own documents these were."""
        self._world.step("read owners")
        owners = self._world.owners
        return iter([owners[key] for key in map(sort_key, document_ids) if key in owners])

    def clients_of(self, document_ids: Sequence[Any]) -> Iterator[Any]:
        """Yield these clients."""
        self._world.step("read related")
        for value in document_ids:
            yield from list(self._world.related.get(sort_key(value), {}).values())

    def count(self, clients: Iterable[bytes], facts: Mapping[bytes, Mapping[str, Any]]) -> None:
        """Replace what has happened to some clients."""
        self._world.step("count")
        for key in clients:
            self._world.facts.pop(key, None)
        self._world.facts.update(facts)

    def counted(self) -> Iterator[Mapping[str, Any]]:
        """Yield what has happened."""
        self._world.step("read facts")
        return iter(list(self._world.facts.values()))

    def clear(self) -> None:
        """Remove everything."""
        self._world.step("clear notes")
        self._world.related.clear()
        self._world.owners.clear()
        self._world.held.clear()
        self._world.facts.clear()

    def drop_if_empty(self) -> None:
        """Do nothing: it is no collection here."""
        self._world.step("drop notes")


def window_parts(world: World) -> WindowParts:
    """Return what a window is kept with, as `cli.window.open_window` does."""
    time = SimpleNamespace(time=timestamp(0))
    links = Places(world, KEPT, SOURCE)
    links._timed = Reader(world, SOURCE, lambda: time.time)
    kept, restored = Reader(world, KEPT, lambda: None), Reader(world, RESTORED, lambda: None)
    live = Reader(world, SOURCE, lambda: None)
    copy: Any = RestoredCopy(world)

    def rejected(ids: Sequence[Any]) -> Any:
        wanted = {value.binary for value in ids}
        return Rejected(
            lambda: [raw for raw in world.rejects.values() if fields(raw)["bookingId"].binary in wanted]
        )

    def clients() -> Iterator[Any]:
        for name in (KEPT, SOURCE):
            for raw in list(world.collections[name].documents.values()):
                yield value_in(raw, b"clientId")

    places = WindowPlaces(
        kept=kept,
        current=Reader(world, SOURCE, lambda: time.time),
        live=live,
        restored=restored,
        copy=copy,
        compare=copy.compare_kept,
        links=links,
        notes=Notes(world),  # type: ignore[arg-type]
        rejected_of=rejected,
        now=links.now,
        prepare=lambda: world.step("prepare window"),
        finish=lambda: world.step("finish window"),
        client_values=clients,
        without_client=lambda _value: iter(()),
        _fetch=time,  # type: ignore[arg-type]
    )
    whole = RestorationPlaces(
        live=WindowLive(world),  # type: ignore[arg-type]
        restored=Restored(world),  # type: ignore[arg-type]
        kept=kept,
        current=live,
        result=restored,
        rejected=Rejected(world.rejects.values),
        has_carried=False,
        converts_later=True,
    )
    roles = {SOURCE: Role.SOURCE}
    return WindowParts(
        places=places,
        whole=whole,
        feed=lambda begin: Feed(world, begin, copy=RESTORED, roles=roles),
        live_feed=lambda begin: Feed(world, begin, roles=roles),
        tail=lambda begin: Feed(world, begin, is_whole=True, roles={**roles, RESTORED: Role.TARGET}),
        store=Store(world),
        swap=Swap(world, RESTORED),
        late=Undone(world),  # type: ignore[arg-type]
        oplog_began=lambda: None,
    )
