"""The application over a `World`, old and new, another program that writes to the target, and the ledger of what was acknowledged."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import bson
from bson.objectid import ObjectId

from booking_migrate.bson.document import CODEC
from tests.simulation.world import CLIENT, FENCE, GUARD, SOURCE, TARGET, World, fields, object_id
from tests.support.bookings import a_booking

CLIENTS = [ObjectId(f"{number:024x}") for number in (0xC1, 0xC2, 0xC3)]
_BAD_DATE = "soon"
FOREIGN_FIELD = "by"
"""A field that another program adds to a client document."""

_KINDS = ("insert", "update", "move", "delete")
_BYPASSING = 0.3
"""How many writers behind the fence bypass validation."""


def encoded(values: Mapping[str, Any]) -> bytes:
    """BSON of fields."""
    return bson.encode(values, codec_options=CODEC)


@lru_cache(maxsize=4096)
def _booking(number: int, client: ObjectId, *, is_bad: bool) -> tuple[ObjectId, bytes]:
    """The booking of a number: of many schedules it is the same."""
    identity = ObjectId(f"{0xB0000000 + number:024x}")
    changes: dict[str, Any] = {"_id": identity, "clientId": client, "notes": f"v{number}"}
    if is_bad:
        changes["scheduledDate"] = _BAD_DATE
    return identity, encoded(a_booking(**changes))


@lru_cache(maxsize=16384)
def _changed(before: bytes, number: int, client: ObjectId) -> bytes:
    """A booking with other notes, of the same client or another one."""
    return encoded({**fields(before), "notes": f"v{number}", "clientId": client})


class Foreign(NamedTuple):
    """A document of the target that another program wrote."""

    time: int
    document_id: ObjectId
    client: ObjectId


class Application:
    """Writes as the seed has it; what is acknowledged is in `ledger`."""

    def __init__(self, world: World) -> None:
        """Take the world, whose source may hold bookings already."""
        self._world = world
        self.ledger: dict[ObjectId, bytes] = dict(world.collections[SOURCE].documents)
        """The bookings of the old application that exist."""

        self.loose: dict[ObjectId, int] = {}
        """When bookings were updated past a fence of which only the changed fields are known."""

        self.booked: dict[ObjectId, ObjectId] = {}
        """Sessions that the new application booked: their ids, and the clients."""

        self.foreign: list[Foreign] = []
        """When another program wrote to which document of the target."""

        self.foreign_copies: list[tuple[int, ObjectId]] = []
        """When another program wrote to which document of the kept copy."""

    def booking(self, client: ObjectId) -> tuple[ObjectId, bytes]:
        """A new booking."""
        number = self._world.number()
        return _booking(number, client, is_bad=self._world.random.random() < 0.1)

    def write(self) -> None:
        """Do one thing of the application: mostly one write, sometimes several of one cluster time."""
        world = self._world
        if world.is_swapped and world.random.random() < 0.5:
            self._book()
            return
        world.tick()
        for _ in range(1 if world.random.random() < 0.85 else 3):
            self._write_old()

    def _write_old(self) -> None:
        world, random = self._world, self._world.random
        validator = world.collections[SOURCE].validator
        kind = _KINDS[int(random.random() * len(_KINDS))]
        if kind == "insert":
            identity, raw = self.booking(random.choice(CLIENTS))
            if validator == GUARD or (validator == FENCE and random.random() > _BYPASSING):
                return
            world.put(SOURCE, identity, raw, "insert")
            world.said(f"insert {identity} {fields(raw)['notes']} of {object_id(raw[CLIENT])}")
            if world.is_swapped:
                world.problem = "an old booking was stored in the new live collection"
            self.ledger[identity] = raw
            return
        if world.is_swapped or not self.ledger:
            # No document of the new collection has a booking's _id.
            return
        # Later bookings have greater ids, so they are in order already.
        identity = random.choice([*self.ledger])
        if kind == "delete":
            world.put(SOURCE, identity, None, "delete")
            world.said(f"delete {identity}")
            del self.ledger[identity]
            self.loose.pop(identity, None)
            return
        if validator == FENCE and random.random() > _BYPASSING:
            return
        self._change(identity, is_moved=kind == "move", is_late=validator == FENCE)

    def _change(self, identity: ObjectId, *, is_moved: bool, is_late: bool) -> None:
        world, random = self._world, self._world.random
        number, before = world.number(), self.ledger[identity]
        client = random.choice(CLIENTS) if is_moved else object_id(before[CLIENT])
        raw = _changed(before, number, client)
        operation = "replace" if random.random() < 0.5 else "update"
        world.put(SOURCE, identity, raw, operation)
        world.said(f"{operation} {identity} v{number} of {client}")
        self.ledger[identity] = raw
        if is_late and operation == "update":
            self.loose[identity] = world.time
        elif operation == "replace":
            self.loose.pop(identity, None)

    def _book(self) -> None:
        """Let the new application book a session of a client that has a document."""
        world = self._world
        documents = world.collections[SOURCE].documents
        if not documents:
            return
        identity = world.random.choice(sorted(documents))
        values = dict(fields(documents[identity]))
        if "sessions" not in values:
            return
        session = {**values["sessions"][0], "sessionId": ObjectId(f"{0xE0000000 + world.number():024x}")}
        session.pop("legacyBookingId", None)
        values["sessions"] = [*values["sessions"], session]
        world.tick()
        world.put(SOURCE, identity, encoded(values), "update")
        world.said(f"the new application books {session['sessionId']} of {values['clientId']}")
        self.booked[session["sessionId"]] = values["clientId"]

    def write_foreign(self) -> None:
        """Let another program change or delete a document of the target or of the kept copy, each once."""
        world, random = self._world, self._world.random
        if world.is_swapped:
            return
        copies = [name for name in world.collections if name not in (SOURCE, TARGET)]
        if copies and random.random() < 0.5:
            self._write_copy(copies[0])
        elif not self.foreign and world.collections[TARGET].documents:
            self._write_target()

    def _write_target(self) -> None:
        world, random = self._world, self._world.random
        documents = world.collections[TARGET].documents
        identity = random.choice(sorted(documents))
        values = dict(fields(documents[identity]))
        kind = random.choices(("delete", "session", "field"), (3, 4, 3))[0]
        world.tick()
        if kind == "delete":
            world.put(TARGET, identity, None, "delete")
            world.said(f"another program deletes {identity} of {values['clientId']}")
        else:
            first, *others = values["sessions"]
            if kind == "session":
                values["sessions"] = [{**first, "notes": "foreign"}, *others]
            else:
                values[FOREIGN_FIELD] = "foreign"
            world.put(TARGET, identity, encoded(values), "replace")
            world.said(f"another program changes {identity} of {values['clientId']}")
        self.foreign.append(Foreign(world.time, identity, values["clientId"]))

    def _write_copy(self, copy: str) -> None:
        world, random = self._world, self._world.random
        documents = world.collections[copy].documents
        if self.foreign_copies or not documents:
            return
        identity = random.choice(sorted(documents))
        world.tick()
        if random.random() < 0.3:
            world.put(copy, identity, None, "delete")
        else:
            values = {**fields(documents[identity]), "notes": "foreign"}
            world.put(copy, identity, encoded(values), "replace")
        world.said(f"another program writes to {identity} of {copy}")
        self.foreign_copies.append((world.time, identity))
