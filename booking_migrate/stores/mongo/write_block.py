"""A cut-over that refuses every write of every user meanwhile: the server's own mode for it, beside the usual fence.

Unlike a validator, it refuses deletes, and writers that bypass validation. It holds for the whole cluster, all databases,
and for all users without the privilege to bypass it; those with it are still stopped in the source by the usual fence (MongoDB manual,
reference/command/setUserWriteBlockMode; from 6.0, replica sets and sharded clusters).
"""

import json
from collections.abc import Collection
from typing import Any

from typing_extensions import override

from booking_migrate.errors import NotPermitted, WritesNotBlockable
from booking_migrate.stores.cutover import LiveCollections
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.cutover import MongoLive
from booking_migrate.stores.mongo.failures import reading, writing
from booking_migrate.stores.mongo.retry import attempts

_NOTE = "blocks_all_writes"
"""The key in a source's settings that says, after a crash too, that the mode was turned on by this cut-over."""

_NEEDED = ("setUserWriteBlockMode", "bypassWriteBlockingMode", "serverStatus")
_OFF = 1
"""What serverStatus says of the mode: 1 is off, 2 is on, and nothing is a server that does not have it."""


class BlockingLive(MongoLive, LiveCollections):
    """See `LiveCollections` for the promises. It lifts what it has noted, whether or not it would block again."""

    def __init__(self, source: DriverCollection, target: DriverCollection, *, blocks: bool) -> None:
        """Take the collections.

        Args:
            source: the live collection.
            target: the one that takes its place.
            blocks: whether to refuse all users' writes, and not only those to the source.
        """
        super().__init__(source, target)
        self._blocks = blocks
        self._admin = source.database.client.admin

    @override
    def unfit(self) -> str | None:
        """Return why the source cannot be replaced by a rename, after checking that all writes can be blocked; None if it can.

        Raises:
            WritesNotBlockable: the server, or the user's privileges, do not allow it, or it is turned on already.
        """
        if self._blocks:
            self._check_block()
        return super().unfit()

    @override
    def settings(self) -> str:
        settings = super().settings()
        return json.dumps({**json.loads(settings), _NOTE: True}) if self._blocks else settings

    @override
    def raise_fence(self) -> None:
        # The mode waits for writes that are under way.
        if self._blocks:
            self._turn(on=True)
        super().raise_fence()

    @override
    def lift_fence(self, settings: str) -> None:
        # One of the two that cannot be lifted does not keep the other.
        try:
            super().lift_fence(settings)
        finally:
            if json.loads(settings or "{}").get(_NOTE):
                self._turn(on=False)

    @override
    def refuses_writes(self, settings: str) -> bool:
        if super().refuses_writes(settings):
            return True
        return bool(json.loads(settings or "{}").get(_NOTE)) and self._is_blocked()

    def _is_blocked(self) -> bool:
        try:
            return self._mode() != _OFF
        except NotPermitted:
            return True

    def _mode(self) -> int | None:
        with reading(self._source):
            mode: int | None = self._admin.command("serverStatus").get("repl", {}).get("userWriteBlockMode")
            return mode

    def _turn(self, *, on: bool) -> None:
        with writing(self._source):
            for attempt in attempts():
                with attempt:
                    self._admin.command({"setUserWriteBlockMode": 1, "global": on})

    def _check_block(self) -> None:
        with reading(self._source):
            login: Any = self._admin.command("connectionStatus", showPrivileges=True)["authInfo"]
        if not login["authenticatedUsers"]:
            problem = "no user is logged in, so it would stop this program too"
            raise WritesNotBlockable(problem, "Switch on access control, or go without.")
        lacking = [action for action in _NEEDED if not _may(action, login["authenticatedUserPrivileges"])]
        if lacking:
            advice = "The built-in roles restore and clusterMonitor have them."
            raise WritesNotBlockable(f"the user lacks {', '.join(lacking)}", advice)
        mode = self._mode()
        if mode is None:
            problem = "the server does not have setUserWriteBlockMode"
            raise WritesNotBlockable(problem, "It takes MongoDB 6.0 and a replica set.")
        if mode != _OFF:
            problem = "they are blocked already"
            raise WritesNotBlockable(problem, "Go without, and the block lasts until its owner ends it.")


def _may(action: str, privileges: Collection[Any]) -> bool:
    """Return whether one of a user's privileges lets it do this to the cluster (manual, reference/resource-document)."""
    return any(
        action in each["actions"] and (each["resource"].get("cluster") or each["resource"].get("anyResource"))
        for each in privileges
    )
