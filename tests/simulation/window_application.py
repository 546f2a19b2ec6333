"""The new application after a cut-over, the old one after the rollback, and the ledger of what must come back."""

from typing import Any, NamedTuple

from bson.objectid import ObjectId

from booking_migrate.domain.ids import booking_of_session
from tests.simulation.application import CLIENTS, encoded
from tests.simulation.window_server import KEPT, RESTORED
from tests.simulation.world import SOURCE, World, fields
from tests.support.bookings import a_booking

_BYPASSING = 0.3
"""How many writers behind the fence bypass validation."""


class Expected(NamedTuple):
    """What a booking must be after the rollback, as far as the ledger looks."""

    client: ObjectId
    notes: str


def booking_of(session: dict[str, Any]) -> ObjectId:
    """The `_id` of the old booking that a session is, or becomes."""
    known: ObjectId | None = session.get("legacyBookingId")
    return booking_of_session(session["sessionId"]) if known is None else known


class NewApplication:
    """Writes client documents as the seed has it, and old bookings once they are live again."""

    def __init__(self, world: World) -> None:
        """Take the world, which was just cut over."""
        self._world = world
        self.originals: dict[ObjectId, Expected] = {
            key: _expected(fields(raw)) for key, raw in world.collections[KEPT].documents.items()
        }
        self.ledger: dict[ObjectId, Expected] = dict(self.originals)
        """The bookings that exist. Where the new application deletes one of before, it comes back as it was."""

        self.loose: set[ObjectId] = set()
        """The bookings in documents that were updated past the fence: only the changed fields are known of these."""

        self.left: set[ObjectId] = set()
        """The same, and those of them that the old application has written since: documents of them may be left."""

        self.foreign: set[ObjectId] = set()

    def write(self) -> None:
        """Do one thing."""
        if self._world.is_swapped:
            self._write_old()
        else:
            self._write_new()

    def _write_new(self) -> None:
        world, random = self._world, self._world.random
        is_late = world.is_fenced
        documents = world.collections[SOURCE].documents
        kind = random.choices(
            ("book", "change", "cancel", "move", "delete", "create", "split"), (4, 4, 2, 4, 2, 2, 1)
        )[0]
        if is_late and kind != "delete" and random.random() > _BYPASSING:
            return
        identity = random.choice(sorted(documents)) if documents else None
        if kind == "create" or identity is None:
            self._create()
        elif kind == "delete":
            self._delete(identity)
        elif kind == "book":
            self._store(identity, [*self._sessions(identity), self._new_session()])
        else:
            self._change(kind, identity)

    def _sessions(self, identity: ObjectId) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = list(
            fields(self._world.collections[SOURCE].documents[identity])["sessions"]
        )
        return found

    def _change(self, kind: str, identity: ObjectId) -> None:
        random = self._world.random
        sessions = self._sessions(identity)
        if not sessions:
            return
        number = random.randrange(len(sessions))
        session = sessions[number]
        rest = [*sessions[:number], *sessions[number + 1 :]]
        if kind == "change":
            changed = {**session, "notes": f"v{self._world.number()}"}
            self._store(identity, [*sessions[:number], changed, *sessions[number + 1 :]])
        elif kind == "cancel":
            self._store(identity, rest)
            self._forget(session)
        else:
            others = sorted(self._world.collections[SOURCE].documents.keys() - {identity})
            if others:
                # For a moment it stands in two documents, or in none.
                other = random.choice(others)
                steps = [(other, [*self._sessions(other), session]), (identity, rest)]
                for where, now in steps if random.random() < 0.7 else reversed(steps):
                    self._store(where, now)

    def _new_session(self) -> dict[str, Any]:
        number = self._world.number()
        values = a_booking(_id=ObjectId(), clientId=ObjectId(), notes=f"v{number}")
        dropped = ("_id", "clientId", "clientUserId", "clientEmail", "__v")
        own = {name: value for name, value in values.items() if name not in dropped}
        return {"sessionId": ObjectId(f"{0xE0000000 + number:024x}"), **own}

    def _create(self) -> None:
        world = self._world
        owners = {fields(raw)["clientId"] for raw in world.collections[SOURCE].documents.values()}
        free = [client for client in CLIENTS if client not in owners]
        if free:
            identity = ObjectId(f"{0xD0000000 + world.number():024x}")
            values = {
                "_id": identity,
                "clientId": world.random.choice(free),
                "clientUserId": "1234",
                "clientEmail": "new@example.org",
                "sessions": [self._new_session()],
            }
            self._put(identity, values, "insert")

    def _delete(self, identity: ObjectId) -> None:
        world = self._world
        sessions = self._sessions(identity)
        world.tick()
        world.put(SOURCE, identity, None, "delete")
        world.said(f"the new application deletes {identity}")
        for session in sessions:
            self._forget(session)

    def _forget(self, session: dict[str, Any]) -> None:
        key = booking_of(session)
        if any(
            booking_of(each) == key
            for raw in self._world.collections[SOURCE].documents.values()
            for each in fields(raw)["sessions"]
        ):
            return
        if key in self.originals:
            self.ledger[key] = self.originals[key]
        else:
            self.ledger.pop(key, None)

    def _store(self, identity: ObjectId, sessions: list[dict[str, Any]]) -> None:
        values = {**fields(self._world.collections[SOURCE].documents[identity]), "sessions": sessions}
        self._put(identity, values, "replace" if self._world.random.random() < 0.5 else "update")

    def _put(self, identity: ObjectId, values: dict[str, Any], operation: str) -> None:
        world = self._world
        there = world.collections[SOURCE].documents.get(identity)
        if world.is_fenced and operation == "update" and there is not None:
            self.left.update(map(booking_of, (*fields(there)["sessions"], *values["sessions"])))
            self.loose |= self.left
        world.tick()
        world.put(SOURCE, identity, encoded(values), operation)
        for session in values["sessions"]:
            self.ledger[booking_of(session)] = Expected(values["clientId"], session["notes"])
        held = [f"{booking_of(session)} {session['notes']}" for session in values["sessions"]]
        world.said(f"new application: {operation} {identity} of {values['clientId']}: {', '.join(held)}")

    def _write_old(self) -> None:
        """Let the old application write to what is live again."""
        world, random = self._world, self._world.random
        documents = {
            key: raw
            for key, raw in world.collections[SOURCE].documents.items()
            if "sessions" not in fields(raw)
        }
        kind = random.choice(("insert", "update", "delete"))
        world.tick()
        if kind == "insert" or not documents:
            number = world.number()
            identity = ObjectId(f"{0xB0000000 + number:024x}")
            raw = encoded(a_booking(_id=identity, clientId=random.choice(CLIENTS), notes=f"v{number}"))
            world.put(SOURCE, identity, raw, "insert")
        else:
            identity = random.choice(sorted(documents))
            if kind == "delete":
                world.put(SOURCE, identity, None, "delete")
                world.said(f"the old application deletes {identity}")
                self.ledger.pop(identity, None)
                self.loose.discard(identity)
                return
            raw = encoded({**fields(documents[identity]), "notes": f"v{world.number()}"})
            world.put(SOURCE, identity, raw, "update")
        self.ledger[identity] = _expected(fields(raw))
        self.loose.discard(identity)
        world.said(f"the old application writes {identity} {self.ledger[identity]}")

    def write_foreign(self) -> None:
        """Let another program change, delete or add a document of what is kept ready."""
        world, random = self._world, self._world.random
        stored = world.collections.get(RESTORED)
        if stored is None or world.is_swapped or world.is_fenced or not stored.documents:
            return
        identity = random.choice(sorted(stored.documents))
        kind = random.choice(("change", "delete", "add"))
        world.tick()
        if kind == "delete":
            world.put(RESTORED, identity, None, "delete")
        elif kind == "change":
            values = {**fields(stored.documents[identity]), "notes": "foreign"}
            world.put(RESTORED, identity, encoded(values), "replace")
        else:
            identity = ObjectId(f"{0xF0000000 + world.number():024x}")
            raw = encoded(a_booking(_id=identity, clientId=random.choice(CLIENTS), notes="foreign"))
            world.put(RESTORED, identity, raw, "insert")
        self.foreign.add(identity)
        world.said(f"another program: {kind} {identity} of {RESTORED}")


def _expected(values: Any) -> Expected:
    return Expected(values["clientId"], values["notes"])
