"""What others have done to the client documents of a target, kept beside it, so that a test knows what must be kept."""

from collections.abc import Mapping, Sequence
from typing import Any

import bson
from pymongo.database import Database

from tests.support.truth import documents_of

Db = Database[dict[str, Any]]


class Ledger:
    """Which clients' documents others have touched, with which sessions of their own; and how each run found them."""

    def __init__(self, database: Db, target: str) -> None:
        self._database = database
        self._target = target
        self._found: dict[str, dict[Any, bytes]] = {}
        self.touched: set[Any] = set()
        """The clients whose document is not what the program made of their bookings alone."""

        self.theirs: dict[Any, dict[Any, bytes]] = {}
        """The sessions of no booking in those documents, by client and `sessionId`."""

        self.miscounted: set[Any] = set()
        """The clients whose totals others have made wrong: with nothing to add, a document is carried as it is."""

    def documents(self) -> dict[Any, bytes]:
        """The documents of the target as bytes, by client."""
        return {each["clientId"]: bson.encode(each) for each in documents_of(self._database, self._target)}

    def note(self, client_id: Any) -> None:
        """Take note of what others did to a client's document just now."""
        if client_id is None:
            return
        for found in self._found.values():
            # What a rollback puts back is not what the run found any more.
            found[client_id] = b""
        self.touched.discard(client_id)
        self.theirs.pop(client_id, None)
        for document in documents_of(self._database, self._target):
            if document["clientId"] == client_id:
                self.touched.add(client_id)
                own = [each for each in document["sessions"] if "legacyBookingId" not in each]
                self.theirs[client_id] = {each["sessionId"]: bson.encode(each) for each in own}

    def sync(self, present: Sequence[str], found: Mapping[Any, bytes]) -> None:
        """Take note of the runs that stand now, of which new ones began with these documents in the target.

        A run that started over began with what the one before had found.
        """
        over = [self._found.pop(run_id) for run_id in self.runs if run_id not in present]
        for run_id in present:
            self._found.setdefault(run_id, dict(over[0] if over else found))

    @property
    def runs(self) -> list[str]:
        """The runs that stand, the oldest first."""
        return list(self._found)

    def is_alone(self, run_id: str) -> bool:
        """Whether others have touched nothing since a run began."""
        return b"" not in self._found[run_id].values()

    def undo(self, run_id: str) -> list[str]:
        """Forget a run that was rolled back and all later ones; say what is not as it was when it began."""
        found = self._found[run_id]
        for later in self.runs[self.runs.index(run_id) :]:
            del self._found[later]
        now = self.documents()
        clients = {each for each in {*found, *now} if found.get(each) != b""}
        problems = [f"{each} is not as it was" for each in clients if found.get(each) != now.get(each)]
        there = {
            each["clientId"]: {session.get("sessionId") for session in each["sessions"]}
            for each in documents_of(self._database, self._target)
        }
        problems += [
            f"sessions of {client_id} are lost"
            for client_id, own in self.theirs.items()
            if not own.keys() <= there.get(client_id, set())
        ]
        self.touched &= now.keys()
        if not self._found:
            self.settle()
        return problems

    def settle(self) -> None:
        """Take note that no run stands any more: what is in the target is others' work."""
        now = documents_of(self._database, self._target)
        self.touched = {each["clientId"] for each in now}
        own = {each["clientId"]: each["sessions"] for each in now}
        self.theirs = {
            client_id: {
                each["sessionId"]: bson.encode(each) for each in sessions if "legacyBookingId" not in each
            }
            for client_id, sessions in own.items()
        }
