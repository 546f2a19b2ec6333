"""The fence of a cut-over: what makes the live collection refuse writes, and takes that back."""

import json
from collections.abc import Mapping
from typing import Any

from bson import json_util
from pymongo.write_concern import WriteConcern

from booking_migrate.errors import FenceBlocked, NotPermitted, WritesNotBlockable
from booking_migrate.stores.mongo.administration import identity, options_of
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.exclusive import validate, within
from booking_migrate.stores.mongo.failures import read, reading, write
from booking_migrate.stores.mongo.replica_set import await_majority
from booking_migrate.stores.mongo.retry import settled
from booking_migrate.stores.privilege import BLOCKING_WRITES, Privilege, not_granted
from booking_migrate.stores.validators import FENCE, NO_VALIDATION, is_fenced, validation_of


def raise_fence(
    source: DriverCollection, seconds: float, concern: WriteConcern | None = None
) -> Mapping[str, Any]:
    """Make a collection refuse inserts and updates; return the server's answer, which has the cluster time of that.

    Args:
        source: the live collection.
        seconds: how long the command may wait for those who use the collection, and every write behind it.
        concern: the write concern; None: a majority, within the same limit.

    Raises:
        FenceBlocked: it did not get the collection in time. Whether the fence is raised has to be checked.
    """
    return within(
        source, {"collMod": source.name, **NO_VALIDATION, "validator": FENCE}, seconds, concern=concern
    )


_NOTE = "blocks_all_writes"
"""The key in a source's settings that says, after a crash too, that the mode was turned on by this cut-over."""

SUCCESSOR = "successor"
"""The key in a source's settings for the identity of the collection that is to replace it."""

_OFF = 1
"""What serverStatus says of the mode: 1 is off, 2 is on, and nothing is a server that does not have it."""


class FencedSource:
    """The live collection, which refuses writes while the fence is up.

    The fence is a validator that no document meets. On request it is also the server's mode that refuses every write of
    every user: unlike a validator, it refuses deletes, and writers that bypass validation. It holds for the whole cluster, all
    databases, and for all users without the privilege to bypass it; those with it are still stopped in the source by the
    validator (manual, reference/command/setUserWriteBlockMode; from 6.0, replica sets and sharded clusters).
    """

    def __init__(self, source: DriverCollection, *, blocks: bool) -> None:
        """Take the collection.

        Args:
            source: the live collection.
            blocks: whether to refuse all users' writes, and not only those to the source. What was noted of an earlier
                block is lifted in any case.
        """
        self._source = source
        self._blocks = blocks
        self._admin = source.database.client.admin

    def settings(self, successor: str | None = None) -> str:
        """Return the source's identity, options and indexes as Extended JSON, and the identity of what is to replace it, if given."""
        indexes = read(self._source, lambda: list(self._source.list_indexes()))
        kept: dict[str, Any] = {
            "uuid": identity(self._source),
            "options": options_of(self._source),
            "indexes": indexes,
        }
        if successor is not None:
            kept[SUCCESSOR] = successor
        if self._blocks:
            kept[_NOTE] = True
        return json_util.dumps(kept, json_options=json_util.CANONICAL_JSON_OPTIONS)

    def raise_fence(self, seconds: float) -> None:
        """Make the source refuse inserts and updates; when it returns, all that were taken are durable.

        It is a validator that no document meets. Deletes are not refused by validators (manual,
        core/schema-validation), but by the server's own block of all writes, where that was asked for.

        Args:
            seconds: how long every write may wait, while others hold the source.

        Raises:
            FenceBlocked: they have held it for longer, or the fence was lifted again. Whether it is raised has to be checked.
        """
        self.block()
        # Without a majority, writes would be refused for as long as it is waited for.
        await_majority(self._source)
        raise_fence(self._source, seconds, WriteConcern(w=1))
        # A majority is waited for without that limit, since no other operation waits behind this.
        write(self._source, lambda: settled(self._source))
        # A process that was suspended may have lifted it since, or an election undone it: what is read from here on would have to be read again.
        if not self.is_fenced():
            raise FenceBlocked(
                self._source.name, "another process, or an election, has lifted the fence again"
            )

    def block(self) -> None:
        """Refuse every user's writes to the whole cluster, if that was asked for."""
        # The mode waits for writes that are under way.
        if self._blocks:
            self._block(on=True)

    def lift_fence(self, settings: str) -> None:
        """Restore the source's own validator, if it has the fence's, and end a block of all writes. May be repeated.

        After the swap the fence's validator no longer exists, but the block may.
        """
        # One of the two that cannot be lifted does not keep the other.
        try:
            if self.is_fenced():
                kept = validation_of(json_util.loads(settings)["options"])
                # Without a limit: writes are refused until it is done, and an abort would leave it so.
                validate(self._source, {**NO_VALIDATION, **kept}, is_limited=False)
        finally:
            if json.loads(settings or "{}").get(_NOTE):
                self._block(on=False)

    def refuses_writes(self, settings: str) -> bool:
        """Return whether the source refuses writes at this moment because of `raise_fence`.

        Args:
            settings: what `settings` returned before. Where the user may not read whether all writes are blocked, a block
                that the settings speak of counts as standing.
        """
        if self.is_fenced():
            return True
        return bool(json.loads(settings or "{}").get(_NOTE)) and self._is_blocked()

    def is_fenced(self) -> bool:
        """Return whether the source refuses inserts and updates."""
        return is_fenced(options_of(self._source))

    def _is_blocked(self) -> bool:
        try:
            return self._mode() != _OFF
        except NotPermitted:
            return True

    def _mode(self) -> int | None:
        with reading(self._source):
            mode: int | None = self._admin.command("serverStatus").get("repl", {}).get("userWriteBlockMode")
            return mode

    def _block(self, *, on: bool) -> None:
        write(self._source, lambda: self._admin.command({"setUserWriteBlockMode": 1, "global": on}))

    def _check_block(self) -> None:
        """Refuse to block all writes where the server, or the user's privileges, do not allow it, or it is done already."""
        with reading(self._source):
            status = self._admin.command("connectionStatus", showPrivileges=True)
        if not status["authInfo"]["authenticatedUsers"]:
            problem = "no user is logged in, so it would stop this program too"
            raise WritesNotBlockable(
                problem,
                "switch on access control, planned beforehand: from then on, applications that log in without a user are locked out, "
                "and members of a replica set need a key file (security.keyFile). Make users for the applications, and one for this program with "
                "the roles restore and clusterMonitor; set security.authorization: enabled in mongod.conf, restart mongod",
            )
        wanted = [Privilege(action, "", on_cluster=True) for action in BLOCKING_WRITES]
        lacking = [each.action for each in not_granted(status, self._source.database.name, wanted)]
        if lacking:
            advice = "have an administrator grant the roles restore and clusterMonitor, which have these privileges"
            raise WritesNotBlockable(f"the user lacks {', '.join(lacking)}", advice)
        mode = self._mode()
        if mode is None:
            problem = "the server does not have setUserWriteBlockMode"
            raise WritesNotBlockable(problem, "use MongoDB 6.0 or newer with a replica set")
        if mode != _OFF:
            problem = "they are blocked already"
            raise WritesNotBlockable(problem, "have the one who blocked them end that")
